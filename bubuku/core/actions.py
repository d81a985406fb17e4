"""What a decision asks the supervisor to do, and what became of it. Pure data.

Every action carries a reason and one readable sentence where it touches the broker. Actions marked *slow* run outside
the loop's thread, one at a time a kind; their `Outcome` shows up in a later observation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from bubuku.core.model import Desired, ProcessId, Record, Registration
from bubuku.core.reasons import Reason


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


Action = (
    StartBroker
    | AdoptBroker
    | EndStalled
    | StopGracefully
    | Remember
    | MarkDirs
    | RecordDesired
    | RaiseFence
    | Fence
    | FormatDirs
    | JoinMarker
)
SLOW: tuple[type, ...] = (RecordDesired, RaiseFence, Fence, FormatDirs, JoinMarker)


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
