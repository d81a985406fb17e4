"""One cycle's decision: from what is seen to what to do next. Pure.

Called by the supervisor's loop once a tick, with the time as part of the observation. It never acts, waits, reads a
clock or draws a random number. `check` raises InvariantError when a decision breaks a rule; the daemon then holds and
leaves the broker alone.
"""

from __future__ import annotations

from dataclasses import replace

from bubuku.core import addresses, gates, identity, invariants, lifecycle, parents, pending, stopping
from bubuku.core.actions import (
    Action,
    EndStalled,
    JoinMarker,
    MarkDirs,
    RecordDesired,
    Remember,
    Result,
    StartBroker,
    StopGracefully,
    WriteChange,
)
from bubuku.core.case import Case
from bubuku.core.memory import Memory
from bubuku.core.model import BrokerState, Desired, Exit, Record
from bubuku.core.observation import Decision, Observation, Policy
from bubuku.core.reasons import Reason

SERVICE_THAT_RESETS_SECONDS = 600.0
FREE_ENDS_AFTER_SERVICE = 3  # a broker that served is wanted back at once; one that ends again and again is a loop
LONGEST_BACK_OFF_SECONDS = 300.0
STALL_GRACE_SECONDS = 30.0
RETRY_SECONDS = 10.0
OUR_OWN = (Reason.NOT_REGISTERED, Reason.ADDRESSES_CHANGED)  # restarts that the daemon itself wants
STOPPED_FOR: dict[str, str] = {  # what nobody asked for
    Reason.ADDRESSES_CHANGED: "stopped for ZooKeeper's new addresses: starting Kafka with them",
    Reason.NOT_REGISTERED: "stopped because the cluster did not list it: starting Kafka again",
    Reason.TERMINATING: "stopped with its daemon: starting Kafka again",
}


def decide(policy: Policy, memory: Memory, obs: Observation) -> tuple[Memory, Decision]:
    """What to do now. Returns the next memory and the decision; raises InvariantError where a rule is broken."""
    memory, moved = addresses.step(policy, memory, obs)
    obs = _with_latest(obs, moved)
    if obs.process.identity is not None:
        memory, decision = _alive(policy, memory, obs)
    else:
        memory, decision = _dead(policy, memory, obs)
    memory, chores = _chores(policy, memory, _with_latest(obs, decision.actions))
    actions = (*moved, *decision.actions, *chores)
    latest = _with_latest(obs, actions)
    node_id = identity.node_id(policy, latest.record, obs.log_dirs.value or ())
    step = stopping.step(policy, memory, latest, node_id, decision)
    memory, moved_on = step.memory, None
    if not any(isinstance(action, WriteChange) for action in step.actions):
        memory, moved_on = parents.step(memory, latest)
    actions = _saved_first((*actions, *step.actions, *(() if moved_on is None else (moved_on,))))
    said = addresses.note(policy, memory, latest)
    differs = pending.pending(policy, latest)
    decision = replace(decision, actions=actions, note=said, pending=differs, progress_of_stop=step.progress)
    invariants.check(memory.state, decision, obs)
    if decision.state is not memory.state:
        memory = replace(memory, state=decision.state, since=obs.now)
    return memory, decision


def back_off_seconds(failures: int, served: bool) -> float:
    """Delay before the next start after the `failures`-th end in a row. The first three after service cost nothing.

    >>> [back_off_seconds(n, served=False) for n in (1, 2, 3, 10)]
    [1.0, 2.0, 4.0, 300.0]
    >>> [back_off_seconds(n, served=True) for n in (1, 2, 3, 4, 5)]
    [0.0, 0.0, 0.0, 1.0, 2.0]
    """
    level = failures - FREE_ENDS_AFTER_SERVICE if served else failures
    return min(LONGEST_BACK_OFF_SECONDS, 2.0 ** (min(level, 20) - 1)) if level > 0 else 0.0


