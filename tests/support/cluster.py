"""A real cluster for tests: ZooKeeper and Kafka brokers, each under its own daemon, in a temporary folder.

There is no keeper here: a daemon that a test ends stays down until the test starts it again. All processes are killed
at the end; what a test needs to see of an orderly stop it does itself.
"""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import requests

from bubuku.core.shared import ProcessId
from bubuku.sandbox import files, layout, running
from bubuku.sandbox.keeper import spawn_daemon
from bubuku.sandbox.layout import Layout, Options
from bubuku.sandbox.processes import send, wait_gone, with_arguments
from bubuku.sandbox.zookeeper import ZooKeeper
from tests.support.wait import wait_for

T = TypeVar("T")

ACTIVE: list[RealCluster] = []
"""Clusters that are up now: what a failing test shows the logs of, and whose processes are no leak."""

START_DEADLINE_SECONDS = 120.0


class RealCluster:
    """`with RealCluster(tmp_path) as cluster:` three brokers that serve; see `Options` for other shapes.

    `settings` go over each server.properties template, `daemon` over each daemon's YAML (top keys). `within` is a
    command that executes each daemon.
    """

    def __init__(
        self,
        folder: Path,
        options: Options | None = None,
        settings: Mapping[str, str] | None = None,
        daemon: Mapping[str, Any] | None = None,
        within: Sequence[str] = (),
    ) -> None:
        self.layout: Layout = layout.plan(folder, options or Options(), None)
        self.zookeeper = ZooKeeper(
            self.layout.zookeeper_dir, self.layout.zookeeper_port, jvm_options=(self.layout.mark,)
        )
        self._settings, self._daemon, self._within = settings, daemon, within
        self._daemons: dict[int, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> RealCluster:
        self.prepare()
        try:
            self.zookeeper.start()
            for node in self.layout.nodes:
                self.start_daemon(node.node_id)
            self.wait_serving()
        except BaseException as error:
            error.add_note(self.report())
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            error.add_note(self.report())
        self.close()

    def prepare(self) -> None:
        """Write all files and start nothing: for tests that bring the parts up themselves, and then call `close`."""
        files.write(self.layout, self._settings, self._daemon)
        ACTIVE.append(self)

    def close(self) -> None:
        """Kill all that is left."""
        for child in self._daemons.values():
            child.kill()
            child.wait(10)
        processes = running.distinct(
            [*(self.kafka(node.node_id) for node in self.layout.nodes), *with_arguments(self.layout.mark)]
        )
        for process in processes:
            send(process, signal.SIGKILL)
        left = wait_gone(processes, 10.0)
        self.zookeeper.stop()
        if self in ACTIVE:
            ACTIVE.remove(self)
        assert not left, f"could not be killed: {left}"

    def start_daemon(self, node_id: int, *arguments: str) -> int:
        """Start the daemon of a node whose daemon does not run; its pid."""
        assert self.daemon_pid(node_id) is None, f"the daemon of {node_id} runs already"
        self._daemons[node_id] = spawn_daemon(self.layout.node(node_id), arguments, self._within)
        return self._daemons[node_id].pid

    def stop_daemon(self, node_id: int, number: signal.Signals = signal.SIGTERM, deadline_seconds: float = 20) -> int:
        """Signal a daemon and wait for its end; its exit code (negative: the signal)."""
        self._daemons[node_id].send_signal(number)
        return self._daemons[node_id].wait(deadline_seconds)

    def signal_daemon(self, node_id: int, number: signal.Signals) -> None:
        """Send a signal to a node's daemon, which must live."""
        self._daemons[node_id].send_signal(number)

    def daemon_pid(self, node_id: int) -> int | None:
        child = self._daemons.get(node_id)
        return child.pid if child is not None and child.poll() is None else None

    def kafka(self, node_id: int) -> ProcessId | None:
        """The Kafka process that the node's daemon has on record, if it lives."""
        return running.recorded_kafka(self.layout.node(node_id))

    def kafka_pid(self, node_id: int) -> int | None:
        process = self.kafka(node_id)
        return None if process is None else process.pid

    def signal_kafka(self, node_id: int, number: signal.Signals) -> ProcessId:
        """Send a signal to a node's Kafka, which must live; which process it was."""
        process = self.kafka(node_id)
        assert process is not None, f"no Kafka runs for node {node_id}"
        assert send(process, number), f"Kafka of node {node_id} ended meanwhile"
        return process

    def kill_kafka(self, node_id: int) -> ProcessId:
        """`kill -9` and wait until it is gone."""
        process = self.signal_kafka(node_id, signal.SIGKILL)
        assert not wait_gone([process], 10)
        return process

    def get(self, node_id: int, path: str) -> tuple[int, dict[str, Any]]:
        """Code and JSON document of a daemon's API; (0, {}) where it does not answer."""
        try:
            answer = requests.get(self.layout.node(node_id).api_url + path, timeout=5)
        except requests.RequestException:
            return 0, {}
        return answer.status_code, answer.json()

    def state(self, node_id: int) -> str:
        """The state in `/v1/status`, with its sentence; "no answer" where the daemon does not answer."""
        code, document = self.get(node_id, "/v1/status")
        return f"{document.get('state')}: {document.get('sentence')}" if code == 200 else "no answer"

    def wait_serving(
        self, nodes: Iterable[int] | None = None, deadline_seconds: float = START_DEADLINE_SECONDS
    ) -> None:
        """Until `/readyz` of each is 200."""
        for node_id in [node.node_id for node in self.layout.nodes] if nodes is None else nodes:

            def serves(node_id: int = node_id) -> bool:
                assert self.daemon_pid(node_id) is not None, f"the daemon of node {node_id} does not run"
                return self.get(node_id, "/readyz")[0] == 200

            self.wait_for(serves, deadline_seconds, f"node {node_id} to serve")

    def wait_for(self, condition: Callable[[], T], deadline_seconds: float, what: str) -> T:
        """`wait.wait_for`, whose failure tells the states of all nodes."""

        def describe() -> str:
            states = "; ".join(f"{node.node_id} {self.state(node.node_id)}" for node in self.layout.nodes)
            return f"{what} (nodes: {states})"

        return wait_for(condition, deadline_seconds, describe)

    def report(self, lines: int = 15) -> str:
        """The ends of all logs."""
        logs = [self.layout.zookeeper_log]
        for node in self.layout.nodes:
            logs += [node.daemon_log, *sorted(node.log_dir.glob("kafka*.log")), node.kafka_log]
        return "\n".join(f"--- {path}\n{tail(path, lines)}" for path in dict.fromkeys(logs))


def tail(path: Path, lines: int) -> str:
    try:
        return "\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
    except OSError as error:
        return f"({error.strerror})"
