"""Rolls of a real cluster: what happens in the middle of one, and each broker is restarted once, one at a time."""

from __future__ import annotations

import signal
from typing import Any

import pytest
from kafka.admin import NewTopic

from benchmarks.view import View, admin_client
from bubuku.core.shared import ProcessId
from bubuku.sandbox.processes import send
from tests.faults.modes import both_modes
from tests.support.changes import Requests
from tests.support.cluster import RealCluster
from tests.support.faults import (
    RECOVERY_SECONDS,
    Broker,
    Watch,
    brokers,
    controller,
    follower,
    let_pass,
    lives,
    nothing_lost,
    one_at_a_time,
    wait_in_sync,
    workload,
    zookeeper,
)

ROLL_SECONDS = 4 * RECOVERY_SECONDS


def _all(cluster: RealCluster) -> dict[int, Broker]:
    return {broker.node_id: broker for broker in brokers(cluster)}


def _processes(cluster: RealCluster) -> dict[int, ProcessId]:
    return {node: broker.process() for node, broker in _all(cluster).items()}


def _rolled(operator: Requests, sequence: int, before: dict[int, ProcessId]) -> list[dict[str, Any]]:
    """Its children, once it is done: one a broker, each of which is another process now."""
    operator.wait_done(sequence, deadline_seconds=ROLL_SECONDS)
    children: list[dict[str, Any]] = operator.show(sequence)["children"]
    assert sorted(c["broker"] for c in children) == sorted(before), children
    assert {c["state"] for c in children} == {"done"}, children
    now = _processes(operator.cluster)
    assert all(now[node] != before[node] for node in before)
    assert operator.permit() == {}
    return children


@both_modes
def test_a_roll_whose_worker_is_killed_is_carried_on_by_another(cluster: RealCluster) -> None:
    all_brokers, before, operator = _all(cluster), _processes(cluster), Requests(cluster)
    last = controller(cluster).node_id
    with workload(cluster) as load, Watch(list(all_brokers.values())) as watch:
        sequence = operator.roll(*before)
        worker = operator.wait_phase(sequence, "working")["worker"]  # in KRaft it may be the controller's daemon
        operator = Requests(cluster, next(node for node in before if node != worker))
        cluster.stop_daemon(worker, signal.SIGKILL)
        cluster.wait_for(lambda: operator.show(sequence)["worker"] not in (None, worker), 60, "another worker")
        cluster.start_daemon(worker)
        children = _rolled(operator, sequence, before)
        nothing_lost(load)
    if cluster.layout.options.mode.value == "zookeeper":
        assert children[-1]["broker"] == last
    one_at_a_time(watch, *all_brokers.values())


@pytest.mark.full
@both_modes
def test_the_daemon_of_the_broker_that_is_down_is_killed(cluster: RealCluster) -> None:
    all_brokers, before, operator = _all(cluster), _processes(cluster), Requests(cluster)
    with workload(cluster) as load:
        sequence = operator.roll(*before)

        def one_is_down() -> int | None:
            down = [node for node, process in before.items() if not lives(process)]
            return down[0] if down else None

        node = cluster.wait_for(one_is_down, RECOVERY_SECONDS, "a broker that is down")
        all_brokers[node].kill_daemon()
        operator = Requests(cluster, next(other for other in before if other != node))
        all_brokers[node].start_daemon()
        _rolled(operator, sequence, before)
        nothing_lost(load)


@pytest.mark.full
@both_modes
def test_another_broker_dies_in_the_middle_and_the_roll_goes_on_when_it_is_back(cluster: RealCluster) -> None:
    before, operator = _processes(cluster), Requests(cluster)
    with workload(cluster, partitions=3) as load:
        sequence = operator.roll(*before)
        operator.wait_phase(sequence, "working")
        (child,) = operator.show(sequence)["children"]
        victim = next(node for node in before if node != child["broker"])
        operator.wait_phase(child["sequence"], "settling", "done")
        cluster.kill_kafka(victim)
        _rolled(operator, sequence, before)
        nothing_lost(load)


