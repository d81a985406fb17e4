"""The Protocols of all that is outside: what adapters implement, and the simulator's in-memory ports too.

Callers: the supervisor (loop thread) calls `BrokerProcess`, `StateFile` and `BrokerFiles.mark/render`; reader threads
call the rest and publish dated snapshots; slow actions run in the effects threads. Every call is bounded by the
deadline that its docstring names. Errors are those of `core.errors`: UnavailableError for what does not answer,
TimedOutError where it may still happen. Adapters raise nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from bubuku.core.actions import Outcome, TakePermit
from bubuku.core.guard import Evidence
from bubuku.core.model import (
    Cluster,
    CoordinationView,
    Desired,
    ForeignProcess,
    JmxView,
    LogDir,
    LogView,
    Member,
    ProcessView,
    Record,
    Registration,
    RegistrationView,
)
from bubuku.core.shared import Change, ProcessId


class Clock(Protocol):
    def now(self) -> float:
        """Seconds of the host's monotonic clock."""

    def wall(self) -> float:
        """Seconds since the epoch; for people only, never for a decision."""


class BrokerProcess(Protocol):
    """The local Kafka process, ours or adopted. Loop thread only; nothing here blocks for more than milliseconds."""

    def view(self) -> ProcessView: ...

    def exit_fd(self) -> int | None:
        """A descriptor that becomes readable when the process ends (pidfd); None where nothing runs."""

    def start(self) -> ProcessId:
        """Start Kafka on the rendered settings. Raises UnavailableError with the reason where exec fails."""

    def adopt(self, identity: ProcessId) -> bool:
        """Watch a process that runs already. False: no process of that identity runs."""

    def signal(self, identity: ProcessId, number: int) -> bool:
        """Send by pidfd. False: it is gone."""


class StateFile(Protocol):
    """What outlives the daemon on this host. Loop thread."""

    def load(self) -> Record:
        """The record; a fresh one with a new instance UUID where there is none. Raises UnavailableError."""

    def save(self, record: Record) -> None:
        """Durable (fsync of file and folder) when it returns. Raises UnavailableError."""


class BrokerFiles(Protocol):
    """Kafka's folders on this host."""

    def log_dirs(self) -> tuple[LogDir, ...]:
        """Reader thread: may block on a sick disk."""

    def log(self) -> LogView:
        """Reader thread: what Kafka's log says since `restart_log`."""

    def restart_log(self) -> None:
        """Forget what the log said: a new process was started."""

    def foreign(self, ours: ProcessId | None) -> ForeignProcess | None:
        """Reader thread: who, other than `ours`, holds a log dir's lock or listens where Kafka would.

        Its `ours` is set where its environment carries BUBUKU_INSTANCE with this state folder's instance."""

    def mark(self, paths: Sequence[str]) -> None:
        """Write a fresh marker into each dir, durably. Raises UnavailableError."""

    def render(self) -> bool:
        """Write server.properties if what it should be differs from what it is, atomically. True: it changed."""

    def differing(self) -> tuple[str, ...]:
        """Reader thread: the names of settings that server.properties, as it was written last, has otherwise than it
        should be now. Raises UsageError (the template is unreadable or invalid), UnavailableError."""

    def use_addresses(self, addresses: tuple[str, ...]) -> None:
        """server.properties names these ZooKeeper servers from now on."""

    def settings_digest(self) -> str:
        """A digest of what server.properties should be. Raises UsageError (the template is unreadable or invalid)."""

    def format(self, paths: Sequence[str], cluster_id: str, deadline_seconds: float) -> Outcome:
        """Effects thread: run Kafka's storage tool. The outcome's detail has its last line where it failed."""


class Addresses(Protocol):
    """Where ZooKeeper is, as somebody keeps it: the configuration, a file, a provider."""

    def read(self) -> tuple[str, ...]:
        """ "host:port" of each server, at least one. Reader thread. Raises UnavailableError: not known now."""


