"""A session on a real server that was wiped: it refuses, for ever, a client that has seen more than it has."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bubuku.adapters.zookeeper import Session, ZooKeeperCoordination, ZooKeeperSettings, session
from bubuku.sandbox.zookeeper import ZooKeeper
from tests.support import published as make
from tests.support.kafka_servers import free_ports
from tests.support.wait import wait_for

pytestmark = pytest.mark.jvm
SESSION_SECONDS = 6.0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ZooKeeper]:
    made = ZooKeeper(tmp_path, free_ports(1)[0])
    made.start()
    yield made
    made.stop()


def test_a_daemon_comes_back_to_servers_that_were_wiped(server: ZooKeeper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "_PATIENCE_SECONDS", 8.0)
    monkeypatch.setattr(session, "_PATIENCE_TIMEOUTS", 0.0)
    ours = Session(ZooKeeperSettings(server.address, "/kafka", SESSION_SECONDS))
    port = ZooKeeperCoordination(ours)
    port.start()
    wait_for(lambda: port.view(1, 1.0).connected, 15, "a connection to ZooKeeper")
    before = ours.session_id
    port.publish(make.member(1), 5.0)
    for _ in range(20):
        ours.call(lambda client: client.create_async("/kafka/counted", sequence=True), time.monotonic() + 5, "a write")
    server.stop()
    shutil.rmtree(server.folder / "data")
    server.start()
    wait_for(lambda: port.view(1, 1.0).connected, 30, "a connection to the new ZooKeeper")
    assert ours.session_id != before
    assert port.view(1, 1.0).members == ()
    port.publish(make.member(1), 5.0)
    wait_for(lambda: port.view(1, 1.0).member_session == ours.session_id, 5, "our member")
    port.close()
