"""kill -9 and SIGTERM of Kafka and of daemons: who is back, how fast, and with nothing lost."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

from tests.faults.modes import both_modes, combined_mode
from tests.support.cluster import RealCluster
from tests.support.faults import (
    SESSION_SECONDS,
    Broker,
    Watch,
    brokers,
    controller,
    follower,
    lives,
    nothing_lost,
    workload,
)


def _killed(cluster: RealCluster, victim: Broker) -> None:
    """kill -9 of one Kafka under load: fenced at once, started again, nothing lost."""
    with workload(cluster) as load:
        before = victim.process()
        starts = victim.status()["starts"].get("process_died", 0)
        fences = victim.status()["fences"].get("done", 0)
        begun = time.monotonic()
        cluster.kill_kafka(victim.node_id)
        after = victim.wait_restarted(before)
        assert after["starts"]["process_died"] == starts + 1
        assert (
            after["fences"]["done"] == fences + 1
        )  # while a quorum elects its leader, one may fail and be tried again
        window = load.window(begun, time.monotonic())
        assert window.longest_gap_seconds < SESSION_SECONDS - 1, window  # the cluster did not wait for the session
        nothing_lost(load)


@both_modes
def test_a_killed_follower_is_fenced_and_back(cluster: RealCluster) -> None:
    _killed(cluster, follower(cluster))


@both_modes
def test_the_killed_controller_is_back(cluster: RealCluster) -> None:
    victim = controller(cluster)
    if victim.node.is_broker:
        _killed(cluster, victim)
        return
    with workload(cluster) as load:  # a controller of its own: nothing to fence
        before = victim.process()
        cluster.kill_kafka(victim.node_id)
        assert victim.wait_restarted(before)["fences"] == {}
        nothing_lost(load)


@pytest.mark.full
@combined_mode
def test_the_killed_active_controller_of_a_combined_quorum_is_fenced_and_back(cluster: RealCluster) -> None:
    _killed(cluster, controller(cluster))


@both_modes
def test_a_killed_daemon_is_followed_by_one_that_adopts_within_two_seconds(cluster: RealCluster) -> None:
    victim = follower(cluster)
    limit = max(2.0, 3 * _least_seconds())
    with workload(cluster) as load:
        before = victim.process()
        begun = time.monotonic()
        victim.kill_daemon()
        victim.start_daemon()

        def adopted() -> bool:
            process = victim.status().get("process")
            return process is not None and process["adopted"] and process["pid"] == before.pid

        cluster.wait_for(adopted, 30, f"Kafka {before.pid} to be adopted")
        taken = time.monotonic() - begun
        assert victim.wait("serving")["starts"] == {}
        assert victim.process() == before
        nothing_lost(load)
    assert taken <= limit, f"adopted after {taken:.2f} s, {limit:.2f} s were allowed"


def _least_seconds() -> float:
    """What a daemon that does nothing takes now: on a busy machine no daemon is faster."""
    begun = time.monotonic()
    subprocess.run([sys.executable, "-m", "bubuku.daemon", "--version"], capture_output=True, timeout=60, check=True)
    return time.monotonic() - begun


@pytest.mark.full
@both_modes
def test_an_adopted_broker_that_dies_is_fenced_and_back(cluster: RealCluster) -> None:
    victim = follower(cluster)
    before = victim.process()
    victim.kill_daemon()
    victim.start_daemon()
    victim.wait("serving")
    assert victim.process() == before
    _killed(cluster, victim)


@both_modes
def test_daemon_and_kafka_killed_at_once_the_successor_fences_and_starts(cluster: RealCluster) -> None:
    victim = follower(cluster)
    with workload(cluster) as load:
        before = victim.kill_both()
        victim.start_daemon()
        after = victim.wait_restarted(before)
        assert after["fences"] == {"done": 1}
        assert after["starts"] == {"process_died": 1}
        nothing_lost(load)


@both_modes
def test_a_kafka_that_was_stopped_cleanly_outside_is_started_again_and_never_fenced(cluster: RealCluster) -> None:
    victim = follower(cluster)
    with workload(cluster) as load:
        before = victim.process()
        status = victim.status()
        cluster.signal_kafka(victim.node_id, signal.SIGTERM)
        after = victim.wait_restarted(before)
        assert after["fences"] == status["fences"]
        assert after["starts"].get("stopped_outside", 0) == status["starts"].get("stopped_outside", 0) + 1
        nothing_lost(load)


@pytest.mark.full
@both_modes
def test_without_instant_failover_nothing_is_fenced(cluster: RealCluster) -> None:
    victim = follower(cluster)
    victim.configure(instant_failover=False)
    cluster.stop_daemon(victim.node_id)
    victim.start_daemon()
    victim.wait("serving")
    with workload(cluster) as load:
        before = victim.process()
        cluster.kill_kafka(victim.node_id)
        assert victim.wait_restarted(before)["fences"] == {}
        nothing_lost(load)


@both_modes
def test_the_end_of_a_daemon_is_not_the_end_of_kafka(cluster: RealCluster) -> None:
    victim = follower(cluster)
    before = victim.process()
    assert cluster.stop_daemon(victim.node_id) == 0
    assert lives(before)
    with workload(cluster) as load:
        victim.start_daemon()
        assert victim.wait("serving")["starts"] == {}
        nothing_lost(load)
    assert victim.process() == before


@both_modes
def test_with_graceful_terminate_the_daemon_ends_after_a_clean_stop_of_kafka(cluster: RealCluster) -> None:
    victim = follower(cluster)
    victim.configure(graceful_terminate=True)
    cluster.stop_daemon(victim.node_id)
    victim.start_daemon()
    victim.wait("serving")
    before = victim.process()
    with workload(cluster) as load, Watch([b for b in brokers(cluster) if b != victim]) as others:
        assert cluster.stop_daemon(victim.node_id, deadline_seconds=120) == 0
        assert not lives(before)
        assert (victim.data / ".kafka_cleanshutdown").exists()
        victim.start_daemon()
        assert victim.wait_restarted(before)["fences"] == {}
        nothing_lost(load)
    for broker in brokers(cluster):
        if broker != victim:
            assert others.states(broker.node_id) == ["serving"], others.describe()
