"""Slow actions with their fates: done, its reply lost, executed long after its caller gave up, never sent.

A request that is on the wire outlives the daemon that sent it, and so does the helper that sends SIGTERM, which dies
of its own timer.
"""

from __future__ import annotations

import signal as signals
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from bubuku.core.actions import (
    Action,
    DropPermit,
    ElectPreferred,
    Fence,
    FindBatch,
    FormatDirs,
    JoinMarker,
    Judge,
    Outcome,
    RaiseFence,
    RecordDesired,
    RestPermit,
    Result,
    SendStop,
    SettlePermit,
    TakePermit,
    WriteChange,
)
from bubuku.core.batches import following
from bubuku.core.errors import UnavailableError
from bubuku.core.guard import judge
from bubuku.core.model import Mode
from bubuku.daemon.handlers import AFTERWARDS
from tests.sim.agreed import Request
from tests.sim.events import FenceAsked, Forced, Signalled

if TYPE_CHECKING:
    from tests.sim.daemon import SimDaemon

DEADLINE = 3.0
EVIDENCE_DEADLINE = 5.0
HELPER_SECONDS = 6.0  # a frozen one is thawed within
# A request that was given up is executed at the latest so long after its deadline: a broker carries one to Kafka's
# controllers for a minute, which is what an unknown outcome is waited for; one to ZooKeeper ends with its session.
LONGEST_DELAY = {Mode.KRAFT: 55.0, Mode.ZOOKEEPER: 60.0}
AGREED = (TakePermit, DropPermit, RestPermit, SettlePermit, WriteChange)  # compare-and-set, by `tests.sim.agreed`


