"""Restarts while something else goes on in the cluster: a reassignment, a controller that moves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from kafka import TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType
from kazoo.client import KazooClient

from benchmarks.view import admin_client
from tests.faults.modes import both_modes, brokers_that_control, zookeeper_mode
from tests.support.changes import Requests
from tests.support.cluster import RealCluster
from tests.support.faults import (
    RECOVERY_SECONDS,
    brokers,
    controller,
    follower,
    let_pass,
    metadata,
    nothing_lost,
    wait_in_sync,
    workload,
)

RECORD_BYTES = 10_000
BYTES_A_SECOND = "1000"  # in fact a fetch of 1 MB every eleven seconds: the more so less than what is written meanwhile
WRITTEN_SECONDS = 5.0  # until a partition has more than one fetch brings


@contextmanager
def _throttled(cluster: RealCluster, topic: str, target: int) -> Iterator[None]:
    """`target` copies next to nothing of the topic's first partition for as long as the context."""
    wanted = [
        (ConfigResourceType.BROKER, str(target), {"follower.replication.throttled.rate": BYTES_A_SECOND}),
        (ConfigResourceType.TOPIC, topic, {"follower.replication.throttled.replicas": f"0:{target}"}),
    ]

    def alter(change: Any) -> None:
        found = [
            ConfigResource(kind, name, {key: change(value) for key, value in keys.items()})
            for kind, name, keys in wanted
        ]
        with admin_client(cluster.layout) as admin:
            admin.alter_configs(found, raise_on_unknown=False)

    alter(lambda value: ("SET", value))
    try:
        yield
    finally:
        alter(lambda _: ("DELETE", None))


def _moving(cluster: RealCluster) -> int:
    with admin_client(cluster.layout) as admin:
        return len(admin.list_partition_reassignments())


@pytest.mark.full
@both_modes
def test_during_a_reassignment_a_broker_is_refused_that_it_leaves_alone_and_done_afterwards(
    cluster: RealCluster,
) -> None:
    target = follower(cluster)
    staying, leaving = (b for b in brokers(cluster) if b.node_id != target.node_id)
    operator, before = Requests(cluster, target.node_id), staying.process()
    asked = {"kind": "restart", "brokers": [staying.node_id]}
    with workload(cluster, placement=[[staying.node_id, leaving.node_id]], min_isr=1, size=RECORD_BYTES) as load:
        let_pass(cluster, WRITTEN_SECONDS, "a log to be written that is not copied at once")
        with _throttled(cluster, load.topic, target.node_id):
            with admin_client(cluster.layout) as admin:
                moved = {TopicPartition(load.topic, 0): [staying.node_id, target.node_id]}
                admin.alter_partition_reassignments(moved)
            code, refusal = operator.send("POST", "/v1/changes", asked)
            assert code == 409, refusal
            assert "once its reassignment is done, min.insync.replicas is 1" in refusal["detail"]
            # one that the partitions are moved to, and one that they leave, may go
            operator.wait_done(*operator.ask("restart", target.node_id))
            operator.wait_done(*operator.ask("restart", leaving.node_id))
            assert _moving(cluster) > 0
            assert staying.process() == before
        cluster.wait_for(lambda: _moving(cluster) == 0, RECOVERY_SECONDS, "the reassignment to end")
        wait_in_sync(cluster)
        operator.wait_done(*operator.ask("restart", staying.node_id))
        assert staying.process() != before
        nothing_lost(load)
    assert operator.permit() == {}


@pytest.mark.full
@brokers_that_control
def test_the_active_controller_is_restarted_and_nothing_is_lost(cluster: RealCluster) -> None:
    victim = controller(cluster)
    operator = Requests(cluster, next(b.node_id for b in brokers(cluster) if b.node_id != victim.node_id))
    before = victim.process()
    with workload(cluster) as load:
        operator.wait_done(*operator.ask("restart", victim.node_id))
        assert victim.process() != before
        nothing_lost(load)
    assert operator.permit() == {}


@pytest.mark.full
@zookeeper_mode
def test_the_controller_moves_while_a_restart_is_under_way(cluster: RealCluster) -> None:
    victim, first = follower(cluster), controller(cluster)
    operator = Requests(cluster, first.node_id)
    before = victim.process()
    with workload(cluster) as load:
        sequences = operator.ask("restart", victim.node_id, first.node_id)
        for phase in ("stopping", "starting"):
            operator.wait_phase(sequences[0], phase, "waiting")
            _depose(cluster)
        operator.wait_done(*sequences, deadline_seconds=2 * RECOVERY_SECONDS)
        assert victim.process() != before
        nothing_lost(load)
    assert operator.permit() == {}
    cluster.wait_for(lambda: metadata(cluster) is not None, RECOVERY_SECONDS, "the cluster to answer")


def _depose(cluster: RealCluster) -> None:
    """The brokers elect another controller, or the same one again."""
    client = KazooClient(cluster.layout.zookeeper_address)
    client.start(10)
    try:
        client.delete("/controller")
    finally:
        client.stop()
        client.close()
