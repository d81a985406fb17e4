"""Slow actions with their fates: done, its reply lost, executed long after its caller gave up, never sent.

A request that is on the wire outlives the daemon that sent it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from bubuku.core.actions import (
    Action,
    Fence,
    FormatDirs,
    JoinMarker,
    Outcome,
    RaiseFence,
    RecordDesired,
    Result,
)
from bubuku.core.model import Mode
from tests.sim.events import FenceAsked

if TYPE_CHECKING:
    from tests.sim.daemon import SimDaemon

DEADLINE = 3.0
# A request that was given up is executed at the latest so long after its deadline: a broker carries one to Kafka's
# controllers for a minute, which is what an unknown outcome is waited for; one to ZooKeeper ends with its session.
LONGEST_DELAY = {Mode.KRAFT: 55.0, Mode.ZOOKEEPER: 60.0}
Request = Callable[[], Outcome]


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
        self._daemon.point()
        if isinstance(action, Fence):
            self._daemon.world.cluster.emit(FenceAsked(self._daemon.host))
        self._outcomes[kind] = Outcome(Result.RUNNING, now)
        if isinstance(action, FormatDirs):
            self._after(0.5, lambda: self._done(kind, now, self._format(action)))
        else:
            self._after(self._latency(), lambda: self._send(action, now))
        self._daemon.point()
        return True

    def _latency(self) -> float:
        return self._daemon.engine.rng.uniform(0.002, 0.05)

    def _after(self, seconds: float, act: Callable[[], None]) -> None:
        """Only while this daemon lives."""
        daemon = self._daemon

        def go() -> None:
            if daemon.alive:
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
            engine.after(self._latency(), request)
            self._after(DEADLINE, lambda: self._unknown(kind, begun))
        else:
            self._deliver(kind, begun, request)

    def _deliver(self, kind: type, begun: float, request: Request) -> None:
        def execute() -> None:
            outcome = request()
            self._after(self._latency(), lambda: self._done(kind, begun, outcome))

        self._daemon.engine.after(self._latency(), execute)

    def _executed_late(self, action: Action, request: Request) -> Callable[[], None]:
        """ZooKeeper drops what comes from a session that has ended; a Kafka controller does not."""
        daemon = self._daemon
        session = daemon.coordination.session

        def execute() -> None:
            kafkas = isinstance(action, Fence) and daemon.world.mode is Mode.KRAFT
            if not kafkas and (session is None or session.expired or not daemon.world.zookeeper.up):
                return
            if kafkas and not daemon.world.cluster.sessions.up:
                return
            daemon.engine.say(daemon.host.name, f"a late {type(action).__name__} is executed")
            request()

        return execute

    def _server_up(self, action: Action) -> bool:
        world = self._daemon.world
        return world.cluster.sessions.up if isinstance(action, Fence) else world.zookeeper.up

    def _unknown(self, kind: type, begun: float) -> None:
        self._done(kind, begun, Outcome(Result.UNKNOWN, begun, detail="no reply in time; it may still happen"))

    def _done(self, kind: type, begun: float, outcome: Outcome) -> None:
        ended = self._daemon.engine.now()
        self._outcomes[kind] = Outcome(outcome.result, begun, ended, outcome.detail, outcome.data)
        self._daemon.wake()
