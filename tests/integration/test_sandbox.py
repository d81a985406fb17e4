"""`bubuku-cli sandbox` as a user calls it: in processes of its own, in a folder of its own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bubuku.adapters.process import identify
from bubuku.sandbox import control, layout, running
from bubuku.sandbox.processes import alive, with_arguments
from tests.support.wait import wait_for

UP_SECONDS = 120


@dataclass(frozen=True)
class Sandbox:
    """The command line on one folder."""

    folder: Path

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "bubuku.cli.main", "sandbox", *arguments, "--dir", str(self.folder)],
            capture_output=True,
            text=True,
            timeout=UP_SECONDS + 60,
            check=False,
        )

    def up(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.call("up", "--wait", str(UP_SECONDS), *arguments)

    def status(self) -> dict[str, Any]:
        done = self.call("status", "-o", "json")
        assert done.returncode == 0, done.stderr
        document = json.loads(done.stdout)
        assert isinstance(document, dict)
        return document

    def pids(self) -> set[int]:
        """All that runs of it."""
        status = self.status()
        found = {status["keeper_pid"], status["zookeeper"]["pid"]}
        for node in [*status["brokers"], *status["controllers"]]:
            found |= {node["kafka_pid"], node["daemon_pid"]}
        return found - {None}


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    made = Sandbox(tmp_path / "sandbox")
    yield made
    if layout.load(made.folder) is not None:
        control.down(made.folder, True, print)


def test_a_sandbox_from_up_to_down(sandbox: Sandbox) -> None:
    """One life of one sandbox, for each start costs seconds of two cores."""
    first = sandbox.up("--brokers", "2", "--racks", "x,y,z")
    assert first.returncode == 0, first.stderr
    assert "What to try next" in first.stdout
    assert "sandbox down" in first.stdout

    status = sandbox.status()
    assert (status["mode"], status["kafka_version"], status["running"]) == ("zookeeper", "3.9.2", True)
    assert [(n["node_id"], n["rack"], n["roles"], n["state"]) for n in status["brokers"]] == [
        (1, "x", ["broker"], "serving"),
        (2, "y", ["broker"], "serving"),
    ]
    assert status["controllers"] == []
    for address in [status["zookeeper"]["address"], *status["bootstrap_servers"].split(",")]:
        host, port = address.split(":")
        socket.create_connection((host, int(port)), 5).close()
    for node in status["brokers"]:
        assert "started (kafka.server.KafkaServer)" in Path(node["log_files"]["kafka"]).read_text()
        assert Path(node["log_files"]["daemon"]).stat().st_size > 0
    pids = sandbox.pids()
    assert len(pids) == 6

    again = sandbox.up()
    assert again.returncode == 0, again.stderr
    assert "runs already" in again.stderr
    assert sandbox.pids() == pids

    other = sandbox.up("--mode", "kraft")
    assert other.returncode == 2
    assert "runs already with --mode zookeeper, not kraft" in other.stderr

    logs = sandbox.call("logs", "2", "-n", "200", "--kafka")
    assert logs.returncode == 0, logs.stderr
    assert "[KafkaServer id=2] started" in logs.stdout

    _a_dead_daemon_is_started_again_and_kafka_is_left_alone(sandbox)
    _what_ended_is_started_by_up(sandbox)

    pids = sandbox.pids()
    identities = [identify(pid) for pid in pids]
    down = sandbox.call("down")
    assert down.returncode == 0, down.stderr
    assert "was killed" not in down.stderr
    assert not [each for each in identities if each is not None and alive(each)]
    stopped = sandbox.status()
    assert stopped["running"] is False
    assert sandbox.call("down").returncode == 0

    made = layout.load(sandbox.folder)
    assert made is not None
    with socket.create_server(("127.0.0.1", made.brokers[1].api_port)):
        taken = sandbox.up()
    assert taken.returncode == 1
    assert f"port {made.brokers[1].api_port} on 127.0.0.1, which the API of broker 2's daemon needs" in taken.stderr

    resumed = sandbox.up()
    assert resumed.returncode == 0, resumed.stderr
    assert sandbox.call("down", "--delete").returncode == 0
    assert not sandbox.folder.exists()


def _a_dead_daemon_is_started_again_and_kafka_is_left_alone(sandbox: Sandbox) -> None:
    before = sandbox.status()["brokers"][0]
    os.kill(before["daemon_pid"], signal.SIGKILL)

    def replaced() -> dict[str, Any] | None:
        now: dict[str, Any] = sandbox.status()["brokers"][0]
        return now if now["daemon_pid"] not in (None, before["daemon_pid"]) and now["state"] == "serving" else None

    now = wait_for(replaced, 20, "another daemon of broker 1 that serves")
    assert now["kafka_pid"] == before["kafka_pid"]
    assert now["daemon_restarts"] == 1


def _what_ended_is_started_by_up(sandbox: Sandbox) -> None:
    """ZooKeeper and the keeper stay down until `up`; daemons and brokers that live are taken over."""
    before = sandbox.status()
    zookeeper, keeper = identify(before["zookeeper"]["pid"]), identify(before["keeper_pid"])
    assert zookeeper is not None
    assert keeper is not None
    os.kill(zookeeper.pid, signal.SIGKILL)
    wait_for(lambda: running.read(sandbox.folder).zookeeper is None, 10, "ZooKeeper's end to be known")
    mended = sandbox.up()
    assert mended.returncode == 0, mended.stderr
    os.kill(keeper.pid, signal.SIGKILL)
    wait_for(lambda: not alive(keeper), 10, "the keeper's end")
    mended = sandbox.up()
    assert mended.returncode == 0, mended.stderr
    after = sandbox.status()
    assert after["zookeeper"]["pid"] not in (None, zookeeper.pid)
    assert after["keeper_pid"] not in (None, keeper.pid)
    for was, now in zip(before["brokers"], after["brokers"], strict=True):
        assert (now["kafka_pid"], now["daemon_pid"]) == (was["kafka_pid"], was["daemon_pid"])


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(("--brokers", "1"), id="a-controller-of-its-own"),
        pytest.param(("--brokers", "3", "--combined"), id="combined", marks=pytest.mark.full),
        pytest.param(("--brokers", "1", "--kafka-version", "3.9.2", "--no-jolokia"), id="3.9", marks=pytest.mark.full),
    ],
)
def test_kraft(sandbox: Sandbox, options: tuple[str, ...]) -> None:
    up = sandbox.up("--mode", "kraft", *options)
    assert up.returncode == 0, up.stderr
    status = sandbox.status()
    nodes = [*status["brokers"], *status["controllers"]]
    assert {node["state"] for node in nodes} == {"serving"}
    assert any("controller" in node["roles"] for node in nodes)
    down = sandbox.call("down")
    assert down.returncode == 0, down.stderr
    assert with_arguments(f"-Dbubuku.sandbox={sandbox.folder}") == []


def test_a_port_in_use_is_one_line_that_names_it(sandbox: Sandbox) -> None:
    free = layout.plan(sandbox.folder, layout.Options(), None)
    port = free.brokers[2].listener_port
    assert port is not None
    with socket.create_server(("127.0.0.1", port)):
        refused = sandbox.up("--base-port", str(free.base_port))
    assert refused.returncode == 1
    lines = refused.stderr.splitlines()
    assert len(lines) == 1
    assert f"port {port} on 127.0.0.1, which broker 3's listener needs, is already in use" in lines[0]
    assert layout.load(sandbox.folder) is None


def test_a_daemon_that_cannot_run_is_named_with_its_last_line(sandbox: Sandbox) -> None:
    made = layout.plan(sandbox.folder, layout.Options(brokers=1), None)
    layout.save(made)
    made.brokers[0].state_dir.parent.mkdir(parents=True)
    made.brokers[0].state_dir.write_text("a file where the daemon needs a folder")
    failed = sandbox.up()
    assert failed.returncode == 1
    assert "state" in failed.stderr.splitlines()[-1]
