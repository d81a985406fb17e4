"""A Kafka process: starting → recovering → registered → serving → dead, with its session and its log.

Times and quirks are those of docs and measurements: a start fails while an old registration stands (ZooKeeper mode) or
waits for it (KRaft), SIGTERM while starting halts (ZooKeeper) or is ignored (KRaft), a frozen one registers anew 2 s
after it goes on, one whose registration was removed under it never registers again.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING

from bubuku.core.model import Mode
from bubuku.core.reasons import Reason
from bubuku.core.shared import ProcessId
from tests.sim.events import Ended
from tests.sim.zookeeper import Session

if TYPE_CHECKING:
    from tests.sim.host import Host
    from tests.sim.kafka_cluster import KafkaCluster


class Phase(StrEnum):
    STARTING = "starting"
    RECOVERING = "recovering"
    REGISTERING = "registering"
    SERVING = "serving"
    STOPPING = "stopping"
    DEAD = "dead"


class KafkaProcess:
    """One process. `instance`: of the bubuku that started it, None for an operator's."""

    def __init__(self, cluster: KafkaCluster, host: Host, instance: str | None) -> None:
        self.cluster, self.host, self.instance = cluster, host, instance
        self.engine = cluster.engine
        self.identity: ProcessId = host.next_identity(self.engine.now())
        self.started_at = self.engine.now()
        self.node_id = host.node_id
        self.volumes = list(host.mounts.values())
        self.holds_lock_since: float | None = None
        self.phase = Phase.STARTING
        self.suspended = False
        self.suspended_at: float | None = None  # the last time
        self.stopping_at: float | None = None
        self.session: Session | None = None
        self.registered_once = False
        self.served_once = False
        self.serving_since = float("inf")
        self.deaf = False  # its registration was removed under it: it never registers again
        self.hangs = host.start_hangs and instance is not None
        host.start_hangs = host.start_hangs and instance is None
        self.exit_code: int | None = None
        self.exit_signal: int | None = None
        self.ended_at: float | None = None
        self.ended_clean = False
        self.watchers: list[Callable[[], None]] = []
        self._late: list[Callable[[], None]] = []  # what would have happened while it was suspended
        host.processes.append(self)
        rng = self.engine.rng
        self._lasts = {"lock": rng.uniform(0.3, 0.8), "check": rng.uniform(0.3, 0.8), "load": rng.uniform(0.3, 1.0)}
        self._then(self._lasts["lock"], self._lock)

    @property
    def alive(self) -> bool:
        return self.phase is not Phase.DEAD

    @property
    def answers(self) -> bool:
        """To others."""
        return self.listens and not self.host.cut

    @property
    def listens(self) -> bool:
        """To its own host."""
        return self.phase is Phase.SERVING and not self.suspended

    @property
    def activity(self) -> int:
        return self.host.log.lines << 20

    # what is done to it

    def kill(self) -> None:
        self.engine.say(self.host.name, f"Kafka {self.identity.pid} is killed with -9")
        self._end(signal=9, cause="kill -9")

    def vanish(self) -> None:
        """The host went down."""
        self._end(signal=9, cause="host down")

    def suspend(self) -> None:
        if self.alive and not self.suspended:
            self.suspended, self.suspended_at = True, self.engine.now()
            self.engine.say(self.host.name, f"Kafka {self.identity.pid} is suspended")
            if self.session is not None:
                self.cluster.sessions.lose(self.session)

    def resume(self) -> None:
        if not self.alive or not self.suspended:
            return
        self.suspended = False
        self.engine.say(self.host.name, f"Kafka {self.identity.pid} goes on")
        late, self._late = self._late, []
        for act in late:
            self._then(0.01, act)
        if self.session is not None and not self.session.expired and not self.host.cut:
            self.cluster.sessions.resume(self.session)

    def sigterm(self) -> None:
        if self.phase in (Phase.DEAD, Phase.STOPPING):
            return
        if self.phase is not Phase.SERVING:
            if self.cluster.mode is Mode.ZOOKEEPER:
                self._end(code=143, cause="sigterm while starting")
            return
        if self.suspended:
            self._late.append(self.sigterm)
            return
        self.phase, self.stopping_at = Phase.STOPPING, self.engine.now()
        if not self.host.cut:
            self.cluster.leave(self)
        self._then(self.engine.rng.uniform(0.5, 2.0), self._stopped)

    # its own life

    def _then(self, seconds: float, act: Callable[[], None]) -> None:
        def go() -> None:
            if not self.alive:
                return
            if self.suspended:
                self._late.append(act)
            else:
                act()

        self.engine.after(seconds, go)

    def _fail(self, line: str, fatal: Reason | None = None) -> None:
        self.host.log.write(line)
        if fatal is not None:
            self.host.log.fatal, self.host.log.fatal_line = fatal.value, line
        self._end(code=1, cause=f"exit 1: {line}")

    def _lock(self) -> None:
        self.host.log.write("starting")
        if any(v.locked_by is not None and v.locked_by.alive for v in self.volumes):
            self._fail("Failed to acquire lock on file .lock")
            return
        for volume in self.volumes:
            volume.locked_by = self
        self.holds_lock_since = self.engine.now()
        self._then(self._lasts["check"], self._check)

    def _check(self) -> None:
        host, cluster = self.host, self.cluster
        if host.settings.refused_by_kafka:
            self._fail("Invalid value for configuration", Reason.BAD_CONFIGURATION)
        elif host.disk_full:
            self._fail("No space left on device", Reason.DISK_FULL)
        elif host.dirs_broken:
            self._fail("all log dirs have failed", Reason.LOG_DIRS_FAILED)
        elif host.port_taken:
            self._fail("Address already in use", Reason.PORT_TAKEN)
        elif self.hangs:
            self._then(10.0, self._check)
        elif not cluster.sessions.up or host.cut:
            if self.engine.now() - self.started_at > 18.0:
                self._fail("Timed out waiting for connection")
            else:
                self._then(1.0, self._check)
        elif cluster.mode is Mode.KRAFT and any(v.node_id is None for v in self.volumes):
            self._fail("No meta.properties found", Reason.BAD_CONFIGURATION)
        elif any(v.cluster_id not in (None, cluster.cluster_id) for v in self.volumes):
            self._fail("InconsistentClusterId", Reason.CLUSTER_ID_MISMATCH)
        else:
            for volume in self.volumes:
                volume.node_id, volume.cluster_id = self.node_id, cluster.cluster_id
            self._then(self._lasts["load"], self._load)

    def _load(self) -> None:
        log = self.host.log
        log.write("Loading logs")
        clean = all(v.clean or not v.records for v in self.volumes)
        for volume in self.volumes:
            volume.clean = False
        if clean:
            self._register()
            return
        self.phase = Phase.RECOVERING
        log.recovered, log.total = 0, 10
        step = self.engine.rng.choice((0.05, 0.2, 0.2, 3.0))
        self._recover(step)

    def _recover(self, step: float) -> None:
        log = self.host.log
        if log.recovered is None or log.total is None:
            log.recovered, log.total = 0, 10
        if log.recovered >= log.total:
            self._register()
            return
        log.recovered += 1
        log.write(f"Completed load ({log.recovered}/{log.total})")
        self._then(step, lambda: self._recover(step))

    def _register(self) -> None:
        self.phase = Phase.REGISTERING
        if not self.cluster.sessions.up or self.host.cut:
            self._then(1.0, self._register)
            return
        if not self.cluster.register(self):
            if self.cluster.mode is Mode.ZOOKEEPER:
                self._fail("Error while creating ephemeral at /brokers/ids: NodeExists")
            else:
                self._then(0.5, self._register)
            return
        self.registered_once = True
        self._then(0.4, self._serve)

    def _serve(self) -> None:
        self.phase = Phase.SERVING
        self.served_once, self.serving_since = True, self.engine.now()
        self.host.log.write("started (kafka.server.KafkaServer)")
        self.engine.say(self.host.name, f"Kafka {self.identity.pid} serves")
        self.cluster.changed()

    def session_ended(self) -> None:
        """Its session expired while it lives: it registers anew, 2 s after it can."""
        if self.alive and self.registered_once and not self.deaf:
            self._then(2.0, self._again)

    def _again(self) -> None:
        if self.phase is Phase.STOPPING or self.deaf or self.cluster.is_registered(self):
            return
        if not self.cluster.sessions.up or self.host.cut or not self.cluster.register(self):
            self._then(1.0, self._again)

    def _stopped(self) -> None:
        if self.hangs:
            return
        if (not self.cluster.sessions.up or self.host.cut) and self.cluster.mode is Mode.ZOOKEEPER:
            self._then(1.0, self._stopped)  # a stopping broker hangs while its ZooKeeper is gone
            return
        for volume in self.volumes:
            volume.clean = True
        self.ended_clean = True
        if not self.host.cut:
            self.cluster.unregister_own(self)
        self._end(code=143, cause="stopped cleanly")

    def _end(self, *, cause: str, code: int | None = None, signal: int | None = None) -> None:
        if not self.alive:
            return
        self.phase = Phase.DEAD
        self.exit_code, self.exit_signal = code, signal
        self.ended_at = self.engine.now()
        self.host.processes.remove(self)
        for volume in self.volumes:
            if volume.locked_by is self:
                volume.locked_by = None
        if self.session is not None:
            self.cluster.sessions.lose(self.session)
        if code is not None:
            self.engine.say(self.host.name, f"Kafka {self.identity.pid} ends: {cause}")
        self.cluster.emit(Ended(self.host, self, cause))
        watchers, self.watchers = self.watchers, []
        for watcher in watchers:
            watcher()
