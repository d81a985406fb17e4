"""What operators ask for: changes, their cancellation, maintenance, the permit's release. For requests that come in.

Made by the daemon, called in threads of the HTTP server. Nothing here stops a broker: it writes down what is wanted,
and each broker's own daemon does it, under the permit and the guard.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from bubuku.core import change
from bubuku.core.actions import Result
from bubuku.core.change import HISTORY, SCHEMA, UNTOUCHED
from bubuku.core.errors import RefusedError, TimedOutError, UnavailableError, UsageError
from bubuku.core.model import ClusterView, CoordinationView, Dated
from bubuku.core.shared import Change, ChangeState, Entry, Maintenance
from bubuku.ports import Changes, Clock, Permits
from bubuku.submission import Answer, Request, Submission
from bubuku.verdicts import Verdicts

DEADLINE_SECONDS = 5.0
__all__ = ["Answer", "Operations", "Request", "Shown"]


@dataclass(frozen=True, slots=True)
class Shown:
    """One change. `worker`: the broker whose daemon works on it; `children`: what it has asked for so far, in order."""

    change: Change
    worker: int | None
    children: tuple[Change, ...]


class Operations:
    """`joined`: the marker of the ZooKeeper that this daemon joined; None: it has not yet."""

    def __init__(
        self,
        permits: Permits,
        changes: Changes,
        verdicts: Verdicts,
        view: Callable[[], Dated[CoordinationView]],
        cluster: Callable[[], Dated[ClusterView]],
        clock: Clock,
        marker: Callable[[], str | None],
    ) -> None:
        """`marker`: UUID of the root that this daemon has joined."""
        self._permits, self._changes = permits, changes
        self._view, self._clock, self._marker = view, clock, marker
        self._submission = Submission(
            changes, verdicts, lambda: self._meeting(writing=True), lambda: cluster().value, clock
        )

    @property
    def refusals(self) -> Mapping[str, int]:
        """Requests that were refused as unsafe, by what said no (`core.guard.objections`). Any thread."""
        return dict(self._submission.refused)

    def submit(self, request: Request) -> Answer:
        """See `Submission.submit`."""
        return self._submission.submit(request)

    def changes(self, ended: int) -> tuple[Change, ...]:
        """The open ones with what they have asked for, then the `ended` newest of the others. Raises UnavailableError,
        TimedOutError."""
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

    def shown(self, sequence: int) -> Shown:
        """Raises as `change`."""
        found = self.change(sequence)
        view, children = self._meeting(), tuple[Change, ...]()
        if found.node_id is None:
            beside = view.changes if found.state.is_open else self._changes.ended(HISTORY, DEADLINE_SECONDS)
            children = tuple(sorted((c for c in beside if c.parent == found.uuid), key=lambda c: c.sequence))
        owners = (m.node_id for m in view.members if m.instance == found.owner)
        return Shown(found, next(owners, None) if found.state is ChangeState.RUNNING else None, children)

    def pause(self, sequence: int, paused: bool) -> Change:
        """It asks for nothing more until told to go on; what is at work is ended. Raises as `cancel`, and UsageError
        for a change of one broker."""
        self._meeting(writing=True)
        found = self.change(sequence)
        if not found.state.is_open:
            raise UsageError(f"change {sequence} has ended already: {found.state}")
        if found.node_id is not None:
            raise UsageError(f"change {sequence} is of one broker: it cannot be paused, but cancelled")
        return self._changes.pause(sequence, paused, DEADLINE_SECONDS)

    def _nothing_is_under_way(self, found: Change) -> bool:
        """Nobody has begun to work on it, or who did is away with nothing in the permit: anybody may end it."""
        view = self._meeting()
        if found.state is ChangeState.QUEUED:
            return True
        if found.node_id is None:
            return False
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

        Raises UsageError where it has none, RefusedError where its daemon works on it, UnavailableError where it was
        not taken out, TimedOutError where that is not known.
        """
        view = self._meeting(writing=True)
        entry = self.permit().get(node)
        if entry is None:
            raise UsageError(f"broker {node} is not in the permit; see: bubuku-cli permit show")
        if entry.working and any(member.node_id == node for member in view.members):
            cause = next((c.sequence for c in view.changes if c.uuid == entry.change), None)
            instead = "it takes its entry out by itself"
            if cause is not None:
                instead = f"cancel its change instead: bubuku-cli changes cancel {cause}"
            raise RefusedError(f"the daemon of broker {node} is at work on it; {instead}")
        if dry_run:
            return entry
        outcome = self._permits.drop(node, None, DEADLINE_SECONDS)
        if outcome.result is Result.UNKNOWN:
            raise TimedOutError(f"{outcome.detail}; see: bubuku-cli permit show")
        if outcome.result is not Result.DONE:
            raise UnavailableError(f"broker {node} is still in the permit: {outcome.detail}")
        return entry

    def _meeting(self, writing: bool = False) -> CoordinationView:
        view = self._view().value
        if view is None or not view.connected:
            raise UnavailableError("ZooKeeper does not answer, and changes are written there; ask again")
        if view.predecessor_v1:
            raise RefusedError("an original bubuku daemon (v1) is at work on this cluster: stop it first")
        if writing:
            _check_root(view, self._marker())
        return view


def _check_root(view: CoordinationView, joined: str | None) -> None:
    """It is the ZooKeeper that this daemon has joined, and no wiped or foreign one."""
    if joined is None or not view.marker_read:
        raise UnavailableError("this daemon has not joined this ZooKeeper yet; ask again")
    if view.marker != joined:
        there = "no marker" if view.marker is None else f"marker {view.marker}"
        raise RefusedError(
            f"this ZooKeeper carries {there}, and this daemon has joined {joined}, so nothing is asked for here; "
            "see marker_missing in docs/operations.md"
        )