def _alive(policy: Policy, memory: Memory, obs: Observation) -> tuple[Memory, Decision]:
    facts = lifecycle.facts(policy, memory, obs)
    if memory.process != obs.process.identity:  # a new incarnation: what the last one did is not its doing
        facts = replace(facts, served=False, silent_for=None, registered_once=lifecycle.registered_before(obs))
    rule, sentence = lifecycle.classify(facts)
    memory = lifecycle.remember(policy, memory, obs, facts, rule.state)
    actions: list[Action] = []
    record = _running_record(policy, memory, obs, facts)
    if record != obs.record:
        actions.append(Remember(record))
    if obs.terminate and memory.terminate_since is None:
        memory = replace(memory, terminate_since=obs.now)
    may_end = obs.terminate and stopping.forced_may_end(memory, obs)
    if may_end and obs.process.identity is not None and _due(memory.stop_sent_at, obs.now):
        actions.append(StopGracefully(obs.process.identity, "the daemon was told to end and to take Kafka with it"))
        if obs.record.stop_intent:  # it is on disk; else a save that fails keeps the signal back, and it is tried again
            memory = replace(memory, stop_sent_at=obs.now)
    stalled = _stalled(policy, memory, obs, rule.state)
    if stalled is not None:
        actions.append(stalled)
        timeout = _startup_timeout(policy, memory)
        longer = timeout if stalled.force else _longer(policy, timeout)
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
    if record.process != obs.process.identity:
        # adopted: what is on record belongs to another process, but for a fence that may be on its way still
        record = replace(
            record,
            process=obs.process.identity,
            started_by_us=False,
            registration=None,
            settings_digest=None,
            started_with=None,
            stop_intent=False,
            counted=False,
        )
    own = lifecycle.own_registration(policy, obs)
    # written down once it answers, at our endpoints: only then is the registration known to be this process's own
    new = own is not None and own != record.registration and set(policy.endpoints).intersection(own.endpoints)
    if new and (facts.answers or record.registration is not None):
        record = replace(record, registration=own)
    if memory.served_since is not None and obs.now - memory.served_since >= SERVICE_THAT_RESETS_SECONDS:
        record = replace(record, failures=0)
    if obs.terminate and obs.process.identity is not None:
        record = stopping.forced_record(record, obs.process.identity)
    elif record.stop_intent and record.stop is None and _stop_lapsed(policy, memory, obs, facts):
        record = replace(record, stop_intent=False)
    # only what the dirs themselves say: a mistake in the configuration, noted here, would outlast its correction
    dirs = obs.log_dirs.value or ()
    found = next((d.node_id for d in dirs if d.node_id is not None), record.node_id)
    cluster = next((d.cluster_id for d in dirs if d.cluster_id is not None), record.cluster_id)
    if (record.node_id, record.cluster_id) == (found, cluster):
        return record
    return replace(record, node_id=found, cluster_id=cluster)


def _stop_lapsed(policy: Policy, memory: Memory, obs: Observation, facts: lifecycle.Facts) -> bool:
    """Our predecessor meant to stop it, and it answers after all the time that a stop takes: it was never told."""
    since = memory.watched_since
    return since is not None and facts.answers and obs.now - since >= policy.stop_deadline


def _startup_timeout(policy: Policy, memory: Memory) -> float:
    return memory.startup_timeout if memory.startup_timeout is not None else policy.startup_timeout


def _longer(policy: Policy, timeout: float) -> float:
    return timeout * (1 + policy.startup_step) if policy.startup_progressive else timeout + policy.startup_step


def _stalled(policy: Policy, memory: Memory, obs: Observation, state: BrokerState) -> EndStalled | None:
    """A start without any progress (no log line, no megabyte read or written) for the start-up timeout.

    Never a broker that registered, answered or was adopted while it ran (it may serve where we do not look, as with a
    wrong zookeeper.prefix), never one that recovers, and not while it is unknown whether it is registered.
    """
    # our predecessor may have told it to stop, which a starting one ignores in KRaft
    starting = state is BrokerState.STARTING or (state is BrokerState.STOPPING and not obs.terminate)
    if not starting or memory.registered_once or memory.progress_at is None:
        return None
    if memory.answered_at is not None or obs.process.identity is None:
        return None
    if obs.record.process != obs.process.identity or not obs.record.started_by_us:
        return None
    if obs.record.registration is not None:
        return None
    view, force = obs.registration.value, memory.stalled == obs.process.identity
    still = obs.now - memory.progress_at
    lately = obs.now - STALL_GRACE_SECONDS
    if view is None or view.own is not None or obs.registration.begun < lately:
        return None
    if force and (memory.stalled_at > lately or memory.progress_at > lately):
        return None
    if not force and still < _startup_timeout(policy, memory):
        return None
    sentence = f"Kafka made no progress for {still:.0f} s while starting, and never registered: it is started anew"
    return EndStalled(obs.process.identity, force, sentence)


