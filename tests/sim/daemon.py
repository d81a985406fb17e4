"""One daemon: the real `Supervisor` on in-memory ports, ticked by the engine, killable at each of its writes."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

from bubuku.core.actions import Remember
from bubuku.core.model import BrokerState, ClusterView, CoordinationView, Dated, Role
from bubuku.core.observation import Decision, Policy, Published
from bubuku.core.reasons import Reason
from bubuku.operations import Operations
from bubuku.supervisor import Supervisor
from bubuku.verdicts import Verdicts
from tests.sim.events import RuleBrokenError
from tests.sim.host import Host
from tests.sim.kafka_admin import MemoryKafka
from tests.sim.kafka_cluster import SESSION_SECONDS
from tests.sim.meeting import MemoryCoordination, MemoryRegistrations
from tests.sim.ports import MemoryFiles, MemoryProcess, MemoryState
from tests.sim.readings import MemoryReadings
from tests.sim.slow import MemorySlow

if TYPE_CHECKING:
    from tests.sim.world import World

TICK = 1.0
STOP_DEADLINE, STOP_SILENCE = 20.0, 8.0  # a stop that hangs while ZooKeeper is away is ended
STABILITY = 2.0
WAKE_DELAY = 0.001
STEP_DELAY = 0.05  # busy readers wake the loop so soon


class DaemonKilled(BaseException):
    """kill -9 between two writes. Not an error: nothing in the daemon may catch it."""


class SimDaemon:
    """A daemon's life on `host`, from its start to its end; its successor is another one."""

    def __init__(self, world: World, host: Host) -> None:
        self.world, self.host, self.engine = world, host, world.engine
        self.alive = True
        self.terminating = False
        self.frozen_until: float | None = None
        self.when_thawed: list[Callable[[], None]] = []
        self.tick_began = 0.0
        self.in_cycle = False
        self.crash_in: int | None = None  # writes until it is killed
        self.state = MemoryState(self)
        self.instance = self.state.load().instance
        self.process = MemoryProcess(self)
        self.files = MemoryFiles(self)
        self.coordination = MemoryCoordination(world.zookeeper, cut=lambda: host.cut, newer=host.newer)
        self.registrations = MemoryRegistrations(world.cluster, host, self.node_id)
        self.kafka = MemoryKafka(world.cluster, host)
        self.slow = MemorySlow(self)
        self.readings = MemoryReadings(self)
        self._next: float | None = None
        self._state = BrokerState.NOT_RUNNING  # of its last cycle
        self._shown: tuple[BrokerState, Reason, tuple[str, ...]] | None = None
        self.supervisor = Supervisor(
            policy=self._policy,
            process=self.process,
            files=self.files,
            state=self.state,
            readings=self.readings,
            slow=self.slow,
            clock=self.engine,
            move=lambda _addresses: None,
        )
        self.coordination.start()
        self.supervisor.begin()
        self.wake_at(self.engine.now() + 0.1)
        if world.readers_first:
            self.engine.after(0.05, lambda: self.readings.snapshots() if self.alive else None)

    @property
    def published(self) -> Published | None:
        return self.supervisor.published

    @property
    def decision(self) -> Decision | None:
        return self.published.decision if self.published is not None else None

    def node_id(self) -> int | None:
        if self.published is not None:
            return self.published.node_id
        return self.state.load().node_id

    def _policy(self) -> Policy:
        settings, mode = self.host.settings, self.world.mode
        return Policy(
            mode=mode,
            roles=frozenset({Role.BROKER}),
            node_id=settings.node_id,
            host=self.host.name,
            cluster_id=settings.cluster_id,
            endpoints=(self.host.endpoint,),
            instant_failover=settings.instant_failover,
            adopt_running=settings.adopt_running,
            accept_empty=settings.accept_empty,
            session_timeout=SESSION_SECONDS[mode],
            startup_timeout=60.0,
            stop_deadline=STOP_DEADLINE,
            stop_silence=STOP_SILENCE,
            stability=STABILITY,
            addresses_settle=self.world.addresses_settle,
        )

    @cached_property
    def operations(self) -> Operations:
        """What its HTTP server does for those who ask."""
        return Operations(
            self.coordination.permits,
            self.coordination.changes,
            Verdicts(self.kafka, self.cluster_id, self._permitted, lambda: [], self._joined),
            self._met,
            self._cluster,
            self.engine,
            lambda: self.supervisor.record.marker,
        )

    def cluster_id(self) -> str | None:
        return next((v.cluster_id for v in self.host.mounts.values() if v.cluster_id is not None), None)

    def _cluster(self) -> Dated[ClusterView]:
        assert self.published is not None
        return self.published.observation.cluster

    def _met(self) -> Dated[CoordinationView]:
        assert self.published is not None
        return self.published.observation.coordination

    def _permitted(self) -> frozenset[int]:
        view = self._met().value
        return frozenset(view.permit.entries if view is not None and view.permit is not None else ())

    def _joined(self) -> frozenset[int]:
        view = self._met().value
        return frozenset() if view is None else view.joined

    # its end

    def point(self, moment: str) -> None:
        """A write, or an act: here it may be killed, frozen, or cut off."""
        if self.crash_in is not None:
            self.crash_in -= 1
            if self.crash_in < 0:
                raise DaemonKilled
        self.world.moment(moment, self, True)
        if not self.alive:
            raise DaemonKilled

    def die(self) -> None:
        if self.alive:
            self.engine.say(self.host.name, "the daemon is killed")
            self.alive = False
            self.coordination.die()
            self.world.daemon_died(self)

    @property
    def frozen(self) -> bool:
        return self.frozen_until is not None

    def freeze(self, seconds: float) -> None:
        """It does nothing for so long, and notices nothing. Its session is not kept alive; what it sent goes on."""
        if not self.alive or self.frozen:
            return
        self.engine.say(self.host.name, f"the daemon is frozen for {seconds:.1f} s")
        self.frozen_until = self.engine.now() + seconds
        if self.coordination.session is not None:
            self.world.zookeeper.sessions.lose(self.coordination.session)
        self.engine.at(self.frozen_until, self._thaw)

    def _thaw(self) -> None:
        self.frozen_until = None
        if not self.alive:
            return
        self.engine.say(self.host.name, "the daemon goes on")
        session = self.coordination.session
        if session is not None and not self.host.cut:
            self.world.zookeeper.sessions.resume(session)
        late, self.when_thawed = self.when_thawed, []
        for act in late:
            act()
        self.wake()

    def terminate(self) -> None:
        """SIGTERM with graceful_terminate: it takes Kafka with it."""
        self.engine.say(self.host.name, "the daemon is told to end, and to take Kafka with it")
        self.terminating = True
        self.wake()

    # its loop

    def wake(self) -> None:
        self.wake_at(self.engine.now() + WAKE_DELAY)

    def wake_at(self, when: float) -> None:
        if self._next is None or when < self._next:
            self._next = when
            self.engine.at(when, self._turn(when))

    def _turn(self, when: float) -> Callable[[], None]:
        def turn() -> None:
            if self.alive and self._next == when:
                self._next = None
                if not self.frozen and not self.in_cycle:
                    self._tick()

        return turn

    def _tick(self) -> None:
        self.tick_began = self.engine.now()
        self.wake_at(self.engine.now() + TICK)
        self.in_cycle = True  # it may be frozen in the middle, and the world goes on
        try:
            published = self.supervisor.tick(terminate=self.terminating)
        except DaemonKilled:
            self.die()
            return
        finally:
            self.in_cycle = False
        if self._next is None:
            self.wake()
        self.world.covered.cycle(self._state, published)
        self._state = published.decision.state
        self._tell(published)
        if published.decision.actions:
            self.wake_at(self.engine.now() + STEP_DELAY)
        if published.decision.reason is Reason.INVARIANT:
            raise RuleBrokenError(f"{self.host.name}: the core broke its own rule: {published.decision.sentence}")
        if self.terminating and published.observation.process.identity is None:
            self.engine.say(self.host.name, "the daemon ends")
            self.alive = False
            self.coordination.close()
            self.world.daemon_died(self)

    def _tell(self, published: Published) -> None:
        decision = published.decision
        names = tuple(type(a).__name__ for a in decision.actions if not isinstance(a, Remember))
        shown = (decision.state, decision.reason, names)
        same = self._shown is not None and shown[:2] == self._shown[:2]
        if shown == self._shown or (same and not names):
            return
        self._shown = shown
        done = f" → {', '.join(names)}" if names else ""
        self.engine.say(self.host.name, f"{decision.state} · {decision.reason} · {decision.sentence}{done}")
