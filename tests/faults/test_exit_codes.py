"""The exit code of `bubuku-cli restart` as a script sees it: a process of its own, against a real cluster."""

from __future__ import annotations

import subprocess
import sys

from bubuku.sandbox.keeper import clean_environment
from tests.faults.modes import both_modes
from tests.support.cluster import RealCluster
from tests.support.faults import RECOVERY_SECONDS, brokers, controller, nothing_lost, wait_in_sync, workload


def _restart(cluster: RealCluster, broker: int, *more: str) -> subprocess.CompletedProcess[str]:
    api = ",".join(node.api_url for node in cluster.layout.brokers)
    command = [
        sys.executable,
        "-m",
        "bubuku.cli.main",
        "restart",
        "--api",
        api,
        "--broker",
        str(broker),
        "--yes",
        *more,
    ]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=2 * RECOVERY_SECONDS, env=clean_environment(), check=False
    )


@both_modes
def test_a_restart_that_would_go_below_min_isr_is_exit_code_3_and_0_once_it_is_healed(cluster: RealCluster) -> None:
    dead = next(b for b in brokers(cluster) if b.node_id != controller(cluster).node_id)
    asked = next(b for b in brokers(cluster) if b.node_id != dead.node_id)
    before = asked.process()
    with workload(cluster) as load:
        dead.kill_both()
        for more in (["--dry-run"], ["--wait"]):
            refused = _restart(cluster, asked.node_id, *more)
            assert refused.returncode == 3, refused
            assert "min.insync.replicas is 2" in refused.stderr
            assert refused.stdout == ""
        assert asked.process() == before
        dead.start_daemon()
        dead.wait("serving")
        wait_in_sync(cluster)
        said = _restart(cluster, asked.node_id, "--dry-run")
        assert (said.returncode, asked.process()) == (0, before), said
        done = _restart(cluster, asked.node_id, "--wait")
        assert done.returncode == 0, done
        assert "done" in done.stdout
        assert asked.process() != before
        nothing_lost(load)