@both_modes
def test_a_bad_setting_ends_the_roll_with_the_first_broker_and_kafkas_last_words(cluster: RealCluster) -> None:
    all_brokers, before, operator = _all(cluster), _processes(cluster), Requests(cluster)
    with workload(cluster) as load:
        first = operator.plan(*before)[0]
        victim = all_brokers[first]
        with victim.template(num_io_threads="zero"):
            sequence = operator.roll(*before)
            (ended,) = operator.wait_ended(sequence, deadline_seconds=ROLL_SECONDS)
            assert ended["state"] == "failed", ended
            assert f"broker {first}: " in ended["sentence"]
            assert "num.io.threads" in ended["sentence"]
            assert "none was restarted" in ended["sentence"]
            untouched = {node: process for node, process in before.items() if node != first}
            assert {node: all_brokers[node].process() for node in untouched} == untouched
        victim.wait_restarted(before[first])
        wait_in_sync(cluster)
        cluster.wait_for(lambda: not operator.permit(), RECOVERY_SECONDS, "its entry to be gone")
        nothing_lost(load)


@both_modes
def test_paused_resumed_cancelled_and_a_second_one_refused(cluster: RealCluster) -> None:
    before, operator = _processes(cluster), Requests(cluster)
    with workload(cluster) as load:
        sequence = operator.roll(*before)
        code, refusal = operator.send("POST", "/v1/changes", {"kind": "roll", "brokers": list(before)})
        assert code == 409, refusal
        assert f"change {sequence}, a roll of brokers" in refusal["detail"]
        operator.wait_phase(sequence, "working")
        operator.pause(sequence, True)
        found = operator.wait_phase(sequence, "paused")
        assert "1 of 3 done" in found["sentence"]
        assert sum(not lives(process) for process in before.values()) == 1
        operator.pause(sequence, False)
        operator.wait_phase(sequence, "working")
        operator.cancel(sequence)
        (ended,) = operator.wait_ended(sequence)
        assert ended["state"] == "cancelled", ended
        assert operator.permit() == {}
        children = operator.show(sequence)["children"]
        assert len(children) == 2, children
        wait_in_sync(cluster)
        nothing_lost(load)


@pytest.mark.full
@both_modes
def test_it_is_refused_while_replicas_are_out_of_sync_and_of_one_replica_needs_the_flag(cluster: RealCluster) -> None:
    before, operator, dead = _processes(cluster), Requests(cluster), follower(cluster)
    operator = Requests(cluster, next(node for node in before if node != dead.node_id))
    others = [node for node in before if node != dead.node_id]
    with admin_client(cluster.layout) as admin:
        admin.create_topics([NewTopic("tight", num_partitions=3, replication_factor=3)])
    wait_in_sync(cluster)
    dead.kill_both()
    cluster.wait_for(lambda: operator.asked("roll", others)[0] == 409, RECOVERY_SECONDS, "the refusal")
    dead.start_daemon()
    dead.wait("serving")
    wait_in_sync(cluster)
    with admin_client(cluster.layout) as admin:
        admin.delete_topics(["tight"])
        admin.create_topics([NewTopic("single", replica_assignments={0: [others[0]]})])
    View(cluster.layout).wait_in_sync(RECOVERY_SECONDS)
    cluster.wait_for(lambda: "single-0" in str(operator.asked("roll", others)), RECOVERY_SECONDS, "its refusal")
    (sequence,) = operator.ask("roll", *others, accept_unavailable=True)
    operator.wait_done(sequence, deadline_seconds=ROLL_SECONDS)
    with admin_client(cluster.layout) as admin:
        admin.delete_topics(["single"])


@pytest.mark.full
@both_modes
def test_zookeeper_gone_in_the_middle(cluster: RealCluster) -> None:
    before, operator = _processes(cluster), Requests(cluster)
    sequence = operator.roll(*before)
    operator.wait_phase(sequence, "working")
    server = zookeeper(cluster)
    send(server, signal.SIGSTOP)
    try:
        let_pass(cluster, 30, "ZooKeeper to be away")
    finally:
        send(server, signal.SIGCONT)
    _rolled(operator, sequence, before)
    wait_in_sync(cluster)
