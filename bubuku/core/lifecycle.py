"""The states of a broker: how a running process is told apart, and which state may follow which. Pure.

`RULES` is read from the top; the first row that applies names the state. `FOLLOWS` is checked after each decision.
Both are printed into docs/states.md by `make docs`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from bubuku.core.memory import Memory
from bubuku.core.model import BrokerState, Mode, Registration, Role
from bubuku.core.observation import Observation, Policy
from bubuku.core.reasons import Reason

S = BrokerState

FOLLOWS: dict[BrokerState, frozenset[BrokerState]] = {
    S.NOT_RUNNING: frozenset(S),
    S.STARTING: frozenset(
        {S.RECOVERING, S.SERVING, S.STOPPING, S.UNREGISTERED, S.FROZEN, S.FAILED, S.HELD, S.NOT_RUNNING}
    ),
    S.RECOVERING: frozenset(
        {S.STARTING, S.SERVING, S.STOPPING, S.UNREGISTERED, S.FROZEN, S.FAILED, S.HELD, S.NOT_RUNNING}
    ),
    S.SERVING: frozenset({S.UNREGISTERED, S.FROZEN, S.STOPPING, S.NOT_RUNNING, S.FAILED, S.HELD, S.STARTING}),
    # a stop that was intended by a daemon that died, and that Kafka never heard of, lapses: then it may be anything
    S.STOPPING: frozenset(S),
    S.UNREGISTERED: frozenset(
        {S.SERVING, S.FROZEN, S.STOPPING, S.NOT_RUNNING, S.FAILED, S.HELD, S.STARTING, S.RECOVERING}
    ),
    S.FROZEN: frozenset(
        {S.SERVING, S.UNREGISTERED, S.STARTING, S.RECOVERING, S.STOPPING, S.NOT_RUNNING, S.FAILED, S.HELD}
    ),
    # a process is there only after a start, which is starting, or after it was taken over, which is not running
    S.FAILED: frozenset({S.STARTING, S.NOT_RUNNING, S.HELD}),
    S.HELD: frozenset({S.STARTING, S.NOT_RUNNING, S.FAILED}),
}


@dataclass(frozen=True, slots=True)
class Facts:
    """A running process as one cycle sees it, each fact drawn once from the observation."""

    terminating: bool
    suspended: bool
    silent_for: float | None  # seconds since it last answered; None: it never did, or it answers
    answers: bool  # own listener (or JMX 3) answered in a reading begun after the start
    registration_known: bool
    registered: bool
    others: int
    jmx_state: int | None
    raft_state: str | None
    recovering: tuple[int, int] | None
    is_broker: bool
    served: bool
    registered_once: bool
    frozen_after: float


def facts(policy: Policy, memory: Memory, obs: Observation) -> Facts:
    """Draw the facts. A reading counts only if it was begun after this process was started."""
    started = obs.process.started_at if obs.process.started_at is not None else obs.now
    jmx = obs.jmx.value if policy.jmx and obs.jmx.begun >= started else None
    answers = obs.answers.known and obs.answers.begun >= started and obs.answers.value is True
    registration = obs.registration.value if obs.registration.known and obs.registration.begun >= started else None
    return Facts(
        terminating=obs.terminate or (obs.record.stop_intent and obs.record.process == obs.process.identity),
        suspended=obs.process.suspended,
        silent_for=None if answers or memory.answered_at is None else obs.now - memory.answered_at,
        answers=answers,
        registration_known=registration is not None,
        registered=registration is not None and own_registration(policy, obs) is not None,
        others=registration.others if registration is not None else 0,
        jmx_state=jmx.broker_state if jmx is not None else None,
        raft_state=jmx.raft_state if jmx is not None else None,
        recovering=_recovery(obs, started),
        is_broker=Role.BROKER in policy.roles,
        served=memory.served_since is not None,
        registered_once=memory.registered_once,
        frozen_after=policy.frozen_after,
    )


def own_registration(policy: Policy, obs: Observation) -> Registration | None:
    """The registration of *this* incarnation: read after its start, and at our endpoints.

    In ZooKeeper mode the predecessor's is known to be gone before a start (`gates.old_registration`). In KRaft it may
    be listed for a few seconds more, which does no harm: serving also takes an answer of the new process itself.
    """
    view = obs.registration.value
    if view is None or view.own is None:
        return None
    if obs.process.started_at is not None and obs.registration.begun < obs.process.started_at:
        return None
    if policy.endpoints and view.own.endpoints and not set(policy.endpoints) & set(view.own.endpoints):
        return None
    return view.own


def registered_before(obs: Observation) -> bool:
    """It is on record that this very process had registered."""
    return obs.record.registration is not None and obs.record.process == obs.process.identity


def _recovery(obs: Observation, started: float) -> tuple[int, int] | None:
    log = obs.log.value
    if log is None or log.recover_total is None or log.recovered is None or obs.log.begun < started:
        return None
    jmx = obs.jmx.value if obs.jmx.begun >= started else None
    if jmx is not None and jmx.remaining_logs:
        return max(0, log.recover_total - jmx.remaining_logs), log.recover_total
    return (log.recovered, log.recover_total) if log.recovered < log.recover_total else None


def _serves(f: Facts) -> bool:
    if not f.is_broker:
        return f.answers and f.raft_state in (None, "leader", "follower", "voted")
    proven = f.answers if f.jmx_state is None else f.jmx_state == 3 and f.answers
    # once it serves, a moment's silence of its listener is not a change of state (frozen has its own delay)
    return f.registered and (proven or (f.served and f.silent_for is not None))


@dataclass(frozen=True, slots=True)
class Rule:
    name: str
    applies: Callable[[Facts], bool]
    state: BrokerState
    reason: Reason
    sentence: str


RULES: tuple[Rule, ...] = (
    Rule("told to stop", lambda f: f.terminating, S.STOPPING, Reason.TERMINATING, "Kafka is being stopped gracefully"),
    Rule(
        "stopped by the kernel",
        lambda f: f.suspended,
        S.FROZEN,
        Reason.SUSPENDED,
        "Kafka's process is suspended (SIGSTOP)",
    ),
    Rule(
        "answered before, silent for long",
        lambda f: f.silent_for is not None and f.silent_for >= f.frozen_after,
        S.FROZEN,
        Reason.NO_ANSWER,
        "Kafka lives, but has not answered for {silent_for:.0f} s",
    ),
    Rule(
        "recovering its logs",
        lambda f: f.recovering is not None and not f.served,
        S.RECOVERING,
        Reason.LOG_RECOVERY,
        "Kafka recovers its logs after an unclean end: {done} of {total} done",
    ),
    Rule("registered and answering", _serves, S.SERVING, Reason.RUNNING, "the broker serves"),
    Rule(
        "was registered, and nobody is any more",
        lambda f: f.is_broker and f.registered_once and f.registration_known and not f.registered and f.others == 0,
        S.UNREGISTERED,
        Reason.ALL_UNREGISTERED,
        "no broker is registered at all: nothing is restarted until one is",
    ),
    Rule(
        "was registered, and others are",
        lambda f: f.is_broker and f.registered_once and f.registration_known and not f.registered,
        S.UNREGISTERED,
        Reason.NOT_REGISTERED,
        "Kafka lives, but the cluster does not list it ({others} others are listed)",
    ),
    Rule(
        "served, and the registration is unknown",
        lambda f: f.served and not f.registration_known,
        S.SERVING,
        Reason.RUNNING,
        "the broker served when last seen; whether it is registered is not known now",
    ),
    Rule("lives, and nothing above", lambda _f: True, S.STARTING, Reason.RUNNING, "Kafka is starting"),
)


def classify(f: Facts) -> tuple[Rule, str]:
    """The first rule that applies, and its sentence with the figures filled in."""
    done, total = f.recovering if f.recovering is not None else (0, 0)
    rule = next(r for r in RULES if r.applies(f))
    return rule, rule.sentence.format(silent_for=f.silent_for or 0.0, others=f.others, done=done, total=total)


def remember(policy: Policy, memory: Memory, obs: Observation, f: Facts, state: BrokerState) -> Memory:
    """The memory after a cycle in which the process lives."""
    if memory.process != obs.process.identity:
        memory = replace(
            memory,
            process=obs.process.identity,
            served_since=None,
            watched_since=obs.now,
            registered_once=registered_before(obs),
            answered_at=None,
            progress=(),
            progress_at=obs.now,
            recovery_began=None,
        )
    log = obs.log.value
    progress = (log.lines_seen if log is not None else 0, obs.process.activity >> 20)
    # while nobody can say whether it is registered, it may wait for whom we wait for
    waits = f.suspended or (state is S.STARTING and not f.registration_known)
    serving = state is S.SERVING
    # KRaft may list the predecessor for a while: a start that hangs meanwhile has registered nothing
    known_as_own = f.answers or policy.mode is Mode.ZOOKEEPER
    return replace(
        memory,
        served_since=memory.served_since if memory.served_since is not None or not serving else obs.now,
        registered_once=memory.registered_once or (f.registered and known_as_own),
        answered_at=obs.now if f.answers else memory.answered_at,
        progress=progress,
        progress_at=obs.now if progress != memory.progress or waits else memory.progress_at,
        recovery_began=memory.recovery_began
        if memory.recovery_began is not None or f.recovering is None
        else (obs.now, f.recovering[0]),
        startup_timeout=policy.startup_timeout if serving else memory.startup_timeout,
    )


def eta_seconds(memory: Memory, f: Facts, now: float) -> float | None:
    """Seconds until recovery is done at the mean pace so far; None while there is no pace to tell."""
    if memory.recovery_began is None or f.recovering is None:
        return None
    began, done_then = memory.recovery_began
    done, total = f.recovering
    if done <= done_then or now <= began:
        return None
    return (total - done) * (now - began) / (done - done_then)
