"""One cycle's decision while Kafka runs: what is written down, adoption, a graceful end, the chores."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bubuku.core import stopping
from bubuku.core.actions import (
    Action,
    AdoptBroker,
    EndStalled,
    JoinMarker,
    MarkDirs,
    Outcome,
    RecordDesired,
    Remember,
    Result,
    StartBroker,
    StopGracefully,
)
from bubuku.core.decide import decide
from bubuku.core.memory import Memory
from bubuku.core.model import BrokerState, Desired, Record, RegistrationView
from bubuku.core.observation import Decision
from bubuku.core.reasons import Reason
from bubuku.core.shared import Stop
from tests.support.observations import (
    KRAFT_POLICY,
    NOW,
    OTHER,
    POLICY,
    PROCESS,
    REGISTRATION,
    STARTED,
    empty_dir,
    foreign,
    log_dir,
    meeting,
    observe,
    ran,
    read,
    record,
    running,
    unread,
    watching,
)
from tests.support.stops import intended, stop

S = BrokerState


def acts(decision: Decision, kind: type) -> list[Any]:
    return [action for action in decision.actions if isinstance(action, kind)]


def saved(decision: Decision) -> Record | None:
    return next((a.record for a in reversed(decision.actions) if isinstance(a, Remember)), None)


# while it runs


def test_the_registration_is_written_down_once_it_answers() -> None:
    starting = running(record=record(process=PROCESS), answers=read(False))
    young = watching(served_since=None, answered_at=None, registered_once=False, state=S.STARTING)
    assert saved(decide(POLICY, young, starting)[1]) is None
    after = saved(decide(POLICY, young, replace(starting, answers=read(True)))[1])
    assert after == ran()


def test_a_frozen_broker_that_registered_anew_is_known_by_the_new_registration() -> None:
    new = replace(REGISTRATION, czxid=8)
    after = saved(
        decide(POLICY, watching(), running(registration=read(RegistrationView(new, 2)), answers=read(False)))[1]
    )
    assert after is not None
    assert after.registration == new


def test_a_registration_that_cannot_be_told_from_another_hosts_is_never_fenced() -> None:
    unknown = replace(POLICY, endpoints=())
    obs = running(record=record(process=PROCESS))
    _, decision = decide(unknown, watching(), obs)
    assert decision.state is S.SERVING
    assert saved(decision) is None


def test_an_adopted_process_inherits_nothing_of_the_one_on_record() -> None:
    known = ran(process=OTHER, started_by_us=True, stop_intent=True, counted=True)
    obs = running(record=known, registration=unread(), answers=read(False))
    memory, decision = decide(POLICY, Memory(), obs)
    assert saved(decision) == record(process=PROCESS, settings_digest=None)
    assert decision.state is S.STARTING
    assert not memory.registered_once


def test_a_fence_that_may_be_on_its_way_is_remembered_beyond_an_adoption() -> None:
    """It would hit the one that is started after the adopted one."""
    obs = running(record=ran(process=OTHER, fencing=True), registration=unread(), answers=read(False))
    assert saved(decide(KRAFT_POLICY, Memory(), obs)[1]) == record(process=PROCESS, settings_digest=None, fencing=True)


def test_a_running_kafka_is_adopted() -> None:
    obs = observe(foreign=read(foreign()))
    _, decision = decide(replace(POLICY, adopt_running=True), Memory(), obs)
    assert [a.identity for a in acts(decision, AdoptBroker)] == [OTHER]
    assert not acts(decision, StartBroker)


# a graceful end


def test_terminate_writes_the_intent_and_then_stops() -> None:
    memory, decision = decide(POLICY, watching(), running(terminate=True))
    assert decision.state is S.STOPPING
    assert [type(a) for a in decision.actions] == [Remember, StopGracefully]
    assert isinstance(decision.actions[0], Remember)
    assert decision.actions[0].record == stopping.forced_record(ran(), PROCESS)
    assert decision.actions[0].record.stop_intent
    assert memory.stop_sent_at is None  # not before the intent is known to be on disk


def test_the_signal_is_repeated_for_kraft_ignores_it_while_it_starts() -> None:
    obs = running(terminate=True, record=ran(stop_intent=True))
    memory, decision = decide(POLICY, watching(state=S.STOPPING), obs)
    assert acts(decision, StopGracefully)
    assert not acts(decide(POLICY, memory, replace(obs, now=NOW + 9))[1], StopGracefully)
    assert acts(decide(POLICY, memory, replace(obs, now=NOW + 10))[1], StopGracefully)


def test_a_successor_that_is_told_to_end_stops_it_too() -> None:
    obs = running(terminate=True, record=ran(stop_intent=True))
    assert acts(decide(POLICY, Memory(), obs)[1], StopGracefully)


def test_a_stop_that_was_intended_and_never_sent_lapses() -> None:
    obs = running(record=ran(stop_intent=True))
    memory = watching(state=S.STOPPING, watched_since=NOW - 329)
    _, decision = decide(POLICY, memory, obs)
    assert decision.state is S.STOPPING
    assert saved(decision) is None
    memory, decision = decide(POLICY, replace(memory, watched_since=NOW - 330), obs)
    assert saved(decision) == ran()
    memory, decision = decide(POLICY, memory, replace(obs, record=ran(), now=NOW + 1))
    assert decision.state is S.SERVING


def test_it_lapses_for_a_broker_that_is_not_listed_too_which_is_mended_then() -> None:
    unlisted = read(RegistrationView(None, 2, asked_for=1))
    obs = running(record=ran(stop_intent=True), registration=unlisted)
    memory, decision = decide(POLICY, watching(state=S.STOPPING, watched_since=NOW - 330), obs)
    assert saved(decision) == ran()
    _, decision = decide(POLICY, memory, replace(obs, record=ran()))
    assert decision.state is S.UNREGISTERED


def test_nobody_is_stopped_without_being_told_to() -> None:
    for obs in (running(), running(answers=unread()), running(registration=read(RegistrationView(None, 0)))):
        _, decision = decide(POLICY, watching(), obs)
        assert not acts(decision, StopGracefully)
        assert not acts(decision, EndStalled)


# chores


FRESH = Record("instance-1")
NOWHERE = meeting(marker=None, marker_cluster_id=None, desired=None)


@pytest.mark.parametrize(
    ("known", "view", "joins", "marker"),
    [
        (record(marker=None), NOWHERE, True, None),
        (record(marker=None), meeting(), False, "root-1"),
        (record(marker=None), meeting(marker_cluster_id=None), False, "root-1"),
        (record(marker=None), meeting(marker_cluster_id="x"), False, None),  # another cluster's: it would outlast that
        (record(marker=None), replace(NOWHERE, marker_read=False), False, None),
        (record(marker=None), replace(NOWHERE, predecessor_v1=True), False, None),
        (record(marker=None), replace(NOWHERE, connected=False), False, None),
        (record(), NOWHERE, False, "root-1"),  # wiped: never joined anew by itself
    ],
)
def test_the_marker_is_joined(known: Record, view: Any, joins: bool, marker: str | None) -> None:
    _, decision = decide(POLICY, Memory(), observe(record=known, coordination=read(view)))
    assert bool(acts(decision, JoinMarker)) is joins
    assert (saved(decision) or known).marker == marker


@pytest.mark.parametrize(
    ("before", "kept"),
    [
        (None, None),
        (stop(marker="wiped"), None),  # nothing was sent, and its entry is not here
        (intended(marker="wiped"), intended(marker="wiped")),
        (stop(), stop()),  # it was this root's all the time
    ],
)
def test_who_joins_another_root_keeps_of_a_stop_what_may_have_been_sent(before: Stop | None, kept: Stop | None) -> None:
    _, decision = decide(POLICY, Memory(), observe(record=record(marker=None, stop=before)))
    assert next(a.record.stop for a in decision.actions if isinstance(a, Remember)) == kept


def test_no_marker_is_made_before_the_cluster_is_known() -> None:
    obs = observe(record=FRESH, coordination=read(NOWHERE), log_dirs=read((empty_dir(),)))
    assert not acts(decide(POLICY, Memory(), obs)[1], JoinMarker)


WANTED = RecordDesired(1, Desired({"marker/a": "/a"}, "cluster-a"))


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        (meeting(), []),
        (meeting(desired=None), [WANTED]),
        (meeting(desired=Desired({"old": "/a"}, "cluster-a")), [WANTED]),
        (meeting(desired=None, desired_read=False), []),
        (meeting(desired=None, member_owner="instance-9"), []),
        (meeting(desired=None, marker="root-9"), []),  # a foreign root is not written to
        (meeting(desired=None, connected=False), []),
    ],
)
def test_the_dirs_of_a_running_kafka_are_put_on_record(view: Any, expected: list[Action]) -> None:
    _, decision = decide(POLICY, watching(), running(coordination=read(view)))
    assert acts(decision, RecordDesired) == expected


def test_one_that_is_held_does_not_overwrite_what_it_is_held_by() -> None:
    both = meeting(desired=Desired({"marker/a": "/a", "marker/b": "/b"}))
    obs = observe(coordination=read(both), log_dirs=read((log_dir(), empty_dir("/b"))))
    _, decision = decide(POLICY, Memory(), obs)
    assert (decision.state, decision.reason) == (S.HELD, Reason.LOG_DIR_EMPTY)
    assert not decision.actions


def test_desired_is_tried_again_after_a_while() -> None:
    obs = running(coordination=read(meeting(desired=None)))
    memory, _ = decide(POLICY, watching(), obs)
    assert not acts(decide(POLICY, memory, replace(obs, now=NOW + 9))[1], RecordDesired)
    assert acts(decide(POLICY, memory, replace(obs, now=NOW + 10))[1], RecordDesired)
    busy: dict[type, Outcome] = {RecordDesired: Outcome(Result.RUNNING, NOW)}
    assert not acts(decide(POLICY, memory, replace(obs, now=NOW + 10, outcomes=busy))[1], RecordDesired)


UNMARKED = log_dir(marker=None)
TAKEN = running(record=replace(ran(), dirs={}), log_dirs=read((UNMARKED,)), coordination=read(meeting(desired=None)))


def test_the_dirs_of_a_kafka_that_was_taken_over_are_marked_while_it_runs() -> None:
    """Else they would be on record nowhere, and an empty mount point would do after the next reboot."""
    memory, decision = decide(POLICY, watching(), TAKEN)
    assert acts(decision, MarkDirs) == [MarkDirs(("/a",))]
    marked = replace(TAKEN, log_dirs=read((log_dir(),), NOW + 1), now=NOW + 1)
    _, decision = decide(POLICY, memory, marked)
    assert saved(decision) == ran()


@pytest.mark.parametrize(
    "changes",
    [
        {"log_dirs": read((UNMARKED,), STARTED - 1)},
        {"log_dirs": read((UNMARKED, empty_dir("/b")))},  # is that its, or has a volume gone under it?
        {"log_dirs": read((UNMARKED, log_dir("/b", usable=False)))},
        {"log_dirs": read((log_dir(marker=None, node_id=2),))},
        {"coordination": read(meeting(desired=None, desired_read=False))},
        {"coordination": read(meeting())},  # another marker is on record
    ],
)
def test_dirs_are_not_marked_where_they_may_not_be_its(changes: dict[str, Any]) -> None:
    _, decision = decide(POLICY, watching(), replace(TAKEN, **changes))
    assert not acts(decision, MarkDirs)
    assert not (saved(decision) or TAKEN.record).dirs


def test_a_kraft_broker_with_its_record_starts_without_zookeeper() -> None:
    obs = observe(coordination=read(meeting(connected=False)))
    _, decision = decide(KRAFT_POLICY, Memory(), obs)
    assert acts(decision, StartBroker)
