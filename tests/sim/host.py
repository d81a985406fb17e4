"""A host: disks that survive reboots, the state file, the Kafka processes that run on it, its settings."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from bubuku.core.model import LogDir, Record
from bubuku.core.shared import ProcessId

if TYPE_CHECKING:
    from tests.sim.kafka_process import KafkaProcess

DISK_BYTES = 100 << 30
WRONG_IDS = 50  # a configured node id above these is a mistake


@dataclass(eq=False)
class Volume:
    """One disk: what Kafka and bubuku wrote on it."""

    name: str
    marker: str | None = None
    node_id: int | None = None
    cluster_id: str | None = None
    clean: bool = False
    records: dict[str, int] = field(default_factory=dict)  # partition → how many of its records it has
    locked_by: KafkaProcess | None = None

    @property
    def holds_data(self) -> bool:
        return self.node_id is not None


@dataclass
class KafkaLog:
    """What Kafka's log says since it was last begun anew."""

    lines: int = 0
    recovered: int | None = None
    total: int | None = None
    fatal: str | None = None
    fatal_line: str | None = None
    last: tuple[str, ...] = ()

    def write(self, line: str) -> None:
        self.lines += 1
        self.last = (*self.last[-2:], line)


@dataclass
class Settings:
    """What an operator configured."""

    node_id: int | None
    cluster_id: str | None = None
    adopt_running: bool = False
    accept_empty: bool = False
    instant_failover: bool = True
    graceful_terminate: bool = False
    revision: int = 1
    template_broken: bool = False  # server.properties cannot be made of it
    refused_by_kafka: bool = False  # Kafka exits on it
    addresses: tuple[str, ...] | None = None  # of ZooKeeper, as its list can be read; None: there is none to follow
    addresses_error: str | None = None  # why it cannot be read now


@dataclass(eq=False)
class Host:
    """`mounts`: log dir → the volume that is there now; `fstab`: the one that belongs there."""

    name: str
    node_id: int
    settings: Settings
    mounts: dict[str, Volume]
    fstab: dict[str, Volume]
    cluster_id: str = "cluster-a"
    cluster_configured: bool = False
    number: int = 1
    boot: int = 1
    up: bool = True
    disk_full: bool = False
    state_disk_full: bool = False
    state_was_full: bool = False  # since then the state file may lag behind
    port_taken: bool = False
    port_held: bool = False  # …by a process that is seen
    cannot_execute: bool = False
    dirs_broken: bool = False
    start_hangs: bool = False  # the next Kafka makes no progress
    stop_hangs: bool = False  # the next one that is stopped on purpose never ends
    cut: bool = False  # it has no network
    cut_at: float | None = None  # the last time
    record: Record | None = None  # the state file
    rendered: int = 0
    log: KafkaLog = field(default_factory=KafkaLog)
    processes: list[KafkaProcess] = field(default_factory=list)  # alive
    systemd_restarts_foreign: bool = False
    slow: dict[str, float] = field(default_factory=dict)  # source → seconds that each reading takes
    newer: bool = False  # its daemon is of the next version
    pids: int = 100
    instances: int = 0

    @property
    def endpoint(self) -> str:
        return f"{self.name}:9092"

    @property
    def boot_id(self) -> str:
        return f"{self.name}-boot-{self.boot}"

    def next_identity(self, now: float) -> ProcessId:
        self.pids += 1
        return ProcessId(self.pids, int(now * 100), self.boot_id)

    @property
    def troubled(self) -> bool:
        """Something is wrong with it that hinders a start."""
        settings = self.settings
        wrong = settings.template_broken or settings.refused_by_kafka or (settings.node_id or 0) > WRONG_IDS
        wrong = wrong or settings.cluster_id not in (None, self.cluster_id) or self.mounts != self.fstab
        full = self.disk_full or self.state_disk_full or self.dirs_broken
        return wrong or full or self.port_taken or self.port_held or self.cannot_execute or self.cut or bool(self.slow)

    def correct(self) -> None:
        """The configured ids are right again."""
        settings = self.settings
        node_id = None if settings.node_id is None else self.node_id
        cluster_id = None if settings.cluster_id is None or not self.cluster_configured else self.cluster_id
        if (node_id, cluster_id) != (settings.node_id, settings.cluster_id):
            revision = settings.revision + 1
            self.settings = replace(settings, node_id=node_id, cluster_id=cluster_id, revision=revision)

    def log_dirs(self) -> tuple[LogDir, ...]:
        if self.dirs_broken:
            return tuple(LogDir(path, None, False, usable=False, error="Input/output error") for path in self.mounts)
        free = 1 << 20 if self.disk_full else DISK_BYTES // 2
        return tuple(
            LogDir(
                path=path,
                marker=volume.marker,
                holds_data=volume.holds_data,
                node_id=volume.node_id,
                cluster_id=volume.cluster_id,
                clean=volume.clean,
                total_bytes=DISK_BYTES,
                free_bytes=free,
            )
            for path, volume in self.mounts.items()
        )

    def digest(self) -> str:
        return f"settings-{self.settings.revision}"

    def save(self, record: Record) -> None:
        self.record = replace(record)
