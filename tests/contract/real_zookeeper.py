"""Worlds on a real ZooKeeper server. Kafka's registrations are znodes that a second client makes: fast, and alike."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from kazoo.client import KazooClient
from kazoo.exceptions import NoNodeError

from bubuku.adapters.zookeeper import Session, ZooKeeperCoordination, ZooKeeperRegistrations, ZooKeeperSettings
from bubuku.core.actions import Outcome, TakePermit
from bubuku.core.model import Member, Mode, Registration
from bubuku.ports import Coordination, Registrations
from bubuku.sandbox.zookeeper import ZooKeeper
from tests.support.kafka_servers import free_ports
from tests.support.wait import wait_for
from tests.support.zookeeper_proxy import ZooKeeperProxy

T = TypeVar("T")
SESSION_SECONDS = 6.0
_PREDECESSOR = """
import json, sys
from bubuku.adapters.zookeeper import Session, ZooKeeperCoordination, ZooKeeperSettings
from bubuku.core.model import Member
port = ZooKeeperCoordination(Session(ZooKeeperSettings(sys.argv[1], sys.argv[2], float(sys.argv[3]))))
port.start()
fields = json.loads(sys.argv[4])
member = Member(**fields | {k: tuple(fields[k]) for k in ("roles", "schemas")})
while not port.view(member.node_id, 1.0).connected:
    pass
