"""Deliberate stops under load: one at a time, never unsafe, always started again, and with nothing lost."""

from __future__ import annotations

import signal

import pytest
from kafka.admin import NewTopic

from benchmarks.view import View, admin_client
from bubuku.sandbox.processes import send
from tests.faults.modes import both_modes
from tests.support.changes import Requests
from tests.support.cluster import RealCluster
from tests.support.faults import (
    RECOVERY_SECONDS,
    Watch,
    brokers,
    follower,
    let_pass,
    lives,
    nothing_lost,
    one_at_a_time,
    wait_in_sync,
    workload,
    zookeeper,
)


@both_modes
def test_three_restarts_asked_at_once_go_one_after_the_other(cluster: RealCluster) -> None:
    operator, all_brokers = Requests(cluster), brokers(cluster)
    before = {broker.node_id: broker.process() for broker in all_brokers}
    fences = {broker.node_id: broker.status()["fences"] for broker in all_brokers}
    with workload(cluster) as load, Watch(all_brokers) as watch:
        sequences = operator.ask("restart", *before)
        operator.wait_done(*sequences, deadline_seconds=3 * RECOVERY_SECONDS)
        nothing_lost(load)
    for broker in all_brokers:
        assert broker.process() != before[broker.node_id]
        assert broker.status()["fences"] == fences[broker.node_id]  # a clean stop is never fenced
    assert operator.permit() == {}
    one_at_a_time(watch, *all_brokers)


@both_modes
def test_the_daemon_killed_between_stop_and_start_is_followed_by_one_that_starts_the_broker(
    cluster: RealCluster,
) -> None:
    operator, victim = Requests(cluster), follower(cluster)
    operator = Requests(cluster, next(b.node_id for b in brokers(cluster) if b.node_id != victim.node_id))
    with workload(cluster) as load:
        before = victim.process()
        (sequence,) = operator.ask("restart", victim.node_id)
        operator.wait_phase(sequence, "stopping")
        victim.kill_daemon()
        cluster.wait_for(lambda: not lives(before), RECOVERY_SECONDS, "Kafka to have stopped")
        assert list(operator.permit()) == [victim.node_id]
        victim.start_daemon()
        operator.wait_done(sequence)
        assert victim.wait("serving")["starts"] == {"restarted": 1}
        nothing_lost(load)
    assert operator.permit() == {}


@pytest.mark.full
@both_modes
def test_a_broker_at_its_min_isr_is_refused_and_done_once_healed(cluster: RealCluster) -> None:
    victim = follower(cluster)
    other = next(b for b in brokers(cluster) if b.node_id != victim.node_id)
    operator = Requests(cluster, other.node_id)
    with admin_client(cluster.layout) as admin:
        admin.create_topics(
            [NewTopic("tight", num_partitions=3, replication_factor=3, topic_configs={"min.insync.replicas": "2"})]
        )
    wait_in_sync(cluster)
    victim.kill_both()
    code, refusal = operator.send("POST", "/v1/changes", {"kind": "restart", "brokers": [other.node_id]})
    assert code == 409, refusal
    assert "min.insync.replicas is 2" in refusal["detail"]
    victim.start_daemon()
    victim.wait("serving")
    wait_in_sync(cluster)
    operator.wait_done(*operator.ask("restart", other.node_id))
    with admin_client(cluster.layout) as admin:
        admin.delete_topics(["tight"])


@both_modes
def test_a_topic_of_one_replica_is_refused_and_done_with_the_flag(cluster: RealCluster) -> None:
    operator, victim = Requests(cluster), follower(cluster)
    with admin_client(cluster.layout) as admin:
        admin.create_topics([NewTopic("single", replica_assignments={0: [victim.node_id]})])
    View(cluster.layout).wait_in_sync(RECOVERY_SECONDS)
    before = victim.process()
    code, refusal = operator.send("POST", "/v1/changes", {"kind": "restart", "brokers": [victim.node_id]})
    assert code == 409, refusal
    assert "single-0" in refusal["detail"]
    assert victim.process() == before
    operator.wait_done(*operator.ask("restart", victim.node_id, accept_unavailable=True))
    assert victim.process() != before
    with admin_client(cluster.layout) as admin:
        admin.delete_topics(["single"])


