"""All processes of all hosts killed at once: the cluster comes up by itself, and every acknowledged record is there."""

from __future__ import annotations

import signal

import pytest

from bubuku.sandbox.processes import send, wait_gone
from tests.faults.modes import COMBINED, KRAFT, ZOOKEEPER
from tests.support.cluster import RealCluster
from tests.support.faults import Broker, nothing_lost, workload, zookeeper


@pytest.mark.parametrize(
    "kept",
    [
        pytest.param(ZOOKEEPER, id="zookeeper"),
        pytest.param(KRAFT, id="kraft"),
        pytest.param(COMBINED, id="combined", marks=pytest.mark.full),
    ],
    indirect=True,
)
def test_a_power_cut_of_all_hosts(cluster: RealCluster) -> None:
    nodes = [Broker(cluster, node.node_id) for node in cluster.layout.nodes]
    with workload(cluster) as load:
        before = {node.node_id: node.process() for node in nodes}
        everything = [zookeeper(cluster), *before.values()]
        for process in everything:
            send(process, signal.SIGKILL)
        for node in nodes:
            node.kill_daemon()
        assert not wait_gone(everything, 10)
        cluster.zookeeper.stop()  # it is gone: this collects it
        for node in nodes:
            node.start_daemon()
        cluster.zookeeper.start()
        for node in nodes:
            node.wait_restarted(before[node.node_id], 150)
        nothing_lost(load)
