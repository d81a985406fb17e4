"""The Kafka cluster as seen from outside: registrations, elections, replication, acknowledged records.

A partition's log is a prefix: a replica *has* the first n records. A record is acknowledged when each in-sync replica
has it. Leaders are elected out of the in-sync replicas alone (no unclean election). So a leader that has fewer records
than were acknowledged is a loss, and the checkers are told.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from bubuku.core.model import BrokerNode, Cluster, Mode, Partition, Registration
from tests.sim.engine import Engine
from tests.sim.events import Event, Lost
from tests.sim.kafka_process import KafkaProcess
from tests.sim.zookeeper import Session, Sessions, ZooKeeper

SESSION_SECONDS = {Mode.ZOOKEEPER: 18.0, Mode.KRAFT: 9.0}


@dataclass(eq=False)
class Part:
    name: str
    replicas: tuple[int, ...]
    leader: int = -1
    isr: tuple[int, ...] = ()
    acked: int = 0
    left: dict[int, float] = field(default_factory=dict)  # broker → when it last fell out of the ISR, for the checkers
    joined: dict[int, float] = field(default_factory=dict)

    def shrink(self, isr: tuple[int, ...], now: float) -> None:
        self.left.update((n, now) for n in self.isr if n not in isr)
        self.isr = isr


@dataclass(eq=False)
class Entry:
    """One registration: a znode of `/brokers/ids`, or the quorum's record of a broker."""

    registration: Registration
    session: Session
    process: KafkaProcess


