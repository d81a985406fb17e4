"""In-memory ports of one daemon: what is on its own host. Each write is a point at which the daemon may be killed."""

from __future__ import annotations

import signal as signals
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bubuku.core.actions import Outcome, Result
from bubuku.core.errors import UnavailableError, UsageError
from bubuku.core.model import Exit, ForeignProcess, LogDir, LogView, ProcessView, Record
from bubuku.core.shared import ProcessId
from tests.sim.events import Signalled, Started
from tests.sim.host import Host, KafkaLog
from tests.sim.kafka_process import KafkaProcess

if TYPE_CHECKING:
    from tests.sim.daemon import SimDaemon


class MemoryProcess:
    """Implements `ports.BrokerProcess`."""

    def __init__(self, daemon: SimDaemon) -> None:
        self._daemon = daemon
        self.watched: KafkaProcess | None = None
        self._child = False
        self._exit: Exit | None = None

    def view(self) -> ProcessView:
        found = self.watched
        if found is None:
            return ProcessView(exit=self._exit)
        if not found.alive:
            code, number = (found.exit_code, found.exit_signal) if self._child else (None, None)
            self._exit = Exit(found.identity, self._daemon.engine.now(), code, number)
            self.watched = None
            return ProcessView(exit=self._exit)
        return ProcessView(found.identity, found.started_at, not self._child, found.suspended, found.activity)

    def exit_fd(self) -> int | None:
        return 3 if self.watched is not None else None

    def start(self) -> ProcessId:
        daemon = self._daemon
        daemon.point("before the start")
        if daemon.host.cannot_execute:
            raise UnavailableError("kafka-server-start.sh: Permission denied")
        process = KafkaProcess(daemon.world.cluster, daemon.host, daemon.instance)
        daemon.world.cluster.emit(Started(daemon.host, process, daemon.instance))
        self._exit = None
        self._watch(process, child=True)
        daemon.point("after the start")
        return process.identity

    def adopt(self, identity: ProcessId) -> bool:
        self.watched = self._exit = None
        found = next((p for p in self._daemon.host.processes if p.identity == identity), None)
        if found is None:
            self._exit = Exit(identity, self._daemon.engine.now(), watched=False)
            return False
        self._watch(found, child=False)
        return True

    def signal(self, identity: ProcessId, number: int) -> bool:
        daemon, process = self._daemon, self.watched
        if process is None or process.identity != identity or not process.alive:
            return False
        daemon.point("before a signal")
        if number == signals.SIGQUIT:  # a thread dump in Kafka's log
            daemon.host.log.write("Full thread dump")
            return True
        daemon.world.cluster.emit(Signalled(daemon.host, process, number, daemon.terminating))
        if number == signals.SIGKILL:
            process.kill()
        else:
            process.sigterm()
        daemon.point("after a signal")
        return True

    def _watch(self, process: KafkaProcess, *, child: bool) -> None:
        self.watched, self._child = process, child
        process.watchers.append(self._daemon.wake)


class MemoryState:
    """Implements `ports.StateFile` on the host's disk."""

    def __init__(self, daemon: SimDaemon) -> None:
        self._daemon = daemon

    def load(self) -> Record:
        host = self._daemon.host
        if host.record is None:
            host.instances += 1
            host.save(Record(instance=f"instance-{host.instances}-of-{host.name}"))
        assert host.record is not None
        return host.record

    def save(self, record: Record) -> None:
        self._daemon.point("before a save")
        if self._daemon.host.state_disk_full:
            self._daemon.host.state_was_full = True
            raise UnavailableError("state.json cannot be written: No space left on device")
        self._daemon.host.save(record)
        self._daemon.point("after a save")


class MemoryFiles:
    """Implements `ports.BrokerFiles`."""

    def __init__(self, daemon: SimDaemon) -> None:
        self._daemon = daemon
        self.addresses: tuple[str, ...] | None = None  # as server.properties would name them

    @property
    def _host(self) -> Host:
        return self._daemon.host

    def log_dirs(self) -> tuple[LogDir, ...]:
        return self._host.log_dirs()

    def log(self) -> LogView:
        log = self._host.log
        now = self._daemon.engine.now()
        started = now if log.total is not None else None
        return LogView(log.recovered, log.total, started, log.lines, log.last, log.fatal, log.fatal_line)

    def restart_log(self) -> None:
        self._host.log = KafkaLog()

    def foreign(self, ours: ProcessId | None) -> ForeignProcess | None:
        host = self._host
        for process in host.processes:
            if process.identity == ours:
                continue
            mine = process.instance is not None and process.instance == self._daemon.instance
            if process.holds_lock_since is None and not mine:
                continue
            unit = "kafka.service" if host.systemd_restarts_foreign and process.instance is None else None
            return ForeignProcess(
                process.identity, "holds the lock of /data/1", True, process.holds_lock_since is not None, mine, unit
            )
        if host.port_held:
            other = ProcessId(7, 7, host.boot_id)
            return ForeignProcess(other, "listens on port 9092", is_kafka=False, holds_log_dir=False)
        return None

    def mark(self, paths: Sequence[str]) -> None:
        for path in paths:
            self._daemon.point("before a mark")
            volume = self._host.mounts[path]
            if volume.marker is None:
                self._daemon.world.markers += 1
                volume.marker = f"marker-{self._daemon.world.markers}"
        self._daemon.point("after the marks")

    def use_addresses(self, addresses: tuple[str, ...]) -> None:
        self.addresses = addresses

    def render(self) -> bool:
        self._daemon.point("before server.properties")
        changed = self._host.rendered != self._host.settings.revision
        self._host.rendered = self._host.settings.revision
        return changed

    def settings_digest(self) -> str:
        if self._host.settings.template_broken:
            raise UsageError("server.properties.template line 3: no '='")
        return self._host.digest()

    def format(self, paths: Sequence[str], cluster_id: str, deadline_seconds: float) -> Outcome:
        if self._host.disk_full:
            now = self._daemon.engine.now()
            return Outcome(Result.FAILED, now, now, "No space left on device")
        for path in paths:
            volume = self._host.mounts[path]
            assert not volume.holds_data, f"a format of {path}, which holds data"
            volume.node_id, volume.cluster_id = self._host.node_id, cluster_id
        return Outcome(Result.DONE, self._daemon.engine.now(), self._daemon.engine.now())
