"""The words of the project as immutable data.

Purpose: everything that a cycle of the daemon sees, and that its decision reads, is one of these values. They are
built by the adapters (which parse tolerantly) and read by the pure core; nothing here does I/O. Times named ``at``,
``begun`` or ``since`` are seconds of this host's monotonic clock; they mean nothing on another host.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Generic, TypeVar

from bubuku.core.shared import Change, Finished, Maintenance, Permit, ProcessId, Stop

T = TypeVar("T")


class Mode(StrEnum):
    """Who keeps Kafka's own metadata."""

    ZOOKEEPER = "zookeeper"
    KRAFT = "kraft"


class Role(StrEnum):
    """What a Kafka process is in its cluster. In ZooKeeper mode it is always a broker."""

    BROKER = "broker"
    CONTROLLER = "controller"


class BrokerState(StrEnum):
    """The states that operators see. Their rules are the table in `core.lifecycle`."""

    NOT_RUNNING = "not_running"
    STARTING = "starting"
    RECOVERING = "recovering"
    SERVING = "serving"
    STOPPING = "stopping"
    UNREGISTERED = "unregistered"
    FROZEN = "frozen"
    FAILED = "failed"
    HELD = "held"


@dataclass(frozen=True, slots=True)
class Dated(Generic[T]):
    """A reading with its age. `begun` is when the reading was asked for, so what it says is at least that fresh.

    A failed reading has `value` None and says why in `error`: unknown is not the same as absent.
    """

    begun: float
    value: T | None
    error: str | None = None

    @property
    def known(self) -> bool:
        return self.error is None


@dataclass(frozen=True, slots=True)
class Exit:
    """A proven end of the local Kafka process.

    `code` and `signal` are None where the process was not our child (an adopted one). Whether it was a clean end is
    told by the log dirs as read afterwards (`core.identity.ended_cleanly`).
    """

    identity: ProcessId
    at: float
    code: int | None = None
    signal: int | None = None
    watched: bool = True  # we saw it end; False: it was found gone when this daemon started


@dataclass(frozen=True, slots=True)
class ProcessView:
    """The local Kafka process. `identity` None: nothing runs that we know of."""

    identity: ProcessId | None = None
    started_at: float | None = None  # monotonic; an adopted process has its true start here
    adopted: bool = False
    suspended: bool = False  # the kernel says it is stopped (SIGSTOP, tracing)
    activity: int = 0  # bytes read and written so far, through caches too: grows while the process works
    exit: Exit | None = None  # the last proven end, kept until the next start


@dataclass(frozen=True, slots=True)
class ForeignProcess:
    """A Kafka that no bubuku of this host started, holding our log dirs or a listener."""

    identity: ProcessId
    evidence: str  # "holds the lock of /data/1" or "listens on port 9092"
    is_kafka: bool
    holds_log_dir: bool = False  # it has our log dirs open, so it is the same broker as ours would be
    ours: bool = (
        False  # it carries our instance in its environment: started by a daemon that died before writing it down
    )
    supervisor: str | None = None  # a systemd unit that would restart it, None where there is none


@dataclass(frozen=True, slots=True)
class LogDir:
    """One of Kafka's log dirs as found on disk."""

    path: str
    marker: str | None  # the UUID that bubuku wrote into it; None: none yet
    holds_data: bool  # meta.properties or a partition folder is in it
    node_id: int | None = None  # from meta.properties
    cluster_id: str | None = None
    clean: bool = False  # Kafka's clean-shutdown file is there
    usable: bool = True  # exists, readable and writable
    error: str | None = None
    total_bytes: int = 0
    free_bytes: int = 0
    device: int | None = None  # st_dev of its file system: dirs of one file system share its bytes


def disk_use(dirs: tuple[LogDir, ...]) -> tuple[int | None, int | None]:
    """Bytes used and in all of the file systems under `dirs`, each counted once; None where none could be read."""
    systems: dict[int | str, LogDir] = {}
    for found in dirs:
        if found.usable and found.total_bytes > 0:
            systems[found.path if found.device is None else found.device] = found
    if not systems:
        return None, None
    total = sum(d.total_bytes for d in systems.values())
    return total - sum(d.free_bytes for d in systems.values()), total