@pytest.mark.full
@both_modes
def test_cancelled_between_stop_and_start_it_is_started_again(cluster: RealCluster) -> None:
    operator, victim = Requests(cluster), follower(cluster)
    with workload(cluster) as load:
        before = victim.process()
        (sequence,) = operator.ask("restart", victim.node_id)
        operator.wait_phase(sequence, "stopping", "starting")
        operator.cancel(sequence)
        operator.maintenance(True)
        try:
            (ended,) = operator.wait_ended(sequence)
        finally:
            operator.maintenance(False)
        assert ended["state"] == "cancelled", ended
        assert victim.process() != before
        nothing_lost(load)
    assert operator.permit() == {}


@both_modes
def test_in_maintenance_nothing_is_stopped_and_nothing_that_dies_is_started(cluster: RealCluster) -> None:
    operator, victim = Requests(cluster), follower(cluster)
    before = victim.process()
    operator.maintenance(True)
    try:
        (sequence,) = operator.ask("restart", victim.node_id)
        found = operator.wait_phase(sequence, "waiting")
        cluster.wait_for(lambda: "maintenance" in operator.show(sequence)["sentence"], 20, f"the reason in {found}")
        cluster.kill_kafka(victim.node_id)
        victim.wait("not_running", "maintenance")
        operator.cancel(sequence)
        assert operator.wait_ended(sequence)[0]["state"] == "cancelled"
    finally:
        operator.maintenance(False)
    victim.wait_restarted(before)


@both_modes
def test_stopped_on_purpose_it_stays_down_until_it_is_started(cluster: RealCluster) -> None:
    victim = follower(cluster)
    operator = Requests(cluster, next(b.node_id for b in brokers(cluster) if b.node_id != victim.node_id))
    with workload(cluster) as load:
        operator.wait_done(*operator.ask("stop", victim.node_id))
        assert operator.permit()[victim.node_id]["working"] is False
        victim.wait("not_running", "stopped_on_purpose")
        victim.kill_daemon()
        victim.start_daemon()
        victim.wait("not_running", "stopped_on_purpose")
        let_pass(cluster, 3, "nothing to happen")
        assert cluster.kafka(victim.node_id) is None
        operator.wait_done(*operator.ask("start", victim.node_id))
        assert victim.wait("serving")["starts"] == {"restarted": 1}
        nothing_lost(load)
    assert operator.permit() == {}


@pytest.mark.full
@both_modes
def test_a_holder_frozen_past_its_session_and_thawed_does_not_stop_its_broker_beside_another(
    cluster: RealCluster,
) -> None:
    first, second = (b for b in brokers(cluster) if b.node_id in (1, 2))
    operator = Requests(cluster, 3)
    with workload(cluster) as load, Watch([first, second]) as watch:
        sequences = operator.ask("restart", first.node_id, second.node_id)
        operator.wait_phase(sequences[0], "checking", "stopping", "waiting")
        daemon = cluster.daemon_pid(first.node_id)
        assert daemon is not None
        cluster.signal_daemon(first.node_id, signal.SIGSTOP)
        try:
            let_pass(cluster, 15, "the daemon's session to end")
        finally:
            cluster.signal_daemon(first.node_id, signal.SIGCONT)
        operator.wait_done(*sequences, deadline_seconds=3 * RECOVERY_SECONDS)
        nothing_lost(load)
    one_at_a_time(watch, first, second)


@pytest.mark.full
@both_modes
def test_zookeeper_down_in_mid_restart(cluster: RealCluster) -> None:
    operator, victim = Requests(cluster), follower(cluster)
    before = victim.process()
    with workload(cluster) as load:
        (sequence,) = operator.ask("restart", victim.node_id)
        operator.wait_phase(sequence, "stopping", "starting")
        server = zookeeper(cluster)
        send(server, signal.SIGSTOP)
        try:
            let_pass(cluster, 60, "ZooKeeper to be away")
        finally:
            send(server, signal.SIGCONT)
        operator.wait_done(sequence, deadline_seconds=2 * RECOVERY_SECONDS)
        assert victim.process() != before
        wait_in_sync(cluster)
        nothing_lost(load)
    assert operator.permit() == {}
