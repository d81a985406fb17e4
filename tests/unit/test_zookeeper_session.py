"""A session whose servers were wiped or restored: they refuse a client that has seen more than they have."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from kazoo.protocol.states import KazooState, KeeperState

from bubuku.adapters.zookeeper import ConnectionState, Session, ZooKeeperSettings, session
from bubuku.core.errors import UnavailableError
from tests.support.wait import wait_for

TIMEOUT_SECONDS = 2.0


class Server:
    """Of ZooKeeper what a session begins with: whose last transaction is newer than ours is not let in."""

    def __init__(self) -> None:
        self.zxid = 100
        self.refused = 0
        self._sessions = 0
        self._open: list[socket.socket] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listening.getsockname()[1]}"
        self._thread = threading.Thread(target=self._accept, name="fake-zookeeper")
        self._thread.start()

    def restore(self) -> None:
        """To what it was before."""
        self.zxid = 1
        self.drop()

    def drop(self) -> None:
        for connection in self._open:
            _shut(connection)
        self._open.clear()

    def close(self) -> None:
        _shut(self._listening)
        self._thread.join(5)
        self.drop()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self._greet(connection)

    def _greet(self, connection: socket.socket) -> None:
        connection.settimeout(5)
        (length,) = struct.unpack("!i", connection.recv(4, socket.MSG_WAITALL))
        body = connection.recv(length, socket.MSG_WAITALL)
        _, last_zxid, timeout = struct.unpack_from("!iqi", body)
        if last_zxid > self.zxid:
            self.refused += 1
            _shut(connection)
            return
        self._sessions += 1
        answer = struct.pack("!iiqi16s?", 0, timeout, self._sessions, 16, b"p" * 16, False)
        connection.sendall(struct.pack("!i", len(answer)) + answer)
        self._open.append(connection)


def _shut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    connection.close()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


def is_connected(ours: Session) -> bool:
    try:
        ours.client()
    except UnavailableError:
        return False
    return True


def test_servers_that_were_restored_let_it_in_with_a_new_session(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "_PATIENCE_SECONDS", 1.0)
    monkeypatch.setattr(session, "_PATIENCE_TIMEOUTS", 0.0)
    ours = Session(ZooKeeperSettings(server.address, session_timeout_seconds=TIMEOUT_SECONDS))
    told: list[ConnectionState] = []
    ours.add_listener(lambda: told.append(ours.state))
    ours.start()
    try:
        wait_for(lambda: is_connected(ours), 10, "a session")
        before = ours.session_id
        ours.client().last_zxid = 100  # as after any answer
        told.clear()
        server.restore()
        wait_for(lambda: server.refused, 10, "the client to be refused")
        wait_for(lambda: is_connected(ours) and ours.session_id != before, 10, "another session")
        wait_for(lambda: told[-1:] == [ConnectionState.CONNECTED], 10, "it to be told")
        assert ConnectionState.LOST in told, "what was read in the old session is forgotten"
    finally:
        ours.close()


class Client:
    """Of kazoo's client what a session asks before it sends anything."""

    made: list[Client]

    def __init__(self, **_: Any) -> None:
        self.connected, self.client_id, self.state = False, None, KazooState.LOST
        self.client_state = KeeperState.CONNECTING
        self.stopped = threading.Event()
        self.listeners: list[Any] = []
        self.made.append(self)

    def add_listener(self, listener: Any) -> None:
        self.listeners.append(listener)

    def start_async(self) -> None: ...

    def stop(self) -> None:
        self.stopped.set()

    def close(self) -> None: ...

    def becomes(self, state: KazooState) -> None:
        self.state, self.connected = state, state == KazooState.CONNECTED
        for listener in self.listeners:
            listener(state)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    Client.made = []
    monkeypatch.setattr(session, "KazooClient", Client)
    made = Clock()
    monkeypatch.setattr(session, "time", made)
    return made


@pytest.mark.parametrize(("timeout", "patience"), [(6.0, 60.0), (30.0, 90.0)])
def test_a_client_without_a_connection_is_replaced_again_and_again_but_each_has_its_time(
    clock: Clock, timeout: float, patience: float
) -> None:
    ours = Session(ZooKeeperSettings("a:1", session_timeout_seconds=timeout))
    ours.start()
    for count in (1, 2, 3):
        clock.now += patience - 0.1
        assert not is_connected(ours)
        assert len(Client.made) == count
        clock.now += 0.1
        assert not is_connected(ours)
        assert len(Client.made) == count + 1
        assert Client.made[-2].stopped.wait(5)
    assert not Client.made[-1].stopped.is_set()


def test_it_counts_from_when_the_connection_was_lost(clock: Clock) -> None:
    ours = Session(ZooKeeperSettings("a:1"))
    ours.start()
    Client.made[0].becomes(KazooState.CONNECTED)
    clock.now += 3600
    assert is_connected(ours)
    Client.made[0].becomes(KazooState.SUSPENDED)
    clock.now += 59.9
    assert not is_connected(ours)
    assert len(Client.made) == 1
    clock.now += 0.1
    assert not is_connected(ours)
    assert len(Client.made) == 2


def test_to_replace_a_client_waits_for_nothing(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The old one may hang in its end for as long as it wants."""
    release = threading.Event()
    monkeypatch.setattr(Client, "stop", lambda _self: release.wait(20))
    ours = Session(ZooKeeperSettings("a:1"))
    ours.start()
    clock.now += 60
    begun = time.monotonic()
    assert not is_connected(ours)
    assert time.monotonic() - begun < 2
    assert len(Client.made) == 2
    release.set()
