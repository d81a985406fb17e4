"""The loop: observe, decide, act. One thread, a tick a second, woken early by whatever matters.

Made and run by the daemon (and by the simulator, with in-memory ports and a virtual clock). It reads the snapshots that
reader threads published, never waits for them, and hands what is slow to the effects threads. What HTTP and metrics
show is one immutable `Published` a cycle.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from bubuku.core.actions import (
    SLOW,
    Action,
    AdoptBroker,
    DumpThreads,
    EndStalled,
    KillStuck,
    MarkDirs,
    Outcome,
    Remember,
    StartBroker,
    StopGracefully,
    UseAddresses,
)
from bubuku.core.decide import RETRY_SECONDS, decide
from bubuku.core.errors import BubukuError, InvariantError, UsageError
from bubuku.core.identity import node_id
from bubuku.core.memory import Memory
from bubuku.core.model import (
    BrokerState,
    ClusterView,
    CoordinationView,
    Dated,
    ForeignProcess,
    JmxView,
    LogDir,
    LogView,
    Record,
    RegistrationView,
)
from bubuku.core.observation import NOT_READ, Decision, Event, Observation, Policy, Published, Tally
from bubuku.core.reasons import Reason
from bubuku.core.shared import ProcessId
from bubuku.core.tally import counted
from bubuku.ports import BrokerFiles, BrokerProcess, Clock, StateFile

LOG = logging.getLogger(__name__)
EVENTS_KEPT = 50
LASTING_HOLD_SECONDS = 60.0  # a hold, or a stop on purpose, that lasts waits for people: no reading is in a hurry


@dataclass(frozen=True, slots=True)
class Snapshots:
    """The newest reading of each source."""

    log_dirs: Dated[tuple[LogDir, ...]]
    log: Dated[LogView]
    foreign: Dated[ForeignProcess | None]
    registration: Dated[RegistrationView]
    answers: Dated[bool]
    jmx: Dated[JmxView]
    cluster: Dated[ClusterView]
    coordination: Dated[CoordinationView]
    addresses: Dated[tuple[str, ...]] = NOT_READ
    differing: Dated[tuple[str, ...]] = NOT_READ


class Readings(Protocol):
    """Where snapshots come from: reader threads, or the simulator."""

    def snapshots(self) -> Snapshots: ...

    def broker_changed(self) -> None:
        """The process started or ended: read everything about it now."""

    def hurry(self, busy: bool, stopping: bool) -> None:
        """At rest readings may be rare; while something happens they must not be. `stopping`: what happens is a
        deliberate stop, which waits for nothing that the whole cluster's metadata would show within a second."""


class SlowActions(Protocol):
    def submit(self, action: Action, now: float) -> bool: ...

    def outcomes(self) -> Mapping[type, Outcome]: ...


