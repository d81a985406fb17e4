"""Two ways to run the same cluster: under bubuku (`Supervised`), and under a restart-always script (`Plain`).

Callers: the benchmarks, one thread. Both are made from a `Layout` of the same options, so that Kafka home, settings and
JVM options are the same; both are context managers that leave no process behind. Whether a broker serves is asked of
Kafka itself, from the outside and in the same way for both.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil
import requests

from bubuku.adapters.process import identify
from bubuku.core.errors import UnavailableError
from bubuku.core.model import Mode
from bubuku.core.shared import ProcessId
from bubuku.sandbox import control, files, running, runtimes
from bubuku.sandbox.keeper import clean_environment
from bubuku.sandbox.layout import Layout, Node, Options, plan
from bubuku.sandbox.processes import opened, send, stop, wait_gone, with_arguments
from bubuku.sandbox.waiting import wait_until
from bubuku.sandbox.zookeeper import ZooKeeper

START_DEADLINE_SECONDS = 120.0
KILL_DEADLINE_SECONDS = 10.0
STOP_DEADLINE_SECONDS = 30.0
PROBE_SECONDS = 0.03  # each look costs the machine a millisecond or two, of what Kafka needs to start
LOGS = Path("out") / "bench-logs"
RUNNING = 3  # kafka.server:type=KafkaServer,name=BrokerState of a broker that is registered and serves

Tell = Callable[[str], None]

# Starts Kafka again at once, whatever it ended of. $1 start script, $2 server.properties, $3 its output, $4 pid file.
RESTART_ALWAYS = """\
while :; do
  "$1" "$2" >>"$3" 2>&1 &
  echo $! >"$4.new"
  mv "$4.new" "$4"
  wait $!
done
"""


@dataclass(slots=True)
class Cluster:
    """What both have. `name` is for people and for the folder of the kept logs."""

    name: str
    options: Options
    tell: Tell
    folder: Path = field(default_factory=Path)
    _layout: Layout | None = None

    @property
    def layout(self) -> Layout:
        if self._layout is None:
            raise UnavailableError(f"{self.name} was not started")
        return self._layout

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix="bubuku-bench-"))
        self.tell(f"{self.name}: starting in {self.folder}")
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def start(self) -> None:
        raise NotImplementedError

    def stop(self) -> None:
        raise NotImplementedError

    def kafka(self, node: Node) -> ProcessId | None:
        """The node's Kafka process, if it runs."""
        raise NotImplementedError

    def close(self) -> None:
        """Stop everything, keep the logs, remove the data. Not to be interrupted: in the main thread alone."""
        before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            self.stop()
            self._keep_logs()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)
            for number, handler in before.items():
                signal.signal(number, handler)

    def daemons_cpu_seconds(self) -> float | None:
        """Processor time that daemons have used so far; None where there are none."""
        return None

    def kill(self, node: Node) -> float:
        """kill -9 the node's Kafka; the moment of it. Returns when the process is gone."""
        process = self.kafka(node)
        if process is None:
            raise UnavailableError(f"{self.name}: the Kafka of {node.name} does not run")
        at = time.monotonic()
        send(process, signal.SIGKILL)
        wait_gone([process], KILL_DEADLINE_SECONDS)
        return at

    def wait_running(self, node: Node, deadline_seconds: float) -> float:
        """When BrokerState became 3: what came before must be proven dead. Raises TimedOutError."""
        with loopback() as session:
            wait_until(
                lambda: look_broker_state(node, session) == RUNNING,
                deadline_seconds,
                f"{node.name} to serve ({self.name})",
                PROBE_SECONDS,
            )
        return time.monotonic()

    def _keep_logs(self) -> None:
        if self._layout is None:
            return
        kept = LOGS / self.name.replace(" ", "-").replace(",", "")
        shutil.rmtree(kept, ignore_errors=True)
        for node in self._layout.nodes:
            if node.log_dir.is_dir():
                shutil.copytree(node.log_dir, kept / node.folder.name)


@dataclass(slots=True)
class Supervised(Cluster):
    """Each node under its own bubuku daemon, as `bubuku-cli sandbox up` starts it."""

    def start(self) -> None:
        chosen = {
            "brokers": self.options.brokers,
            "mode": self.options.mode,
            "kafka_version": self.options.checked().kafka_version,
            "combined": self.options.combined,
        }
        self._layout, _ = control.up(self.folder, chosen, None, False, START_DEADLINE_SECONDS, lambda _: None)

    def stop(self) -> None:
        control.down(self.folder, False, self._quiet)

    def kafka(self, node: Node) -> ProcessId | None:
        return running.recorded_kafka(node)

    def daemon(self, node: Node) -> ProcessId | None:
        return running.read(self.layout.folder).daemons.get(node.node_id)

    def daemons_cpu_seconds(self) -> float | None:
        """Of all daemons together."""
        found = [process for node in self.layout.nodes if (process := self.daemon(node)) is not None]
        return sum(cpu_seconds(psutil.Process(process.pid)) for process in found)

    def zookeeper(self) -> ProcessId | None:
        return running.read(self.layout.folder).zookeeper

    def _quiet(self, line: str) -> None:
        if "was killed" in line:
            self.tell(f"{self.name}: {line}")


