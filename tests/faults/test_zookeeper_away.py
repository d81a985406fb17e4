"""ZooKeeper, or the KRaft controller, away for longer than every session: Kafka goes on, nobody restarts anything."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bubuku.sandbox.processes import send
from tests.faults.modes import both_modes, kraft_mode, zookeeper_mode
from tests.support.cluster import RealCluster
from tests.support.faults import (
    Broker,
    Watch,
    brokers,
    controller,
    follower,
    let_pass,
    nothing_lost,
    workload,
    zookeeper,
)

AWAY_SECONDS = 14.0  # longer than the brokers' sessions (6 s) and the daemons' own (10 s)


@contextmanager
def _stopped(cluster: RealCluster) -> Iterator[None]:
    """ZooKeeper frozen for as long as the context: its connections stay, and nobody answers."""
    process = zookeeper(cluster)
    send(process, signal.SIGSTOP)
    try:
        yield
    finally:
        send(process, signal.SIGCONT)


@contextmanager
def _ended(cluster: RealCluster) -> Iterator[None]:
    cluster.zookeeper.stop()
    try:
        yield
    finally:
        cluster.zookeeper.start()


@contextmanager
def _nobody_acts(cluster: RealCluster) -> Iterator[Watch]:
    """Same processes before and after, no start, no fence, HTTP answers all the time, nothing lost."""
    processes = {broker.node_id: broker.process() for broker in brokers(cluster)}
    before = {broker.node_id: broker.status() for broker in brokers(cluster)}
    with workload(cluster) as load, Watch(brokers(cluster)) as watch:
        yield watch
        cluster.wait_serving()
        nothing_lost(load)
    for broker in brokers(cluster):
        after = broker.status()
        assert broker.process() == processes[broker.node_id], watch.describe()
        assert after["starts"] == before[broker.node_id]["starts"], watch.describe()
        assert after["fences"] == before[broker.node_id]["fences"], watch.describe()
        looks = watch.looks(broker.node_id)
        assert all(look.state is not None for look in looks), watch.describe()
        assert max(look.seconds for look in looks) < 2, watch.describe()


def _connected(broker: Broker) -> bool:
    return bool(broker.status().get("coordination", {}).get("connected"))


@both_modes
def test_zookeeper_frozen_for_longer_than_every_session(cluster: RealCluster) -> None:
    """Whether it then expires all registrations, or takes the brokers' reconnections first, is its own race."""
    with _nobody_acts(cluster) as watch:
        with _stopped(cluster):
            let_pass(cluster, AWAY_SECONDS, "the outage to have lasted")
            assert not any(_connected(broker) for broker in brokers(cluster)), watch.describe()
        cluster.wait_for(lambda: all(map(_connected, brokers(cluster))), 60, "the daemons to meet again")


@pytest.mark.full
@both_modes
def test_zookeeper_ended_and_started_again(cluster: RealCluster) -> None:
    with _nobody_acts(cluster), _ended(cluster):
        let_pass(cluster, AWAY_SECONDS, "the outage to have lasted")


@pytest.mark.full
@zookeeper_mode
def test_a_broker_that_dies_while_zookeeper_is_away_is_started_when_it_is_back(cluster: RealCluster) -> None:
    victim = follower(cluster)
    with workload(cluster) as load:
        with _stopped(cluster):
            before = cluster.kill_kafka(victim.node_id)
            victim.wait("not_running")
            let_pass(cluster, AWAY_SECONDS / 2, "a start that must not be")
            shown = victim.status()
            assert shown["state"] == "not_running", shown["sentence"]
            assert shown["reason"] in ("fence_pending", "coordination_away"), shown["sentence"]
        victim.wait_restarted(before)
        nothing_lost(load)


@pytest.mark.full
@kraft_mode
def test_kraft_a_broker_that_dies_while_zookeeper_is_away_is_started_without_it(cluster: RealCluster) -> None:
    victim = follower(cluster)
    with workload(cluster) as load:
        fences = victim.status()["fences"]
        with _stopped(cluster):
            before = cluster.kill_kafka(victim.node_id)
            after = victim.wait_restarted(before)
            assert after["fences"] == fences  # only who owns its member in ZooKeeper may fence
        nothing_lost(load)


@pytest.mark.full
@kraft_mode
def test_kraft_the_controller_frozen_for_longer_than_every_session(cluster: RealCluster) -> None:
    leader = controller(cluster)
    with _nobody_acts(cluster):
        cluster.signal_kafka(leader.node_id, signal.SIGSTOP)
        try:
            let_pass(cluster, AWAY_SECONDS, "the outage to have lasted")
        finally:
            cluster.signal_kafka(leader.node_id, signal.SIGCONT)