class Supervisor:
    """Supervises the one broker of this host. Not thread-safe: `tick` belongs to the loop's thread.

    `move`: the daemon meets the others at these addresses of ZooKeeper from then on; it returns at once.
    """

    def __init__(
        self,
        *,
        policy: Callable[[], Policy],
        process: BrokerProcess,
        files: BrokerFiles,
        state: StateFile,
        readings: Readings,
        slow: SlowActions,
        clock: Clock,
        move: Callable[[tuple[str, ...]], None],
    ) -> None:
        self._move = move
        self._make_policy = policy
        self._process = process
        self._files = files
        self._state = state
        self._readings = readings
        self._slow = slow
        self._clock = clock
        self._policy = policy()
        self._record: Record = state.load()
        self._memory = Memory(since=clock.now())
        self._digest: str | None = None
        self._running: ProcessId | None = None
        self._invariant: str | None = None
        self._trouble: str | None = None  # why an act of the last cycle failed
        self._start_error: Dated[str] | None = None
        self._since_epoch = clock.wall()
        self.published: Published | None = None

    @property
    def record(self) -> Record:
        return self._record

    @property
    def running(self) -> ProcessId | None:
        """The process that is watched now. Any thread may ask."""
        return self._running

    def begin(self) -> None:
        """Adopt the broker that the last daemon left running, or learn that it is gone. Once, before the first tick."""
        if self._record.process is not None and self._process.adopt(self._record.process):
            LOG.info("adopted the running Kafka, pid %d", self._record.process.pid)
            self._running = self._record.process
            self._readings.broker_changed()

    def tick(self, terminate: bool = False, leaving: bool = False) -> Published:
        """One cycle. Raises nothing that a broken rule or a sick port causes: both are shown, and held."""
        began = self._clock.now()
        obs = self._observe(began, terminate, leaving)
        decision = self._decide(obs)
        trouble = self._perform(decision.actions, obs)
        if trouble is not None:
            decision = replace(decision, sentence=f"{decision.sentence} ({trouble})")
            if trouble != self._trouble:  # once, for as long as it lasts
                LOG.error("%s", trouble)
        self._trouble = trouble
        self.published = self._publish(began, obs, decision)
        waits = decision.state is BrokerState.HELD or decision.reason is Reason.STOPPED_ON_PURPOSE
        calm = (decision.state is BrokerState.SERVING and self._record.stop is None) or (
            waits and self.published.at - self.published.since >= LASTING_HOLD_SECONDS
        )
        self._readings.hurry(not calm, self._record.stop is not None)  # after it is shown: members read what is shown
        return self.published

    def _decide(self, obs: Observation) -> Decision:
        """What to do now. After a broken rule nothing, for good, save a stop that the daemon was told to make."""
        if self._invariant is None:
            try:
                self._memory, decision = decide(self._policy, self._memory, obs)
                return decision
            except InvariantError as error:
                LOG.critical("a rule of the design was about to be broken: %s", error)
                self._invariant = str(error)
        actions: tuple[Action, ...] = ()
        sent = self._memory.stop_sent_at
        if obs.terminate and obs.process.identity is not None and (sent is None or obs.now - sent >= RETRY_SECONDS):
            actions = (StopGracefully(obs.process.identity, "the daemon was told to end and to take Kafka with it"),)
            self._memory = replace(self._memory, stop_sent_at=obs.now)
        return Decision(BrokerState.HELD, Reason.INVARIANT, self._invariant, actions)

    def _observe(self, now: float, terminate: bool, leaving: bool) -> Observation:
        before = self._process.exit_fd()
        process = self._process.view()
        self._running = process.identity
        if process.identity is not None:
            self._start_error = None
        if before is not None and process.identity is None:
            self._readings.broker_changed()
        digest, error = self._settings(process.identity is None)
        seen = self._readings.snapshots()
        return Observation(
            now=now,
            wall=self._clock.wall(),
            record=self._record,
            process=process,
            settings_digest=digest,
            settings_error=error,
            log_dirs=seen.log_dirs,
            log=seen.log,
            foreign=seen.foreign,
            registration=seen.registration,
            answers=seen.answers,
            jmx=seen.jmx,
            cluster=seen.cluster,
            coordination=seen.coordination,
            addresses=seen.addresses,
            differing=seen.differing,
            outcomes=self._slow.outcomes(),
            start_error=self._start_error,
            leaving=leaving or terminate,
            terminate=terminate,
        )

    def _settings(self, needed: bool) -> tuple[str | None, str | None]:
        """The digest of what server.properties should be, made anew while a start is considered."""
        if not needed and self._digest is not None:
            return self._digest, None
        try:
            self._digest = self._files.settings_digest()
            self._policy = self._make_policy()
        except UsageError as error:
            return None, str(error)
        return self._digest, None

    def _perform(self, actions: tuple[Action, ...], obs: Observation) -> str | None:
        """One after the other, up to the first that fails: what comes after rests on it. Returns that one's error."""
        for action in actions:
            try:
                if not self._act(action, obs):
                    return None
            except BubukuError as error:
                if isinstance(action, StartBroker):
                    self._start_error = Dated(obs.now, str(error))
                return f"{type(action).__name__} failed: {error}"
        return None

    def _act(self, action: Action, obs: Observation) -> bool:
        """Perform one action. False: it was not done, and no error either. Raises BubukuError."""
        if isinstance(action, SLOW):
            return self._slow.submit(action, obs.now)
        if isinstance(action, Remember):
            self._save(action.record)
        elif isinstance(action, UseAddresses):
            LOG.warning("%s", action.sentence)
            self._files.use_addresses(action.addresses)
            self._move(action.addresses)
            self._digest = None  # of the settings, which name them
        elif isinstance(action, StartBroker):
            self._start(action, obs)
        elif isinstance(action, AdoptBroker):
            LOG.warning("%s", action.sentence)
            adopted = self._process.adopt(action.identity)
            self._readings.broker_changed()
            return adopted
        elif isinstance(action, MarkDirs):
            self._files.mark(action.paths)
            self._readings.broker_changed()
        elif isinstance(action, StopGracefully):
            LOG.warning("%s", action.sentence)
            return self._process.signal(action.identity, signal.SIGTERM)
        elif isinstance(action, DumpThreads):
            self._process.signal(action.identity, signal.SIGQUIT)
        elif isinstance(action, KillStuck):
            LOG.warning("%s", action.sentence)
            return self._process.signal(action.identity, signal.SIGKILL)
        elif isinstance(action, EndStalled):
            LOG.warning("%s", action.sentence)
            return self._process.signal(action.identity, signal.SIGKILL if action.force else signal.SIGTERM)
        return True

    def _start(self, action: StartBroker, obs: Observation) -> None:
        changed = self._files.render()
        self._files.restart_log()
        identity = self._process.start()
        self._start_error = None
        self._running = identity
        self._readings.broker_changed()
        LOG.warning("%s (pid %d%s)", action.sentence, identity.pid, ", new settings" if changed else "")
        record = replace(
            self._record,
            process=identity,
            started_by_us=True,
            registration=None,
            settings_digest=obs.settings_digest,
            started_with=self._record.addresses,
            launch=self._policy.launch,
            stop_intent=False,
            counted=False,
            fencing=False,
        )
        self._save(record)

    def _save(self, record: Record) -> None:
        if record != self._record:
            self._state.save(record)
            self._record = record

    def _publish(self, began: float, obs: Observation, decision: Decision) -> Published:
        last = self.published
        ended, epoch = self._clock.now(), self._clock.wall()
        starts = dict(last.starts) if last is not None else {}
        fences = dict(last.fences) if last is not None else {}
        seconds = dict(last.seconds_in_state) if last is not None else {}
        events = last.events if last is not None else ()
        if last is not None:
            state = last.decision.state
            seconds[state] = seconds.get(state, 0.0) + max(0.0, ended - last.at)
            for kind, outcome in obs.outcomes.items():
                before = last.observation.outcomes.get(kind)
                if kind.__name__ == "Fence" and outcome.ended is not None and outcome != before:
                    fences[outcome.result.value] = fences.get(outcome.result.value, 0) + 1
        if any(isinstance(action, StartBroker) for action in decision.actions):
            starts[decision.reason] = starts.get(decision.reason, 0) + 1
        changed = last is None or (last.decision.state, last.decision.reason) != (decision.state, decision.reason)
        new_state = last is None or last.decision.state is not decision.state
        if changed:
            LOG.info("%s (%s): %s", decision.state, decision.reason, decision.sentence)
            events = (*events, Event(epoch, decision.reason, decision.state, decision.sentence))[-EVENTS_KEPT:]
        note = decision.note
        if note is not None and (last is None or last.decision.note != note):
            LOG.warning("%s", note.sentence)
            events = (*events, Event(epoch, note.reason, decision.state, note.sentence))[-EVENTS_KEPT:]
        if new_state:
            self._since_epoch = epoch
        return Published(
            at=ended,
            epoch=epoch,
            observation=obs,
            decision=decision,
            since=ended if last is None or new_state else last.since,
            since_epoch=self._since_epoch,
            node_id=node_id(self._policy, self._record, obs.log_dirs.value or ()),
            events=events,
            starts=starts,
            fences=fences,
            tally=counted(last.tally if last is not None else Tally(), obs, decision),
            seconds_in_state=seconds,
            loop_lag_seconds=max(0.0, began - last.at - 1.0) if last is not None else 0.0,
            cycle_seconds=ended - began,
        )
