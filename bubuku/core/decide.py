"""One cycle's decision: from what is seen to what to do next. Pure.

Called by the supervisor's loop once a tick, with the time as part of the observation. It never acts, waits, reads a
clock or draws a random number. `check` raises InvariantError when a decision breaks a rule; the daemon then holds and
leaves the broker alone.
"""

from __future__ import annotations

from dataclasses import replace

from bubuku.core import gates, identity, lifecycle
from bubuku.core.actions import (
    Action,
    EndStalled,
    Fence,
    JoinMarker,
    RecordDesired,
    Remember,
    Result,
    StartBroker,
    StopGracefully,
)
from bubuku.core.errors import InvariantError
from bubuku.core.memory import Memory
from bubuku.core.model import BrokerState, Desired, Exit, Record
from bubuku.core.observation import Decision, Observation, Policy
from bubuku.core.reasons import Reason

SERVICE_THAT_RESETS_SECONDS = 600.0
LONGEST_BACK_OFF_SECONDS = 300.0
STALL_GRACE_SECONDS = 30.0
RETRY_SECONDS = 10.0


def decide(policy: Policy, memory: Memory, obs: Observation) -> tuple[Memory, Decision]:
    """What to do now. Returns the next memory and the decision; raises InvariantError where a rule is broken."""
    if obs.process.identity is not None:
        memory, decision = _alive(policy, memory, obs)
    else:
        memory, decision = _dead(policy, memory, obs)
    memory, chores = _chores(memory, replace(obs, record=_latest(obs.record, decision.actions)))
    decision = replace(decision, actions=(*decision.actions, *chores))
    check(memory.state, decision, obs)
    if decision.state is not memory.state:
        memory = replace(memory, state=decision.state, since=obs.now)
    return memory, decision


def check(before: BrokerState, decision: Decision, obs: Observation) -> None:
    """The rules that hold after every decision."""
    if decision.state is not before and decision.state not in lifecycle.FOLLOWS[before]:
        raise InvariantError(f"{decision.state} cannot follow {before}: {decision.sentence}")
    alive = obs.process.identity is not None
    for action in decision.actions:
        if isinstance(action, StartBroker) and alive:
            raise InvariantError("a second Kafka was about to be started beside a running one")
        if isinstance(action, Fence) and (alive or obs.process.exit is None):
            raise InvariantError("a fence was about to be sent without proof of death")
        if isinstance(action, EndStalled) and obs.record.registration is not None:
            raise InvariantError("a broker that had registered was about to be ended as stalled")


def back_off_seconds(failures: int, served: bool) -> float:
    """Delay before the next start after the `failures`-th end in a row; the first end after service costs nothing.

    >>> [back_off_seconds(n, served=False) for n in (1, 2, 3, 10)]
    [1.0, 2.0, 4.0, 300.0]
    >>> [back_off_seconds(n, served=True) for n in (1, 2, 3)]
    [0.0, 1.0, 2.0]
    """
    level = failures - 1 if served else failures
    return min(LONGEST_BACK_OFF_SECONDS, 2.0 ** (min(level, 20) - 1)) if level > 0 else 0.0


def _alive(policy: Policy, memory: Memory, obs: Observation) -> tuple[Memory, Decision]:
    facts = lifecycle.facts(policy, memory, obs)
    if memory.process != obs.process.identity:  # a new incarnation: what the last one did is not its doing
        facts = replace(facts, served=False, silent_for=None, registered_once=obs.record.registration is not None)
    rule, sentence = lifecycle.classify(facts)
    memory = lifecycle.remember(policy, memory, obs, facts, rule.state)
    actions: list[Action] = []
    record = _running_record(policy, memory, obs, facts)
    if record != obs.record:
        actions.append(Remember(record))
    if obs.terminate and not obs.record.stop_intent and obs.process.identity is not None:
        actions.append(StopGracefully(obs.process.identity, "the daemon was told to end and to take Kafka with it"))
    stalled = _stalled(policy, memory, obs, rule.state)
    if stalled is not None:
        actions.append(stalled)
        longer = _longer(policy, _startup_timeout(policy, memory))
        memory = replace(memory, stalled=stalled.identity, stalled_at=obs.now, startup_timeout=longer)
    decision = Decision(
        state=rule.state,
        reason=rule.reason,
        sentence=sentence if stalled is None else stalled.sentence,
        actions=tuple(actions),
        progress=facts.recovering if rule.state is BrokerState.RECOVERING else None,
        eta_seconds=lifecycle.eta_seconds(memory, facts, obs.now) if rule.state is BrokerState.RECOVERING else None,
    )
    return memory, decision


def _running_record(policy: Policy, memory: Memory, obs: Observation, facts: lifecycle.Facts) -> Record:
    """The state file as it should be while this process runs."""
    record = obs.record
    if record.process != obs.process.identity:  # adopted: whatever was on record belongs to another process
        record = replace(record, process=obs.process.identity, registration=None, stop_intent=False)
    own = lifecycle.own_registration(policy, obs)
    # written down once it answers: only then is the registration known to be this process's own
    if own is not None and (facts.answers or record.registration is not None):
        record = replace(record, registration=own)
    if memory.served_since is not None and obs.now - memory.served_since >= SERVICE_THAT_RESETS_SECONDS:
        record = replace(record, failures=0)
    if obs.terminate:
        record = replace(record, stop_intent=True)
    dirs = obs.log_dirs.value or ()
    found = identity.node_id(policy, record, dirs)
    cluster = identity.cluster_id(policy, record, dirs)
    return replace(record, node_id=found, cluster_id=cluster)


def _startup_timeout(policy: Policy, memory: Memory) -> float:
    return memory.startup_timeout if memory.startup_timeout is not None else policy.startup_timeout