@dataclass(frozen=True, slots=True)
class LogView:
    """What Kafka's own log says since its last start (parsed by `core.kafka_log`)."""

    recovered: int | None = None
    recover_total: int | None = None
    recover_started_at: float | None = None
    lines_seen: int = 0
    last_lines: tuple[str, ...] = ()
    fatal: str | None = None  # a `reasons.Reason` code of a failure that a restart cannot mend
    fatal_line: str | None = None


@dataclass(frozen=True, slots=True)
class JmxView:
    """Two numbers of Kafka's JMX (through Jolokia)."""

    broker_state: int | None = None  # 0 not running, 1 starting, 2 recovery, 3 running; None: MBean absent
    remaining_logs: int | None = None
    raft_state: str | None = None  # leader, follower, candidate…: KRaft controllers
    process_uptime_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Registration:
    """The broker as the cluster knows it. `czxid` and `owner` are ZooKeeper's, None in KRaft."""

    node_id: int
    endpoints: tuple[str, ...]  # "host:port", sorted
    czxid: int | None = None
    owner: int | None = None  # ephemeralOwner: the session that holds the znode
    content: str | None = None  # the znode's JSON, as it stands


@dataclass(frozen=True, slots=True)
class RegistrationView:
    """Who is registered: ours (None: it is not) and how many others.

    `asked_for` is the node id that ours was looked for by; None: nobody knew it yet, so `own` says nothing.
    """

    own: Registration | None
    others: int
    controller_id: int | None = None
    asked_for: int | None = None


@dataclass(frozen=True, slots=True)
class BrokerNode:
    node_id: int
    host: str
    port: int
    rack: str | None = None


@dataclass(frozen=True, slots=True)
class Partition:
    topic: str
    partition: int
    leader: int  # -1: none
    replicas: tuple[int, ...]
    isr: tuple[int, ...]
    offline: tuple[int, ...] = ()
    adding: tuple[int, ...] = ()  # of a running reassignment; only where it was asked for
    removing: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Cluster:
    """What Kafka said, at one moment, from one live broker's metadata."""

    cluster_id: str | None
    controller_id: int | None
    brokers: tuple[BrokerNode, ...]
    partitions: tuple[Partition, ...]
    answered_by: str  # "host:port"

    def live(self) -> frozenset[int]:
        return frozenset(b.node_id for b in self.brokers)


@dataclass(frozen=True, slots=True)
class BrokerLoad:
    """Counts of one broker in a `Cluster`."""

    leaders: int = 0
    replicas: int = 0
    under_replicated: int = 0  # partitions led by it whose ISR is smaller than its replicas
    offline: int = 0


@dataclass(frozen=True, slots=True)
class ClusterView:
    """A `Cluster` with what each cycle asks of it, counted once where it was read."""

    cluster: Cluster
    loads: Mapping[int, BrokerLoad]
    offline_partitions: int
    under_replicated: int
    unwell: tuple[Partition, ...]  # those that lack a leader, or a replica in sync

    @classmethod
    def of(cls, cluster: Cluster) -> ClusterView:
        counts: dict[int, list[int]] = {b.node_id: [0, 0, 0, 0] for b in cluster.brokers}
        offline = under = 0
        unwell: list[Partition] = []
        for p in cluster.partitions:
            is_under = len(p.isr) < len(p.replicas)
            under += is_under
            if is_under or p.leader < 0:
                unwell.append(p)
            if p.leader < 0:
                offline += 1
            else:
                row = counts.setdefault(p.leader, [0, 0, 0, 0])
                row[0] += 1
                row[2] += is_under
            for replica in p.replicas:
                row = counts.setdefault(replica, [0, 0, 0, 0])
                row[1] += 1
                row[3] += p.leader < 0
        loads = {n: BrokerLoad(*row) for n, row in counts.items()}
        return cls(cluster, loads, offline, under, tuple(unwell))


