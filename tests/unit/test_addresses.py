"""Where ZooKeeper's addresses are read from, what a daemon begins with, and the session that moves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from kazoo.protocol.states import KazooState, KeeperState

from bubuku.adapters.addresses import FileAddresses
from bubuku.adapters.zookeeper import Session, ZooKeeperSettings, session
from bubuku.config.model import Config
from bubuku.core.errors import UnavailableError, UsageError
from bubuku.core.model import Record
from bubuku.daemon.wiring import addresses_source, first_addresses

A, B = ("a:1",), ("b:1",)


def test_a_file_is_read_anew_each_time(tmp_path: Path) -> None:
    path = tmp_path / "zk"
    source = FileAddresses(path)
    path.write_text("a:1\n")
    assert source.read() == ("a:1",)
    path.write_text("a:1 # first\nb\n")
    assert source.read() == ("a:1", "b:2181")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "No such file or directory"),
        (b"", "should name at least one host:port"),
        (b"a:x", '"a:x" is not host:port'),
        (b"\xff", "not UTF-8 text"),
    ],
)
def test_a_file_that_says_nothing_is_unknown(tmp_path: Path, content: bytes | None, why: str) -> None:
    path = tmp_path / "zk"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UnavailableError) as raised:
        FileAddresses(path).read()
    assert str(raised.value) == f"{path}: {why}"


def begins(record: Record, **zookeeper: Any) -> tuple[str, ...]:
    document = {"mode": "static", "kafka": {"dir": "/k", "settings": "/t"}, "zookeeper": zookeeper}
    config = Config.model_validate(document)
    return first_addresses(config, record, addresses_source(config))


def test_where_a_daemon_begins(tmp_path: Path) -> None:
    path = tmp_path / "zk"
    path.write_text("b:1\n")
    assert begins(Record("i"), addresses_file=path) == B
    assert begins(Record("i", addresses=A), addresses_file=path) == A  # another list has to settle first
    assert begins(Record("i", addresses=A), addresses="b:1") == B
    assert begins(Record("i"), addresses="b:1") == B


def test_a_daemon_that_knows_them_does_without_the_file(tmp_path: Path) -> None:
    missing = tmp_path / "zk"
    assert begins(Record("i", addresses=A), addresses_file=missing) == A
    with pytest.raises(UsageError, match=r"zookeeper\.addresses_file: .*/zk: No such file"):
        begins(Record("i"), addresses_file=missing)


class FakeClient:
    """Of kazoo's client what a session asks before it sends anything."""

    made: list[FakeClient]

    def __init__(self, hosts: str, **_: Any) -> None:
        self.hosts, self.started, self.stopped = hosts, False, False
        self.connected, self.client_id, self.state = False, None, KazooState.LOST
        self.client_state = KeeperState.CONNECTING
        self.made.append(self)

    def add_listener(self, _listener: Any) -> None: ...

    def start_async(self) -> None:
        self.started = True

    def stop(self) -> None:
        self.stopped = True

    def close(self) -> None: ...


@pytest.fixture
def clients(monkeypatch: pytest.MonkeyPatch) -> list[FakeClient]:
    FakeClient.made = []
    monkeypatch.setattr(session, "KazooClient", FakeClient)
    return FakeClient.made


def test_a_session_moves_to_new_hosts_and_the_old_one_ends(clients: list[FakeClient]) -> None:
    ours = Session(ZooKeeperSettings("a:1"))
    told: list[bool] = []
    ours.add_listener(lambda: told.append(True))
    ours.start()
    ours.move("a:1", 1.0)
    assert [each.hosts for each in clients] == ["a:1"]
    ours.move("b:1", 1.0)
    assert [(each.hosts, each.started, each.stopped) for each in clients] == [("a:1", True, True), ("b:1", True, False)]
    assert told
    assert ours.hosts == "b:1"


def test_a_client_that_gave_up_is_revived_at_the_new_hosts(
    clients: list[FakeClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = Session(ZooKeeperSettings("a:1"))
    ours.start()
    ours.move("b:1", 1.0)
    monkeypatch.setattr(session, "_REVIVE_SECONDS", 0.0)
    clients[-1].client_state = KeeperState.AUTH_FAILED
    with pytest.raises(UnavailableError, match="b:1"):
        ours.client()
    assert [each.hosts for each in clients] == ["a:1", "b:1", "b:1"]


def test_a_session_that_is_not_begun_or_over_starts_nothing(clients: list[FakeClient]) -> None:
    ours = Session(ZooKeeperSettings("a:1"))
    ours.move("b:1", 1.0)
    assert not any(each.started for each in clients)
    ours.close()
    ours.move("c:1", 1.0)
    assert [each.hosts for each in clients] == ["a:1", "b:1"]
