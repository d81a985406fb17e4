"""The whole: engine, ZooKeeper, the Kafka cluster, hosts with their daemons, and what restarts daemons (systemd)."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from bubuku.core.model import BrokerState, Mode
from tests.sim.covered import Covered
from tests.sim.daemon import SimDaemon
from tests.sim.engine import Engine
from tests.sim.events import Event, Started
from tests.sim.host import Host, Settings, Volume
from tests.sim.kafka_cluster import KafkaCluster, Part
from tests.sim.kafka_process import KafkaProcess
from tests.sim.zookeeper import ZooKeeper

DAEMON_RESTART_SECONDS = 2.0


@dataclass(frozen=True)
class Shape:
    """What the cluster is before anything happens."""

    mode: Mode = Mode.ZOOKEEPER
    brokers: int = 3
    dirs: int = 1
    fresh: bool = False  # no broker ever ran
    ids_configured: bool = True
    instant_failover: bool = True
    readers_first: bool = False  # a daemon's readers have read before its first cycle, and take no time
    addresses_settle: float = 180.0


def usual_fates(rng: random.Random) -> str:
    return "done"


class World:
    """`daemons`: host → the daemon that lives there now (None between two)."""

    def __init__(self, seed: int, shape: Shape) -> None:
        self.engine = Engine(seed)
        self.mode = shape.mode
        self.zookeeper = ZooKeeper(self.engine)
        self.cluster = KafkaCluster(self.engine, shape.mode, self.zookeeper)
        self.covered = Covered()
        self.covered.listen(self)
        self.markers = 0
        self.readers_first = shape.readers_first
        self.addresses_settle = shape.addresses_settle
        self.mended = False  # nothing goes wrong any more
        self.hosts: list[Host] = []
        self.daemons: dict[Host, SimDaemon | None] = {}
        self.enabled: set[Host] = set()  # systemd starts their daemons again
        self.fates: Callable[[random.Random], str] = usual_fates
        self.moment: Callable[[str, SimDaemon, bool], None] = lambda _moment, _daemon, _inside: None
        for node_id in range(1, shape.brokers + 1):
            self._add(node_id, shape)
        self._partitions(shape.brokers)
        self._produce()

    def _add(self, node_id: int, shape: Shape) -> Host:
        mounts = {f"/data/{n}": Volume(f"disk-{node_id}-{n}") for n in range(1, shape.dirs + 1)}
        if not shape.fresh:
            for volume in mounts.values():
                volume.node_id, volume.cluster_id, volume.clean = node_id, self.cluster.cluster_id, True
        kraft = self.mode is Mode.KRAFT
        settings = Settings(
            node_id=node_id if shape.ids_configured or kraft else None,
            cluster_id=self.cluster.cluster_id if kraft else None,
            instant_failover=shape.instant_failover,
        )
        host = Host(f"host-{node_id}", node_id, settings, dict(mounts), dict(mounts), number=node_id)
        host.cluster_id, host.cluster_configured = self.cluster.cluster_id, kraft
        self.hosts.append(host)
        self.daemons[host] = None
        return host

    def _partitions(self, brokers: int) -> None:
        """Each broker leads one; replicated thrice where there are three. A fresh topic's replicas are all in sync."""
        ids = list(range(1, brokers + 1))
        factor = min(3, brokers)
        self.cluster.min_isr = 2 if factor == 3 else 1
        for at in range(brokers):
            replicas = tuple(ids[(at + k) % brokers] for k in range(factor))
            self.cluster.parts.append(Part(f"t{at}", replicas, isr=replicas))

    def _produce(self) -> None:
        self.cluster.produce()
        self.engine.after(1.5, self._produce)

    def listen(self, listener: Callable[[Event], None]) -> None:
        self.cluster.listeners.append(listener)

    # what happens to it

    def start_daemon(self, host: Host) -> SimDaemon | None:
        """systemd starts it; None where the host is down or one runs."""
        if not host.up or self.daemons[host] is not None:
            return None
        self.engine.say(host.name, "a daemon starts")
        daemon = SimDaemon(self, host)
        self.daemons[host] = daemon
        self.enabled.add(host)
        return daemon

    def start_all(self) -> None:
        for host in self.hosts:
            self.start_daemon(host)

    def daemon_died(self, daemon: SimDaemon) -> None:
        if self.daemons[daemon.host] is daemon:
            self.daemons[daemon.host] = None
            if daemon.host in self.enabled:
                self.engine.after(DAEMON_RESTART_SECONDS, lambda: self._restart(daemon.host))

    def _restart(self, host: Host) -> None:
        if host in self.enabled:
            self.start_daemon(host)

    def kafka(self, host: Host) -> KafkaProcess | None:
        return host.processes[0] if host.processes else None

    def start_kafka_by_hand(self, host: Host) -> KafkaProcess:
        self.engine.say(host.name, "an operator starts Kafka by hand")
        process = KafkaProcess(self.cluster, host, None)
        self.cluster.emit(Started(host, process, None))
        return process

    def host_down(self, host: Host) -> None:
        if not host.up:
            return
        self.engine.say(host.name, "the host goes down")
        host.up = False
        daemon = self.daemons[host]
        if daemon is not None:
            daemon.die()
        for process in list(host.processes):
            process.vanish()

    def host_up(self, host: Host) -> None:
        if host.up:
            return
        self.engine.say(host.name, "the host is up again")
        host.up = True
        host.boot += 1
        if host in self.enabled:
            self.engine.after(1.0, lambda: self._restart(host))

    def cut_off(self, host: Host) -> None:
        """Nobody reaches it, and it reaches nobody."""
        if host.cut or not host.up:
            return
        self.engine.say(host.name, "the host is cut off")
        host.cut, host.cut_at = True, self.engine.now()
        daemon = self.daemons[host]
        if daemon is not None and daemon.coordination.session is not None:
            self.zookeeper.sessions.lose(daemon.coordination.session)
        for process in host.processes:
            if process.session is not None:
                self.cluster.sessions.lose(process.session)

    def reconnect(self, host: Host) -> None:
        if not host.cut:
            return
        self.engine.say(host.name, "the host has its network again")
        host.cut = False
        daemon = self.daemons[host]
        if daemon is not None and not daemon.frozen and daemon.coordination.session is not None:
            self.zookeeper.sessions.resume(daemon.coordination.session)
        for process in host.processes:
            if process.session is not None and not process.suspended:
                self.cluster.sessions.resume(process.session)

    def add_twin(self, host: Host) -> Host:
        """Another host, configured by mistake with the node id of `host`, its disks empty."""
        settings = Settings(node_id=host.node_id, cluster_id=host.settings.cluster_id)
        mounts = {path: Volume(f"twin-{volume.name}") for path, volume in host.mounts.items()}
        twin = Host(f"twin-{host.node_id}", host.node_id, settings, mounts, dict(mounts), number=100 + host.number)
        self.hosts.append(twin)
        self.daemons[twin] = None
        return twin

    # how it is

    def serves(self, host: Host) -> bool:
        daemon = self.daemons[host]
        decision = daemon.decision if daemon is not None else None
        process = self.kafka(host)
        return (
            decision is not None
            and decision.state is BrokerState.SERVING
            and process is not None
            and process.answers
            and self.cluster.is_registered(process)
        )
