"""ZooKeeper's addresses change under load: the brokers are restarted one by one, and nothing is lost."""

from __future__ import annotations

import itertools
from pathlib import Path

from bubuku.core.model import Mode
from bubuku.core.properties import parse
from bubuku.sandbox.layout import Options
from tests.support.changes import Requests
from tests.support.cluster import RealCluster
from tests.support.faults import (
    RECOVERY_SECONDS,
    SETTINGS,
    Broker,
    Watch,
    brokers,
    let_pass,
    nothing_lost,
    wait_in_sync,
    workload,
)

SETTLE_SECONDS = 2
NOTICED_SECONDS = 5 + SETTLE_SECONDS + 5  # the file is read each 5 s at rest


def test_a_new_list_restarts_each_broker_once_and_one_at_a_time(folder: Path) -> None:
    """The second list names the same server in another way, too."""
    listed = folder.parent / "zookeeper-addresses"
    settings = {"addresses_file": str(listed), "addresses_settle_seconds": SETTLE_SECONDS, "prefix": "/"}
    cluster = RealCluster(folder, Options(), SETTINGS[Mode.ZOOKEEPER], {"zookeeper": settings})
    address, again = cluster.layout.zookeeper_address, f"localhost:{cluster.layout.zookeeper_port}"
    listed.write_text(f"{address} # the sandbox's\n", encoding="utf-8")
    with cluster:
        all_brokers = brokers(cluster)
        assert {_connect(broker) for broker in all_brokers} == {address}
        wait_in_sync(cluster)
        before = {broker.node_id: broker.process() for broker in all_brokers}
        with workload(cluster) as load, Watch(all_brokers) as watch:
            listed.write_text(f"{address}\n{again}\n", encoding="utf-8")
            for broker in all_brokers:
                broker.wait_restarted(before[broker.node_id], 3 * RECOVERY_SECONDS)
            _wait_permit_empty(cluster)
            nothing_lost(load)
        after = {broker.node_id: broker.process() for broker in all_brokers}
        down = sorted(_down(watch, broker) for broker in all_brokers)
        assert all(ended <= begun for (_, ended), (begun, _) in itertools.pairwise(down)), watch.describe()
        for broker in all_brokers:
            assert _connect(broker) == f"{address},{again}"
            assert broker.status()["starts"] == {"first_start": 1, "addresses_changed": 1}
            assert broker.status()["coordination"]["connected"]
            assert len(watch.pids(broker.node_id)) == 2, watch.describe()

        listed.write_text(f"{again},{address}\n", encoding="utf-8")  # the same in another order
        let_pass(cluster, NOTICED_SECONDS, "another order to be acted on")
        listed.unlink()  # unknown
        let_pass(cluster, NOTICED_SECONDS, "a missing file to be acted on")
        for broker in all_brokers:
            assert broker.status()["note"]["reason"] == "addresses_unread"
            assert broker.process() == after[broker.node_id]
            assert _connect(broker) == f"{address},{again}"


def _connect(broker: Broker) -> str | None:
    rendered = (broker.node.state_dir / "server.properties").read_text(encoding="latin-1")
    return parse(rendered).get("zookeeper.connect")


def _down(watch: Watch, broker: Broker) -> tuple[float, float]:
    """From when to when it did not serve."""
    looks = [look.at for look in watch.looks(broker.node_id) if look.state not in (None, "serving")]
    return min(looks), max(looks)


def _wait_permit_empty(cluster: RealCluster) -> None:
    operator = Requests(cluster)
    cluster.wait_for(lambda: operator.permit() == {}, RECOVERY_SECONDS, "the permit to be empty")
