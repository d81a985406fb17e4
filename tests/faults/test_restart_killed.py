"""A restart whose daemon and Kafka are both killed in its midst: the others wait for it, and all of it ends well."""

from __future__ import annotations

import pytest

from tests.faults.modes import both_modes
from tests.support.changes import Requests
from tests.support.cluster import RealCluster
from tests.support.faults import (
    RECOVERY_SECONDS,
    Watch,
    brokers,
    controller,
    let_pass,
    lives,
    nothing_lost,
    one_at_a_time,
    workload,
)

STAYS_SECONDS = 5.0


def _killed_in(cluster: RealCluster, phase: str) -> None:
    """Two are to be restarted; the first dies with its daemon in this phase, and is brought back after a while."""
    victim = next(b for b in brokers(cluster) if b.node_id != controller(cluster).node_id)
    other = next(b for b in brokers(cluster) if b.node_id != victim.node_id)
    operator = Requests(cluster, other.node_id)
    before, others_kafka = victim.process(), other.process()
    with workload(cluster) as load, Watch(brokers(cluster)) as watch:
        (first,) = operator.ask("restart", victim.node_id)
        operator.wait_phase(first, phase)
        if phase == "starting":
            victim.wait_forked(before)
        killed = victim.kill_both()
        (second,) = operator.ask("restart", other.node_id)
        why = f"waits for broker {victim.node_id}, which is in work"
        cluster.wait_for(lambda: operator.show(second)["sentence"] == why, RECOVERY_SECONDS, f"it to say: {why}")
        let_pass(cluster, STAYS_SECONDS, "a stop that must not be")
        assert list(operator.permit()) == [victim.node_id]
        assert operator.show(second)["phase"] == "waiting"
        assert lives(others_kafka)
        victim.start_daemon()
        operator.wait_done(first, second, deadline_seconds=2 * RECOVERY_SECONDS)
        assert victim.process() not in (before, killed)
        assert other.process() != others_kafka
        nothing_lost(load)
    assert operator.permit() == {}
    one_at_a_time(watch, victim, other)


@both_modes
def test_the_holder_killed_with_its_kafka_in_mid_stop_is_waited_for(cluster: RealCluster) -> None:
    _killed_in(cluster, "stopping")


@pytest.mark.full
@both_modes
def test_the_holder_killed_with_its_kafka_in_mid_start_is_waited_for(cluster: RealCluster) -> None:
    _killed_in(cluster, "starting")
