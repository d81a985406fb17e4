"""What one cycle leaves to the next. Pure data; what must outlive the daemon is in `model.Record` instead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bubuku.core.model import BrokerState
from bubuku.core.reasons import Reason
from bubuku.core.shared import ProcessId


@dataclass(frozen=True, slots=True)
class SeenAddresses:
    """ZooKeeper's addresses as they were read last, and since when they have been the same."""

    listed: frozenset[str]
    since: float  # when the readings were begun that showed it first…
    until: float  # …and last
    since_epoch: float  # wall clock, for people only


@dataclass(frozen=True, slots=True)
class Memory:
    """Times are monotonic seconds; None means that it has not happened in this incarnation of the broker."""

    state: BrokerState = BrokerState.NOT_RUNNING
    since: float = 0.0
    # the running incarnation
    process: ProcessId | None = None
    served_since: float | None = None
    watched_since: float | None = None  # since when this daemon knows it
    registered_once: bool = False
    answered_at: float | None = None
    progress: tuple[int, ...] = ()
    progress_at: float | None = None
    recovery_began: tuple[float, int] | None = None  # when, and logs done then
    # the end of the last one
    ended: ProcessId | None = None  # the exit that was accounted for
    failures: int = 0  # as `Record.failures`, also where the state file cannot be written
    next_start_at: float = 0.0
    cause: Reason = Reason.FIRST_START
    another_ran: bool = False  # another Kafka was seen on our log dirs since: its end is not the one that we know of…
    alone_since: float | None = None  # …and when the look was begun that showed it gone
    fence_sent_at: float | None = None
    fence_tries: int = 0
    fence_unknown_at: float | None = None  # since when it is not known what became of one
    # the start to come
    marked_at: float | None = None
    raise_sent_at: float | None = None
    format_sent_at: float | None = None
    election_since: float | None = None
    session_since: float | None = None
    # across incarnations
    startup_timeout: float | None = None
    stalled: ProcessId | None = None
    stalled_at: float = 0.0
    stop_sent_at: float | None = None
    terminate_since: float | None = None
    join_sent_at: float | None = None
    desired_sent_at: float | None = None
    addresses: SeenAddresses | None = None
    # the deliberate stop under way
    noted: str | None = None  # the token of the stop that this very daemon wrote down
    signalled_at: float | None = None
    unlisted_since: float | None = None  # since when it lives without being listed by the cluster
    repairs: tuple[float, ...] = ()  # when it was restarted because of that…
    repaired: ProcessId | None = None  # …and who was, the last time
    back_since: float | None = None  # since when it is in all ISRs that it was in
    failing_since: float | None = None  # since when it is held, or fails again and again, in place of coming back
    changes_written: Mapping[str, tuple[int, float]] = field(default_factory=dict)  # uuid → version we wrote over, when
    change_written_at: float = 0.0  # the last of them
    away: Mapping[str, float] = field(default_factory=dict)  # change's uuid, entry's token → since when nobody is there
    held_up: Mapping[str, float] = field(default_factory=dict)  # our parent's uuid → since when it cannot go on
    stepped: Mapping[str, tuple[int, float]] = field(default_factory=dict)  # …→ how many of its children ended, when
