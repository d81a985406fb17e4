"""A broker killed in mid-recovery: its progress is shown, it is never killed by us, and it recovers again."""

from __future__ import annotations

from pathlib import Path

import pytest

from bubuku.core.model import Mode
from bubuku.sandbox.layout import Options
from tests.support.cluster import RealCluster
from tests.support.faults import SETTINGS, Broker, Watch, let_pass, nothing_lost, workload

PARTITIONS = 400


@pytest.mark.parametrize(
    "mode", [pytest.param(Mode.ZOOKEEPER, id="zookeeper"), pytest.param(Mode.KRAFT, id="kraft", marks=pytest.mark.full)]
)
def test_killed_in_mid_recovery(folder: Path, mode: Mode) -> None:
    settings = SETTINGS[mode] | {"num.recovery.threads.per.data.dir": "1"}
    with RealCluster(folder, Options(brokers=1, mode=mode), settings) as cluster:
        victim = Broker(cluster, 1)
        with workload(cluster, partitions=PARTITIONS, replication=1, min_isr=1, rate=400.0, size=2000) as load:
            let_pass(cluster, 4, "records in every partition")
            first = victim.process()
            with Watch([victim], 0.02) as watch:
                cluster.kill_kafka(victim.node_id)
                second = victim.wait_forked(first)
                half = _wait_recovering(victim, PARTITIONS // 4)
                assert half["total"] >= PARTITIONS
                assert victim.process() == second
                cluster.kill_kafka(victim.node_id)
                third = victim.wait_forked(second)
                again = _wait_recovering(victim, PARTITIONS // 2)
                assert again["done"] < again["total"]
                after = victim.wait_restarted(second)
            assert victim.process() == third, watch.describe()
            assert after["starts"]["process_died"] == 2, watch.describe()
            nothing_lost(load)


def _wait_recovering(victim: Broker, done: int) -> dict[str, int]:
    """Until so many logs are recovered, with more to do."""

    def far() -> dict[str, int]:
        found = victim.status()
        progress: dict[str, int] = found.get("progress") or {}
        return progress if found.get("state") == "recovering" and progress.get("done", 0) >= done else {}

    return victim.cluster.wait_for(far, 60, f"{done} logs to be recovered")