def _longer(policy: Policy, timeout: float) -> float:
    return timeout * (1 + policy.startup_step) if policy.startup_progressive else timeout + policy.startup_step


def _stalled(policy: Policy, memory: Memory, obs: Observation, state: BrokerState) -> EndStalled | None:
    """A start without any progress (no log line, no megabyte read or written) for the start-up timeout.

    Never a broker that registered, never one that recovers, and not while it is unknown whether it is registered.
    """
    if state is not BrokerState.STARTING or memory.registered_once or memory.progress_at is None:
        return None
    if obs.record.registration is not None or obs.process.identity is None:
        return None
    view = obs.registration.value
    if not obs.registration.known or view is None or view.own is not None:
        return None
    force = memory.stalled == obs.process.identity
    still = obs.now - memory.progress_at
    if still < _startup_timeout(policy, memory) or (force and obs.now - memory.stalled_at < STALL_GRACE_SECONDS):
        return None
    sentence = f"Kafka made no progress for {still:.0f} s while starting, and never registered: it is started anew"
    return EndStalled(obs.process.identity, force, sentence)


def _dead(policy: Policy, memory: Memory, obs: Observation) -> tuple[Memory, Decision]:
    actions: tuple[Action, ...] = ()
    record = obs.record
    ended = obs.process.exit
    if ended is not None and memory.ended != ended.identity:
        memory, record = _account(memory, obs, ended)
        obs = replace(obs, record=record)
        actions = (Remember(record),)
    if obs.terminate:
        return memory, Decision(BrokerState.NOT_RUNNING, Reason.TERMINATING, "Kafka was stopped gracefully", actions)
    memory, stop = gates.walk(gates.Case(policy, memory, obs))
    log = obs.log.value
    last_lines = log.last_lines if log is not None else ()
    if stop is not None:
        shown = last_lines if stop.state in (BrokerState.FAILED, BrokerState.HELD) else ()
        actions = (*actions, *stop.actions)
        return memory, Decision(stop.state, stop.reason, stop.sentence, actions, last_lines=shown)
    cause = memory.cause if ended is not None or memory.cause is not Reason.FIRST_START else Reason.FIRST_START
    sentence = _start_sentence(cause, obs)
    memory = replace(
        memory, fence_sent_at=None, fence_tries=0, raise_sent_at=None, format_sent_at=None, election_since=None, session_since=None
    )
    return memory, Decision(BrokerState.STARTING, cause, sentence, (*actions, StartBroker(cause, sentence)))


def _account(memory: Memory, obs: Observation, ended: Exit) -> tuple[Memory, Record]:
    """Count an end once: how often in a row, how long the next start waits, and why it will be."""
    served = memory.served_since is not None and memory.process == ended.identity
    long = served and memory.served_since is not None and obs.now - memory.served_since >= SERVICE_THAT_RESETS_SECONDS
    # what ended while no daemon watched is taken as a service that ended: it is started at once, as after a power cut
    served = served or not ended.watched
    failures = 1 if long else obs.record.failures + 1
    if obs.record.stop_intent:
        failures = 0
    cause = Reason.PROCESS_DIED
    if memory.stalled == ended.identity:
        cause = Reason.START_STALLED
    elif identity.ended_cleanly(ended, obs.log_dirs.value or ()) and obs.log_dirs.begun >= ended.at:
        cause = Reason.STOPPED_OUTSIDE
    memory = replace(
        memory,
        ended=ended.identity,
        cause=cause,
        next_start_at=ended.at + back_off_seconds(failures, served),
        fence_sent_at=None,
        fence_tries=0,
        raise_sent_at=None,
        election_since=None,
        session_since=None,
    )
    return memory, replace(obs.record, failures=failures)


def _start_sentence(cause: Reason, obs: Observation) -> str:
    ended = obs.process.exit
    if ended is None:
        return "nothing runs: starting Kafka"
    if ended.signal is not None:
        how = f"was killed by signal {ended.signal}"
    elif ended.code is not None:
        how = f"ended with exit code {ended.code}"
    else:
        how = "ended" if ended.watched else "ended while no daemon watched"
    return f"Kafka (pid {ended.identity.pid}) {how}: starting it again"


def _chores(memory: Memory, obs: Observation) -> tuple[Memory, tuple[Action, ...]]:
    """What is owed to the meeting place in any state: the marker joined, the dirs on record there too."""
    meeting = obs.coordination.value
    if meeting is None or not meeting.connected or meeting.predecessor_v1:
        return memory, ()
    actions: list[Action] = []
    record = obs.record
    if record.marker is None and meeting.marker_read:
        if meeting.marker is not None:
            actions.append(Remember(replace(record, marker=meeting.marker)))
        elif record.cluster_id is not None and _due(memory.join_sent_at, obs.now):
            actions.append(JoinMarker(record.cluster_id))
            memory = replace(memory, join_sent_at=obs.now)
    owner = meeting.member_owner == record.instance
    if owner and meeting.desired_read and record.node_id is not None and record.dirs:
        wanted = Desired(record.dirs, record.cluster_id)
        outcome = obs.outcomes.get(RecordDesired)
        running = outcome is not None and outcome.result is Result.RUNNING
        if meeting.desired != wanted and not running and _due(memory.desired_sent_at, obs.now):
            actions.append(RecordDesired(record.node_id, wanted))
            memory = replace(memory, desired_sent_at=obs.now)
    return memory, tuple(actions)


def _latest(record: Record, actions: tuple[Action, ...]) -> Record:
    return next((a.record for a in reversed(actions) if isinstance(a, Remember)), record)


def _due(sent_at: float | None, now: float) -> bool:
    return sent_at is None or now - sent_at >= RETRY_SECONDS
