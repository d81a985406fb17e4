"""SIGSTOP of Kafka, shorter and longer than its session: shown, never fenced, never restarted."""

from __future__ import annotations

import signal

import pytest

from tests.faults.modes import both_modes
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
)


def _frozen(cluster: RealCluster, victim: Broker, seconds: float) -> Watch:
    """Frozen for so long, under load; serving again with the same process, as if nothing had been."""
    before, status = victim.process(), victim.status()
    with workload(cluster) as load, Watch(brokers(cluster)) as watch:
        cluster.signal_kafka(victim.node_id, signal.SIGSTOP)
        try:
            victim.wait("frozen", "suspended", 5)
            let_pass(cluster, seconds, "the freeze to have lasted")
            assert victim.status()["state"] == "frozen"
        finally:
            cluster.signal_kafka(victim.node_id, signal.SIGCONT)
        after = victim.wait("serving")
        nothing_lost(load)
    assert victim.process() == before
    assert after["starts"] == status["starts"]
    assert after["fences"] == status["fences"], "harm 1: a live broker was fenced"
    for other in brokers(cluster):
        if other != victim:
            assert set(watch.states(other.node_id)) == {"serving"}, watch.describe()
    return watch


@both_modes
def test_frozen_for_less_than_its_session(cluster: RealCluster) -> None:
    _frozen(cluster, follower(cluster), SESSION_SECONDS / 2)


@both_modes
def test_frozen_for_longer_than_its_session(cluster: RealCluster) -> None:
    victim = follower(cluster)
    watch = _frozen(cluster, victim, SESSION_SECONDS * 2)
    states = watch.states(victim.node_id)
    assert states[states.index("frozen") :] == ["frozen", "unregistered", "serving"], watch.describe()


@pytest.mark.full
@both_modes
def test_the_controller_frozen_for_longer_than_its_session(cluster: RealCluster) -> None:
    _frozen(cluster, controller(cluster), SESSION_SECONDS * 2)
