"""The deliberate stop of our own broker: what a cycle sees becomes the permit's facts, its move becomes actions. Pure.

Called by `core.decide` in every cycle, whether the broker runs or not. The order of a stop is the table in
`core.permit`; here is only how a fact is drawn from an observation, and what has to be done for a move.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from bubuku.core import addresses, own_document, permit, self_repair, stop_facts
from bubuku.core import change as changes
from bubuku.core.actions import (
    Action,
    DropPermit,
    DumpThreads,
    ElectPreferred,
    Judge,
    KillStuck,
    Remember,
    RestPermit,
    Result,
    SendStop,
    SettlePermit,
    StartBroker,
    TakePermit,
    WriteChange,
)
from bubuku.core.guard import named
from bubuku.core.memory import Memory
from bubuku.core.model import BrokerState, CoordinationView, Record
from bubuku.core.observation import Decision, Observation, Policy, Progress
from bubuku.core.permit import VERDICT_SECONDS, Facts, Move
from bubuku.core.reasons import Reason
from bubuku.core.shared import Change, Entry, Finished, ProcessId, Stop
from bubuku.core.stop_facts import Want

FORCED_ENTRY_SECONDS = 3.0  # a stop that cannot wait any more waits so long for its entry in the permit
LOG_LINES = 3  # so many of Kafka's last lines are told by a change that has failed


@dataclass(frozen=True, slots=True)
class Step:
    """What this cycle makes of it."""

    memory: Memory
    actions: tuple[Action, ...] = ()
    progress: Progress | None = None


def step(policy: Policy, memory: Memory, obs: Observation, node_id: int | None, decided: Decision) -> Step:
    """One move of the permit's protocol, and one write of the change's document. `decided`: of the broker's state."""
    state = decided.state
    memory = self_repair.remember(memory, obs, decided.reason)
    meeting = obs.coordination.value
    if meeting is None or node_id is None:
        return Step(memory)
    memory = stop_facts.remember(memory, obs, node_id, state)
    if obs.terminate:
        return Step(memory, _forced(policy, obs, meeting, node_id))
    change = changes.current(meeting.changes, node_id, obs.record)
    again = _started_again(obs, change)
    if again is not None:
        return Step(memory, (Remember(again),))
    ours = self_repair.want(policy, memory, obs) or addresses.want(policy, memory, obs)
    want = _want(obs.record, change) or _leaving(obs) or ours
    facts = stop_facts.draw(policy, memory, obs, node_id, want)
    _, move = permit.decide(facts)
    at = Position(policy, memory, obs, meeting, node_id, want, facts, decided)
    progress = at.progress(change)
    memory, acts = at.actions(move)
    written = own_document.due(obs, at, change, progress)
    if written is not None:
        memory, write = changes.sent(memory, WriteChange(written), obs.now)
        acts = acts if write is None else (*acts, write)
    return Step(memory, acts, progress)


def _want(record: Record, change: Change | None) -> Want | None:
    if change is None or not changes.owned(change, record) or change.cancel:
        return None
    kind = changes.KINDS[change.kind]
    if not kind.stops or (record.finished is not None and record.finished.change == change.uuid):
        return None
    token = f"{record.instance}:{change.uuid}"
    beside = change.parent if change.parallel != 1 else None
    return Want(token, change.uuid, kind.why, kind.stays_down, change.accept_unavailable, beside)


def _leaving(obs: Observation) -> Want | None:
    """The daemon was told to end, and to take Kafka with it."""
    process = obs.process.identity
    if not obs.leaving or process is None:
        return None
    token = _leave_token(obs.record, process)
    return Want(token, None, Reason.TERMINATING, stay_down=False, accept_unavailable=False)


def _leave_token(record: Record, process: ProcessId) -> str:
    """The same while the guard is asked and once patience is over: it is one stop."""
    return f"{record.instance}:leave:{process.pid}:{process.start_ticks}"


