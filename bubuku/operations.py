"""What operators ask for: changes, their cancellation, maintenance, the permit's release. For requests that come in.

Made by the daemon, called in threads of the HTTP server. Nothing here stops a broker: it writes down what is wanted,
and each broker's own daemon does it, under the permit and the guard.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from bubuku.core import change
from bubuku.core.actions import Result
from bubuku.core.change import KINDS, SCHEMA, UNTOUCHED
from bubuku.core.errors import RefusedError, TimedOutError, UnavailableError, UsageError
from bubuku.core.guard import Objection, Verdict, named, objections
from bubuku.core.model import CoordinationView, Dated
from bubuku.core.shared import Change, ChangeState, Entry, Maintenance
from bubuku.ports import Changes, Clock, Permits
from bubuku.verdicts import Verdicts

DEADLINE_SECONDS = 5.0
JUDGING_SECONDS = 10.0  # no further broker is judged at submission after these: each is before it is stopped, anyway


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
    """`changes` have no sequence yet after a dry run. `verdicts`: what the guard says now of those that are to stop;
    not of the last ones where the cluster answers slowly. A no is for a stop of ours that is under way: it waits."""

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
        marker: Callable[[], str | None],
    ) -> None:
        """`marker`: UUID of the root that this daemon has joined."""
        self._permits, self._changes, self._verdicts = permits, changes, verdicts
        self._view, self._clock, self._marker = view, clock, marker
        self._refused: Counter[str] = Counter()

    @property
    def refusals(self) -> Mapping[str, int]:
        """Requests that were refused as unsafe, by what said no (`core.guard.objections`). Any thread."""
        return dict(self._refused)

    def submit(self, request: Request) -> Answer:
        """Raises UsageError (an unknown kind or broker), RefusedError (unsafe, with the reason), UnavailableError.

        What our own permits hinder now is not refused: it waits its turn.
        """
        kind = KINDS.get(request.kind)
        if kind is None:
            raise UsageError(f"there is no kind of change {request.kind[:100]!r}; there are {', '.join(sorted(KINDS))}")
        if not request.nodes:
            raise UsageError(f"which brokers are to be {kind.verb}? name at least one")
        view = self._meeting(writing=True)
        members = {member.node_id for member in view.members}
        for node in request.nodes:
            if node not in members:
                known = ", ".join(map(str, sorted(members))) or "none"
                raise UsageError(f"no daemon answers for broker {node}; those with one are {known}")
        for each in view.changes:
            if each.node_id in request.nodes and each.kind == request.kind:
                where = f"see bubuku-cli changes show {each.sequence}"
                raise RefusedError(f"broker {each.node_id} is being {kind.verb} already: {where}")
        verdicts = self._judged(request) if kind.stops else ()
        made = tuple(self._change(request, node) for node in request.nodes)
        if request.dry_run:
            return Answer(made, verdicts)
        return Answer(self._changes.create(made, DEADLINE_SECONDS), verdicts)

    def changes(self, ended: int) -> tuple[Change, ...]:
        """The open ones, then the `ended` newest of the others. Raises UnavailableError, TimedOutError."""
        return (*self._meeting().changes, *self._changes.ended(ended, DEADLINE_SECONDS))

    def change(self, sequence: int) -> Change:
        """Raises UsageError where there is none of this number."""
        self._meeting()
        found = self._changes.find(sequence, DEADLINE_SECONDS)
        if found is None:
            raise UsageError(f"there is no change {sequence}; see: bubuku-cli changes list")
        return found

    def cancel(self, sequence: int, dry_run: bool = False) -> Change:
        """Before its broker was stopped nothing happens to it; afterwards it is started again. Raises UsageError where
        there is no such open change."""
        self._meeting(writing=True)
        found = self.change(sequence)
        if not found.state.is_open:
            raise UsageError(f"change {sequence} has ended already: {found.state}")
        if dry_run:
            return replace(found, cancel=True)
        if found.schema <= SCHEMA and self._nothing_is_under_way(found):
            by = change.ended(replace(found, cancel=True), ChangeState.CANCELLED, UNTOUCHED, self._clock.wall())
            outcome = self._changes.write(by, DEADLINE_SECONDS)
            if outcome.result is Result.DONE:
                return by
            if outcome.result is Result.UNKNOWN:
                raise TimedOutError(f"{outcome.detail}; see: bubuku-cli changes show {sequence}")
        return self._changes.cancel(sequence, DEADLINE_SECONDS)

    def _nothing_is_under_way(self, found: Change) -> bool:
        """Nobody has begun to work on it, or who did is away with nothing in the permit: anybody may end it."""
        view = self._meeting()
        if found.state is ChangeState.QUEUED:
            return True
        away = all(member.node_id != found.node_id for member in view.members)
        return away and view.permit is not None and found.node_id not in view.permit.entries

    def maintenance(self) -> Maintenance:
        """Raises UnavailableError where it cannot be read."""
        found = self._meeting().maintenance
        if found is None:
            raise UnavailableError("whether maintenance is on cannot be read")
        return found

    def set_maintenance(
        self, on: bool, by: str, text: str | None, for_seconds: float | None, dry_run: bool = False
    ) -> None:
        """`for_seconds`: None, until it is switched off."""
        self._meeting(writing=True)
        if not dry_run:
            self._changes.set_maintenance(on, by, text, for_seconds, DEADLINE_SECONDS)

    def permit(self) -> dict[int, Entry]:
        """Raises UnavailableError where it cannot be read."""
        found = self._meeting().permit
        if found is None:
            raise UnavailableError("the permit cannot be read: mend <prefix>/bubuku/v2/permit, which is JSON")
        return dict(found.entries)

    def release(self, node: int, dry_run: bool = False) -> Entry:
        """On an operator's word: that broker is not down any more, or never will be up again. Returns its entry as it
        was.

        Raises UsageError where it has none, UnavailableError where it was not taken out, TimedOutError where that is
        not known.
        """
        self._meeting(writing=True)
        entry = self.permit().get(node)
        if entry is None:
            raise UsageError(f"broker {node} is not in the permit; see: bubuku-cli permit show")
        if dry_run:
            return entry
        outcome = self._permits.drop(node, None, DEADLINE_SECONDS)
        if outcome.result is Result.UNKNOWN:
            raise TimedOutError(f"{outcome.detail}; see: bubuku-cli permit show")
        if outcome.result is not Result.DONE:
            raise UnavailableError(f"broker {node} is still in the permit: {outcome.detail}")
        return entry

    def _judged(self, request: Request) -> tuple[Verdict, ...]:
        """Raises RefusedError for the first that may not be stopped, whatever becomes of those in the permit."""
        verdicts: list[Verdict] = []
        until = self._clock.now() + JUDGING_SECONDS
        for node in request.nodes:
            if verdicts and self._clock.now() >= until:
                break
            hindered = self._others_are_down(node)
            try:
                verdict = self._verdicts.safe_to_stop(frozenset({node}), request.accept_unavailable)
            except UnavailableError:
                if hindered:
                    continue
                raise
            hindered = hindered or self._others_are_down(node)  # it may have been read a moment too early
            lasting = any(b.objection is Objection.CANNOT_BE_AVAILABLE for b in verdict.blocked)
            if not verdict.allowed and (lasting or not hindered):
                self._refused.update(objections(verdict))
                raise RefusedError(verdict.sentence())
            verdicts.append(verdict)
        return tuple(verdicts)

    def _others_are_down(self, node: int) -> bool:
        """Others are in the permit: what the guard says now of this one may be because of them."""
        found = self._meeting().permit
        return found is not None and bool(set(found.entries) - {node})

    def _meeting(self, writing: bool = False) -> CoordinationView:
        view = self._view().value
        if view is None or not view.connected:
            raise UnavailableError("ZooKeeper does not answer, and changes are written there; ask again")
        if view.predecessor_v1:
            raise RefusedError("an original bubuku daemon (v1) is at work on this cluster: stop it first")
        if writing:
            _check_root(view, self._marker())
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


def _check_root(view: CoordinationView, joined: str | None) -> None:
    """It is the ZooKeeper that this daemon has joined, and no wiped or foreign one."""
    if joined is None:
        raise UnavailableError("this daemon has not joined this ZooKeeper yet; ask again")
    if view.marker != joined:
        there = "no marker" if view.marker is None else f"marker {view.marker}"
        raise RefusedError(
            f"this ZooKeeper carries {there}, and this daemon has joined {joined}, so nothing is asked for here; "
            "see marker_missing in docs/operations.md"
        )