class Kafka(Protocol):
    """The cluster through Kafka's Admin protocol. Reader threads."""

    def cluster(self, exclude: int | None, deadline_seconds: float) -> Cluster:
        """All metadata, from a live broker (not `exclude`, where another one answers). Raises UnavailableError."""

    def answers(self, deadline_seconds: float) -> bool:
        """Whether the local broker's own listener answers a Kafka request."""

    def evidence(
        self,
        stopping: frozenset[int],
        permitted: frozenset[int],
        cluster_id: str | None,
        deadline_seconds: float,
        planning: bool = False,
    ) -> Evidence:
        """What `core.guard.judge` rests on, all of it begun after this call. What cannot be had is in `missing`.

        `permitted`: the ids in the permit; `cluster_id`: whose metadata it must be (None, unknown, is missing too).
        `planning`: not all of `stopping` is to stop at once, so these are asked as the others are, and not their disks.
        Raises UnavailableError where no broker answers at all."""

    def elect_preferred(self, partitions: Sequence[tuple[str, int]], deadline_seconds: float) -> None:
        """Let each be led by its preferred replica, where that is in sync. Raises UnavailableError, TimedOutError."""

    def close(self) -> None: ...


class Registrations(Protocol):
    """Who is registered, and the fence. In ZooKeeper mode Kafka's znodes; in KRaft its Admin protocol."""

    def view(self, deadline_seconds: float) -> RegistrationView:
        """Reader thread. Raises UnavailableError."""

    def raise_fence(self, node_id: int, deadline_seconds: float) -> Outcome:
        """Effects thread. DONE: every fence sent before this fails from now on. In KRaft always DONE at once."""

    def fence(self, expected: Registration, deadline_seconds: float) -> Outcome:
        """Effects thread. DONE, REFUSED (what stands is not `expected`), FAILED (not sent), or UNKNOWN."""


class Jmx(Protocol):
    def view(self, deadline_seconds: float) -> JmxView:
        """Reader thread. Raises UnavailableError where the agent does not answer."""


class Coordination(Protocol):
    """Where daemons meet. Calls come from one reader thread and the effects threads."""

    def start(self) -> None:
        """Begin to connect, and retry for ever in the background. Returns at once."""

    def view(self, node_id: int | None, deadline_seconds: float) -> CoordinationView:
        """All that one cycle needs. With no connection: `connected` False. Raises nothing."""

    def publish(self, member: Member, deadline_seconds: float) -> None:
        """Create or refresh our ephemeral `members/<node id>`; replaces a predecessor of the same instance, proven dead
        by our hold of the state lock. Raises RefusedError where another host's daemon owns it, UnavailableError."""

    def record_desired(self, node_id: int, desired: Desired, deadline_seconds: float) -> Outcome: ...

    def join_marker(self, cluster_id: str | None, deadline_seconds: float) -> Outcome:
        """Create the marker if there is none (create only, never overwrite). DONE where it stands for our cluster."""

    def close(self) -> None: ...


class Permits(Protocol):
    """The one permit. `data` of each DONE outcome: "version", the permit's afterwards. Effects threads."""

    def take(self, action: TakePermit, deadline_seconds: float) -> Outcome:
        """Our entry into the permit, over exactly the versions named; REFUSED where one has changed."""

    def drop(self, node_id: int, token: str | None, deadline_seconds: float) -> Outcome:
        """The entry of this token out of the permit; `token` None: whichever there is, on an operator's word."""

    def rest(self, node_id: int, token: str, deadline_seconds: float) -> Outcome:
        """The entry of this token is not in work any more."""

    def settle(self, deadline_seconds: float) -> Outcome:
        """DONE: whatever was sent before, and has no known outcome, was executed or never will be."""


class Changes(Protocol):
    """The changes' documents, and maintenance. All but `write` (which requests use too) raise UnavailableError where it
    was not done, TimedOutError where that is not known."""

    def write(
        self,
        change: Change,
        deadline_seconds: float,
        created: Sequence[Change] = (),
        children: Sequence[Change] = (),
    ) -> Outcome:
        """Effects threads and requests; as `core.actions.WriteChange`. REFUSED: another version of one of them stands,
        and nothing was written."""

    def create(self, changes: Sequence[Change], deadline_seconds: float) -> tuple[Change, ...]:
        """All or none, with their sequences."""

    def cancel(self, sequence: int, deadline_seconds: float) -> Change:
        """Raises UsageError where there is no such open change, RefusedError where a newer daemon wrote it."""

    def pause(self, sequence: int, paused: bool, deadline_seconds: float) -> Change:
        """Raises as `cancel`."""

    def find(self, sequence: int, deadline_seconds: float) -> Change | None:
        """As it is now, also where another daemon has just written it, open or ended; None: there is none."""

    def ended(self, most: int, deadline_seconds: float) -> tuple[Change, ...]:
        """Those that ended last, the newest first."""

    def set_maintenance(
        self, on: bool, by: str, text: str | None, for_seconds: float | None, deadline_seconds: float
    ) -> None: ...