def forced_record(record: Record, process: ProcessId) -> Record:
    """The state file of a broker that ends whatever the guard says: a stop that its successor finishes, and enters into
    the permit before, where that could not be told of it."""
    stop = record.stop
    if stop is None or not stop.intended or stop.process != process:
        if stop is None:
            stop = Stop(_leave_token(record, process), None, Reason.TERMINATING.value, process)
        stop = replace(stop, intended=True, process=process, marker=None)
    return replace(record, stop=stop, stop_intent=True)


def _forced(policy: Policy, obs: Observation, meeting: CoordinationView, node_id: int) -> tuple[Action, ...]:
    """The others are told by its entry in the permit first, where ZooKeeper answers."""
    stop, found, taken = obs.record.stop, meeting.permit, obs.outcomes.get(TakePermit)
    if obs.process.identity is None or stop is None or found is None or meeting.maintenance is None:
        return ()
    if not stop_facts.is_ours(obs, meeting) or node_id in found.entries:
        return ()
    if taken is not None and taken.result is Result.RUNNING:
        return ()
    entry = Entry(stop.token, policy.host, obs.wall, change=stop.change, why=stop.why)
    return (TakePermit(node_id, entry, found.version, meeting.maintenance.version),)


def forced_may_end(memory: Memory, obs: Observation) -> bool:
    """Its entry is in the permit, or was tried for long enough, or nobody can be told."""
    meeting, since = obs.coordination.value, memory.terminate_since
    if meeting is None or not meeting.connected or meeting.permit is None:
        return True
    stop = obs.record.stop
    told = stop is not None and any(entry.token == stop.token for entry in meeting.permit.entries.values())
    return told or (since is not None and obs.now - since >= FORCED_ENTRY_SECONDS)


def _started_again(obs: Observation, change: Change | None) -> Record | None:
    """The record of a broker that need not stay down any more: a `start` was asked for, or its `stop` was cancelled."""
    stop = obs.record.stop
    if stop is None or not stop.stay_down or change is None or not changes.owned(change, obs.record):
        return None
    if changes.KINDS[change.kind].stops and not (change.cancel and change.uuid == stop.change):
        return None
    return replace(obs.record, stop=replace(stop, stay_down=False, change=change.uuid))


