"""Changes to our own broker: which one is at work, and how its document moves on. Pure.

A change is a document in ZooKeeper. One for a single broker is claimed only by that broker's own daemon: it says
`running` with the daemon's instance, and what the daemon then does is the permit's protocol (`core.permit`). What must
survive the daemon is in the state file, so the document is a view of it, written by compare-and-set: it may lag, and is
never what a stop rests on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bubuku.core.model import Record
from bubuku.core.reasons import Reason
from bubuku.core.shared import Change, ChangeState

SCHEMA = 1
UNTOUCHED = "cancelled before anything was stopped"


@dataclass(frozen=True, slots=True)
class Kind:
    """What a change of this name does to its broker."""

    name: str
    stops: bool  # the broker is stopped, under the permit
    stays_down: bool  # …and not started again
    why: Reason
    verb: str  # "broker 3 is …"


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("restart", stops=True, stays_down=False, why=Reason.RESTARTED, verb="restarted"),
        Kind("stop", stops=True, stays_down=True, why=Reason.STOPPED_ON_PURPOSE, verb="stopped"),
        Kind("start", stops=False, stays_down=False, why=Reason.RESTARTED, verb="started"),
    )
}


def current(changes: Sequence[Change], node_id: int | None, record: Record) -> Change | None:
    """The change of this broker whose turn it is: the one at work, else the oldest open one; None: there is none."""
    mine = [c for c in changes if c.node_id == node_id and c.state.is_open and c.kind in KINDS and c.schema <= SCHEMA]
    if record.stop is not None and record.stop.change is not None:
        at_work = next((c for c in mine if c.uuid == record.stop.change), None)
        if at_work is not None:
            return at_work
    running = [c for c in mine if c.state is ChangeState.RUNNING]
    return min(running or mine, key=lambda c: c.sequence, default=None)


def claimed(change: Change, instance: str) -> Change:
    """The document as it is when we begin to work on it."""
    return replace(change, state=ChangeState.RUNNING, owner=instance, epoch=change.epoch + 1, phase="waiting")


def ended(change: Change, state: ChangeState, sentence: str, wall: float) -> Change:
    return replace(change, state=state, phase=state.value, sentence=sentence, ended_epoch=wall)


def owned(change: Change, record: Record) -> bool:
    return change.state is ChangeState.RUNNING and change.owner == record.instance
