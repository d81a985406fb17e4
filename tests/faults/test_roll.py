"""A roll of a real cluster: whoever works on it may die, and each broker is restarted once, one at a time."""

from __future__ import annotations

from tests.faults.modes import both_modes
from tests.support.changes import Requests
from tests.support.cluster import RealCluster
from tests.support.faults import RECOVERY_SECONDS, Watch, brokers, nothing_lost, workload


@both_modes
def test_a_roll_whose_worker_is_killed_is_carried_on_by_another(cluster: RealCluster) -> None:
    all_brokers = {broker.node_id: broker for broker in brokers(cluster)}
    before = {node: broker.process() for node, broker in all_brokers.items()}
    starts = {node: broker.status()["starts"].get("restarted", 0) for node, broker in all_brokers.items()}
    operator = Requests(cluster, 1)
    with workload(cluster) as load, Watch(list(all_brokers.values())) as watch:
        sequence = operator.roll(*before)
        found = operator.wait_phase(sequence, "working")
        worker = all_brokers[found["worker"]]
        operator = Requests(cluster, next(node for node in before if node != worker.node_id))
        worker.kill_daemon()
        cluster.wait_for(lambda: operator.show(sequence)["worker"] not in (None, worker.node_id), 60, "another worker")
        worker.start_daemon()
        operator.wait_done(sequence, deadline_seconds=3 * RECOVERY_SECONDS)
        nothing_lost(load)
    shown = operator.show(sequence)
    assert [(c["broker"], c["state"]) for c in shown["children"]] == [(node, "done") for node in before], shown
    assert operator.permit() == {}
    for node, broker in all_brokers.items():
        assert broker.process() != before[node]
        assert broker.status()["starts"].get("restarted", 0) == starts[node] + 1 or broker is worker
    assert worker.status()["starts"].get("restarted", 0) <= 1, watch.describe()