@dataclass(frozen=True, slots=True)
class Position:
    """Where the stop stands in this cycle."""

    policy: Policy
    memory: Memory
    obs: Observation
    meeting: CoordinationView
    node_id: int
    want: Want | None
    facts: Facts
    decided: Decision

    @property
    def state(self) -> BrokerState:
        return self.decided.state

    @property
    def given_up(self) -> bool:
        return stop_facts.given_up(self.memory, self.obs, self.state)

    def lost(self) -> str:
        """Why it does not come back, with the end of Kafka's log."""
        lines = self.decided.last_lines[-LOG_LINES:]
        told = f"; Kafka's log ends with: {' | '.join(line.strip() for line in lines)}" if lines else ""
        return f"broker {self.node_id} was stopped and does not come back: {self.decided.sentence}{told}"

    def actions(self, move: Move) -> tuple[Memory, tuple[Action, ...]]:
        """What has to be done for the move. Slow actions are not sent twice: the table waits while one is under way."""
        memory, obs, record = self.memory, self.obs, self.obs.record
        stop, found = record.stop, self.meeting.permit
        if not self.facts.permit_known and stop_facts.needs_settling(memory, obs) and self._may_write():
            return memory, (SettlePermit(),)
        if self.given_up and stop is not None and self._may_write():
            if self.unrested():
                return memory, (RestPermit(self.node_id, stop.token),)
            if self._may_be_repaired(stop):
                # nothing was sent to the process that runs now: the entry is withdrawn, and another stop may begin
                return memory, (Remember(replace(record, stop=replace(stop, intended=False))),)
        match move:
            case Move.NOTE if self.want is not None:
                want = self.want
                noted = Stop(
                    want.token,
                    want.change,
                    want.why.value,
                    obs.process.identity,
                    want.stay_down,
                    want.accept_unavailable,
                    marker=record.marker,
                )
                memory, acts = replace(memory, noted=want.token), (Remember(replace(record, stop=noted)),)
                if want.why is not Reason.NOT_REGISTERED or obs.process.identity is None:
                    return memory, acts
                if memory.repaired != obs.process.identity:  # a note that cannot be written is tried again, for nothing
                    repairs = (*self_repair.lately(memory, obs.now), obs.now)
                    memory = replace(memory, repairs=repairs, repaired=obs.process.identity)
                return memory, (*acts, DumpThreads(obs.process.identity))
            case Move.ADOPT if found is not None:
                entry = found.entries[self.node_id]
                # one that rests for another reason was given up, or abandoned
                kept = not entry.working and entry.why == Reason.STOPPED_ON_PURPOSE
                meant = None if stop_facts.untold(record, obs) and not kept else obs.process.identity
                adopted = Stop(entry.token, entry.change, entry.why, meant, kept, intended=True, marker=record.marker)
                # not `noted`: what its writer has sent since may be on its way, and is settled first
                return memory, (Remember(replace(record, stop=adopted, stop_intent=meant is not None)),)
            case Move.JUDGE if found is not None:
                permitted = frozenset(found.entries) - {self.node_id}
                accept = (
                    stop.accept_unavailable if stop is not None else bool(self.want and self.want.accept_unavailable)
                )
                settled = stop_facts.settled(self.policy, memory, obs, self.state)
                return memory, (Judge(self.node_id, permitted, found.version, accept, self.meeting.joined, settled),)
            case Move.TAKE if found is not None and stop is not None and self.meeting.maintenance is not None:
                entry = Entry(stop.token, self.policy.host, obs.wall, change=stop.change, why=stop.why)
                return memory, (TakePermit(self.node_id, entry, found.version, self.meeting.maintenance.version),)
            case Move.ACKNOWLEDGE if stop is not None:
                return memory, (Remember(replace(record, stop=replace(stop, marker=record.marker))),)
            case Move.INTEND if stop is not None and not self._starts:
                alive = obs.process.identity
                in_sync = None if alive is None else self._in_sync()
                intended = replace(stop, intended=True, process=alive, in_sync=in_sync)
                return memory, (Remember(replace(record, stop=intended, stop_intent=alive is not None)),)
            case Move.SIGNAL if obs.process.identity is not None:
                return memory, (SendStop(obs.process.identity, obs.outcomes[Judge].begun + VERDICT_SECONDS),)
            case Move.WITHDRAW | Move.RELEASE if stop is not None:
                return memory, (DropPermit(self.node_id, stop.token),)
            case Move.KEEP_DOWN if self.unrested() and stop is not None and self._may_write():
                return memory, (RestPermit(self.node_id, stop.token),)
            case Move.FORGET:
                return memory, (Remember(self._forgotten()),)
            case Move.WAIT:
                return self._waiting()
        return memory, ()

    @property
    def _starts(self) -> bool:
        """In this very cycle: it does not lie down any more then."""
        return any(isinstance(action, StartBroker) for action in self.decided.actions)

    def _may_write(self) -> bool:
        return stop_facts.is_ours(self.obs, self.meeting) and not self.facts.taking

    def _may_be_repaired(self, stop: Stop) -> bool:
        """It lives unlisted, nobody waits for this stop's change any more, and self-repair may restart it."""
        reported = all(each.uuid != stop.change or not each.state.is_open for each in self.meeting.changes)
        return self.facts.permit_known and reported and self_repair.want(self.policy, self.memory, self.obs) is not None

    def unrested(self) -> bool:
        found = self.meeting.permit
        entry = None if found is None else found.entries.get(self.node_id)
        return self.facts.permit_known and entry is not None and entry.working

    def _in_sync(self) -> tuple[str, ...]:
        data = self.obs.outcomes[Judge].data
        found = () if data is None else data.get("in_sync", ())
        return tuple(found) if isinstance(found, tuple) else ()

    def _forgotten(self) -> Record:
        stop = self.obs.record.stop
        finished = self.obs.record.finished
        if stop is not None and stop.intended and stop.change is not None:
            done = not self.facts.same_process
            sentence = f"broker {self.node_id} serves again, in all its in-sync replica sets"
            if not done:
                sentence = f"broker {self.node_id} was released from the permit before it was stopped; ask again"
            finished = Finished(stop.change, done, sentence)
        return replace(self.obs.record, stop=None, finished=finished)

    def _waiting(self) -> tuple[Memory, tuple[Action, ...]]:
        """While it goes down, its end is forced where nothing moves; while it is back, its leaders are elected."""
        memory, obs, policy, stop = self.memory, self.obs, self.policy, self.obs.record.stop
        if stop is None:
            return memory, ()
        sent, since = memory.signalled_at, memory.back_since
        if obs.process.identity is not None and obs.process.identity == stop.process and sent is not None:
            silent = obs.now - (memory.progress_at if memory.progress_at is not None else sent)
            if obs.now - sent >= policy.stop_deadline and silent >= policy.stop_silence:
                told = f"Kafka was told to stop {obs.now - sent:.0f} s ago"
                sentence = f"{told} and has flushed nothing for {silent:.0f} s: it is killed"
                return replace(memory, signalled_at=obs.now), (KillStuck(obs.process.identity, sentence),)
        if since is not None and obs.now - since >= policy.stability:
            elected = obs.outcomes.get(ElectPreferred)
            if elected is None or (elected.begun < since + policy.stability and elected.result is not Result.RUNNING):
                return memory, (ElectPreferred(stop.token, self._not_led()),)
        return memory, ()

    def _not_led(self) -> tuple[tuple[str, int], ...]:
        view = self.obs.cluster.value
        partitions = () if view is None else view.cluster.partitions
        return tuple(
            (p.topic, p.partition)
            for p in partitions
            if p.replicas and p.replicas[0] == self.node_id and p.leader != self.node_id and self.node_id in p.isr
        )

    def progress(self, change: Change | None) -> Progress | None:
        """Phase and sentence; None where nothing is wanted and nothing is owed."""
        facts, stop = self.facts, self.obs.record.stop
        if self.want is None and stop is None:
            return None
        if stop is not None and stop.intended:
            return self._under_way(stop, change)
        if not facts.permit_known and not facts.taking:
            return Progress("waiting", stop_facts.unknown(self.obs, self.meeting))
        if facts.maintenance:
            return Progress("waiting", "maintenance is on: nothing is stopped until it is off")
        if facts.others_working and not facts.entry:
            found = self.meeting.permit
            working = [n for n, e in (found.entries if found else {}).items() if e.working and n != self.node_id]
            return Progress(
                "waiting", f"waits for {named(working)}, which {'is' if len(working) == 1 else 'are'} in work"
            )
        if facts.lies_down:
            return Progress("stopping", "Kafka does not run now, and is kept down")
        if not facts.alive:
            return Progress("waiting", "Kafka does not run now; it is started first")
        return self._refused(change) or Progress("checking", "whether it may be stopped is being looked at")

    def _refused(self, change: Change | None) -> Progress | None:
        """What the guard said last, also while it is asked again."""
        verdict, sentence = stop_facts.judged(self.memory, self.obs, self.meeting.permit)
        if verdict is permit.Verdict.NO:
            return Progress("refused", f"{sentence}; it is asked again")
        if verdict is permit.Verdict.NONE and change is not None and change.phase == "refused":
            return Progress(change.phase, change.sentence)
        return None

    def _under_way(self, stop: Stop, change: Change | None) -> Progress:
        if self.facts.same_process:
            refused = None if self.facts.signalled or self.facts.signalling else self._refused(change)
            return refused or Progress("stopping", "Kafka is being stopped")
        if not self.facts.alive:
            if stop.stay_down:
                return Progress("stopped", "Kafka is down")
            stuck = self.state in (BrokerState.HELD, BrokerState.FAILED)
            return Progress("starting", self.decided.sentence if stuck else "Kafka is being started")
        if self.state is not BrokerState.SERVING:
            return Progress("starting", f"Kafka is {self.state.value}")
        left = stop_facts.behind(self.memory, self.obs, stop, self.node_id)
        if left is None:
            return Progress("catching_up", "whether it is in sync again is being looked at")
        if left:
            more = f" and {len(left) - 1} more" if len(left) > 1 else ""
            return Progress("catching_up", f"it is not in sync yet for {left[0]}{more}")
        return Progress("settling", f"it serves and is in sync; it stays so for {self.policy.stability:.0f} s first")
