"""Changes: what there is to be asked for, what goes beside what, and how a document moves on. Pure.

A change is a document in ZooKeeper. One for a single broker is claimed only by that broker's own daemon: it says
`running` with the daemon's instance, and what the daemon then does is the permit's protocol (`core.permit`). What must
survive the daemon is in the state file, so the document is a view of it, written by compare-and-set: it may lag, and is
never what a stop rests on. A parent is claimed by any daemon, and all that it does is in documents (`core.parents`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from bubuku.core.actions import WriteChange
from bubuku.core.memory import Memory
from bubuku.core.model import Record
from bubuku.core.reasons import Reason
from bubuku.core.shared import Change, ChangeState

SCHEMA = 1
HISTORY = 500  # so many that have ended are kept
WRITE_RETRY_SECONDS = 5.0
UNTOUCHED = "cancelled before anything was stopped"
REPLACED = "the daemon that worked on it is gone for good: its host was replaced; ask again if it is still wanted"


@dataclass(frozen=True, slots=True)
class Kind:
    """What a change of this name does to its broker, or (a parent) asks for, for each of its brokers."""

    name: str
    stops: bool  # the broker is stopped, under the permit
    stays_down: bool  # …and not started again
    why: Reason
    verb: str  # "broker 3 is …"
    child: str | None = None  # a parent: the kind of its children


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("restart", stops=True, stays_down=False, why=Reason.RESTARTED, verb="restarted"),
        Kind("stop", stops=True, stays_down=True, why=Reason.STOPPED_ON_PURPOSE, verb="stopped"),
        Kind("start", stops=False, stays_down=False, why=Reason.RESTARTED, verb="started"),
        Kind("roll", stops=True, stays_down=False, why=Reason.RESTARTED, verb="restarted", child="restart"),
    )
}


class Meets(StrEnum):
    """What becomes of a request that meets an open change."""

    QUEUES = "queues"  # it waits for its turn
    JOINS = "joins"  # what was asked for is part of that change, which is answered instead
    REFUSED = "refused"


def meets(kind: str, nodes: Sequence[int], other: Change, standing: Sequence[Change]) -> Meets:
    """A request of this kind for these brokers, beside the open change `other`, one of all documents that stand."""
    if other.parent is not None:
        return Meets.QUEUES  # its parent is asked
    if other.kind in KINDS and KINDS[other.kind].child is not None:
        if KINDS[kind].child is not None:
            return Meets.REFUSED
        done = {c.node_id for c in standing if c.parent == other.uuid and not c.state.is_open}
        touched = set(nodes) & set(other.nodes) - done
        if not touched or kind == "start":
            return Meets.QUEUES
        return Meets.JOINS if kind == KINDS[other.kind].child and set(nodes) <= touched else Meets.REFUSED
    return Meets.REFUSED if other.kind == kind and other.node_id in nodes else Meets.QUEUES


def current(changes: Sequence[Change], node_id: int | None, record: Record) -> Change | None:
    """The change of this broker whose turn it is: the one at work, else the oldest open one; None: there is none."""
    mine = [c for c in changes if c.node_id is not None and c.node_id == node_id and is_workable(c)]
    if record.stop is not None and record.stop.change is not None:
        at_work = next((c for c in mine if c.uuid == record.stop.change), None)
        if at_work is not None:
            return at_work
    running = [c for c in mine if c.state is ChangeState.RUNNING]
    return min(running or mine, key=lambda c: c.sequence, default=None)


def is_workable(change: Change) -> bool:
    """It is open, and of a kind and a schema that this version knows, with what its kind needs."""
    kind = KINDS.get(change.kind)
    known = kind is not None and (kind.child is None) is (change.node_id is not None)
    return known and change.state.is_open and change.schema <= SCHEMA


def claimed(change: Change, instance: str, wall: float) -> Change:
    """The document as it is when we begin to work on it."""
    begun = change.begun_epoch if change.begun_epoch is not None else wall
    return replace(
        change,
        state=ChangeState.RUNNING,
        owner=instance,
        epoch=change.epoch + 1,
        phase="waiting",
        begun_epoch=begun,
    )


def ended(change: Change, state: ChangeState, sentence: str, wall: float) -> Change:
    return replace(change, state=state, phase=state.value, sentence=sentence, ended_epoch=wall)


def owned(change: Change, record: Record) -> bool:
    return change.state is ChangeState.RUNNING and change.owner == record.instance


def sent(memory: Memory, wanted: WriteChange, now: float) -> tuple[Memory, WriteChange | None]:
    """Over one version a document is sent once, and again only when it does not show for long."""
    uuid, version = wanted.change.uuid, wanted.change.version
    lately = {each: what for each, what in memory.changes_written.items() if now - what[1] < WRITE_RETRY_SECONDS}
    if uuid in lately and lately[uuid][0] == version:
        return memory, None
    return replace(memory, changes_written={**lately, uuid: (version, now)}, change_written_at=now), wanted