def _dead(policy: Policy, memory: Memory, obs: Observation) -> tuple[Memory, Decision]:
    actions: tuple[Action, ...] = ()
    record = obs.record
    ended = obs.process.exit
    if ended is not None and memory.ended != ended.identity:
        memory, record = _account(memory, obs, ended)
        actions = (Remember(record),) if record != obs.record else ()
        obs = replace(obs, record=record)
    if ended is not None:
        memory = replace(memory, cause=_cause(memory, obs, ended))
    memory = _others(memory, obs)
    if obs.leaving or obs.terminate:
        return memory, Decision(BrokerState.NOT_RUNNING, Reason.TERMINATING, "Kafka was stopped gracefully", actions)
    if record.stop is not None and record.stop.intended and record.stop.stay_down:
        sentence = "stopped on purpose, and stays down until an operator starts it"
        return memory, Decision(BrokerState.NOT_RUNNING, Reason.STOPPED_ON_PURPOSE, sentence, actions)
    memory, stop = gates.walk(Case(policy, memory, obs))
    log = obs.log.value
    last_lines = log.last_lines if log is not None else ()
    if stop is not None:
        shown = last_lines if stop.state in (BrokerState.FAILED, BrokerState.HELD) else ()
        actions = (*actions, *stop.actions)
        return memory, Decision(stop.state, stop.reason, stop.sentence, actions, last_lines=shown)
    cause = memory.cause if ended is not None or memory.cause is not Reason.FIRST_START else Reason.FIRST_START
    sentence = _start_sentence(obs)
    memory = replace(_before_any_start(memory), format_sent_at=None, marked_at=None)
    return memory, Decision(BrokerState.STARTING, cause, sentence, (*actions, StartBroker(cause, sentence)))


def _others(memory: Memory, obs: Observation) -> Memory:
    """Whether another Kafka ran on our log dirs since ours ended, and since when it is gone."""
    ended, found = obs.process.exit, obs.foreign.value
    if not obs.foreign.known or (ended is not None and obs.foreign.begun < ended.at):
        return memory
    if found is not None and found.holds_log_dir:
        return replace(memory, another_ran=True, alone_since=None)
    if memory.another_ran and memory.alone_since is None:
        return replace(memory, alone_since=obs.foreign.begun)
    return memory


def _account(memory: Memory, obs: Observation, ended: Exit) -> tuple[Memory, Record]:
    """Count an end once: how often in a row, how long the next start waits, and why it will be."""
    served = memory.served_since is not None and memory.process == ended.identity
    long = served and memory.served_since is not None and obs.now - memory.served_since >= SERVICE_THAT_RESETS_SECONDS
    # what ended while no daemon watched is taken as a service that ended: it is started at once, as after a power cut
    served = served or not ended.watched
    ours = obs.record.process == ended.identity
    before = max(obs.record.failures, memory.failures)
    failures = 1 if long else before + 1
    if ours and obs.record.stop_intent:
        failures = 0
    if ours and obs.record.counted:  # by our predecessor, which died before the next start
        failures = before
    memory = replace(
        _before_any_start(memory),
        ended=ended.identity,
        another_ran=False,
        alone_since=None,
        failures=failures,
        next_start_at=ended.at + back_off_seconds(failures, served),
    )
    return memory, replace(obs.record, failures=failures, counted=ours or obs.record.counted)


def _cause(memory: Memory, obs: Observation, ended: Exit) -> Reason:
    """Why it will be started again, as far as the log dirs were looked at since."""
    if memory.stalled == ended.identity:
        return Reason.START_STALLED
    ours = obs.record.process == ended.identity
    if _stopped_on_purpose(obs.record, ended) and obs.record.stop is not None:
        return next((each for each in OUR_OWN if obs.record.stop.why == each), Reason.RESTARTED)
    if ours and obs.record.stop_intent:
        return Reason.FIRST_START  # its daemon took it along; this one brings it back
    if ours and obs.record.registration is not None and identity.ended_cleanly(ended, obs.log_dirs):
        return Reason.STOPPED_OUTSIDE
    return Reason.PROCESS_DIED


def _stopped_on_purpose(record: Record, ended: Exit) -> bool:
    """It is the process that SIGTERM was meant for, and not one that was started since."""
    return record.stop is not None and record.stop.intended and record.stop.process == ended.identity


def _before_any_start(memory: Memory) -> Memory:
    """What belongs to one start, and not to the next."""
    return replace(
        memory,
        fence_sent_at=None,
        fence_tries=0,
        fence_unknown_at=None,
        raise_sent_at=None,
        election_since=None,
        session_since=None,
    )