port.publish(member, 5.0)
print("published", flush=True)
sys.stdin.read()
"""


class _Server:
    """One ZooKeeper server for a module; each test has a prefix of its own in it."""

    def __init__(self, folder: Path) -> None:
        self.server = ZooKeeper(folder, free_ports(1)[0])
        self._tests = 0
        self._frozen = False
        self._sessions: dict[int, Session] = {}
        self.prefix = ""
        self.kafka: Any = None

    def open(self) -> None:
        self.server.start()

    def close(self) -> None:
        self.restore()
        self.server.stop()

    def client(self, identity: tuple[int, bytes] | None = None) -> Any:
        client = KazooClient(self.server.address, timeout=SESSION_SECONDS, client_id=identity)
        client.start(timeout=15)
        return client

    def reset(self) -> None:
        self._tests += 1
        self.prefix = f"/t{self._tests}"
        self.kafka = self.client()

    def end_test(self) -> None:
        self.restore()
        _end(self.kafka)
        for session in self._sessions.values():
            session.close()
        self._sessions.clear()

    def session(self, address: str | None = None) -> Session:
        session = Session(ZooKeeperSettings(address or self.server.address, self.prefix, SESSION_SECONDS))
        self._sessions[id(session)] = session
        return session

    def wait(self, condition: Callable[[], T], deadline_seconds: float, describe: str) -> T:
        return wait_for(condition, deadline_seconds, describe, 0.02)

    def now(self) -> float:
        return time.monotonic()

    def cut(self) -> None:
        assert self.server.child is not None
        self._frozen = True
        self.server.child.send_signal(signal.SIGSTOP)

    def restore(self) -> None:
        if self._frozen and self.server.child is not None:
            self.server.child.send_signal(signal.SIGCONT)
            self._frozen = False

    def expire_session(self, session: Session) -> None:
        """Closing a session from a second connection with its id is what ZooKeeper takes for its end."""
        identity = session.client().client_id
        _end(self.client(identity))


class RealMeeting(_Server):
    """Implements `worlds.MeetingWorld`."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._by_port: dict[int, Session] = {}
        self._originals: list[Any] = []
        self._proxy: ZooKeeperProxy | None = None

    def end_test(self) -> None:
        super().end_test()
        if self._proxy is not None:
            self._proxy.close()
            self._proxy = None
        self._by_port.clear()
        for client in self._originals:
            _end(client)
        self._originals.clear()

    def daemon(self) -> ZooKeeperCoordination:
        return self._daemon(self.server.address)

    def _daemon(self, address: str) -> ZooKeeperCoordination:
        session = self.session(address)
        port = ZooKeeperCoordination(session)
        self._by_port[id(port)] = session
        port.start()
        self.wait(lambda: port.view(None, 1.0).connected, 10, "a connection to ZooKeeper")
        return port

    def dead_daemon(self, member: Member) -> None:
        arguments = [self.server.address, self.prefix, str(SESSION_SECONDS), json.dumps(asdict(member))]
        with subprocess.Popen(
            [sys.executable, "-c", _PREDECESSOR, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline().strip() == "published"
            process.kill()

    def expire(self, port: Coordination) -> None:
        self.expire_session(self._by_port[id(port)])

    def spoil(self, *path: str | int) -> None:
        self.kafka.set(self._path(*path), b'{"schema": ')

    def newer(self, *path: str | int) -> None:
        document = json.loads(self.kafka.get(self._path(*path))[0])
        document |= {"schema": 9, "invented": {"later": [1, 2]}}
        self.kafka.set(self._path(*path), json.dumps(document).encode())

    def unknown_kept(self, *path: str | int) -> bool:
        return "invented" in json.loads(self.kafka.get(self._path(*path))[0])

    def wipe(self) -> None:
        self.kafka.delete(f"{self.prefix}/bubuku", recursive=True)

    def original_daemon(self, holds: str) -> None:
        client = self.client()
        self._originals.append(client)
        client.create(f"{self.prefix}/bubuku/{holds}/x", b"1", ephemeral=True, makepath=True)

    def late_take(self, action: TakePermit, meanwhile: Callable[[], None]) -> Outcome:
        """Through a proxy that can hold a write."""
        proxy = self._proxy = ZooKeeperProxy(self.server.port)
        port = self._daemon(proxy.address)
        proxy.hold_transactions()
        outcomes: list[Outcome] = []
        taking = threading.Thread(target=lambda: outcomes.append(port.permits.take(action, 1.0)), name="late-take")
        taking.start()
        self.wait(lambda: proxy.holds, 5, "the transaction to be on its way")
        taking.join(10)
        meanwhile()
        proxy.release()
        self.wait(lambda: proxy.delivered, 5, "the held transaction to be answered")
        return outcomes[0]

    def writes(self) -> int:
        """ZooKeeper's transaction counter, sessions' own transactions included."""
        self.kafka.sync("/")
        for line in self.kafka.command(b"srvr").splitlines():
            if line.startswith("Zxid:"):
                return int(line.split()[1], 16)
        raise AssertionError("srvr shows no Zxid")

    def _path(self, *path: str | int) -> str:
        return "/".join((self.prefix, "bubuku/v2", *map(str, path)))


class RealZnodes(_Server):
    """Implements `worlds.ZnodeWorld`."""

    mode = Mode.ZOOKEEPER

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._brokers: dict[int, Any] = {}
        self._proxy: ZooKeeperProxy | None = None

    def reset(self) -> None:
        super().reset()
        self.kafka.ensure_path(f"{self.prefix}/brokers/ids")
        self.kafka.create(f"{self.prefix}/controller_epoch", b"1")

    def end_test(self) -> None:
        super().end_test()
        if self._proxy is not None:
            self._proxy.close()
            self._proxy = None
        for client in self._brokers.values():
            _end(client)
        self._brokers.clear()

    def port(self, node_id: int | None) -> Registrations:
        return self._port(node_id, self.server.address)

    def register(self, node_id: int) -> None:
        self._register(node_id, "127.0.0.1")

    def another_registers_as(self, node_id: int, host: str) -> None:
        self._register(node_id, host)

    def kill(self, node_id: int) -> None:
        """Its client goes on keeping the session alive: what ZooKeeper knows of a death is its time-out."""
        assert node_id in self._brokers

    def expire(self, node_id: int) -> None:
        _end(self._brokers.pop(node_id))

    def registered(self, node_id: int) -> bool:
        return self.kafka.exists(f"{self.prefix}/brokers/ids/{node_id}") is not None

    def become_controller(self, node_id: int) -> None:
        epoch = int(self.kafka.get(f"{self.prefix}/controller_epoch")[0])
        self.kafka.set(f"{self.prefix}/controller_epoch", str(epoch + 1).encode())
        content = json.dumps({"version": 1, "brokerid": node_id, "timestamp": "1700000000000"}).encode()
        self._brokers[node_id].create(f"{self.prefix}/controller", content, ephemeral=True)

    def controller(self) -> int | None:
        try:
            return int(json.loads(self.kafka.get(f"{self.prefix}/controller")[0])["brokerid"])
        except NoNodeError:
            return None

    def late_fence(self, port: Registrations, expected: Registration, meanwhile: Callable[[], None]) -> Outcome:
        """The port that was given has its own connection; a twin of it runs through a proxy that can hold a write."""
        proxy = self._proxy = ZooKeeperProxy(self.server.port)
        twin = self._port(expected.node_id, proxy.address)
        proxy.hold_transactions()
        outcomes: list[Outcome] = []
        fencing = threading.Thread(target=lambda: outcomes.append(twin.fence(expected, 1.0)), name="late-fence")
        fencing.start()
        self.wait(lambda: proxy.holds, 5, "the fence's transaction to be on its way")
        fencing.join(10)
        meanwhile()
        proxy.release()
        self.wait(lambda: proxy.delivered, 5, "the held transaction to be answered")
        return outcomes[0]

    def _port(self, node_id: int | None, address: str) -> Registrations:
        session = self.session(address)
        session.start()
        port = ZooKeeperRegistrations(session, lambda: node_id)
        self.wait(lambda: session.session_id is not None, 10, "a connection to ZooKeeper")
        return port

    def _register(self, node_id: int, host: str) -> None:
        """A new incarnation has a session of its own, as a new process has."""
        client = self.client()
        content = {
            "features": {},
            "listener_security_protocol_map": {"PLAINTEXT": "PLAINTEXT"},
            "endpoints": [f"PLAINTEXT://{host}:{9090 + node_id}"],
            "jmx_port": -1,
            "port": 9090 + node_id,
            "host": host,
            "version": 5,
            "timestamp": "1700000000000",
        }
        client.create(f"{self.prefix}/brokers/ids/{node_id}", json.dumps(content).encode(), ephemeral=True)
        if node_id in self._brokers:
            _end(self._brokers[node_id])
        self._brokers[node_id] = client


def _end(client: Any) -> None:
    client.stop()
    client.close()


@contextmanager
def meeting(folder: Path) -> Iterator[RealMeeting]:
    with _opened(RealMeeting(folder)) as world:
        yield world


@contextmanager
def znodes(folder: Path) -> Iterator[RealZnodes]:
    with _opened(RealZnodes(folder)) as world:
        yield world


W = TypeVar("W", bound=_Server)


@contextmanager
def _opened(world: W) -> Iterator[W]:
    world.open()
    try:
        yield world
    finally:
        world.close()
