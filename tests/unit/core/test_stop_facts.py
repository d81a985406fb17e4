"""The permit's facts: what they may rest on, and what makes them unknown."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bubuku.core import stop_facts
from bubuku.core.actions import (
    DropPermit,
    ElectPreferred,
    Judge,
    Outcome,
    RestPermit,
    Result,
    SendStop,
    SettlePermit,
    TakePermit,
)
from bubuku.core.memory import Memory
from bubuku.core.model import BrokerState, Partition, ProcessView, RegistrationView
from bubuku.core.observation import Observation
from bubuku.core.permit import Facts, Verdict
from bubuku.core.reasons import Reason
from bubuku.core.shared import Stop
from bubuku.core.stop_facts import Want
from tests.support.observations import (
    ENDED,
    MARKER,
    NOW,
    OTHER,
    POLICY,
    PROCESS,
    REGISTRATION,
    STARTED,
    after_end,
    cluster,
    foreign,
    partition,
    ran,
    read,
    unread,
    watching,
)
from tests.support.stops import (
    NO,
    ON,
    TOKEN,
    UUID,
    VERSION,
    agreed,
    done,
    dropped,
    entry,
    intended,
    judged,
    noted,
    sent,
    serving,
    stop,
    taken,
)

S = BrokerState
WANT = Want(TOKEN, UUID, Reason.RESTARTED, stay_down=False, accept_unavailable=False)
NOTED = watching(noted=TOKEN)  # the memory of the daemon that began this stop


def facts(obs: Observation, memory: Memory = NOTED, want: Want | None = WANT) -> Facts:
    return stop_facts.draw(POLICY, memory, obs, 1, want)


# the permit is known, or it is not


def test_at_rest_the_permit_is_known_and_nothing_of_ours_is_in_it() -> None:
    seen = facts(serving(agreed()))
    assert (seen.permit_known, seen.entry, seen.others_working, seen.taking) == (True, False, False, False)


@pytest.mark.parametrize(
    "changes",
    [
        {"connected": False},
        {"permit": None},
        {"maintenance": None},
        {"predecessor_v1": True},
        {"marker": "another root"},
        {"marker": None},
        {"member_owner": "another daemon"},
        {"member_owner": None},
    ],
    ids=str,
)
def test_the_permit_is_unknown_where_the_meeting_place_is_not_ours_or_not_read(
    changes: dict[str, Any],
) -> None:
    assert not facts(serving(agreed(ours=entry(), **changes), noted())).permit_known


def test_before_the_root_was_joined_nothing_is_known_of_the_permit() -> None:
    assert not facts(serving(agreed(marker=None), noted(marker=None))).permit_known


def test_a_permit_that_is_older_than_our_own_write_is_not_known() -> None:
    older = serving(agreed(version=VERSION), noted(), outcomes={**judged(), **taken(VERSION + 1)})
    assert not facts(older).permit_known
    assert facts(replace(older, coordination=read(agreed(ours=entry(), version=VERSION + 1)))).permit_known


def test_a_permit_that_stays_older_than_our_own_write_was_restored_and_is_known_again() -> None:
    lower = serving(agreed(version=VERSION), outcomes={DropPermit: done(NOW - 60, version=VERSION + 1)})
    assert not facts(lower).permit_known, "the server that was read may lag behind"
    assert facts(replace(lower, coordination=read(lower.coordination.value, NOW + 1))).permit_known


@pytest.mark.parametrize("kind", [TakePermit, DropPermit, RestPermit])
def test_a_write_of_unknown_outcome_is_settled_by_one_that_was_begun_after_it(kind: type) -> None:
    lost = done(NOW - 2, Result.UNKNOWN)
    obs = serving(agreed(ours=entry()), noted(), outcomes={kind: lost})
    assert stop_facts.needs_settling(NOTED, obs)
    assert not facts(obs).permit_known
    before = replace(obs, outcomes={kind: lost, SettlePermit: done(NOW - 3, version=VERSION)})
    assert stop_facts.needs_settling(NOTED, before), "what settled an earlier one"
    failed = replace(obs, outcomes={kind: lost, SettlePermit: done(NOW - 1, Result.FAILED)})
    assert stop_facts.needs_settling(NOTED, failed)
    settled = replace(obs, outcomes={kind: lost, SettlePermit: done(NOW - 1, version=VERSION)})
    assert facts(settled).permit_known


def test_a_stop_that_the_predecessor_noted_is_settled_once() -> None:
    obs = serving(agreed(ours=entry()), noted())
    assert stop_facts.needs_settling(watching(), obs)
    assert not facts(obs, watching()).permit_known
    assert not stop_facts.needs_settling(NOTED, obs), "this daemon noted it itself, and knows all that it sent"
    assert not stop_facts.needs_settling(watching(), replace(obs, outcomes={SettlePermit: done(version=VERSION)}))


@pytest.mark.parametrize("kind", [TakePermit, DropPermit, RestPermit, SettlePermit])
def test_while_a_write_is_under_way_the_table_waits(kind: type) -> None:
    assert facts(serving(agreed(), outcomes={kind: done(result=Result.RUNNING)})).taking


# wanted down, and down by itself


DOWN = Want(TOKEN, UUID, Reason.STOPPED_ON_PURPOSE, stay_down=True, accept_unavailable=False)


@pytest.mark.parametrize(
    ("changes", "want", "expected"),
    [
        ({}, DOWN, True),
        ({}, WANT, False),  # it is to come back
        ({}, None, False),
        ({"process": ProcessView(exit=None)}, DOWN, True),  # none has run in this daemon's life
        ({"process": ProcessView(PROCESS, STARTED)}, DOWN, False),
        ({"foreign": unread()}, DOWN, False),
        ({"foreign": read(None, ENDED - 1)}, DOWN, False),  # of before its end
        ({"foreign": read(foreign())}, DOWN, False),  # a Kafka that we may not signal
        ({"foreign": read(foreign(is_kafka=False))}, DOWN, True),  # its port is taken by something else
        ({"registration": unread()}, DOWN, False),
        ({"registration": read(RegistrationView(None, 2, asked_for=1), ENDED - 1)}, DOWN, False),
        ({"registration": read(RegistrationView(None, 2))}, DOWN, False),  # nobody knew whom to look for
        ({"registration": read(RegistrationView(REGISTRATION, 2, asked_for=1))}, DOWN, False),  # it may run elsewhere
        ({"record": ran(dirs={})}, DOWN, False),  # this host never had it
        ({"record": ran(stop=stop(token="another", change="another"))}, DOWN, False),
    ],
)
def test_a_broker_that_is_wanted_down_and_is_down_lies_down(
    changes: dict[str, Any], want: Want | None, expected: bool
) -> None:
    assert facts(after_end(**{"coordination": read(agreed()), **changes}), want=want).lies_down is expected


# who may be stopped by which permit


@pytest.mark.parametrize(
    ("what", "shown"),
    [
        (None, MARKER),
        (stop(marker="wiped"), MARKER),  # it will be asked for here, or never was
        (intended(), MARKER),
        (intended(marker="wiped"), None),  # it may go down, and this root's permit may not know of it
    ],
)
def test_a_root_is_acknowledged_once_its_permit_knows_what_may_go_down(what: Stop | None, shown: str | None) -> None:
    record = ran(stop=what)
    assert stop_facts.acknowledged(record) == shown
    assert facts(serving(agreed(), record)).moved is (shown is None)
    assert stop_facts.acknowledged(replace(record, marker=None)) is None


@pytest.mark.parametrize(
    ("state", "since", "expected"),
    [
        (S.SERVING, 30.0, True),
        (S.SERVING, 29.0, False),
        (S.UNREGISTERED, 30.0, False),  # it may be listed again at any time
        (S.UNREGISTERED, 36.0, True),
    ],
)
def test_a_broker_has_settled_once_it_was_as_it_is_for_long(state: BrokerState, since: float, expected: bool) -> None:
    memory = watching(state=state, since=NOW - since)
    assert stop_facts.settled(POLICY, memory, serving(), state) is expected
    other = S.SERVING if state is not S.SERVING else S.UNREGISTERED
    assert not stop_facts.settled(POLICY, memory, serving(), other), "it is in another state since this moment"


# our entry, and others


def test_an_entry_of_another_token_is_not_the_recorded_one() -> None:
    assert facts(serving(agreed(ours=entry()), noted())).entry_is_recorded
    foreign = facts(serving(agreed(ours=entry(token="of before")), noted()))
    assert (foreign.entry, foreign.entry_is_recorded) == (True, False)
    without = facts(serving(agreed(ours=entry())))
    assert (without.entry, without.entry_is_recorded) == (True, False)


def test_only_entries_in_work_hold_up_others() -> None:
    assert facts(serving(agreed(others={2: entry()}))).others_working
    assert not facts(serving(agreed(others={2: entry(working=False)}))).others_working
    assert not facts(serving(agreed(ours=entry()), noted())).others_working, "our own does not"


def test_a_sibling_of_the_same_batch_goes_beside_ours_and_nobody_else() -> None:
    ours = replace(WANT, beside="roll")
    for change, beside in (("roll/2", True), ("roll-2/2", False), ("other", False), (None, False)):
        seen = serving(agreed(others={2: entry(change=change)}))
        assert facts(seen, want=ours).others_working is not beside
        assert facts(seen).others_working


def test_a_stop_that_another_change_began_is_not_wanted_for_this_one() -> None:
    assert not facts(serving(agreed(), noted(stop(token="another", change="another")))).wanted
    assert facts(serving(agreed(), noted())).wanted


def test_maintenance_holds_until_its_end() -> None:
    assert facts(serving(agreed(maintenance=ON))).maintenance
    assert not facts(serving(agreed(maintenance=replace(ON, until_epoch=50.0)), wall=50.0)).maintenance
    assert facts(serving(agreed(maintenance=replace(ON, until_epoch=50.0)), wall=49.0)).maintenance


# the verdict


def verdict(obs: Observation) -> Verdict:
    return facts(obs).verdict


def test_a_verdict_counts_for_three_seconds_from_when_its_evidence_was_begun() -> None:
    assert verdict(serving(outcomes=judged(age=2.9))) is Verdict.YES
    assert verdict(serving(outcomes=judged(age=3.0))) is Verdict.NONE


def test_a_verdict_counts_for_the_permit_that_it_was_made_on() -> None:
    assert verdict(serving(agreed(version=VERSION + 1), outcomes=judged())) is Verdict.NONE
    assert verdict(serving(agreed(version=VERSION), outcomes=judged(version=VERSION + 1))) is Verdict.NONE


def test_our_own_entry_does_not_outdate_it_and_another_one_does() -> None:
    both = {**judged(), **taken(VERSION + 1)}
    assert verdict(serving(agreed(ours=entry(), version=VERSION + 1), noted(), outcomes=both)) is Verdict.YES
    assert verdict(serving(agreed(ours=entry(), version=VERSION + 2), noted(), outcomes=both)) is Verdict.NONE
    older = {**judged(age=0.1), **taken(VERSION + 1)}  # an entry of before the verdict
    assert verdict(serving(agreed(ours=entry(), version=VERSION + 1), noted(), outcomes=older)) is Verdict.NONE
    refused = {**judged(), TakePermit: done(result=Result.REFUSED)}
    assert verdict(serving(agreed(version=VERSION + 1), noted(), outcomes=refused)) is Verdict.NONE


def test_a_no_lasts_five_seconds_and_so_does_a_verdict_that_could_not_be_had() -> None:
    assert verdict(serving(outcomes=judged(NO, age=4.9))) is Verdict.NO
    assert verdict(serving(outcomes=judged(NO, age=5.0))) is Verdict.NONE
    failed = {Judge: Outcome(Result.FAILED, NOW - 4.9, NOW - 4, "no broker answers")}
    assert verdict(serving(outcomes=failed)) is Verdict.NO
    assert stop_facts.judged(NOTED, serving(outcomes=failed), agreed().permit)[1] == "no broker answers"


def test_a_verdict_that_is_being_made_is_none() -> None:
    seen = facts(serving(outcomes={Judge: done(result=Result.RUNNING)}))
    assert (seen.verdict, seen.judging) == (Verdict.NONE, True)


# SIGTERM


def test_only_what_was_sent_to_the_process_that_it_was_meant_for_counts_as_sent() -> None:
    at_work = noted(intended())
    assert facts(serving(agreed(ours=entry()), at_work, outcomes=sent())).signalled
    assert not facts(serving(agreed(ours=entry()), at_work, outcomes=sent(OTHER))).signalled
    late = {SendStop: done(result=Result.REFUSED, process=PROCESS)}
    assert not facts(serving(agreed(ours=entry()), at_work, outcomes=late)).signalled
    under_way = facts(serving(agreed(ours=entry()), at_work, outcomes={SendStop: done(result=Result.RUNNING)}))
    assert (under_way.signalling, under_way.signalled) == (True, False)


def test_a_process_that_was_started_since_is_not_the_one_that_was_meant() -> None:
    assert facts(serving(record=noted(intended()))).same_process
    assert not facts(serving(record=noted(intended(process=OTHER)))).same_process
    assert not facts(serving(record=noted(intended(process=None)))).same_process, "adopted while nothing ran"


def test_when_it_was_sent_is_remembered_until_the_stop_is_over() -> None:
    obs = serving(agreed(ours=entry()), noted(intended()), outcomes=sent())
    memory = stop_facts.remember(NOTED, obs, 1, S.STOPPING)
    assert memory.signalled_at == NOW
    assert stop_facts.remember(memory, replace(obs, now=NOW + 5), 1, S.STOPPING).signalled_at == NOW
    over = stop_facts.remember(replace(memory, back_since=NOW), serving(), 1, S.SERVING)
    assert (over.signalled_at, over.back_since, over.noted) == (None, None, None)


# back in every ISR

BACK = noted(intended(process=OTHER))
SERVED = NOW - 1


def again(*partitions: Partition, begun: float = NOW, **changes: Any) -> Observation:
    return serving(agreed(ours=entry()), BACK, cluster=read(cluster(*partitions), begun), **changes)


def back_since(obs: Observation, state: BrokerState = S.SERVING, **changes: Any) -> float | None:
    memory = watching(noted=TOKEN, served_since=SERVED, **changes)
    return stop_facts.remember(memory, obs, 1, state).back_since


@pytest.mark.parametrize(
    ("partitions", "is_back"),
    [
        ([partition(2, (1, 2, 3))], True),
        ([partition(2, (2, 3))], False),
        ([], True),  # the partition is gone
        ([partition(2, (2, 3), replicas=(2, 3, 4))], True),  # it was moved away
        ([replace(partition(2, (2, 3)), offline=(1,))], True),  # its disk is broken
        ([partition(-1, (2,))], True),  # nobody leads it, so that nobody comes into its ISR
        ([replace(partition(2, (2, 3)), offline=(3,))], False),  # another one's is
        ([partition(2, (1, 2, 3)), replace(partition(2, (2, 3)), topic="u")], True),  # where it was behind already
    ],
)
def test_it_is_back_in_the_isrs_that_it_was_in(partitions: list[Partition], is_back: bool) -> None:
    assert (back_since(again(*partitions)) == NOW) is is_back


def test_where_its_isrs_are_not_known_it_is_back_in_all_that_it_has_replicas_of() -> None:
    lost = noted(intended(process=None, in_sync=None))
    behind, elsewhere = partition(2, (2, 3)), replace(partition(2, (2, 3), replicas=(2, 3)), topic="u")
    assert back_since(replace(again(behind, elsewhere), record=lost)) is None
    assert back_since(replace(again(partition(2, (1, 2, 3)), elsewhere), record=lost)) == NOW


@pytest.mark.parametrize(
    ("state", "seconds"), [(S.HELD, 60), (S.FAILED, 300), (S.UNREGISTERED, 120), (S.FROZEN, 300), (S.STARTING, 300)]
)
def test_who_was_stopped_and_does_not_come_back_is_given_up(state: BrokerState, seconds: float) -> None:
    def given_up(obs: Observation, for_seconds: float, **changes: Any) -> bool:
        fails = {"failing_since": NOW - for_seconds if state in (S.HELD, S.FAILED) else None}
        memory = watching(**{"state": state, "since": NOW - for_seconds, "progress_at": None} | fails | changes)
        return stop_facts.given_up(memory, obs, state)

    assert given_up(again(), seconds)
    assert not given_up(again(), seconds - 1)
    assert not given_up(again(), seconds, state=S.SERVING, failing_since=None), "it is so only since now"
    assert not given_up(replace(again(), record=noted(intended(process=PROCESS))), seconds), "it still stops"
    assert not given_up(replace(again(), record=noted(intended(process=OTHER, stay_down=True))), seconds)
    assert not given_up(replace(again(), record=noted(stop())), seconds), "nothing was sent"
    assert given_up(again(), seconds, progress_at=NOW - 1) is (state is not S.STARTING), "a start takes its time"


def test_who_recovers_or_serves_is_never_given_up() -> None:
    for state in (S.RECOVERING, S.SERVING, S.NOT_RUNNING, S.STOPPING):
        assert not stop_facts.given_up(watching(state=state, since=NOW - 9999), again(), state)


def test_metadata_of_before_it_served_tells_nothing() -> None:
    assert back_since(again(partition(2, (1, 2, 3)), begun=SERVED - 0.1)) is None
    assert back_since(again(partition(2, (1, 2, 3)), begun=SERVED)) == NOW
    assert back_since(replace(again(), cluster=unread())) is None
    assert back_since(again(partition(2, (1, 2, 3)), begun=SERVED - 0.1), back_since=NOW - 40) is None


@pytest.mark.parametrize("state", [S.STARTING, S.RECOVERING, S.UNREGISTERED, S.FROZEN, S.STOPPING])
def test_only_who_serves_is_back(state: BrokerState) -> None:
    assert back_since(again(partition(2, (1, 2, 3))), state, back_since=NOW - 40) is None


def test_the_process_that_was_to_be_stopped_is_not_back() -> None:
    obs = replace(again(partition(2, (1, 2, 3))), record=noted(intended(process=PROCESS)))
    assert back_since(obs) is None


def is_back(outcome: Outcome | None, since: float = NOW - 40) -> bool:
    outcomes: dict[type, Outcome] = {} if outcome is None else {ElectPreferred: outcome}
    obs = again(partition(2, (1, 2, 3)), outcomes=outcomes)
    return facts(obs, watching(noted=TOKEN, served_since=SERVED, back_since=since)).back


def test_it_stays_in_its_isrs_for_the_stability_window_and_its_leaders_were_elected_since() -> None:
    assert is_back(done(NOW - 5))
    assert is_back(done(NOW - 5, Result.FAILED)), "an election that fails holds nobody up"
    assert not is_back(None)
    assert not is_back(done(NOW - 5, Result.RUNNING))
    assert not is_back(done(NOW - 11)), "of before the window was over"
    assert not is_back(done(NOW - 5), since=NOW - POLICY.stability + 0.1)


def test_the_end_of_the_window_was_seen() -> None:
    """Metadata is read rarely at rest: what was in sync at its beginning alone is not back."""
    obs = again(partition(2, (1, 2, 3)), begun=NOW - 11, outcomes={ElectPreferred: done(NOW - 5)})
    memory = watching(noted=TOKEN, served_since=NOW - 60, back_since=NOW - 40)
    assert not facts(obs, memory).back
    assert facts(replace(obs, cluster=read(obs.cluster.value, NOW - 10)), memory).back


def test_a_drop_that_is_done_is_waited_for_until_it_is_read() -> None:
    assert not facts(serving(agreed(ours=entry()), BACK, outcomes=dropped())).permit_known
    assert facts(serving(agreed(version=VERSION + 1), BACK, outcomes=dropped())).permit_known
    assert serving().record.marker == MARKER