@dataclass(frozen=True, slots=True)
class Member:
    """A daemon as it shows itself in ZooKeeper. Unknown fields of newer daemons are dropped."""

    node_id: int
    host: str
    instance: str  # UUID of the daemon's state folder: the same across restarts of one host's daemon
    roles: tuple[str, ...]
    version: str
    api_url: str | None
    rack: str | None
    state: str
    sentence: str
    since_epoch: float  # wall clock, for people only
    reason: str | None = None  # a code of `core.reasons`; a newer daemon's may be unknown here
    kafka_version: str | None = None
    schemas: tuple[int, ...] = (1,)
    disk_used_bytes: int | None = None
    disk_total_bytes: int | None = None
    restarts: int = 0
    pending: tuple[str, ...] = ()  # as `core.pending`: what its Kafka is to be restarted for
    note: str | None = None  # as `observation.Note`
    note_due_epoch: float | None = None
    kafka_server: str | None = None  # "host:port" of its broker, for clients of the same protocol as ours
    marker: str | None = None  # the root whose permit has all that this daemon may do to its broker


@dataclass(frozen=True, slots=True)
class Desired:
    """`desired/<node id>`: what is on record for this broker across hosts. `dirs`: marker UUID → path last seen at."""

    dirs: Mapping[str, str] = field(default_factory=dict)
    cluster_id: str | None = None


@dataclass(frozen=True, slots=True)
class CoordinationView:
    """What the meeting place says. `connected` False: everything else is the last that was known."""

    connected: bool
    session_id: int | None = None
    members: tuple[Member, ...] = ()
    member_owner: str | None = None  # instance of the daemon that owns members/<our id>; None: nobody
    member_session: int | None = None  # the session that holds members/<our id>
    desired: Desired | None = None
    desired_read: bool = False  # desired/<our id> was read (and may not exist)
    marker: str | None = None  # UUID of bubuku's root in this ZooKeeper
    marker_cluster_id: str | None = None
    marker_read: bool = False
    predecessor_v1: bool = False  # an original (v1) daemon's ephemeral nodes are there
    permit: Permit | None = None  # None: not read yet, not made yet, or unreadable
    maintenance: Maintenance | None = None  # as `permit`
    changes: tuple[Change, ...] = ()  # the open ones, in the order of their sequence

    @property
    def joined(self) -> frozenset[int]:
        """The ids whose daemons are here and have acknowledged this root: their brokers go down by its permit alone."""
        return frozenset(m.node_id for m in self.members if m.marker is not None and m.marker == self.marker)


@dataclass(frozen=True, slots=True)
class Record:
    """What the state file keeps across the daemon's own death. Written before it is needed, fsynced."""

    instance: str
    machine: str | None = None  # the host that it was written on; None: it has no id
    node_id: int | None = None
    cluster_id: str | None = None
    marker: str | None = None
    process: ProcessId | None = None
    started_by_us: bool = False  # else `process` was adopted while it ran, and is never ended as a stalled start
    registration: Registration | None = None  # as seen when *this* process registered
    dirs: Mapping[str, str] = field(default_factory=dict)  # marker UUID → path last seen at
    settings_digest: str | None = None  # what the process was started with
    launch: Mapping[str, str] | None = None  # as `Policy.launch`, then
    addresses: tuple[str, ...] | None = None  # of ZooKeeper: the list in force; None: none was read yet
    started_with: tuple[str, ...] | None = None  # the list that the process was started with; None: not known
    stop_intent: bool = False  # we asked this process to stop
    failures: int = 0  # ends since the last ten minutes of service
    counted: bool = False  # the end of `process` is among them
    stop: Stop | None = None  # the deliberate stop under way
    finished: Finished | None = None
    fencing: bool = False  # KRaft: a fence of `process` was about to be sent; what became of it only that daemon knows
