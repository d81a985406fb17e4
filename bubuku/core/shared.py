"""What members agree on in ZooKeeper, and note on their own disks about it: changes, the permit, maintenance, a stop.

Immutable data, as in `core.model`, which has what a cycle sees. `*_epoch` is wall-clock time, for people only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class ProcessId:
    """A process that cannot be mistaken for another one, even after pids were reused or the host was rebooted."""

    pid: int
    start_ticks: int  # field 22 of /proc/PID/stat, clock ticks since boot
    boot_id: str


class ChangeState(StrEnum):
    """How far a change is. The first two are open, the others for good."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_open(self) -> bool:
        return self in (ChangeState.QUEUED, ChangeState.RUNNING)


@dataclass(frozen=True, slots=True)
class Change:
    """Something that someone asked for: one document in ZooKeeper, which any member can read.

    `sequence` orders changes and names them for people; `uuid` tells two of the same number apart (a wiped ZooKeeper).
    A parent is of several brokers and asks for a child for each; the documents of those stay until its own ends.
    """

    sequence: int
    uuid: str
    kind: str  # a key of `core.change.KINDS`; a newer daemon's may be unknown here
    node_id: int | None  # None: a parent
    state: ChangeState
    asked_by: str
    asked_epoch: float  # wall clock, for people only
    text: str | None = None  # the operator's own words
    accept_unavailable: bool = False
    nodes: tuple[int, ...] = ()  # a parent's brokers, in their order
    parent: str | None = None  # uuid of the change that asked for this one
    asked: tuple[int, ...] = ()  # …for whom it has asked so far, in that order
    parallel: int = 1  # so many of a parent's brokers may be in work at once; 0: as many as the guard allows
    cool_down: float = 0.0  # seconds between a parent's brokers
    paused: bool = False  # an operator wants a parent to ask for nothing more until told to
    begun_epoch: float | None = None  # when it was claimed first
    owner: str | None = None  # instance of the daemon that claimed it
    epoch: int = 0  # raised by each claim
    phase: str = "queued"
    sentence: str = ""
    cancel: bool = False  # somebody asked to end it
    ended_epoch: float | None = None
    schema: int = 1  # a document of a newer one is shown, and left alone
    version: int = 0  # of its znode: what a compare-and-set expects


@dataclass(frozen=True, slots=True)
class Entry:
    """One broker in the permit: down, or it may go down at any instant."""

    token: str  # which stop this is; written to the state file of its host before it is asked for
    host: str
    since_epoch: float  # wall clock, for people only
    working: bool = True  # False: stopped on purpose, or given up: it counts for the guard, and is waited for by nobody
    change: str | None = None  # uuid
    why: str = ""  # a code of `core.reasons`


@dataclass(frozen=True, slots=True)
class Permit:
    """The one permit as it was read. `version` is its znode's, for a compare-and-set; -1: there is none yet."""

    version: int
    entries: Mapping[int, Entry] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Maintenance:
    """The cluster-wide hands-off. `until_epoch` None: until somebody switches it off."""

    version: int
    on: bool = False
    by: str = ""
    text: str | None = None
    since_epoch: float = 0.0
    until_epoch: float | None = None

    def holds(self, wall: float) -> bool:
        """Whether it is on at this time of the wall clock (its end counts from ZooKeeper's own)."""
        return self.on and (self.until_epoch is None or wall < self.until_epoch)


@dataclass(frozen=True, slots=True)
class Stop:
    """A deliberate stop of our broker, as the state file keeps it from before it is asked for until it is over."""

    token: str
    change: str | None  # uuid; None: the daemon itself wants it
    why: str  # a code of `core.reasons`
    process: ProcessId | None  # whom SIGTERM is meant for
    stay_down: bool = False  # not to be started again until an operator says so
    accept_unavailable: bool = False
    intended: bool = False  # SIGTERM may have been sent from now on
    in_sync: tuple[str, ...] | None = None  # "topic-partition" of its ISRs then; None: not known, all count
    marker: str | None = None  # UUID of the root whose permit it was written into; None: of none, as far as is known


@dataclass(frozen=True, slots=True)
class Finished:
    """The change that this daemon finished last: it is not begun again while its document does not show it yet."""

    change: str  # uuid
    done: bool
    sentence: str