@dataclass(slots=True)
class Plain(Cluster):
    """The same brokers, each under a restart-always script."""

    _zookeeper: ZooKeeper | None = None
    _scripts: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self) -> None:
        layout = self._layout = plan(self.folder, self.options, None)
        files.write(layout)
        if layout.options.mode is Mode.ZOOKEEPER:
            self._zookeeper = ZooKeeper(layout.zookeeper_dir, layout.zookeeper_port, jvm_options=(layout.mark,))
            self._zookeeper.start()
        for node in layout.nodes:
            self._start_node(node)
        for node in layout.brokers:
            self.wait_running(node, START_DEADLINE_SECONDS)

    def _start_node(self, node: Node) -> None:
        layout = self.layout
        kafka = files.daemon_config(layout, node, str(runtimes.jolokia_agent()))["kafka"]
        environment = clean_environment() | kafka["environment"]
        properties = node.folder / "server.properties"
        given = {"broker.rack": node.rack} if node.rack is not None else {}
        if layout.options.mode is Mode.ZOOKEEPER:
            given |= {"broker.id": str(node.node_id), "zookeeper.connect": layout.zookeeper_address}
        else:
            given |= {"node.id": str(node.node_id)}
        lines = [f"{key}={value}\n" for key, value in given.items()]
        properties.write_text(node.template.read_text(encoding="utf-8") + "".join(lines), encoding="utf-8")
        home = Path(kafka["dir"])
        if layout.options.mode is Mode.KRAFT:
            storage = [str(home / "bin" / "kafka-storage.sh"), "format", "-t", layout.cluster_id, "-c", str(properties)]
            subprocess.run(storage, check=True, capture_output=True, timeout=60, env=environment)
        start = str(home / "bin" / "kafka-server-start.sh")
        output, pid_file = str(node.log_dir / "kafka.out"), str(self._pid_file(node))
        self._scripts[node.node_id] = subprocess.Popen(
            ["bash", "-c", RESTART_ALWAYS, "restart-always", start, str(properties), output, pid_file],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        )

    def stop(self) -> None:
        for script in self._scripts.values():
            script.kill()
            script.wait(KILL_DEADLINE_SECONDS)
        if self._layout is None:
            return
        controllers = [process for node in self._layout.controllers if (process := self.kafka(node)) is not None]
        all_kafka = with_arguments(self._layout.mark, "kafka.Kafka")
        stop([process for process in all_kafka if process not in controllers], STOP_DEADLINE_SECONDS)
        stop(controllers, STOP_DEADLINE_SECONDS)
        if self._zookeeper is not None:
            self._zookeeper.stop()
        stop(with_arguments(self._layout.mark), KILL_DEADLINE_SECONDS)

    def kafka(self, node: Node) -> ProcessId | None:
        try:
            return identify(int(self._pid_file(node).read_text(encoding="utf-8")))
        except (OSError, ValueError):
            return None

    def pause_script(self, node: Node) -> None:
        """The node's Kafka is not started again until `continue_script`."""
        self._scripts[node.node_id].send_signal(signal.SIGSTOP)

    def continue_script(self, node: Node) -> float:
        """Start the node's Kafka if it has ended; the moment of it."""
        at = time.monotonic()
        self._scripts[node.node_id].send_signal(signal.SIGCONT)
        return at

    def _pid_file(self, node: Node) -> Path:
        return node.folder / "kafka.pid"


def loopback() -> requests.Session:
    """A session that minds no proxy of the environment."""
    session = requests.Session()
    session.trust_env = False
    return session


def look_broker_state(node: Node, session: requests.Session) -> int | None:
    """Kafka's own BrokerState by Jolokia; None where nothing answers."""
    url = f"http://127.0.0.1:{node.jolokia_port}/jolokia/read/kafka.server:type=KafkaServer,name=BrokerState/Value"
    document = get_json(url, session)
    value = None if document is None else document.get("value")
    return value if isinstance(value, int) else None


def get_json(url: str, session: requests.Session, timeout_seconds: float = 2.0) -> dict[str, Any] | None:
    """The JSON document behind a loopback URL, whatever its status; None where nothing answers."""
    try:
        document = session.get(url, timeout=timeout_seconds).json()
    except requests.RequestException:
        return None
    return document if isinstance(document, dict) else None


def cpu_seconds(process: psutil.Process) -> float:
    """User and system time of a process; not of its children, for a Kafka that has ended is one of them."""
    times = process.cpu_times()
    return float(times.user + times.system)


def process_started(process: ProcessId) -> float | None:
    """The monotonic time at which a process was started, to a clock tick (10 ms); None: it is gone."""
    with opened(process) as descriptor:
        if descriptor is None:
            return None
    # start_ticks count from boot with suspended time (CLOCK_BOOTTIME); the two clocks differ by that time alone
    since_boot = process.start_ticks / 100.0
    return since_boot - (time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic())
