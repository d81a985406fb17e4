"""Harm 3: a fence that reaches the cluster late must not break the broker's next incarnation."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bubuku.core.shared import ProcessId
from bubuku.sandbox.processes import send
from tests.faults.modes import combined_mode, kraft_mode, zookeeper_mode
from tests.support.cluster import RealCluster
from tests.support.faults import (
    SESSION_SECONDS,
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
from tests.support.proxy import Proxy


@zookeeper_mode
@pytest.mark.parametrize("frozen_seconds", [4.0, pytest.param(2.5 * SESSION_SECONDS, marks=pytest.mark.full)])
def test_a_fence_that_zookeeper_executes_late(cluster: RealCluster, frozen_seconds: float) -> None:
    """ZooKeeper is frozen between the daemon's last look and the fence itself, which it then finds in its socket."""
    victim = follower(cluster)
    server = zookeeper(cluster)

    def is_the_fence(sent: bytes) -> bool:
        wanted = (f"/bubuku/v2/fence/{victim.node_id}", f"/brokers/ids/{victim.node_id}")
        return all(path.encode() in sent for path in wanted)

    port = cluster.layout.zookeeper_port
    with (
        Proxy(port, is_the_fence, lambda: _freeze(server)) as proxy,
        _through(victim, proxy),
        workload(cluster) as load,
    ):
        before = cluster.kill_kafka(victim.node_id)
        try:
            assert proxy.acted.wait(10), "no fence was sent"
            let_pass(cluster, frozen_seconds, "the freeze to have lasted")
            assert "Fence: unknown" in victim.daemon_log()
        finally:
            send(server, signal.SIGCONT)
        victim.wait_restarted(before)
        _stays_serving(victim, SESSION_SECONDS * 1.5)
        nothing_lost(load)


@pytest.mark.full
@kraft_mode
def test_kraft_a_fence_that_meets_a_frozen_controller(cluster: RealCluster) -> None:
    victim, leader = follower(cluster), controller(cluster)
    with workload(cluster) as load:
        cluster.signal_kafka(leader.node_id, signal.SIGSTOP)
        try:
            before = cluster.kill_kafka(victim.node_id)
            victim.wait_forked(before)
            let_pass(cluster, 5, "the new Kafka to try to register")
        finally:
            cluster.signal_kafka(leader.node_id, signal.SIGCONT)
        victim.wait("serving")
        _stays_serving(victim, SESSION_SECONDS * 2)
        nothing_lost(load)


@pytest.mark.full
@combined_mode
def test_kraft_a_fence_under_way_while_the_active_controller_changes(cluster: RealCluster) -> None:
    """A broker that was asked to unregister another one asks every later controller again, for up to a minute."""
    leader = controller(cluster)
    victim = next(broker for broker in brokers(cluster) if broker != leader)
    with workload(cluster) as load:
        cluster.signal_kafka(leader.node_id, signal.SIGSTOP)
        try:
            before = cluster.kill_kafka(victim.node_id)
            victim.wait_restarted(before, 150)
            _stays_serving(victim, 60)
        finally:
            cluster.signal_kafka(leader.node_id, signal.SIGCONT)
        leader.wait("serving")
        _stays_serving(victim, SESSION_SECONDS * 2)
        nothing_lost(load)


def _freeze(process: ProcessId) -> None:
    assert send(process, signal.SIGSTOP)


@contextmanager
def _through(victim: Broker, proxy: Proxy) -> Iterator[None]:
    """The victim's daemon, and the Kafka that it starts, talk to ZooKeeper through `proxy`."""
    before = victim.node.config_file.read_text(encoding="utf-8")
    victim.configure(zookeeper={"addresses": proxy.address, "prefix": "/"})
    victim.cluster.stop_daemon(victim.node_id)
    victim.start_daemon()
    victim.wait("serving")
    yield
    victim.node.config_file.write_text(before, encoding="utf-8")
    killed = victim.kill_both()
    victim.start_daemon()
    victim.wait_restarted(killed)


def _stays_serving(victim: Broker, seconds: float) -> None:
    """A broker that a late fence has broken loses its registration, and does not register again."""
    pid = victim.process().pid
    with Watch([victim]) as watch:
        let_pass(victim.cluster, seconds, "what a late fence does to show")
    assert watch.states(victim.node_id) == ["serving"], watch.describe()
    assert watch.pids(victim.node_id) == {pid}, watch.describe()
