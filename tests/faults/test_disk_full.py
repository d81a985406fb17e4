"""A log dir's disk runs full: held, without a loop of restarts, and started when there is space again."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bubuku.core.model import Mode
from bubuku.sandbox.layout import Options
from tests.support.cluster import RealCluster
from tests.support.faults import SETTINGS, Broker, let_pass, nothing_lost, workload

SIZE = "96m"


@pytest.mark.parametrize(
    "mode", [pytest.param(Mode.ZOOKEEPER, id="zookeeper"), pytest.param(Mode.KRAFT, id="kraft", marks=pytest.mark.full)]
)
def test_a_full_disk_holds_until_there_is_space(folder: Path, mode: Mode) -> None:
    options = Options(brokers=1, mode=mode)
    with RealCluster(folder, options, SETTINGS[mode], within=_own_disk(folder / "broker-1" / "data")) as cluster:
        victim = Broker(cluster, 1)
        with workload(cluster, partitions=2, replication=1, min_isr=1) as load:
            before = victim.process()
            with _filled(_seen_by_the_daemon(victim)):
                shown = victim.wait("held", "disk_full", 120)
                assert "No space left on device" in shown["sentence"] or str(victim.data) in shown["sentence"]
                starts = shown["starts"]
                let_pass(cluster, 5, "a start that must not be")
                assert victim.status()["starts"] == starts
                assert victim.status()["reason"] == "disk_full"
            victim.wait_restarted(before)
            nothing_lost(load)


def _own_disk(data: Path) -> list[str]:
    """A small disk that only the daemon and its Kafka see; it is gone with them, however the test ends."""
    unshare = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--user", "--map-root-user"]
    script = f'mount -t tmpfs -o size={SIZE} bubuku "{data}"; exec "$@"'
    return [*unshare, "sh", "-ec", script, "sh"]


def _seen_by_the_daemon(victim: Broker) -> Path:
    pid = victim.cluster.daemon_pid(victim.node_id)
    return Path(f"/proc/{pid}/root{victim.data}")


@contextmanager
def _filled(folder: Path) -> Iterator[None]:
    """A file as large as what is free, until the context ends."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as stream:
        for size in (1 << 20, 1 << 12):
            try:
                while True:
                    stream.write(b"\0" * size)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
    try:
        yield
    finally:
        ballast.unlink()