def _start_sentence(obs: Observation) -> str:
    ended = obs.process.exit
    if ended is None:
        return "nothing runs: starting Kafka"
    if _stopped_on_purpose(obs.record, ended):
        why = "" if obs.record.stop is None else obs.record.stop.why
        return STOPPED_FOR.get(why, "stopped for a restart that was asked for: starting Kafka again")
    if ended.signal is not None:
        how = f"was killed by signal {ended.signal}"
    elif ended.code is not None:
        how = f"ended with exit code {ended.code}"
    else:
        how = "ended" if ended.watched else "ended while no daemon watched"
    return f"Kafka (pid {ended.identity.pid}) {how}: starting it again"


def _chores(policy: Policy, memory: Memory, obs: Observation) -> tuple[Memory, tuple[Action, ...]]:
    """What is owed in any state: the root's marker joined; while Kafka runs, its dirs marked and on record."""
    memory, actions = _mark_adopted(policy, memory, obs)
    meeting, record = obs.coordination.value, obs.record
    if actions or meeting is None or not meeting.connected or meeting.predecessor_v1 or not meeting.marker_read:
        return memory, actions
    if record.marker is None:
        dirs = obs.log_dirs.value or ()
        ours = identity.cluster_id(policy, record, dirs)
        sure = any(d.usable for d in dirs) and identity.check_ids(policy, record, dirs, None) is None
        if None not in (ours, meeting.marker_cluster_id) and ours != meeting.marker_cluster_id:
            return memory, ()  # another cluster's ZooKeeper: joining it would outlast the mistake
        if meeting.marker is not None:
            return memory, (Remember(_joining(record, meeting.marker)),)
        if ours is not None and sure and _due(memory.join_sent_at, obs.now):
            return replace(memory, join_sent_at=obs.now), (JoinMarker(ours),)
        return memory, ()
    if meeting.marker != record.marker or meeting.member_owner != record.instance or not meeting.desired_read:
        return memory, ()
    # only while Kafka runs: what a start is checked against must not be overwritten by who is held because of it
    if obs.process.identity is None or record.node_id is None or not record.dirs:
        return memory, ()
    wanted = Desired(record.dirs, record.cluster_id)
    outcome = obs.outcomes.get(RecordDesired)
    running = outcome is not None and outcome.result is Result.RUNNING
    if meeting.desired == wanted or running or not _due(memory.desired_sent_at, obs.now):
        return memory, ()
    return replace(memory, desired_sent_at=obs.now), (RecordDesired(record.node_id, wanted),)


def _joining(record: Record, marker: str) -> Record:
    """Of a stop that another root's permit knew only what may have been sent is left: it is entered into this one's."""
    stop = record.stop
    begun = stop is not None and (stop.intended or stop.marker == marker)
    return replace(record, marker=marker, stop=stop if begun else None)


def _mark_adopted(policy: Policy, memory: Memory, obs: Observation) -> tuple[Memory, tuple[Action, ...]]:
    """A Kafka that was taken over runs on dirs that are on record nowhere: they are marked while it runs on them."""
    dirs, started = obs.log_dirs.value, obs.process.started_at
    if obs.process.identity is None or obs.record.dirs or not dirs or started is None or obs.log_dirs.begun < started:
        return memory, ()
    meeting = Case(policy, memory, obs).meeting
    if identity.check_ids(policy, obs.record, dirs, meeting) is not None:
        return memory, ()
    if identity.check_dirs(policy, obs.record, dirs, meeting) is not None:
        return memory, ()
    if not all(d.usable and d.holds_data for d in dirs):
        return memory, ()
    missing = identity.unmarked(dirs)
    if not missing:
        return memory, (Remember(replace(obs.record, dirs=identity.present(dirs))),)
    if memory.marked_at is not None and obs.log_dirs.begun <= memory.marked_at:
        return memory, ()
    return replace(memory, marked_at=obs.now), (MarkDirs(missing),)


def _saved_first(actions: tuple[Action, ...]) -> tuple[Action, ...]:
    """The newest record goes to disk before all else: after a start it would undo what the start wrote down."""
    others = tuple(action for action in actions if not isinstance(action, Remember))
    if len(others) == len(actions):
        return actions
    newest = next(action for action in reversed(actions) if isinstance(action, Remember))
    return (newest, *others)


def _with_latest(obs: Observation, actions: tuple[Action, ...]) -> Observation:
    newest = next((a.record for a in reversed(actions) if isinstance(a, Remember)), obs.record)
    return obs if newest is obs.record else replace(obs, record=newest)


def _due(sent_at: float | None, now: float) -> bool:
    return sent_at is None or now - sent_at >= RETRY_SECONDS
