"""One cycle's world, what it decided, and what the daemon shows of itself. Pure data, made by the supervisor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bubuku.core.actions import Action, Outcome
from bubuku.core.model import (
    BrokerState,
    ClusterView,
    CoordinationView,
    Dated,
    ForeignProcess,
    JmxView,
    LogDir,
    LogView,
    Mode,
    ProcessView,
    Record,
    RegistrationView,
    Role,
)
from bubuku.core.reasons import Reason

NOT_READ: Dated[tuple[str, ...]] = Dated(float("-inf"), None)


@dataclass(frozen=True, slots=True)
class Policy:
    """The part of the configuration that decisions read. All durations in seconds."""

    mode: Mode
    roles: frozenset[Role]
    node_id: int | None  # configured; None: from meta.properties, else Kafka's generation (ZooKeeper mode only)
    host: str
    cluster_id: str | None = None  # configured; KRaft formats with it
    endpoints: tuple[str, ...] = ()  # advertised "host:port" of this broker, sorted
    instant_failover: bool = True
    adopt_running: bool = False
    accept_empty: bool = False
    unclean_election: bool = False
    jmx: bool = False
    startup_timeout: float = 300.0
    startup_step: float = 60.0
    startup_progressive: bool = False  # the step is a factor of the timeout then
    election_wait: float = 60.0
    session_timeout: float = 18.0  # ZooKeeper's or the KRaft broker session's
    frozen_after: float = 10.0
    stop_deadline: float = 330.0
    stop_silence: float = 60.0  # a stop beyond its deadline that flushed nothing for so long is ended by SIGKILL
    addresses_settle: float = 180.0  # a new list of ZooKeeper's addresses is acted on after it was the same for so long
    addresses_given: bool = False  # by the configuration: the list is in force from the daemon's start on
    launch: Mapping[str, str] = field(default_factory=dict)  # digests of what else than settings Kafka is started with
    stability: float = 30.0  # a broker that is back stays in its ISRs for so long before the next one goes


@dataclass(frozen=True, slots=True)
class Observation:
    """All that one cycle knows. Readings carry the time at which they were begun."""

    now: float
    wall: float  # seconds since the epoch: for people, and for the end of maintenance alone
    record: Record
    process: ProcessView
    settings_digest: str | None  # None: the settings cannot be made; `settings_error` says why
    settings_error: str | None
    log_dirs: Dated[tuple[LogDir, ...]]
    log: Dated[LogView]
    foreign: Dated[ForeignProcess | None]
    registration: Dated[RegistrationView]
    answers: Dated[bool]
    jmx: Dated[JmxView]
    cluster: Dated[ClusterView]
    coordination: Dated[CoordinationView]
    differing: Dated[tuple[str, ...]] = NOT_READ  # settings of server.properties that a start would make anew
    addresses: Dated[tuple[str, ...]] = NOT_READ  # where ZooKeeper is, as somebody keeps it
    outcomes: Mapping[type, Outcome] = field(default_factory=dict)  # of slow actions, the latest of each kind
    start_error: Dated[str] | None = None  # the last start could not even be executed: when, and why
    leaving: bool = False  # the daemon was told to end and to take Kafka with it, as soon as the guard allows it…
    terminate: bool = False  # …and now all the same: its patience is over, or it was told so twice


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a deliberate stop is, for its change's document and for people."""

    phase: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Note:
    """Something beside the broker's state that an operator should know. `due_epoch`: when it takes effect."""

    reason: Reason
    sentence: str
    due_epoch: float | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What this cycle made of it: the state to show, why, and what to do."""

    state: BrokerState
    reason: Reason
    sentence: str
    actions: tuple[Action, ...] = ()
    progress: tuple[int, int] | None = None  # recovering: logs done, total
    eta_seconds: float | None = None
    last_lines: tuple[str, ...] = ()  # failed: Kafka's last log lines
    note: Note | None = None
    pending: tuple[str, ...] = ()  # as `core.pending`
    progress_of_stop: Progress | None = None  # of the deliberate stop that is wanted, or under way


@dataclass(frozen=True, slots=True)
class Event:
    """Something that changed, for people: the log, the status page, `/v1/status`."""

    epoch: float  # wall clock
    reason: Reason
    state: BrokerState
    sentence: str


@dataclass(frozen=True, slots=True)
class Ending:
    """A change that this daemon has asked to be ended. `at`: monotonic, when."""

    kind: str
    outcome: str
    at: float


@dataclass(frozen=True, slots=True)
class Tally:
    """`changes`: (kind, outcome) → how many this daemon ended. `refusals`: what said no (`core.guard.objections`) → how
    often the guard's word was no to a stop of our own broker."""

    changes: Mapping[tuple[str, str], int] = field(default_factory=dict)
    refusals: Mapping[str, int] = field(default_factory=dict)
    ending: Mapping[str, Ending] = field(default_factory=dict)  # by the change's uuid
    judged: float | None = None  # when the judgement that was counted last was begun


@dataclass(frozen=True, slots=True)
class Published:
    """What HTTP and metrics answer from: replaced whole each cycle, never mutated. Any thread may read it."""

    at: float  # monotonic, when the cycle ended
    epoch: float
    observation: Observation
    decision: Decision
    since: float  # monotonic, when `decision.state` was entered
    since_epoch: float
    node_id: int | None
    events: tuple[Event, ...] = ()  # newest last, the last 50
    starts: Mapping[Reason, int] = field(default_factory=dict)
    fences: Mapping[str, int] = field(default_factory=dict)  # by result
    tally: Tally = field(default_factory=Tally)
    seconds_in_state: Mapping[BrokerState, float] = field(default_factory=dict)
    loop_lag_seconds: float = 0.0  # how late the last tick was
    cycle_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class About:
    """What a daemon knows of itself when it starts and shows with every answer; it does not change while it runs."""

    host: str
    mode: Mode
    roles: tuple[str, ...]  # sorted
    version: str  # the daemon's
    kafka_version: str | None
    rack: str | None
    started_epoch: float  # wall clock, for people only
