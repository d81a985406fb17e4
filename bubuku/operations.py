"""What operators ask for: changes, their cancellation, maintenance, the permit's release. For requests that come in.

Made by the daemon, called in threads of the HTTP server. Nothing here stops a broker: it writes down what is wanted,
and each broker's own daemon does it, under the permit and the guard.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass

from bubuku.core.actions import Result
from bubuku.core.change import KINDS
from bubuku.core.errors import RefusedError, TimedOutError, UnavailableError, UsageError
from bubuku.core.guard import Verdict, named
from bubuku.core.model import CoordinationView, Dated
from bubuku.core.shared import Change, ChangeState, Entry
from bubuku.ports import Changes, Clock, Permits
from bubuku.verdicts import Verdicts

DEADLINE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Request:
    """One change for each of `nodes`, in that order. `by`: who asks; `text`: in their own words."""

    kind: str
    nodes: tuple[int, ...]
    by: str
    text: str | None = None
    accept_unavailable: bool = False
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """`changes` have no sequence yet after a dry run. `verdicts`: what the guard says now, one for each that stops."""

    changes: tuple[Change, ...]
    verdicts: tuple[Verdict, ...]


class Operations:
    def __init__(
        self,
        permits: Permits,
        changes: Changes,
        verdicts: Verdicts,
        view: Callable[[], Dated[CoordinationView]],
        clock: Clock,
    ) -> None:
        self._permits, self._changes, self._verdicts = permits, changes, verdicts
        self._view, self._clock = view, clock

    def submit(self, request: Request) -> Answer:
        """Raises UsageError (an unknown kind or broker), RefusedError (unsafe, with the reason), UnavailableError.

        What our own permits hinder now is not refused: it waits its turn.
        """
        kind = KINDS.get(request.kind)
        if kind is None:
            raise UsageError(f"there is no kind of change {request.kind[:100]!r}; there are {', '.join(sorted(KINDS))}")
        if not request.nodes:
            raise UsageError(f"which brokers are to be {kind.verb}? name at least one")
        view = self._meeting()
        members = {member.node_id for member in view.members}
        for node in request.nodes:
            if node not in members:
                known = ", ".join(map(str, sorted(members))) or "none"
                raise UsageError(f"no daemon answers for broker {node}; those with one are {known}")
        for change in view.changes:
            if change.node_id in request.nodes and change.kind == request.kind:
                where = f"see bubuku-cli changes show {change.sequence}"
                raise RefusedError(f"broker {change.node_id} is being {kind.verb} already: {where}")
        verdicts: tuple[Verdict, ...] = ()
        if kind.stops and not (view.permit is not None and view.permit.entries):
            verdicts = tuple(self._verdict(node, request.accept_unavailable) for node in request.nodes)
        made = tuple(self._change(request, node) for node in request.nodes)
        if request.dry_run:
            return Answer(made, verdicts)
        return Answer(self._changes.create(made, DEADLINE_SECONDS), verdicts)

    def changes(self, ended: int) -> tuple[Change, ...]:
        """The open ones, then the `ended` newest of the others. Raises UnavailableError, TimedOutError."""
        return (*self._meeting().changes, *self._changes.ended(ended, DEADLINE_SECONDS))

    def change(self, sequence: int) -> Change:
        """Raises UsageError where there is none of this number."""
        for change in (*self._meeting().changes, *self._changes.ended(500, DEADLINE_SECONDS)):
            if change.sequence == sequence:
                return change
        raise UsageError(f"there is no change {sequence}; see: bubuku-cli changes list")

    def cancel(self, sequence: int) -> Change:
        """Before its broker was stopped nothing happens to it; afterwards it is started again."""
        self._meeting()
        return self._changes.cancel(sequence, DEADLINE_SECONDS)

    def maintenance(self) -> dict[str, object]:
        view = self._meeting()
        found = view.maintenance
        if found is None:
            raise UnavailableError("whether maintenance is on cannot be read")
        on = found.holds(self._clock.wall())
        return {
            "on": on,
            "by": found.by if on else None,
            "text": found.text if on else None,
            "since_epoch": found.since_epoch if on else None,
            "until_epoch": found.until_epoch if on else None,
        }

    def set_maintenance(self, on: bool, by: str, text: str | None, for_seconds: float | None) -> None:
        self._meeting()
        self._changes.set_maintenance(on, by, text, for_seconds, DEADLINE_SECONDS)

    def permit(self) -> dict[int, Entry]:
        """Raises UnavailableError where it cannot be read."""
        found = self._meeting().permit
        if found is None:
            raise UnavailableError("the permit cannot be read: mend <prefix>/bubuku/v2/permit, which is JSON")
        return dict(found.entries)

    def release(self, node: int) -> None:
        """On an operator's word: that broker is not down any more, or never will be up again.

        Raises UsageError (it is not there), UnavailableError, TimedOutError.
        """
        if node not in self.permit():
            raise UsageError(f"broker {node} is not in the permit; see: bubuku-cli permit show")
        outcome = self._permits.drop(node, None, DEADLINE_SECONDS)
        if outcome.result is Result.UNKNOWN:
            raise TimedOutError(outcome.detail)
        if outcome.result is not Result.DONE:
            raise UnavailableError(outcome.detail)

    def _verdict(self, node: int, accept_unavailable: bool) -> Verdict:
        verdict = self._verdicts.safe_to_stop(frozenset({node}), accept_unavailable)
        if not verdict.allowed:
            raise RefusedError(verdict.sentence())
        return verdict

    def _meeting(self) -> CoordinationView:
        view = self._view().value
        if view is None or not view.connected:
            raise UnavailableError("ZooKeeper does not answer, and changes are written there; ask again")
        if view.predecessor_v1:
            raise RefusedError("an original bubuku daemon (v1) is at work on this cluster: stop it first")
        return view

    def _change(self, request: Request, node: int) -> Change:
        return Change(
            sequence=-1,
            uuid=str(uuid.uuid4()),
            kind=request.kind,
            node_id=node,
            state=ChangeState.QUEUED,
            asked_by=request.by,
            asked_epoch=self._clock.wall(),
            text=request.text,
            accept_unavailable=request.accept_unavailable,
            sentence=f"{named([node])} is to be {KINDS[request.kind].verb}",
        )
