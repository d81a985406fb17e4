"""What a decision asks the supervisor to do, and what became of it. Pure data.

Every action carries a reason and one readable sentence where it touches the broker. Actions marked *slow* run outside
the loop's thread, one at a time a kind; their `Outcome` shows up in a later observation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from bubuku.core.model import Desired, Record, Registration
from bubuku.core.reasons import Reason
from bubuku.core.shared import Change, Entry, ProcessId


@dataclass(frozen=True, slots=True)
class StartBroker:
    """Render server.properties and start Kafka, in a session of its own."""

    reason: Reason
    sentence: str


@dataclass(frozen=True, slots=True)
class AdoptBroker:
    """Watch this running process as ours; nothing is sent to it."""

    identity: ProcessId
    reason: Reason
    sentence: str


@dataclass(frozen=True, slots=True)
class EndStalled:
    """End a process that never registered and makes no progress: SIGTERM, and SIGKILL (`force`) if it ignores that."""

    identity: ProcessId
    force: bool
    sentence: str


@dataclass(frozen=True, slots=True)
class StopGracefully:
    """SIGTERM to Kafka because the daemon itself was told to end with it."""

    identity: ProcessId
    sentence: str


@dataclass(frozen=True, slots=True)
class Remember:
    """Write the state file, durably, before anything else of this cycle happens."""

    record: Record


@dataclass(frozen=True, slots=True)
class UseAddresses:
    """Meet at these ZooKeeper servers from now on, and name them in server.properties."""

    addresses: tuple[str, ...]
    sentence: str


@dataclass(frozen=True, slots=True)
class MarkDirs:
    """Write a fresh marker UUID into each of these log dirs (they carry none)."""

    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RecordDesired:
    """*Slow.* Publish the dirs' markers as `desired/<node id>`."""

    node_id: int
    desired: Desired


@dataclass(frozen=True, slots=True)
class RaiseFence:
    """*Slow.* Raise `fence/<node id>`, so that any fence that was sent before fails from now on."""

    node_id: int


@dataclass(frozen=True, slots=True)
class Fence:
    """*Slow.* Tell the cluster that the broker that registered as `expected` is dead. Only ever on proof of death."""

    expected: Registration
    sentence: str


@dataclass(frozen=True, slots=True)
class FormatDirs:
    """*Slow.* Format KRaft log dirs that never held data."""

    paths: tuple[str, ...]
    cluster_id: str


@dataclass(frozen=True, slots=True)
class JoinMarker:
    """*Slow.* Create bubuku's root marker for this Kafka cluster if there is none. `cluster_id` None: not known yet."""

    cluster_id: str | None


@dataclass(frozen=True, slots=True)
class Judge:
    """*Slow.* Gather evidence and let the guard say whether our broker may be stopped.

    The outcome's `data`: "verdict" (guard.Verdict), "in_sync" (as `Stop.in_sync`), "version" (of the permit)."""

    node_id: int
    permitted: frozenset[int]  # the other brokers in the permit
    version: int  # of the permit that `permitted` is from
    accept_unavailable: bool
    joined: frozenset[int]  # as `guard.Evidence.joined`, from the same reading as the permit
    settled: bool  # as `guard.Evidence.settled`


@dataclass(frozen=True, slots=True)
class FindBatch:
    """*Slow.* Which brokers of a parent may be asked to go down together next (`core.batches.following`).

    The outcome's `data`: "step", as given, "batch": their ids, in their order."""

    step: tuple[str, int]  # parent's uuid, and how many of its children have ended
    order: tuple[int, ...]
    alone: frozenset[int]
    limit: int
    permitted: frozenset[int]
    accept_unavailable: bool
    joined: frozenset[int]


@dataclass(frozen=True, slots=True)
class TakePermit:
    """*Slow.* One transaction: our entry into the permit of `version`, maintenance unchanged.

    The outcome's `data`: "version", the permit's afterwards."""

    node_id: int
    entry: Entry
    version: int
    maintenance_version: int


@dataclass(frozen=True, slots=True)
class DropPermit:
    """*Slow.* Remove our entry, if it is of this token. `data` as for `TakePermit`."""

    node_id: int
    token: str


@dataclass(frozen=True, slots=True)
class SettlePermit:
    """*Slow.* Write the permit as it is, so that what was sent before, and has no known outcome, fails from now on.

    `data` as for `TakePermit`."""


@dataclass(frozen=True, slots=True)
class RestPermit:
    """*Slow.* Our entry is not in work any more: the broker is stopped on purpose. `data` as for `TakePermit`."""

    node_id: int
    token: str


@dataclass(frozen=True, slots=True)
class SendStop:
    """*Slow.* SIGTERM to the broker, by a helper that dies of its own timer: nothing is sent after `deadline`.

    `deadline`: monotonic seconds. The outcome's `data`: "process", whom it was sent to."""

    identity: ProcessId
    deadline: float


@dataclass(frozen=True, slots=True)
class DumpThreads:
    """Let the JVM print what its threads do (SIGQUIT), into the file that Kafka's output goes to."""

    identity: ProcessId


@dataclass(frozen=True, slots=True)
class KillStuck:
    """SIGKILL: it was told to stop long ago, and has flushed nothing for long."""

    identity: ProcessId
    sentence: str


@dataclass(frozen=True, slots=True)
class ElectPreferred:
    """*Slow.* Let these partitions ("topic", number) be led by their preferred replicas."""

    token: str  # of the stop that this ends
    partitions: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class WriteChange:
    """*Slow.* Write this document, if `change.version` is still the one that stands.

    In the same transaction: new documents, `created`, and the ended `children`, which move to the history with it."""

    change: Change
    created: tuple[Change, ...] = ()
    children: tuple[Change, ...] = ()


Action = (
    StartBroker
    | AdoptBroker
    | EndStalled
    | StopGracefully
    | Remember
    | UseAddresses
    | MarkDirs
    | RecordDesired
    | RaiseFence
    | Fence
    | FormatDirs
    | JoinMarker
    | Judge
    | FindBatch
    | TakePermit
    | DropPermit
    | SettlePermit
    | RestPermit
    | SendStop
    | DumpThreads
    | KillStuck
    | ElectPreferred
    | WriteChange
)
SLOW: tuple[type, ...] = (
    RecordDesired,
    RaiseFence,
    Fence,
    FormatDirs,
    JoinMarker,
    Judge,
    FindBatch,
    TakePermit,
    DropPermit,
    SettlePermit,
    RestPermit,
    SendStop,
    ElectPreferred,
    WriteChange,
)


class Result(StrEnum):
    """What became of a slow action."""

    RUNNING = "running"
    DONE = "done"
    REFUSED = "refused"  # known not to have happened: what it expected did not stand any more
    FAILED = "failed"  # known not to have happened: an error, in `detail`
    UNKNOWN = "unknown"  # it may have happened, or may happen yet


@dataclass(frozen=True, slots=True)
class Outcome:
    result: Result
    begun: float
    ended: float | None = None
    detail: str = ""
    data: Mapping[str, object] | None = None