@dataclass(eq=False)
class KafkaCluster:
    engine: Engine
    mode: Mode
    zookeeper: ZooKeeper
    listeners: list[Callable[[Event], None]] = field(default_factory=list)
    cluster_id: str = "cluster-a"
    parts: list[Part] = field(default_factory=list)
    entries: dict[int, Entry] = field(default_factory=dict)
    controller: int | None = None
    controller_session: Session | None = None
    min_isr: int = 1
    elects_controller: bool = True  # False: a test says who is the controller
    removed: dict[int, float] = field(default_factory=dict)  # broker → when its registration went, for the checkers
    added: dict[int, float] = field(default_factory=dict)  # …and when it came
    _due: bool = False

    def __post_init__(self) -> None:
        self.quorum = Sessions(self.engine)

    @property
    def sessions(self) -> Sessions:
        return self.zookeeper.sessions if self.mode is Mode.ZOOKEEPER else self.quorum

    def emit(self, event: Event) -> None:
        for listener in self.listeners:
            listener(event)

    # registration

    def is_registered(self, process: KafkaProcess) -> bool:
        entry = self.entries.get(process.node_id)
        return entry is not None and entry.process is process

    def register(self, process: KafkaProcess) -> bool:
        """False: another registration of this id stands."""
        standing = self.entries.get(process.node_id)
        if standing is not None and (standing.process is not process or self.mode is Mode.ZOOKEEPER):
            return False
        session: Session

        def expired() -> None:
            if self.entries.get(process.node_id) is entry:
                self.remove(entry)
            if self.controller_session is session:
                self.depose()
            process.session_ended()

        session = self.sessions.open(SESSION_SECONDS[self.mode], expired)
        process.session = session
        czxid = self.zookeeper.next_zxid()
        registration = Registration(process.node_id, (process.host.endpoint,))
        if self.mode is Mode.ZOOKEEPER:
            content = f'{{"endpoints":["PLAINTEXT://{process.host.endpoint}"]}}'
            registration = Registration(process.node_id, (process.host.endpoint,), czxid, session.number, content)
        entry = Entry(registration, session, process)
        self.entries[process.node_id] = entry
        self.added[process.node_id] = self.engine.now()
        if self.mode is Mode.ZOOKEEPER and self.controller is None and self.elects_controller:
            self.controller, self.controller_session = process.node_id, session
        self.changed()
        return True

    def remove(self, entry: Entry) -> None:
        """The registration goes; its holder, where it lives, is not asked."""
        if self.entries.get(entry.registration.node_id) is entry:
            del self.entries[entry.registration.node_id]
            self.removed[entry.registration.node_id] = self.engine.now()
            self.changed()

    def unregister_own(self, process: KafkaProcess) -> None:
        if process.session is not None and self.sessions.up:
            self.sessions.end(process.session)

    def fence(self, entry: Entry) -> None:
        """Remove by a fence. A live holder never registers again (seen on real brokers).

        One that an operator started by hand while a fence was on its way is spared: nobody could have known.
        """
        if entry.process.alive and entry.process.instance is not None:
            entry.process.deaf = True
        controls = self.mode is Mode.ZOOKEEPER and self.controller_session is entry.session
        self.remove(entry)
        if entry.process.alive and not entry.process.deaf:
            entry.process.session_ended()
        if controls:
            self.depose()

    def depose(self) -> None:
        """`/controller` goes; another one is elected shortly."""
        self.controller = self.controller_session = None

        def elect() -> None:
            if self.controller is None and self.sessions.up and self.elects_controller:
                alive = [e for e in self.entries.values() if e.process.alive and e.session.lost_at is None]
                if alive:
                    self.controller, self.controller_session = alive[0].registration.node_id, alive[0].session
                    self.changed()

        self.engine.after(0.3, elect)

    # elections and replication

    def changed(self) -> None:
        """Something that leaders depend on changed: the controller looks at it shortly."""
        if not self._due:
            self._due = True
            self.engine.after(0.2, self._reconcile)

    def _reconcile(self) -> None:
        self._due = False
        if not self.sessions.up:
            return
        if self.mode is Mode.ZOOKEEPER:
            session = self.controller_session
            if session is None or session.lost_at is not None:
                return  # a dead controller elects nobody
        live = {n for n, e in self.entries.items() if self._leads(e.process)}
        for part in self.parts:
            if part.leader in live:
                part.shrink(tuple(n for n in part.isr if n in live), self.engine.now())
                continue
            candidates = [n for n in part.replicas if n in part.isr and n in live]
            if candidates:
                self._lead(part, candidates[0])
                part.shrink(tuple(n for n in part.isr if n in live), self.engine.now())
            else:
                part.leader = -1

    def _leads(self, process: KafkaProcess) -> bool:
        return process.registered_once and process.phase.value in ("serving", "registering")

    def _lead(self, part: Part, node_id: int) -> None:
        part.leader = node_id
        has = self.has(part, node_id)
        if has < part.acked:
            self.emit(Lost(part.name, node_id, has, part.acked))

    def leave(self, process: KafkaProcess) -> None:
        """Controlled shutdown: leaders move away first, where another in-sync replica lives."""
        live = {n for n, e in self.entries.items() if e.process is not process and self._leads(e.process)}
        for part in self.parts:
            others = tuple(n for n in part.isr if n in live)
            if others and process.node_id in part.isr:
                part.shrink(others, self.engine.now())
                if part.leader == process.node_id:
                    self._lead(part, others[0])

    def elect_preferred(self, names: set[str]) -> None:
        """The first replica leads, where it is in sync and lives."""
        for part in self.parts:
            first = part.replicas[0]
            entry = self.entries.get(first)
            if part.name in names and first in part.isr and entry is not None and self._leads(entry.process):
                self._lead(part, first)

    def process_of(self, node_id: int) -> KafkaProcess | None:
        entry = self.entries.get(node_id)
        return entry.process if entry is not None else None

    def has(self, part: Part, node_id: int) -> int:
        process = self.process_of(node_id)
        if process is None:
            return 0
        return max(volume.records.get(part.name, 0) for volume in process.volumes)

    def _write(self, part: Part, node_id: int, count: int) -> None:
        process = self.process_of(node_id)
        if process is not None:
            has_it = [v for v in process.volumes if part.name in v.records]
            volume = has_it[0] if has_it else process.volumes[sum(part.name.encode()) % len(process.volumes)]
            volume.records[part.name] = count

    def _works(self, node_id: int) -> bool:
        process = self.process_of(node_id)
        return process is not None and process.answers

    def produce(self) -> None:
        """One record to each partition; acknowledged only where every in-sync replica takes it."""
        for part in self.parts:
            if part.leader < 0 or not self._works(part.leader):
                continue
            self._catch_up(part)
            if len(part.isr) >= self.min_isr and all(self._works(n) for n in part.isr):
                part.acked += 1
                for node_id in part.isr:
                    self._write(part, node_id, part.acked)

    def _catch_up(self, part: Part) -> None:
        """Followers copy the leader's log, cutting off what it does not have, and are in sync then."""
        if len(part.isr) == len(part.replicas):
            return
        for node_id in part.replicas:
            if node_id not in part.isr and self._works(node_id):
                self._write(part, node_id, self.has(part, part.leader))
                part.isr = (*part.isr, node_id)
                part.joined[node_id] = self.engine.now()

    # what clients see

    def metadata(self, exclude: int | None) -> Cluster | None:
        """From a live broker, another one than `exclude` where there is one; None: nobody answers."""
        working = [e for e in self.entries.values() if e.process.answers]
        answering = next((e for e in working if e.registration.node_id != exclude), working[0] if working else None)
        if answering is None:
            return None
        brokers = tuple(BrokerNode(n, e.process.host.name, 9092) for n, e in self.entries.items())
        parts = tuple(Partition(p.name, 0, p.leader, p.replicas, p.isr) for p in self.parts)
        return Cluster(self.cluster_id, self.controller, brokers, parts, answering.process.host.endpoint)
