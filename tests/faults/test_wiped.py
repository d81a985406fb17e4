"""bubuku's root in ZooKeeper is wiped under a running cluster: nothing is stopped, and a restart says what to do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from kazoo.client import KazooClient
from kazoo.exceptions import NotEmptyError

from tests.faults.modes import both_modes
from tests.support.changes import Requests
from tests.support.cluster import RealCluster
from tests.support.faults import Broker, brokers, follower, let_pass, nothing_lost, workload

ROOT = "/bubuku/v2"
STAYS_SECONDS = 5.0


@contextmanager
def _client(cluster: RealCluster) -> Iterator[Any]:
    client = KazooClient(cluster.layout.zookeeper_address)
    client.start(10)
    try:
        yield client
    finally:
        client.stop()
        client.close()


def _wipe(cluster: RealCluster) -> None:
    with _client(cluster) as client:
        for name in client.get_children(ROOT):
            try:
                client.delete(f"{ROOT}/{name}", recursive=True)
            except NotEmptyError:
                pass  # a daemon joined again meanwhile
        assert client.exists(f"{ROOT}/marker") is None


def _forget_the_marker(broker: Broker) -> None:
    """What docs/operations.md tells an operator to do on each host, while the daemon is stopped."""
    path = broker.node.state_dir / "state.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    document["record"]["marker"] = None
    path.write_text(json.dumps(document), encoding="utf-8")


@pytest.mark.full
@both_modes
def test_a_wiped_root_stops_nothing_and_is_mended_host_by_host(cluster: RealCluster) -> None:
    operator, victim = Requests(cluster), follower(cluster)
    nodes = [Broker(cluster, node.node_id) for node in cluster.layout.nodes]
    before = {broker.node_id: broker.process() for broker in nodes}
    with workload(cluster) as load:
        _wipe(cluster)
        let_pass(cluster, STAYS_SECONDS, "a stop or a start that must not be")
        assert {broker.node_id: broker.process() for broker in nodes} == before
        assert [broker.status()["state"] for broker in brokers(cluster)] == ["serving"] * 3
        code, refusal = operator.send("POST", "/v1/changes", {"kind": "restart", "brokers": [victim.node_id]})
        assert code == 409, refusal
        assert "marker" in refusal["detail"], refusal
        let_pass(cluster, STAYS_SECONDS, "a stop that must not be")
        assert victim.process() == before[victim.node_id]
        for broker in nodes:
            cluster.stop_daemon(broker.node_id)
            _forget_the_marker(broker)
            broker.start_daemon()
            broker.wait("serving")
        assert {broker.node_id: broker.process() for broker in nodes} == before
        operator.wait_done(*operator.ask("restart", victim.node_id))
        assert victim.process() != before[victim.node_id]
        nothing_lost(load)
    assert operator.permit() == {}
