"""One real ZooKeeper server on loopback.

Callers: the keeper and the tests, any thread. The server gets a session of its own and outlives its caller; `stop`, or
the returned identity, ends it.
"""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bubuku.adapters.process import identify
from bubuku.core.errors import BubukuError, UnavailableError
from bubuku.core.shared import ProcessId
from bubuku.sandbox.processes import stop
from bubuku.sandbox.runtimes import java_command, zookeeper_libs
from bubuku.sandbox.waiting import wait_until

HOST = "127.0.0.1"
STOP_DEADLINE_SECONDS = 10.0


@dataclass(slots=True)
class ZooKeeper:
    """A server that keeps its data, log and settings in `folder`; the same folder and port again is the same server.

    `properties` are added to zoo.cfg (TLS, SASL…), `jvm_options` to the command line. `port` 0: no plaintext port, give
    `secureClientPort` in `properties`.
    """

    folder: Path
    port: int
    properties: Mapping[str, str] = field(default_factory=dict)
    jvm_options: tuple[str, ...] = ()
    child: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port or self.properties['secureClientPort']}"

    @property
    def log_file(self) -> Path:
        return self.folder / "zookeeper.log"

    def start(self, deadline_seconds: float = 30.0) -> ProcessId:
        """Start it and return once it serves. Raises UnavailableError (with its last log line) or TimedOutError."""
        child = self.spawn()
        try:
            self.wait_ready(deadline_seconds)
        except BubukuError:
            self.stop()
            raise
        started = identify(child.pid)
        if started is None:
            raise UnavailableError(f"ZooKeeper ended at once: {self._last_line()}")
        return started

    def spawn(self) -> subprocess.Popen[bytes]:
        """Start it without waiting. Raises UsageError where Java is missing, and as `runtimes.fetch` does."""
        config = self._write_config()
        command = [java_command(), "-Xmx256M", "-Xms64M", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        command += ["-Djava.awt.headless=true", "-Dzookeeper.admin.enableServer=false"]
        command += [f"-Dlogback.configurationFile={self.folder / 'logback.xml'}", *self.jvm_options]
        command += ["-cp", f"{zookeeper_libs()}/*", "org.apache.zookeeper.server.quorum.QuorumPeerMain", str(config)]
        environment = {k: v for k, v in os.environ.items() if k not in ("JAVA_TOOL_OPTIONS", "CLASSPATH")}
        with self.log_file.open("ab") as log:
            self.child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                cwd=self.folder,
                start_new_session=True,
            )
        return self.child

    def wait_ready(self, deadline_seconds: float) -> None:
        """Return once the server answers. Raises UnavailableError where it ended, TimedOutError."""

        def ready() -> bool:
            if self.child is not None and self.child.poll() is not None:
                raise UnavailableError(f"ZooKeeper ended with code {self.child.returncode}: {self._last_line()}")
            return self.answers()

        wait_until(ready, deadline_seconds, f"ZooKeeper at {self.address} (log: {self.log_file})")

    def answers(self, timeout_seconds: float = 1.0) -> bool:
        """Whether the server says that it serves. On a TLS port only whether it accepts connections."""
        host, _, port = self.address.rpartition(":")
        try:
            with socket.create_connection((host, int(port)), timeout_seconds) as connection:
                if not self.port:
                    return True
                connection.sendall(b"srvr")
                answer = b""
                while piece := connection.recv(4096):
                    answer += piece
        except OSError:
            return False
        return b"Mode:" in answer

    def stop(self, deadline_seconds: float = STOP_DEADLINE_SECONDS) -> None:
        """End the server that this object started, if it still runs."""
        if self.child is None:
            return
        started = None if self.child.poll() is not None else identify(self.child.pid)
        if started is not None:
            stop([started], deadline_seconds)
        self.child.wait(deadline_seconds)
        self.child = None

    def _write_config(self) -> Path:
        (self.folder / "data").mkdir(parents=True, exist_ok=True)
        values = {
            "dataDir": str(self.folder / "data"),
            "clientPortAddress": HOST,
            "tickTime": "2000",
            "maxClientCnxns": "0",
            "admin.enableServer": "false",
            "4lw.commands.whitelist": "srvr,ruok,mntr,stat,cons,dump",
        }
        if self.port:
            values["clientPort"] = str(self.port)
        values.update(self.properties)
        config = self.folder / "zoo.cfg"
        config.write_text("".join(f"{k}={v}\n" for k, v in values.items()), encoding="utf-8")
        (self.folder / "logback.xml").write_text(_LOGBACK, encoding="utf-8")
        return config

    def _last_line(self) -> str:
        lines = self.log_file.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1] if lines else f"it wrote nothing to {self.log_file}"


_LOGBACK = """\
<configuration>
  <appender name="out" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%d{ISO8601} %-5p %m %c{0}%n</pattern></encoder>
  </appender>
  <root level="INFO"><appender-ref ref="out"/></root>
</configuration>
"""
