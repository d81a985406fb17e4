"""Real Kafka servers without bubuku, for tests of what talks to Kafka.

Callers: fixtures. Everything is on loopback, on free ports, below one folder; `stop` ends every process that was
started, by pid.
"""

from __future__ import annotations

import base64
import os
import signal
import socket
import subprocess
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bubuku.core.model import Mode
from bubuku.sandbox import runtimes
from tests.support.leaks import RUN_VARIABLE
from tests.support.wait import wait_for

HOST = "127.0.0.1"
HEAP = "-Xmx384M -Xms128M"
JVM_OPTIONS = "-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Djava.awt.headless=true"
START_SECONDS = 60.0


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind((HOST, 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


@dataclass(slots=True)
class KafkaServer:
    """One Kafka process: its folder, its properties, and the process while it runs."""

    node_id: int
    folder: Path
    home: Path
    port: int  # of the listener that clients use
    properties: dict[str, str]
    environment: Mapping[str, str] = field(default_factory=dict)
    child: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        return f"{HOST}:{self.port}"

    @property
    def log_file(self) -> Path:
        return self.folder / "logs" / "server.log"

    def write(self) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "server.properties"
        path.write_text("".join(f"{k}={v}\n" for k, v in self.properties.items()), encoding="utf-8")
        return path

    def start(self) -> None:
        """Start the process; `KafkaCluster.wait_serving` waits for it."""
        config = self.write()
        # Without the run's variable: a server that a test starts again is its module's, and no leak of the test.
        left_out = ("JAVA_TOOL_OPTIONS", "CLASSPATH", RUN_VARIABLE)
        environment = {k: v for k, v in os.environ.items() if k not in left_out}
        environment |= {
            "KAFKA_HEAP_OPTS": HEAP,
            "KAFKA_JVM_PERFORMANCE_OPTS": JVM_OPTIONS,
            "LOG_DIR": str(self.log_file.parent),
            **self.environment,
        }
        with (self.folder / "stdout").open("ab") as output:
            self.child = subprocess.Popen(
                [str(self.home / "bin" / "kafka-server-start.sh"), str(config)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                start_new_session=True,
            )

    def signal(self, number: signal.Signals) -> None:
        assert self.child is not None
        self.child.send_signal(number)

    def kill(self) -> None:
        """kill -9, and its proof."""
        if self.child is not None:
            self.child.kill()
            self.child.wait(20)
            self.child = None

    def listens(self) -> bool:
        if self.child is not None and self.child.poll() is not None:
            raise AssertionError(f"Kafka {self.node_id} ended with {self.child.returncode}: {self.last_lines()}")
        try:
            socket.create_connection((HOST, self.port), 0.5).close()
        except OSError:
            return False
        return True

    def describe(self) -> str:
        return f"Kafka {self.node_id} to listen:\n{self.last_lines()}"

    def last_lines(self) -> str:
        lines: list[str] = []
        for path in (self.log_file, self.folder / "stdout"):
            if path.exists():
                lines += path.read_text(encoding="utf-8", errors="replace").splitlines()[-15:]
        return "\n".join(lines)


class KafkaCluster:
    """Brokers 1 to `brokers`; in KRaft broker 1 is the controller too. `zookeeper` is "host:port/path" in its mode.

    `properties` go into every server's settings.
    """

    def __init__(
        self,
        folder: Path,
        mode: Mode,
        brokers: int,
        zookeeper: str | None = None,
        version: str | None = None,
        properties: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        kraft = mode is Mode.KRAFT
        version = version or (runtimes.DEFAULT_KRAFT if kraft else runtimes.DEFAULT_ZOOKEEPER_MODE)
        self.mode = mode
        # as Kafka writes its ids; a leading dash would be an option to its tools
        self.cluster_id = "k" + base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()[1:]
        home = runtimes.make_kafka_home(folder / "home", version)
        controller, *ports = free_ports(brokers + 1)
        self.servers: dict[int, KafkaServer] = {}
        for node_id, port in enumerate(ports, 1):
            base = {
                "log.dirs": str(folder / str(node_id) / "data"),
                "offsets.topic.num.partitions": "1",
                "offsets.topic.replication.factor": "1",
                "log.cleaner.dedupe.buffer.size": "16777216",
                "num.network.threads": "2",
                "num.io.threads": "2",
            }
            settings = _kraft(node_id, port, controller) if kraft else _zookeeper(node_id, port, zookeeper or "")
            self.servers[node_id] = KafkaServer(
                node_id, folder / str(node_id), home, port, base | settings | dict(properties or {}), environment or {}
            )

    @property
    def endpoints(self) -> list[str]:
        return [server.endpoint for server in self.servers.values()]

    def start(self, *format_options: str) -> None:
        """Start all and wait until they listen."""
        if self.mode is Mode.KRAFT:
            self.format(*format_options)
        for server in self.servers.values():
            server.start()
        self.wait_listening(self.servers)

    def wait_listening(self, node_ids: Iterable[int]) -> None:
        for node_id in node_ids:
            server = self.servers[node_id]
            wait_for(server.listens, START_SECONDS, server.describe)

    def stop(self) -> None:
        """Tests need no clean end."""
        for server in self.servers.values():
            if server.child is not None:
                server.child.send_signal(signal.SIGCONT)
            server.kill()

    def format(self, *options: str) -> None:
        """Format every server's log dirs for KRaft."""
        running = []
        for server in self.servers.values():
            tool = str(server.home / "bin" / "kafka-storage.sh")
            command = [tool, "format", "-t", self.cluster_id, "-c", str(server.write()), *options]
            running.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
        for process in running:
            said, _ = process.communicate(timeout=60)
            assert process.returncode == 0, said


def _zookeeper(node_id: int, port: int, zookeeper: str) -> dict[str, str]:
    return {
        "broker.id": str(node_id),
        "listeners": f"PLAINTEXT://{HOST}:{port}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{port}",
        "zookeeper.connect": zookeeper,
        "zookeeper.session.timeout.ms": "6000",
    }


def _kraft(node_id: int, port: int, controller: int) -> dict[str, str]:
    client, voter = f"PLAINTEXT://{HOST}:{port}", f"CONTROLLER://{HOST}:{controller}"
    return {
        "node.id": str(node_id),
        "process.roles": "broker,controller" if node_id == 1 else "broker",
        "listeners": f"{client},{voter}" if node_id == 1 else client,
        "advertised.listeners": client,
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "controller.quorum.voters": f"1@{HOST}:{controller}",
        "inter.broker.listener.name": "PLAINTEXT",
    }
