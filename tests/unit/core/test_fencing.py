"""The fence: on proof, after an unclean end, of our own registration, settled before the next start."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bubuku.core import fencing
from bubuku.core.actions import Fence, Outcome, RaiseFence, Remember, Result
from bubuku.core.case import Stop
from bubuku.core.memory import Memory
from bubuku.core.model import BrokerState, Dated, ProcessView, Record, Registration, RegistrationView, Role
from bubuku.core.observation import Observation, Policy
from bubuku.core.reasons import Reason
from tests.support.observations import (
    ENDED,
    INSTANCE,
    KRAFT_POLICY,
    KRAFT_REGISTRATION,
    NOW,
    OTHER,
    POLICY,
    REGISTRATION,
    after_end,
    case,
    counted,
    ended,
    log_dir,
    meeting,
    observe,
    ran,
    read,
    record,
    unread,
)

CLEAN = read((log_dir(clean=True),))
KRAFT_RAN = ran(registration=KRAFT_REGISTRATION)


@pytest.mark.parametrize(
    ("policy", "obs", "sent"),
    [
        (POLICY, after_end(), True),
        (POLICY, after_end(ended(code=None, signal=9)), True),
        (POLICY, after_end(ended(code=None, watched=False)), True),  # found dead by a successor: the same proof
        (KRAFT_POLICY, after_end(record=KRAFT_RAN), True),
        # no proof
        (POLICY, observe(record=ran()), False),
        (POLICY, after_end(ended(identity=OTHER)), False),  # another process ended than the one on record
        # nothing to remove
        (POLICY, after_end(record=ran(registration=None)), False),
        # not after a clean stop, by whomever
        (POLICY, after_end(log_dirs=CLEAN), False),
        (KRAFT_POLICY, after_end(record=KRAFT_RAN, log_dirs=CLEAN), False),
        (POLICY, after_end(record=ran(stop_intent=True)), False),
        (POLICY, after_end(ended(code=143), record=ran(stop_intent=True)), False),
        # a stop that hung and was cut short
        (POLICY, after_end(ended(code=None, signal=9), record=ran(stop_intent=True)), True),
        (POLICY, after_end(ended(code=None, signal=9), record=ran(stop_intent=True), log_dirs=CLEAN), False),
        (KRAFT_POLICY, after_end(ended(code=None, signal=9), record=replace(KRAFT_RAN, stop_intent=True)), True),
        # switched off, or no broker
        (replace(POLICY, instant_failover=False), after_end(), False),
        (replace(KRAFT_POLICY, roles=frozenset({Role.CONTROLLER})), after_end(), False),
        # not about to be started again
        (POLICY, after_end(terminate=True), False),
        # KRaft: only by the member
        (KRAFT_POLICY, after_end(record=KRAFT_RAN, coordination=read(meeting(member_owner=None))), False),
        (KRAFT_POLICY, after_end(record=KRAFT_RAN, coordination=read(meeting(member_session=2))), False),
        (KRAFT_POLICY, after_end(record=KRAFT_RAN, coordination=read(meeting(connected=False))), False),
        (POLICY, after_end(coordination=read(meeting(member_owner=None))), True),
    ],
)
def test_who_is_fenced(policy: Policy, obs: Observation, sent: bool) -> None:
    _, stop = fencing.fence(case(obs, policy))
    fences = [] if stop is None else [a for a in stop.actions if isinstance(a, Fence)]
    assert [f.expected for f in fences] == ([obs.record.registration] if sent else [])


def test_a_broker_that_waits_long_for_its_next_start_is_not_fenced() -> None:
    assert fencing.fence(case(after_end(), memory=counted(after_end(), next_start_at=NOW + 18.1)))[1] is None
    assert fencing.fence(case(after_end(), memory=counted(after_end(), next_start_at=NOW + 18)))[1] is not None


def test_kraft_writes_down_that_it_fences_before_it_does() -> None:
    _, stop = fencing.fence(case(after_end(record=KRAFT_RAN), KRAFT_POLICY))
    assert stop is not None
    first, second = stop.actions
    assert isinstance(first, Remember)
    assert first.record.fencing
    assert isinstance(second, Fence)


def test_nobody_is_fenced_on_an_old_look_at_the_other_processes() -> None:
    """An operator may have started Kafka by hand since."""
    obs = after_end(ended(at=NOW - 99), record=KRAFT_RAN, foreign=read(None, NOW - 10.1))
    memory, stop = fencing.fence(case(obs, KRAFT_POLICY))
    assert stop is not None
    assert not stop.actions
    assert memory.fence_sent_at is None


def test_zookeeper_fences_without_a_write_to_disk() -> None:
    _, stop = fencing.fence(case(after_end()))
    assert stop is not None
    assert [type(a) for a in stop.actions] == [Fence]


SENT = NOW - 2.0


def then(
    result: Result | None,
    policy: Policy = POLICY,
    *,
    now: float = NOW,
    begun: float = SENT,
    memory: Memory | None = None,
    **changes: Any,
) -> tuple[Memory, Stop | None]:
    """The next cycle after a fence was decided on at `SENT`."""
    outcomes: dict[type, Outcome] = {}
    if result is not None:
        outcomes = {Fence: Outcome(result, begun, None if result is Result.RUNNING else begun + 1, "why")}
    record = ran() if policy is POLICY else KRAFT_RAN
    obs = replace(after_end(ended(at=SENT - 0.5), record=record), now=now, outcomes=outcomes, **changes)
    memory = memory if memory is not None else counted(obs, fence_sent_at=SENT, fence_tries=1)
    return fencing.fence(case(obs, policy, memory))


@pytest.mark.parametrize(
    ("policy", "result", "reason"),
    [
        (POLICY, Result.RUNNING, Reason.FENCE_PENDING),
        (POLICY, Result.DONE, None),
        (POLICY, Result.REFUSED, None),
        (POLICY, Result.FAILED, Reason.FENCE_PENDING),  # again
        (POLICY, Result.UNKNOWN, Reason.FENCE_PENDING),  # again: sent twice, it is done once
        (KRAFT_POLICY, Result.RUNNING, Reason.FENCE_PENDING),
        (KRAFT_POLICY, Result.DONE, None),
        (KRAFT_POLICY, Result.FAILED, Reason.FENCE_PENDING),
        (KRAFT_POLICY, Result.UNKNOWN, Reason.OLD_SESSION),  # a late one would break the next incarnation
    ],
)
def test_it_is_settled_before_anything_is_started(policy: Policy, result: Result, reason: Reason | None) -> None:
    _, stop = then(result, policy)
    assert (stop.reason if stop is not None else None) is reason
    assert stop is None or stop.state is BrokerState.NOT_RUNNING


def resent(stop: Stop | None) -> bool:
    return stop is not None and any(isinstance(a, Fence) for a in stop.actions)


def test_what_failed_is_tried_again_once_a_second_until_the_session_has_ended() -> None:
    assert not resent(then(Result.FAILED, now=SENT + 0.9)[1])
    assert resent(then(Result.FAILED, now=SENT + 1.0)[1])
    assert then(Result.FAILED, now=SENT - 0.5 + 18)[1] is None


def test_in_kraft_what_was_not_sent_is_tried_thrice_for_kafka_itself_waits_for_its_old_session() -> None:
    assert resent(then(Result.FAILED, KRAFT_POLICY, memory=Memory(fence_sent_at=SENT, fence_tries=2))[1])
    assert then(Result.FAILED, KRAFT_POLICY, memory=Memory(fence_sent_at=SENT, fence_tries=3))[1] is None


@pytest.mark.parametrize(("result", "begun"), [(None, SENT), (Result.DONE, SENT - 100)])
def test_a_fence_that_was_dropped_is_sent_again(result: Result | None, begun: float) -> None:
    """The save before it failed, or another one was at work: no outcome of it will ever come."""
    assert resent(then(result, begun=begun)[1])


def test_an_unknown_one_is_waited_for_until_no_broker_carries_it_any_more() -> None:
    """A broker offers a request that was not answered to the next controller, for a minute: seen to break a start."""
    memory, stop = then(Result.UNKNOWN, KRAFT_POLICY, now=SENT + 1 + 59.9)
    assert stop is not None
    assert memory.fence_unknown_at == SENT + 1
    assert then(Result.UNKNOWN, KRAFT_POLICY, now=SENT + 1 + 60)[1] is None


def test_a_successor_waits_for_the_fence_of_the_daemon_that_died() -> None:
    """It may be on its way still, and there is nobody left who would hear of it."""
    obs = after_end(record=replace(KRAFT_RAN, fencing=True), coordination=read(meeting(member_owner=None)))
    memory, stop = fencing.fence(case(obs, KRAFT_POLICY))
    assert stop is not None
    assert stop.reason is Reason.OLD_SESSION
    memory, stop = fencing.fence(case(replace(obs, now=NOW + 60), KRAFT_POLICY, replace(memory, fence_unknown_at=NOW)))
    assert stop is None


def test_a_state_file_that_was_lost_may_have_told_of_a_fence() -> None:
    """Dirs that a daemon marked, and no record of them: what that daemon sent may be on its way still."""
    obs = observe(record=Record(INSTANCE), log_dirs=read((log_dir(),)))
    memory, stop = fencing.fence(case(obs, KRAFT_POLICY))
    assert stop is not None
    assert stop.reason is Reason.OLD_SESSION
    assert fencing.fence(case(replace(obs, now=NOW + 60), KRAFT_POLICY, memory))[1] is None
    assert fencing.fence(case(obs, KRAFT_POLICY, Memory(marked_at=NOW - 1)))[1] is None  # it marked them itself
    assert fencing.fence(case(observe(record=record(), log_dirs=read((log_dir(),))), KRAFT_POLICY))[1] is None
    assert fencing.fence(case(obs))[1] is None  # ZooKeeper mode: the raise makes a late one fail


def test_who_saw_another_kafka_since_the_end_fences_nobody() -> None:
    """In KRaft its registration looks the same, and how it ended is not known."""
    obs = after_end(record=KRAFT_RAN)
    assert fencing.fence(case(obs, KRAFT_POLICY, counted(obs, another_ran=True)))[1] is None


def test_its_own_fence_does_not_settle_the_one_before() -> None:
    obs = after_end(record=replace(KRAFT_RAN, fencing=True))
    memory, stop = fencing.fence(case(obs, KRAFT_POLICY))
    assert resent(stop)
    done = replace(obs, now=NOW + 1, outcomes={Fence: Outcome(Result.DONE, NOW, NOW + 0.1)})
    _, stop = fencing.fence(case(done, KRAFT_POLICY, memory))
    assert stop is not None
    assert stop.reason is Reason.OLD_SESSION
    assert fencing.fence(case(replace(done, now=NOW + 60), KRAFT_POLICY, memory))[1] is None


def test_a_fence_makes_the_last_raise_void() -> None:
    memory, _ = fencing.fence(case(after_end(), memory=counted(after_end(), raise_sent_at=NOW - 1)))
    assert memory.raise_sent_at is None


NO_FENCE = replace(POLICY, instant_failover=False)


def standing(own: Registration | None, begun: float = NOW) -> Dated[RegistrationView]:
    return read(RegistrationView(own, 2, asked_for=1), begun)


@pytest.mark.parametrize(
    ("policy", "registration", "memory", "reason"),
    [
        (POLICY, standing(None), Memory(), None),
        (NO_FENCE, standing(REGISTRATION), Memory(), Reason.OLD_SESSION),
        (NO_FENCE, standing(REGISTRATION), Memory(session_since=NOW - 36), Reason.OLD_SESSION),
        (NO_FENCE, standing(REGISTRATION), Memory(session_since=NOW - 36.1), Reason.MEMBER_ELSEWHERE),
        # ZooKeeper is back, or what was sent was lost: told once more, once a second
        (POLICY, standing(REGISTRATION), Memory(), Reason.FENCE_PENDING),
        (POLICY, standing(REGISTRATION), Memory(fence_sent_at=NOW - 1), Reason.FENCE_PENDING),
        (POLICY, standing(REGISTRATION), Memory(fence_sent_at=NOW - 0.9), Reason.OLD_SESSION),
        (POLICY, standing(replace(REGISTRATION, czxid=99)), Memory(), Reason.OLD_SESSION),  # not ours
        (POLICY, standing(None, ENDED), Memory(), Reason.COORDINATION_AWAY),  # of before the end
        (POLICY, standing(None, NOW - 0.5), Memory(fence_sent_at=NOW - 0.4), Reason.COORDINATION_AWAY),
        (POLICY, unread(), Memory(), Reason.COORDINATION_AWAY),
        (POLICY, read(RegistrationView(None, 3)), Memory(), Reason.COORDINATION_AWAY),  # read before our id was known
        (KRAFT_POLICY, standing(KRAFT_REGISTRATION), Memory(), None),  # Kafka waits for it by itself
    ],
)
def test_the_old_registration(policy: Policy, registration: Any, memory: Memory, reason: Reason | None) -> None:
    obs = after_end(registration=registration)
    _, stop = fencing.old_registration(case(obs, policy, memory))
    assert (stop.reason if stop is not None else None) is reason


def test_another_kafka_may_have_registered_since_the_last_look() -> None:
    early = after_end(ended(at=NOW - 9), registration=read(RegistrationView(None, 0, None, 1), NOW - 2))
    assert fencing.old_registration(case(early, memory=counted(early)))[1] is None
    assert fencing.old_registration(case(early, memory=counted(early, alone_since=NOW - 1)))[1] is not None


def test_the_patience_with_an_old_session_begins_when_zookeeper_is_back() -> None:
    memory, _ = fencing.old_registration(case(after_end(registration=unread()), memory=Memory(session_since=NOW - 99)))
    assert memory.session_since is None


def raise_it(
    result: Result | None, sent: float | None, policy: Policy = POLICY, begun: float | None = None
) -> Stop | None:
    outcomes: dict[type, Outcome] = {}
    if result is not None:
        outcomes = {RaiseFence: Outcome(result, begun if begun is not None else (sent or 0.0), NOW)}
    return fencing.fence_raised(case(observe(outcomes=outcomes), policy, Memory(raise_sent_at=sent)))[1]


@pytest.mark.parametrize(
    ("result", "sent", "begun", "waits", "sends"),
    [
        (None, None, None, True, True),
        (Result.DONE, None, NOW - 900, True, True),  # that was before another start
        (Result.RUNNING, NOW - 9, None, True, False),
        (Result.DONE, NOW - 1, None, False, False),
        (Result.UNKNOWN, NOW - 0.9, None, True, False),
        (Result.UNKNOWN, NOW - 1, None, True, True),
        (Result.FAILED, NOW - 1, None, True, True),
        (None, NOW - 1, None, True, True),  # dropped
    ],
)
def test_the_fence_is_raised_before_each_start(
    result: Result | None, sent: float | None, begun: float | None, waits: bool, sends: bool
) -> None:
    stop = raise_it(result, sent, begun=begun)
    assert (stop is not None) is waits
    assert (stop is not None and any(isinstance(a, RaiseFence) for a in stop.actions)) is sends


def test_nothing_is_raised_in_kraft_or_without_an_id() -> None:
    assert raise_it(None, None, KRAFT_POLICY) is None
    nobody = observe(record=Record("instance-1"), log_dirs=read(()), process=ProcessView())
    assert fencing.fence_raised(case(nobody, replace(POLICY, node_id=None)))[1] is None
