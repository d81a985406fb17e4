"""Restarts in clusters of one broker and of two."""

from __future__ import annotations

import pytest

from tests.faults.modes import both_modes_of_one, both_modes_of_two
from tests.support.changes import Requests
from tests.support.cluster import RealCluster
from tests.support.faults import RECOVERY_SECONDS, Watch, brokers, nothing_lost, one_at_a_time, workload


@pytest.mark.full
@both_modes_of_one
def test_the_only_broker_is_restarted_where_that_is_accepted(cluster: RealCluster) -> None:
    operator, (only,) = Requests(cluster), brokers(cluster)
    before = only.process()
    with workload(cluster, replication=1, min_isr=1) as load:
        code, refusal = operator.send("POST", "/v1/changes", {"kind": "restart", "brokers": [only.node_id]})
        assert code == 409, refusal
        assert "its unavailability has to be accepted" in refusal["detail"]
        assert only.process() == before
        operator.wait_done(*operator.ask("restart", only.node_id, accept_unavailable=True))
        assert only.process() != before
        nothing_lost(load)  # the client is patient: what was not acknowledged was sent again
    assert operator.permit() == {}


@pytest.mark.full
@both_modes_of_two
def test_two_brokers_go_one_after_the_other(cluster: RealCluster) -> None:
    operator, both = Requests(cluster), brokers(cluster)
    before = {broker.node_id: broker.process() for broker in both}
    with workload(cluster, replication=2, min_isr=1) as load, Watch(both) as watch:
        operator.wait_done(*operator.ask("restart", *before), deadline_seconds=2 * RECOVERY_SECONDS)
        nothing_lost(load)
    assert all(broker.process() != before[broker.node_id] for broker in both)
    assert operator.permit() == {}
    one_at_a_time(watch, *both)
