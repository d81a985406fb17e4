"""The simulator's in-memory ports put to the contract: virtual time, no process, no socket."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from bubuku.core.actions import Outcome, Result, TakePermit
from bubuku.core.model import Member, Mode, Registration
from bubuku.ports import Coordination, Registrations
from tests.sim.engine import Engine
from tests.sim.host import Host, Settings, Volume
from tests.sim.kafka_cluster import KafkaCluster
from tests.sim.kafka_process import KafkaProcess
from tests.sim.meeting import MemoryCoordination, MemoryRegistrations
from tests.sim.zookeeper import ZooKeeper

T = TypeVar("T")
LOOK_SECONDS = 0.05


class _Simulated:
    """Virtual time and a ZooKeeper of its own for each test."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.engine = Engine(1)
        self.zookeeper = ZooKeeper(self.engine)

    def end_test(self) -> None:
        """Nothing is left of what was only simulated."""

    def wait(self, condition: Callable[[], T], deadline_seconds: float, describe: str) -> T:
        until = self.engine.now() + deadline_seconds
        while True:
            seen = condition()
            if seen:
                return seen
            assert self.engine.now() < until, f"waited {deadline_seconds:g} s for {describe}; last seen: {seen!r}"
            self.engine.run_until(self.engine.now() + LOOK_SECONDS)

    def now(self) -> float:
        return self.engine.now()

    def cut(self) -> None:
        self.zookeeper.set_up(False)

    def restore(self) -> None:
        self.zookeeper.set_up(True)


class SimulatedMeeting(_Simulated):
    """Implements `worlds.MeetingWorld`."""

    def reset(self) -> None:
        super().reset()
        self._newer: set[tuple[str | int, ...]] = set()

    def daemon(self) -> MemoryCoordination:
        port = MemoryCoordination(self.zookeeper)
        port.start()
        return port

    def dead_daemon(self, member: Member) -> None:
        port = MemoryCoordination(self.zookeeper)
        port.start()
        port.publish(member, 3.0)
        port.die()

    def expire(self, port: Coordination) -> None:
        assert isinstance(port, MemoryCoordination)
        assert port.session is not None
        self.zookeeper.sessions.end(port.session)

    def spoil(self, *path: str | int) -> None:
        self.zookeeper.spoilt.add(path)

    def newer(self, *path: str | int) -> None:
        """In memory no field is ever lost that a version does not know."""
        self._newer.add(path)
        for sequence, change in self.zookeeper.root.changes.items():
            self.zookeeper.root.changes[sequence] = replace(change, schema=9)

    def unknown_kept(self, *path: str | int) -> bool:
        return path in self._newer

    def wipe(self) -> None:
        self.zookeeper.wipe()

    def original_daemon(self, holds: str) -> None:
        self.zookeeper.v1_daemon = True

    def late_take(self, action: TakePermit, meanwhile: Callable[[], None]) -> Outcome:
        begun = self.now()
        request = self.daemon().permits.prepare(action)
        meanwhile()
        if callable(request):
            request()
        return Outcome(Result.UNKNOWN, begun, begun + 1.0, "no reply in time")

    def writes(self) -> int:
        return self.zookeeper.writes


class SimulatedRegistrations(_Simulated):
    """Implements `worlds.ZnodeWorld` in ZooKeeper mode, `worlds.RegistrationWorld` in KRaft."""

    def __init__(self, mode: Mode) -> None:
        self.mode = mode
        super().__init__()

    def reset(self) -> None:
        super().reset()
        self.cluster = KafkaCluster(self.engine, self.mode, self.zookeeper, elects_controller=False)
        self._brokers: dict[int, KafkaProcess] = {}
        if self.mode is Mode.KRAFT:
            self.register(1)

    def port(self, node_id: int | None) -> Registrations:
        return MemoryRegistrations(
            self.cluster, _host(node_id or 0, "127.0.0.1", self.cluster.cluster_id), lambda: node_id
        )

    def register(self, node_id: int) -> None:
        self._register(node_id, "127.0.0.1")

    def another_registers_as(self, node_id: int, host: str) -> None:
        self._register(node_id, host)

    def _register(self, node_id: int, name: str) -> None:
        process = self._brokers[node_id] = KafkaProcess(
            self.cluster, _host(node_id, name, self.cluster.cluster_id), None
        )
        self.wait(lambda: process.answers, 30, f"broker {node_id} to serve")

    def kill(self, node_id: int) -> None:
        self._brokers[node_id].kill()

    def expire(self, node_id: int) -> None:
        process = self._brokers[node_id]
        process.kill()
        assert process.session is not None
        self.cluster.sessions.end(process.session)

    def registered(self, node_id: int) -> bool:
        return node_id in self.cluster.entries

    def become_controller(self, node_id: int) -> None:
        self.cluster.controller, self.cluster.controller_session = node_id, self._brokers[node_id].session

    def controller(self) -> int | None:
        return self.cluster.controller

    def cut(self) -> None:
        if self.mode is Mode.ZOOKEEPER:
            super().cut()
        for process in self._brokers.values():
            if self.mode is Mode.KRAFT:
                process.suspend()

    def restore(self) -> None:
        super().restore()
        for process in self._brokers.values():
            process.resume()

    def late_fence(self, port: Registrations, expected: Registration, meanwhile: Callable[[], None]) -> Outcome:
        assert isinstance(port, MemoryRegistrations)
        begun = self.now()
        request = port.prepare_fence(expected)
        meanwhile()
        if callable(request):
            request()
        return Outcome(Result.UNKNOWN, begun, begun + 1.0, "no reply in time")


def _host(node_id: int, name: str, cluster_id: str) -> Host:
    volume = Volume(f"disk-{node_id}", node_id=node_id, cluster_id=cluster_id, clean=True)
    return Host(name, node_id, Settings(node_id), {"/data/1": volume}, {"/data/1": volume}, number=node_id)


@contextmanager
def meeting(folder: Path) -> Iterator[SimulatedMeeting]:
    yield SimulatedMeeting()


@contextmanager
def znodes(folder: Path) -> Iterator[SimulatedRegistrations]:
    yield SimulatedRegistrations(Mode.ZOOKEEPER)


@contextmanager
def kraft(folder: Path) -> Iterator[SimulatedRegistrations]:
    yield SimulatedRegistrations(Mode.KRAFT)
