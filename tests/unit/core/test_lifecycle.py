"""How a running process is told apart: each row of RULES, FOLLOWS, the ETA, whose registration it is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bubuku.core import lifecycle
from bubuku.core.lifecycle import FOLLOWS, RULES, Facts
from bubuku.core.memory import Memory
from bubuku.core.model import BrokerState, JmxView, LogView, ProcessView, Registration, RegistrationView, Role
from bubuku.core.observation import Observation, Policy
from bubuku.core.reasons import Reason
from tests.support.observations import (
    ENDPOINT,
    KRAFT_POLICY,
    KRAFT_REGISTRATION,
    NOW,
    POLICY,
    PROCESS,
    REGISTRATION,
    STARTED,
    ran,
    read,
    record,
    running,
    unread,
    watching,
)

S = BrokerState
SERVING = Facts(
    terminating=False,
    suspended=False,
    silent_for=None,
    answers=True,
    registration_known=True,
    registered=True,
    others=2,
    jmx_state=None,
    raft_state=None,
    recovering=None,
    is_broker=True,
    served=True,
    registered_once=True,
    frozen_after=10.0,
)
JUST_STARTED = replace(SERVING, answers=False, registered=False, served=False, registered_once=False)


@pytest.mark.parametrize(
    ("facts", "name", "state", "reason"),
    [
        (replace(SERVING, terminating=True, suspended=True), "told to stop", S.STOPPING, Reason.TERMINATING),
        (replace(SERVING, suspended=True), "stopped by the kernel", S.FROZEN, Reason.SUSPENDED),
        (replace(JUST_STARTED, suspended=True), "stopped by the kernel", S.FROZEN, Reason.SUSPENDED),
        (
            replace(SERVING, answers=False, silent_for=10.0),
            "answered before, silent for long",
            S.FROZEN,
            Reason.NO_ANSWER,
        ),
        (replace(JUST_STARTED, recovering=(0, 9)), "recovering its logs", S.RECOVERING, Reason.LOG_RECOVERY),
        (replace(SERVING, served=False, recovering=(0, 9)), "recovering its logs", S.RECOVERING, Reason.LOG_RECOVERY),
        (SERVING, "registered and answering", S.SERVING, Reason.RUNNING),
        (replace(SERVING, recovering=(8, 9)), "registered and answering", S.SERVING, Reason.RUNNING),
        (replace(SERVING, answers=False, silent_for=9.9), "registered and answering", S.SERVING, Reason.RUNNING),
        (replace(SERVING, jmx_state=3), "registered and answering", S.SERVING, Reason.RUNNING),
        (replace(SERVING, served=False, jmx_state=2), "lives, and nothing above", S.STARTING, Reason.RUNNING),
        (
            replace(SERVING, registered=False, others=0),
            "was registered, and nobody is any more",
            S.UNREGISTERED,
            Reason.ALL_UNREGISTERED,
        ),
        (
            replace(SERVING, registered=False),
            "was registered, and others are",
            S.UNREGISTERED,
            Reason.NOT_REGISTERED,
        ),
        (
            replace(SERVING, registered=False, registration_known=False),
            "served, and the registration is unknown",
            S.SERVING,
            Reason.RUNNING,
        ),
        (
            replace(JUST_STARTED, registered_once=True, registration_known=False),
            "lives, and nothing above",
            S.STARTING,
            Reason.RUNNING,
        ),
        (JUST_STARTED, "lives, and nothing above", S.STARTING, Reason.RUNNING),
        (replace(JUST_STARTED, others=0), "lives, and nothing above", S.STARTING, Reason.RUNNING),
        (replace(JUST_STARTED, answers=True), "lives, and nothing above", S.STARTING, Reason.RUNNING),
        # a dedicated controller registers nowhere: its quorum state counts
        (
            replace(JUST_STARTED, is_broker=False, answers=True, raft_state="follower"),
            "registered and answering",
            S.SERVING,
            Reason.RUNNING,
        ),
        (
            replace(JUST_STARTED, is_broker=False, answers=True, raft_state="candidate"),
            "lives, and nothing above",
            S.STARTING,
            Reason.RUNNING,
        ),
    ],
)
def test_rules(facts: Facts, name: str, state: BrokerState, reason: Reason) -> None:
    rule, sentence = lifecycle.classify(facts)
    assert (rule.name, rule.state, rule.reason) == (name, state, reason)
    assert "{" not in sentence


def test_each_rule_has_its_own_name_and_the_last_applies_to_all() -> None:
    assert len({rule.name for rule in RULES}) == len(RULES)
    assert RULES[-1].applies(JUST_STARTED)


def test_figures_are_in_the_sentence() -> None:
    assert lifecycle.classify(replace(JUST_STARTED, recovering=(17, 300)))[1].endswith("17 of 300 done")
    assert "12 s" in lifecycle.classify(replace(SERVING, answers=False, silent_for=12.3))[1]
    assert "(2 others" in lifecycle.classify(replace(SERVING, registered=False))[1]


LIVING = (S.STARTING, S.RECOVERING, S.SERVING, S.STOPPING, S.UNREGISTERED, S.FROZEN)


def test_every_state_has_its_row() -> None:
    assert set(FOLLOWS) == set(S)


@pytest.mark.parametrize("state", S)
def test_any_process_may_end_and_any_end_be_held(state: BrokerState) -> None:
    assert {S.NOT_RUNNING, S.HELD, S.FAILED} - {state} <= FOLLOWS[state]


@pytest.mark.parametrize(
    ("before", "after", "allowed"),
    [
        (S.RECOVERING, S.UNREGISTERED, True),  # KRaft registers before it recovers
        (S.UNREGISTERED, S.RECOVERING, True),
        (S.STOPPING, S.SERVING, True),  # the stop of a daemon that died lapsed
        (S.SERVING, S.RECOVERING, False),
        (S.FAILED, S.UNREGISTERED, False),
        (S.HELD, S.SERVING, False),  # who is taken over is not running in between
        (S.HELD, S.STARTING, True),
    ],
)
def test_follows(before: BrokerState, after: BrokerState, allowed: bool) -> None:
    assert (after in FOLLOWS[before]) is allowed


def facts_of(policy: Policy = POLICY, memory: Memory | None = None, **changes: Any) -> Facts:
    return lifecycle.facts(policy, memory if memory is not None else watching(), running(**changes))


def test_facts_of_a_serving_broker() -> None:
    assert facts_of() == SERVING


@pytest.mark.parametrize("before_start", [{"answers": read(True, STARTED - 1)}, {"answers": unread(begun=NOW)}])
def test_an_answer_of_before_the_start_is_not_an_answer(before_start: dict[str, Any]) -> None:
    assert not facts_of(**before_start).answers


def test_silence_counts_from_the_last_answer() -> None:
    assert facts_of(answers=read(False)).silent_for == 1.0
    assert facts_of(memory=watching(answered_at=None), answers=read(False)).silent_for is None


def test_a_stop_intent_of_another_process_is_not_ours() -> None:
    assert facts_of(record=ran(stop_intent=True)).terminating
    assert not facts_of(record=record(stop_intent=True)).terminating


def test_jmx_counts_only_where_it_is_configured_and_of_this_process() -> None:
    jmx = replace(POLICY, jmx=True)
    assert facts_of(jmx=read(JmxView(3))).jmx_state is None
    assert facts_of(jmx, jmx=read(JmxView(3))).jmx_state == 3
    assert facts_of(jmx, jmx=read(JmxView(3), STARTED - 1)).jmx_state is None


@pytest.mark.parametrize(
    ("log", "jmx", "seen"),
    [
        (LogView(), JmxView(), None),
        (LogView(3, 10), JmxView(), (3, 10)),
        (LogView(10, 10), JmxView(), None),
        (LogView(3, 10), JmxView(remaining_logs=4), (6, 10)),
        (LogView(3, 10), JmxView(remaining_logs=0), (3, 10)),
        (LogView(3, 10), JmxView(remaining_logs=40), (0, 10)),
    ],
)
def test_recovery(log: LogView, jmx: JmxView, seen: tuple[int, int] | None) -> None:
    assert facts_of(replace(POLICY, jmx=True), log=read(log), jmx=read(jmx)).recovering == seen


def test_recovery_of_the_last_process_is_not_this_ones() -> None:
    assert facts_of(log=read(LogView(3, 10), STARTED - 1)).recovering is None


def own(policy: Policy, registration: Registration | None, begun: float = NOW) -> Registration | None:
    obs = running(registration=read(RegistrationView(registration, 2), begun))
    return lifecycle.own_registration(policy, obs)


def test_whose_registration() -> None:
    elsewhere = replace(REGISTRATION, endpoints=("host-9:9092",))
    both = replace(REGISTRATION, endpoints=(ENDPOINT, "host-9:9093"))
    assert own(POLICY, REGISTRATION) == REGISTRATION
    assert own(KRAFT_POLICY, KRAFT_REGISTRATION) == KRAFT_REGISTRATION
    assert own(POLICY, both) == both
    assert own(POLICY, None) is None
    assert own(POLICY, elsewhere) is None  # another host's broker
    assert own(POLICY, REGISTRATION, STARTED - 1) is None  # the predecessor's


def remembered(memory: Memory, obs: Observation, state: BrokerState = S.STARTING) -> Memory:
    return lifecycle.remember(POLICY, memory, obs, lifecycle.facts(POLICY, memory, obs), state)


def test_a_new_process_starts_from_nothing() -> None:
    fresh = replace(running(), process=ProcessView(replace(PROCESS, pid=77), NOW))
    memory = remembered(watching(), replace(fresh, now=NOW + 1, registration=unread(), answers=unread()))
    assert memory.process == fresh.process.identity
    assert (memory.served_since, memory.registered_once, memory.answered_at) == (None, False, None)
    assert memory.watched_since == memory.progress_at == NOW + 1


def test_an_adopted_process_that_had_registered_is_known_to_have() -> None:
    assert remembered(Memory(), running(registration=unread())).registered_once


def test_in_kraft_the_predecessor_may_be_listed_for_a_while() -> None:
    """A start that hangs meanwhile has not registered, and is ended as any that makes no progress."""
    hangs = running(record=record(process=PROCESS), answers=read(False))
    facts = lifecycle.facts(KRAFT_POLICY, Memory(), hangs)
    assert facts.registered
    assert not lifecycle.remember(KRAFT_POLICY, Memory(), hangs, facts, BrokerState.STARTING).registered_once
    assert remembered(Memory(), hangs).registered_once  # ZooKeeper mode: it is known to be gone before a start


def test_progress_is_a_log_line_or_a_megabyte_moved_and_none_is_expected_of_a_suspended_one() -> None:
    still = watching(progress=(7, 5), progress_at=STARTED)
    lines = read(LogView(lines_seen=7))
    assert remembered(still, running(log=lines)).progress_at == STARTED
    assert remembered(still, running(log=read(LogView(lines_seen=8)))).progress_at == NOW
    assert (
        remembered(still, running(log=lines, process=ProcessView(PROCESS, STARTED, activity=6 << 20))).progress_at
        == NOW
    )
    suspended = ProcessView(PROCESS, STARTED, activity=5 << 20, suspended=True)
    assert remembered(still, running(log=lines, process=suspended)).progress_at == NOW


def test_no_progress_is_expected_of_a_start_while_nobody_says_who_is_registered() -> None:
    """It may wait for the same ZooKeeper as we; when that is back, it has all its time to register."""
    still = watching(progress=(7, 5), progress_at=STARTED, served_since=None)
    silent = running(log=read(LogView(lines_seen=7)), answers=read(False), registration=unread())
    assert remembered(still, silent).progress_at == NOW
    assert remembered(still, replace(silent, registration=read(RegistrationView(None, 1)))).progress_at == STARTED
    assert remembered(still, silent, S.STOPPING).progress_at == STARTED, "a stop that hangs then is ended"


@pytest.mark.parametrize(
    ("began", "recovering", "now", "eta"),
    [
        (None, (5, 10), 20.0, None),
        ((10.0, 0), None, 20.0, None),
        ((10.0, 5), (5, 10), 20.0, None),  # no pace yet
        ((10.0, 0), (5, 10), 20.0, 10.0),
        ((10.0, 4), (8, 10), 14.0, 2.0),
    ],
)
def test_eta(
    began: tuple[float, int] | None, recovering: tuple[int, int] | None, now: float, eta: float | None
) -> None:
    facts = replace(JUST_STARTED, recovering=recovering)
    assert lifecycle.eta_seconds(Memory(recovery_began=began), facts, now) == eta


def test_a_controller_is_told_by_its_role() -> None:
    assert not facts_of(replace(KRAFT_POLICY, roles=frozenset({Role.CONTROLLER}))).is_broker
