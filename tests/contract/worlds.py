"""What a contract test may do to the world behind a port. Each implementation brings one of these beside its port.

`wait` is how time passes: the real worlds look again and again, a simulated one moves its clock.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from bubuku.core.actions import Outcome, TakePermit
from bubuku.core.model import Cluster, Member, Mode, Registration
from bubuku.ports import Changes, Coordination, Jmx, Kafka, Permits, Registrations

T = TypeVar("T")


class World(Protocol):
    def reset(self) -> None:
        """Before each test: nothing of an earlier test is seen, everything answers."""

    def end_test(self) -> None:
        """After each test: the ports that were handed out are closed."""

    def wait(self, condition: Callable[[], T], deadline_seconds: float, describe: str) -> T:
        """The first true value of `condition()`; fails the test after the deadline."""

    def now(self) -> float:
        """Seconds; to measure how long a call took."""


class Meeting(Coordination, Protocol):
    """One daemon's ports to ZooKeeper, over one session."""

    permits: Permits
    changes: Changes


class MeetingWorld(World, Protocol):
    """ZooKeeper, as `Coordination`, `Permits` and `Changes` meet it."""

    def daemon(self) -> Meeting:
        """The port of one more daemon, started. Each has a session of its own."""

    def dead_daemon(self, member: Member) -> None:
        """A daemon that published `member` and was killed with -9: its session still stands."""

    def expire(self, port: Coordination) -> None:
        """The server ends the port's session, as after a long separation."""

    def cut(self) -> None:
        """The server does not answer any more; what is sent to it is kept."""

    def restore(self) -> None:
        """It goes on where it was."""

    def spoil(self, *path: str | int) -> None:
        """Make the document at this path below bubuku's root unreadable."""

    def newer(self, *path: str | int) -> None:
        """Give the document a newer schema and fields that this version does not know."""

    def unknown_kept(self, *path: str | int) -> bool:
        """Whether the fields of `newer` are still there."""

    def wipe(self) -> None:
        """bubuku's root is lost."""

    def original_daemon(self, holds: str) -> None:
        """An original (v1) daemon holds an ephemeral node under `bubuku/<holds>`, until the test ends."""

    def late_take(self, action: TakePermit, meanwhile: Callable[[], None]) -> Outcome:
        """Another daemon takes the permit; its write is held back on its way while `meanwhile` runs, then delivered.

        The outcome is what its port said when its deadline passed; on return the write has been executed or refused.
        """

    def writes(self) -> int:
        """How many writes the server has done so far, whoever asked for them."""


class RegistrationWorld(World, Protocol):
    """A cluster's registrations, with brokers that are only as real as the implementation has them."""

    mode: Mode

    def port(self, node_id: int | None) -> Registrations:
        """The port of one more daemon of this broker's host."""

    def register(self, node_id: int) -> None:
        """The broker starts and registers; returns when it has."""

    def kill(self, node_id: int) -> None:
        """kill -9: its session still stands."""

    def registered(self, node_id: int) -> bool:
        """Whether the cluster lists it, as another broker or ZooKeeper sees it."""

    def cut(self) -> None:
        """Whoever answers the port (ZooKeeper; in KRaft every broker but 1) does not answer any more."""

    def restore(self) -> None: ...


class ZnodeWorld(RegistrationWorld, Protocol):
    """ZooKeeper mode: registrations are znodes, and the controller is one too."""

    def become_controller(self, node_id: int) -> None:
        """The registered broker wins the controller's election: a new epoch."""

    def controller(self) -> int | None: ...

    def another_registers_as(self, node_id: int, host: str) -> None:
        """Another host's broker takes this id, which must be free."""

    def expire(self, node_id: int) -> None:
        """The broker's session ends."""

    def late_fence(self, port: Registrations, expected: Registration, meanwhile: Callable[[], None]) -> Outcome:
        """Fence through `port`; its write is held back on its way while `meanwhile` runs, and is then delivered.

        The outcome is what the port said when its deadline passed; on return the write has been executed or refused.
        """


class KafkaWorld(World, Protocol):
    """A live cluster of brokers 1 to 3."""

    mode: Mode

    def port(self, own: int | None = None, servers: tuple[int, ...] = (1, 2, 3)) -> Kafka:
        """A port that starts from these brokers; `own` is the local one."""

    def create_topic(self, name: str, assignment: dict[int, list[int]]) -> None: ...

    def kill(self, node_id: int) -> None: ...

    def start(self, node_id: int) -> None:
        """Start it again; returns when it listens."""

    def freeze(self, node_id: int) -> None: ...

    def thaw(self, node_id: int) -> None: ...

    def address(self, node_id: int) -> str: ...

    def true_controller(self) -> int | None:
        """Who leads the quorum, or holds /controller."""

    def seen(self) -> Cluster | None:
        """The cluster as an independent client sees it, if it can say."""


class JmxWorld(World, Protocol):
    """One broker with its JMX agent."""

    mode: Mode

    def port(self) -> Jmx: ...

    def start(self) -> None:
        """Start the broker; does not wait."""

    def kill(self) -> None: ...

    def freeze(self) -> None: ...

    def thaw(self) -> None: ...

    def fill(self, partitions: int) -> None:
        """The serving broker gets a topic with so many partitions, which it must recover after a kill."""
