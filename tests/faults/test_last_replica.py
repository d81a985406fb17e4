"""Instant failover where it could lose records: RF 1, the last replica in sync, a thousand led partitions."""

from __future__ import annotations

import time

import pytest

from tests.faults.modes import both_modes
from tests.support.cluster import RealCluster
from tests.support.faults import (
    Broker,
    brokers,
    follower,
    let_pass,
    metadata,
    nothing_lost,
    wait_in_sync,
    workload,
)


@both_modes
def test_the_only_replica(cluster: RealCluster) -> None:
    victim = follower(cluster)
    with workload(cluster, placement=[[victim.node_id]] * 6, min_isr=1) as load:
        before = victim.process()
        cluster.kill_kafka(victim.node_id)
        assert victim.wait_restarted(before)["fences"]["done"] >= 1
        nothing_lost(load)


@pytest.mark.full
@both_modes
def test_the_last_replica_in_sync_while_a_stale_one_comes_back(cluster: RealCluster) -> None:
    last = follower(cluster)
    stale = next(broker for broker in brokers(cluster) if broker != last)
    with workload(cluster, placement=[[stale.node_id, last.node_id]] * 6, min_isr=1) as load:
        stale.kill_both()
        cluster.wait_for(lambda: _in_sync(cluster, load.topic) == {last.node_id}, 60, "the stale replica to leave")
        let_pass(cluster, 1, "records that only the last one has")
        before = last.process()
        stale.start_daemon()
        cluster.kill_kafka(last.node_id)
        stale.wait("serving")
        last.wait_restarted(before)
        wait_in_sync(cluster)
        nothing_lost(load)


def _in_sync(cluster: RealCluster, topic: str) -> set[int]:
    """The brokers that are in the ISR of any partition of the topic."""
    view = metadata(cluster)
    return set() if view is None else {broker for p in view.partitions if p.topic == topic for broker in p.isr}


@pytest.mark.full
@both_modes
def test_a_thousand_led_partitions(cluster: RealCluster) -> None:
    victim = follower(cluster)
    other = next(broker for broker in brokers(cluster) if broker != victim)
    led = [[victim.node_id, other.node_id]] * 1000
    with workload(cluster, placement=led, min_isr=1, rate=200.0) as load:
        cluster.wait_for(lambda: _leaders(cluster, victim) >= 1000, 60, f"broker {victim.node_id} to lead them all")
        before = victim.process()
        begun = time.monotonic()
        cluster.kill_kafka(victim.node_id)
        victim.wait_restarted(before, 150)
        window = load.window(begun, time.monotonic())
        assert window.longest_gap_seconds < 15, window
        wait_in_sync(cluster)
        nothing_lost(load)


def _leaders(cluster: RealCluster, broker: Broker) -> int:
    view = metadata(cluster)
    return 0 if view is None else sum(p.leader == broker.node_id for p in view.partitions)