class MemorySlow:
    """Implements `supervisor.SlowActions`."""

    def __init__(self, daemon: SimDaemon) -> None:
        self._daemon = daemon
        self._outcomes: dict[type, Outcome] = {}

    def outcomes(self) -> Mapping[type, Outcome]:
        return dict(self._outcomes)

    def submit(self, action: Action, now: float) -> bool:
        kind = type(action)
        running = self._outcomes.get(kind)
        if running is not None and running.result is Result.RUNNING:
            return False
        self._daemon.point(f"before {kind.__name__}")
        if isinstance(action, Fence):
            self._daemon.world.cluster.emit(FenceAsked(self._daemon.host))
        if isinstance(action, TakePermit) and self._daemon.terminating:
            self._daemon.world.cluster.emit(Forced(self._daemon.host, action.entry.token))
        self._outcomes[kind] = Outcome(Result.RUNNING, now)
        if isinstance(action, FormatDirs):
            self._after(0.5, lambda: self._done(kind, now, self._format(action)))
        elif isinstance(action, SendStop):
            self._run_helper(action, now)
        elif isinstance(action, Judge):
            self._after(self._latency(), lambda: self._judge(action, now))
        elif isinstance(action, FindBatch):
            self._after(self._latency(), lambda: self._done(kind, now, self._find_batch(action, now)))
        else:
            self._after(self._latency(), lambda: self._send(action, now))
        self._daemon.point(f"after {kind.__name__}")
        return True

    def _latency(self) -> float:
        return self._daemon.engine.rng.uniform(0.002, 0.05)

    def _after(self, seconds: float, act: Callable[[], None]) -> None:
        """Only while this daemon lives."""
        daemon = self._daemon

        def go() -> None:
            if daemon.alive and daemon.frozen:
                daemon.when_thawed.append(go)
            elif daemon.alive:
                act()

        daemon.engine.after(seconds, go)

    def _format(self, action: FormatDirs) -> Outcome:
        return self._daemon.files.format(action.paths, action.cluster_id, 60.0)

    def _request(self, action: Action) -> Outcome | Request:
        daemon = self._daemon
        if isinstance(action, Fence):
            return daemon.registrations.prepare_fence(action.expected)
        if isinstance(action, RaiseFence):
            return lambda: daemon.registrations.raise_fence(action.node_id, DEADLINE)
        if isinstance(action, RecordDesired):
            return lambda: daemon.coordination.record_desired(action.node_id, action.desired, DEADLINE)
        if isinstance(action, WriteChange):
            return daemon.coordination.changes.prepare(action)
        if isinstance(action, TakePermit | DropPermit | RestPermit | SettlePermit):
            return daemon.coordination.permits.prepare(action)
        if isinstance(action, ElectPreferred):
            return lambda: self._elect(action)
        assert isinstance(action, JoinMarker)
        return lambda: daemon.coordination.join_marker(action.cluster_id, DEADLINE)

    def _send(self, action: Action, begun: float) -> None:
        kind, engine = type(action), self._daemon.engine
        request = self._request(action)
        if isinstance(request, Outcome):
            self._done(kind, begun, request)
            return
        fate = self._daemon.world.fates(engine.rng)
        if not self._server_up(action):
            fate = "late" if fate == "late" else "not sent"
        if fate == "not sent":
            self._after(DEADLINE, lambda: self._done(kind, begun, Outcome(Result.FAILED, begun, detail="not sent")))
        elif fate == "late":
            longest = LONGEST_DELAY[self._daemon.world.mode]
            engine.after(DEADLINE + engine.rng.uniform(-1.0, longest), self._executed_late(action, request))
            self._after(DEADLINE, lambda: self._unknown(kind, begun))
        elif fate == "reply lost":
            reaches = self._reaches(action)
            engine.after(self._latency(), lambda: request() if reaches() else None)
            self._after(DEADLINE, lambda: self._unknown(kind, begun))
        else:
            self._deliver(action, begun, request)

    def _reaches(self, action: Action) -> Callable[[], bool]:
        """Whether a compare-and-set that is sent now still has its session when it is there."""
        session, zookeeper = self._daemon.coordination.session, self._daemon.world.zookeeper

        def reaches() -> bool:
            lost = session is None or session.expired or not zookeeper.up
            return not (lost and isinstance(action, AGREED))

        return reaches

    def _deliver(self, action: Action, begun: float, request: Request) -> None:
        reaches = self._reaches(action)

        def execute() -> None:
            if not reaches():
                self._after(DEADLINE, lambda: self._unknown(type(action), begun))
                return
            outcome = request()
            self._daemon.world.moment(f"{type(action).__name__} executed", self._daemon, False)
            if outcome is None:  # another version stands by now
                self._after(self._latency(), lambda: self._send(action, begun))
            else:
                self._after(self._latency(), lambda: self._done(type(action), begun, outcome))

        self._daemon.engine.after(self._latency(), execute)

    def _judge(self, action: Judge, begun: float) -> None:
        """What is seen is seen now; the verdict is there a moment later, or seconds."""
        engine, node_id = self._daemon.engine, action.node_id
        fate = self._daemon.world.fates(engine.rng)
        stopping = frozenset({node_id})
        try:
            if fate in ("not sent", "reply lost"):
                raise UnavailableError("no Kafka broker answers in time")
            evidence = self._daemon.kafka.evidence(stopping, action.permitted, self._daemon.cluster_id(), 0.0)
        except UnavailableError as error:
            failed = Outcome(Result.FAILED, begun, detail=str(error))
            self._after(EVIDENCE_DEADLINE, lambda: self._done(Judge, begun, failed))
            return
        evidence = replace(evidence, joined=action.joined, settled=action.settled)
        verdict = judge(stopping, evidence, action.accept_unavailable)
        in_sync = tuple(f"{p.topic}-{p.partition}" for p in evidence.partitions if node_id in p.isr)
        data = {"verdict": verdict, "in_sync": in_sync, "version": action.version}
        takes = engine.rng.uniform(0.5, EVIDENCE_DEADLINE) if fate == "late" else engine.rng.uniform(0.02, 0.3)
        self._after(takes, lambda: self._done(Judge, begun, Outcome(Result.DONE, begun, data=data)))

    def _find_batch(self, action: FindBatch, begun: float) -> Outcome:
        try:
            evidence = self._daemon.kafka.evidence(
                frozenset(action.order), action.permitted, self._daemon.cluster_id(), 0.0, planning=True
            )
        except UnavailableError as error:
            return Outcome(Result.FAILED, begun, detail=str(error))
        evidence = replace(evidence, joined=action.joined)
        batch = following(action.order, action.alone, evidence, action.limit, action.accept_unavailable)
        return Outcome(Result.DONE, begun, data={"step": action.step, "batch": batch})

    def _elect(self, action: ElectPreferred) -> Outcome:
        now = self._daemon.engine.now()
        try:
            self._daemon.kafka.elect_preferred(action.partitions, DEADLINE)
        except UnavailableError as error:
            return Outcome(Result.FAILED, now, detail=str(error))
        return Outcome(Result.DONE, now)

    def _run_helper(self, action: SendStop, begun: float) -> None:
        """A process of its own: it outlives its daemon, but not its host."""
        daemon, engine, host = self._daemon, self._daemon.engine, self._daemon.host
        fate, boot = daemon.world.fates(engine.rng), host.boot

        def fire() -> None:
            outcome = Outcome(Result.REFUSED, begun, detail="too late: the verdict is too old")
            if host.up and host.boot == boot and engine.now() < action.deadline:
                outcome = self._sigterm(action, begun)
            if fate == "reply lost":  # something killed the helper
                outcome = Outcome(Result.UNKNOWN, begun, detail="the helper that stops Kafka ended with status -9")
            self._after(self._latency(), lambda: self._done(SendStop, begun, outcome))

        if fate == "not sent":
            failed = Outcome(Result.FAILED, begun, detail="the helper that stops Kafka cannot be started")
            self._after(self._latency(), lambda: self._done(SendStop, begun, failed))
        elif fate == "late":
            engine.after(engine.rng.uniform(0.1, HELPER_SECONDS), fire)
        else:
            engine.after(self._latency(), fire)

    def _sigterm(self, action: SendStop, begun: float) -> Outcome:
        host, cluster = self._daemon.host, self._daemon.world.cluster
        process = next((p for p in host.processes if p.identity == action.identity), None)
        if process is None:
            return Outcome(Result.REFUSED, begun, detail=f"process {action.identity.pid} is gone")
        daemon = self._daemon
        daemon.engine.say(host.name, f"SIGTERM to Kafka {process.identity.pid}")
        cluster.emit(Signalled(host, process, signals.SIGTERM, False, permitted=True))
        process.hangs, host.stop_hangs = host.stop_hangs, False
        process.sigterm()
        daemon.world.moment("SIGTERM sent", daemon, False)
        return Outcome(Result.DONE, begun, data={"process": action.identity})

    def _executed_late(self, action: Action, request: Request) -> Callable[[], None]:
        """ZooKeeper drops what comes from a session that has ended; a Kafka controller does not."""
        daemon = self._daemon
        session = daemon.coordination.session

        def execute() -> None:
            kafkas = isinstance(action, ElectPreferred) or (
                isinstance(action, Fence) and daemon.world.mode is Mode.KRAFT
            )
            if not kafkas and (session is None or session.expired or not daemon.world.zookeeper.up):
                return
            if kafkas and not daemon.world.cluster.sessions.up:
                return
            daemon.engine.say(daemon.host.name, f"a late {type(action).__name__} is executed")
            request()
            daemon.world.moment(f"late {type(action).__name__} executed", daemon, False)

        return execute

    def _server_up(self, action: Action) -> bool:
        world = self._daemon.world
        if self._daemon.host.cut:
            return False
        return world.cluster.sessions.up if isinstance(action, Fence | ElectPreferred) else world.zookeeper.up

    def _unknown(self, kind: type, begun: float) -> None:
        self._done(kind, begun, Outcome(Result.UNKNOWN, begun, detail="no reply in time; it may still happen"))

    def _done(self, kind: type, begun: float, outcome: Outcome) -> None:
        ended = self._daemon.engine.now()
        self._outcomes[kind] = Outcome(outcome.result, begun, ended, outcome.detail, outcome.data)
        if kind in AGREED or kind is ElectPreferred:
            self._daemon.readings.wake(*AFTERWARDS[kind])
        self._daemon.wake()
