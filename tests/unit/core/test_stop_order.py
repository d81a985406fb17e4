"""A deliberate stop through whole decisions: what each move does, in which order, and what its document says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bubuku.core.actions import (
    Action,
    DropPermit,
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
from bubuku.core.decide import decide
from bubuku.core.errors import InvariantError
from bubuku.core.invariants import check
from bubuku.core.memory import Memory
from bubuku.core.model import BrokerState, CoordinationView, LogView, ProcessView, Record, RegistrationView
from bubuku.core.observation import Decision, Observation
from bubuku.core.reasons import Reason
from bubuku.core.shared import Change, ChangeState, Entry, Finished, ProcessId, Stop
from bubuku.core.stop_facts import acknowledged
from bubuku.core.stopping import forced_record
from tests.support import published as make
from tests.support.observations import (
    ENDED,
    MARKER,
    NOW,
    OTHER,
    POLICY,
    PROCESS,
    after_end,
    cluster,
    counted,
    ended,
    log_dir,
    partition,
    raised,
    ran,
    read,
    watching,
)
from tests.support.stops import (
    NO,
    OFF,
    ON,
    TOKEN,
    UUID,
    VERSION,
    agreed,
    change,
    done,
    entry,
    intended,
    judged,
    noted,
    sent,
    serving,
    stop,
    taken,
)

S, C = BrokerState, ChangeState
NOTED = watching(noted=TOKEN)
WRITES = (TakePermit, DropPermit, RestPermit, SettlePermit, SendStop)


def acts(decision: Decision, *kinds: type) -> list[Any]:
    return [action for action in decision.actions if isinstance(action, kinds)]


def decided(obs: Observation, memory: Memory = NOTED) -> Decision:
    return decide(POLICY, memory, obs)[1]


def saved(decision: Decision) -> Record | None:
    return next((a.record for a in decision.actions if isinstance(a, Remember)), None)


def noted_stop(decision: Decision) -> Stop | None:
    record = saved(decision)
    assert record is not None, f"nothing was written down: {decision.actions}"
    return record.stop


# the order, one cycle after the other


def test_first_the_verdict_over_the_permit_as_it_is() -> None:
    others = {2: entry(token="of 2", working=False)}
    decision = decided(serving(agreed(others=others)), watching())
    assert acts(decision, Judge) == [Judge(1, frozenset({2}), VERSION, False, frozenset(), True)]
    assert not acts(decision, Remember, *WRITES)


def test_then_the_token_is_noted_and_nothing_is_sent_yet() -> None:
    memory, decision = decide(POLICY, watching(), serving(outcomes=judged()))
    assert noted_stop(decision) == stop()
    assert memory.noted == TOKEN
    assert not acts(decision, *WRITES)


def test_then_the_permit_is_taken_over_exactly_what_was_read() -> None:
    decision = decided(serving(agreed(maintenance=replace(OFF, version=9)), noted(), outcomes=judged()))
    (take,) = acts(decision, *WRITES)
    assert take == TakePermit(1, replace(entry(), since_epoch=0.0), VERSION, 9)


def test_then_the_intent_with_the_isrs_goes_to_disk_and_nothing_is_sent_in_that_cycle() -> None:
    obs = serving(agreed(ours=entry(), version=VERSION + 1), noted(), outcomes={**judged(), **taken()})
    decision = decided(obs)
    record = saved(decision)
    assert record is not None
    assert record.stop == intended()
    assert record.stop_intent
    assert not acts(decision, *WRITES)


def test_then_sigterm_not_after_three_seconds_from_the_evidence() -> None:
    record = noted(intended(), stop_intent=True)
    decision = decided(serving(agreed(ours=entry(), version=VERSION + 1), record, outcomes={**judged(), **taken()}))
    assert acts(decision, *WRITES) == [SendStop(PROCESS, NOW - 0.5 + 3.0)]
    assert decision.state is S.STOPPING


def test_once_it_is_down_it_is_started_again_also_in_maintenance_and_without_a_change() -> None:
    view = agreed(ours=entry(), maintenance=ON, changes=())
    record = noted(intended(), stop_intent=True)
    clean = (log_dir(clean=True),)
    obs = after_end(ended(code=143), record=record, coordination=read(view), outcomes=raised(), log_dirs=read(clean))
    decision = decided(obs, counted(obs, noted=TOKEN, raise_sent_at=NOW - 0.5, election_since=NOW - 1))
    (start,) = acts(decision, StartBroker)
    assert start.reason is Reason.RESTARTED
    assert not acts(decision, *WRITES)


BACK = noted(intended(process=OTHER))
IN_SYNC = read(cluster(partition(2, (1, 2, 3))))


def test_back_for_long_its_leaders_are_elected_and_then_the_entry_goes() -> None:
    memory = watching(noted=TOKEN, back_since=NOW - POLICY.stability)
    obs = serving(agreed(ours=entry()), BACK, cluster=read(cluster(partition(2, (1, 2, 3), (1, 2, 3)))))
    decision = decided(obs, memory)
    assert acts(decision, ElectPreferred) == [ElectPreferred(TOKEN, (("t", 0),))]
    assert not acts(decision, DropPermit)
    elected = replace(obs, outcomes={ElectPreferred: done(NOW)})
    assert acts(decided(elected, memory), *WRITES) == [DropPermit(1, TOKEN)]


def test_the_entry_stays_while_one_partition_is_behind() -> None:
    memory = watching(noted=TOKEN, back_since=NOW - 60)
    behind = read(cluster(partition(2, (2, 3))))
    outcomes = {ElectPreferred: done(NOW - 1)}
    decision = decided(serving(agreed(ours=entry()), BACK, cluster=behind, outcomes=outcomes), memory)
    assert not acts(decision, *WRITES)
    assert decision.progress_of_stop is not None
    assert decision.progress_of_stop.sentence == "it is not in sync yet for t-0"


def test_at_last_the_stop_is_forgotten_and_its_change_is_finished() -> None:
    memory = watching(noted=TOKEN, back_since=NOW - 60)
    obs = serving(agreed(version=VERSION + 2), BACK, cluster=IN_SYNC, outcomes={ElectPreferred: done(NOW - 1)})
    record = saved(decided(obs, memory))
    assert record is not None
    assert record.stop is None
    assert record.finished == Finished(UUID, True, "broker 1 serves again, in all its in-sync replica sets")
    (write,) = acts(decided(replace(obs, record=record), memory), WriteChange)
    assert (write.change.state, write.change.sentence) == (C.DONE, record.finished.sentence)
    assert not acts(decided(replace(obs, record=record), memory), Judge, Remember)


# what is not done


def test_the_guards_no_takes_nothing_and_gives_an_entry_back() -> None:
    decision = decided(serving(outcomes=judged(NO)))
    assert not acts(decision, Remember, *WRITES)
    assert decision.progress_of_stop is not None
    assert "t-0: 1 in-sync replica would be left" in decision.progress_of_stop.sentence
    assert acts(decided(serving(agreed(ours=entry()), noted(), outcomes=judged(NO))), *WRITES) == [DropPermit(1, TOKEN)]


WAITED_FOR = "ZooKeeper, or what became of the last request to it, is waited for"


@pytest.mark.parametrize(
    ("unknown", "said"),
    [
        ({"permit": None}, "the permit cannot be read: mend <prefix>/bubuku/v2/permit, which is JSON"),
        (
            {"maintenance": None},
            "whether maintenance is on cannot be read: mend <prefix>/bubuku/v2/maintenance, which is JSON",
        ),
        ({"predecessor_v1": True}, "an original bubuku daemon (v1) is at work on this cluster: stop it first"),
        ({"predecessor_v1": True, "permit": None, "connected": False}, WAITED_FOR),
        ({"permit": None, "marker": "another-root"}, WAITED_FOR),
    ],
    ids=["permit", "maintenance", "original daemon", "no connection", "another ZooKeeper"],
)
def test_what_is_not_known_is_named(unknown: dict[str, Any], said: str) -> None:
    progress = decided(serving(agreed(**unknown))).progress_of_stop
    assert progress is not None
    assert (progress.phase, progress.sentence) == ("waiting", said)


def test_one_at_a_time() -> None:
    decision = decided(serving(agreed(others={2: entry(token="of 2")}), outcomes=judged()))
    assert not acts(decision, Judge, Remember, *WRITES)
    assert decision.progress_of_stop is not None
    assert decision.progress_of_stop.sentence == "waits for broker 2, which is in work"


def test_in_maintenance_nothing_is_taken_and_an_entry_is_given_back() -> None:
    assert not acts(decided(serving(agreed(maintenance=ON), outcomes=judged())), Remember, *WRITES)
    obs = serving(agreed(ours=entry(), maintenance=ON), noted(), outcomes=judged())
    assert acts(decided(obs), *WRITES) == [DropPermit(1, TOKEN)]


def test_a_cancelled_change_gives_its_entry_back_until_the_intent_and_is_finished_after_it() -> None:
    asked = change(cancel=True)
    before = decided(serving(agreed(asked, ours=entry()), noted(), outcomes=judged()))
    assert acts(before, *WRITES) == [DropPermit(1, TOKEN)]
    after = decided(serving(agreed(asked, ours=entry()), noted(intended(), stop_intent=True), outcomes=judged()))
    assert [type(action) for action in acts(after, *WRITES)] == [SendStop]


@pytest.mark.parametrize("ours", [entry(), None], ids=["with an entry", "without"])
def test_an_unknown_outcome_is_settled_before_anything_rests_on_the_permit(ours: Any) -> None:
    outcomes = {**judged(), TakePermit: done(result=Result.UNKNOWN)}
    assert acts(decided(serving(agreed(ours=ours), noted(), outcomes=outcomes)), *WRITES, Judge) == [SettlePermit()]


def test_a_daemon_that_finds_a_stop_settles_it_first_and_does_not_repeat_that() -> None:
    record = noted(intended(), stop_intent=True)
    obs = serving(agreed(ours=entry()), record, outcomes=judged())
    assert acts(decided(obs, watching()), *WRITES, Judge) == [SettlePermit()]
    under_way = replace(obs, outcomes={**judged(), SettlePermit: done(result=Result.RUNNING)})
    assert not acts(decided(under_way, watching()), *WRITES, Judge)


@pytest.mark.parametrize("changes", [{"marker": "another root"}, {"member_owner": "another daemon"}], ids=str)
def test_nothing_is_written_into_a_meeting_place_that_is_not_ours(changes: dict[str, Any]) -> None:
    obs = serving(agreed(change(state=C.QUEUED, owner=None), ours=entry(), **changes), noted(), outcomes=judged())
    assert not acts(decided(obs, watching()), WriteChange, *WRITES)


def test_nor_by_a_stop_that_cannot_wait() -> None:
    record = noted(intended(in_sync=None), stop_intent=True)
    ours, foreign = serving(agreed(), record, terminate=True), agreed(marker="another root")
    assert acts(decided(ours), TakePermit)
    assert not acts(decided(replace(ours, coordination=read(foreign))), *WRITES)


def test_the_next_daemon_asks_the_guard_again_before_it_finishes_a_stop() -> None:
    record = noted(intended(), stop_intent=True)
    settled = {SettlePermit: done(version=VERSION)}
    obs = serving(agreed(ours=entry()), record, outcomes=settled)
    assert [type(a) for a in acts(decided(obs, watching()), Judge, *WRITES)] == [Judge]
    assert not acts(decided(replace(obs, outcomes={**settled, **judged(NO)}), watching()), Judge, *WRITES)
    (send,) = acts(decided(replace(obs, outcomes={**settled, **judged()}), watching()), Judge, *WRITES)
    assert isinstance(send, SendStop)


def test_an_entry_without_a_record_is_taken_as_a_stop_that_was_sent_and_is_settled_first() -> None:
    obs = serving(agreed(changes=(), ours=entry()), outcomes=judged())
    memory, decision = decide(POLICY, watching(), obs)
    record = saved(decision)
    assert record is not None
    assert record.stop == stop(intended=True, process=PROCESS, in_sync=None)
    assert not acts(decision, *WRITES)
    after = replace(obs, record=record)
    assert acts(decide(POLICY, memory, after)[1], *WRITES) == [SettlePermit()]


def lying(record: Record, view: CoordinationView, **changes: Any) -> Observation:
    """Its Kafka has ended by itself and cannot be started: the template is spoilt."""
    usual = {"coordination": read(view), "record": record, "settings_digest": None, "settings_error": "no template"}
    return after_end(**{**usual, **changes})


def test_a_stop_of_a_broker_that_cannot_be_started_holds_it_down_at_once_without_a_verdict() -> None:
    asked = change(kind="stop")
    wanted = stop(process=None, why="stopped_on_purpose", stay_down=True)
    obs = lying(ran(), agreed(asked))
    memory = counted(obs, noted=TOKEN)
    assert noted_stop(decided(obs, memory)) == wanted
    obs = lying(noted(wanted), agreed(asked))
    (take,) = acts(decided(obs, memory), Judge, *WRITES)
    assert isinstance(take, TakePermit)
    ours = entry(why="stopped_on_purpose")
    there = agreed(asked, ours=ours, version=VERSION + 1)
    obs = lying(noted(wanted), there, outcomes=taken())
    decision = decided(obs, memory)
    record = saved(decision)
    assert record is not None
    assert record.stop == replace(wanted, intended=True)
    assert not record.stop_intent, "nothing was told to stop"
    assert not acts(decision, Judge, *WRITES)
    obs = lying(record, there, outcomes=taken())
    assert acts(decided(obs, memory), *WRITES) == [RestPermit(1, TOKEN)]
    obs = lying(record, agreed(asked, ours=replace(ours, working=False), version=VERSION + 2), outcomes=taken())
    decision = decided(obs, memory)
    assert (decision.state, decision.reason) == (S.NOT_RUNNING, Reason.STOPPED_ON_PURPOSE)
    (write,) = acts(decision, WriteChange)
    assert (write.change.state, write.change.sentence) == (C.DONE, "broker 1 is stopped, and stays so")


def test_a_broker_that_is_started_in_that_very_cycle_is_not_held_down() -> None:
    there = agreed(change(kind="stop"), ours=entry(), version=VERSION + 1)
    outcomes = {**taken(), **raised()}
    record = noted(stop(process=None, stay_down=True))
    clean = read((log_dir(clean=True),))
    obs = lying(record, there, outcomes=outcomes, settings_digest="d1", settings_error=None, log_dirs=clean)
    decision = decided(obs, counted(obs, noted=TOKEN, raise_sent_at=NOW - 0.5, election_since=NOW - 60))
    assert acts(decision, StartBroker)
    assert (saved(decision) or record).stop == record.stop


def test_a_stop_that_is_noted_only_is_not_done_because_its_broker_died() -> None:
    obs = lying(noted(stop(stay_down=True)), agreed(change(kind="stop")))
    assert all(write.change.state.is_open for write in acts(decided(obs, counted(obs, noted=TOKEN)), WriteChange))


def test_a_stop_of_before_a_wipe_is_entered_again_and_then_acknowledged_before_it_is_finished() -> None:
    record = noted(intended(marker="wiped"), stop_intent=True)
    assert acknowledged(record) is None
    obs = serving(agreed(changes=()), record, outcomes=judged())
    assert acts(decided(obs), Judge, *WRITES) == [TakePermit(1, entry(since_epoch=0.0), VERSION, OFF.version)]
    again = serving(agreed(changes=(), ours=entry(), version=VERSION + 1), record, outcomes={**judged(), **taken()})
    decision = decided(again)
    assert not acts(decision, Judge, *WRITES)
    known = saved(decision)
    assert known is not None
    assert known.stop == intended()
    assert acknowledged(known) == MARKER
    assert isinstance(acts(decided(replace(again, record=known)), *WRITES)[0], SendStop)


@pytest.mark.parametrize("others", [{}, {2: entry(token="of 2")}])
def test_it_is_entered_again_in_maintenance_too_and_beside_others(others: dict[int, Entry]) -> None:
    obs = serving(agreed(others=others, maintenance=ON, changes=()), noted(intended(marker="wiped"), stop_intent=True))
    (take,) = acts(decided(obs), *WRITES)
    assert isinstance(take, TakePermit)


def test_a_forced_stop_that_could_not_be_told_is_entered_by_the_next_daemon_and_not_forgotten() -> None:
    record = forced_record(ran(), PROCESS)
    assert acknowledged(record) is None, "the others wait: it may go down, and the permit does not say so yet"
    settled = {SettlePermit: done(version=VERSION)}
    obs = serving(agreed(changes=()), record, outcomes=settled)
    decision = decided(obs)
    assert saved(decision) is None
    (take,) = acts(decision, *WRITES)
    assert isinstance(take, TakePermit)
    there = agreed(changes=(), ours=take.entry, version=VERSION + 1)
    known = saved(decided(serving(there, record, outcomes={**settled, **taken()})))
    assert known is not None
    assert acknowledged(known) == MARKER


def test_who_has_joined_is_told_to_the_guard() -> None:
    here, elsewhere, nowhere = (make.member(n, marker=m) for n, m in ((2, MARKER), (3, "another"), (4, None)))
    (judge,) = acts(decided(serving(agreed(members=(here, elsewhere, nowhere)))), Judge)
    assert judge.joined == {2}


@pytest.mark.parametrize(("why", "stays"), [("stopped_on_purpose", True), ("restarted", False), ("terminating", False)])
def test_an_adopted_entry_that_rests_stays_down_only_where_that_was_asked_for(why: str, stays: bool) -> None:
    obs = after_end(coordination=read(agreed(changes=(), ours=entry(working=False, why=why))), record=ran())
    adopted = noted_stop(decided(obs, counted(obs)))
    assert adopted is not None
    assert (adopted.stay_down, adopted.process) == (stays, None)


@pytest.mark.parametrize(
    ("known", "working", "meant"),
    [
        (ran(started_by_us=True), True, None),
        (ran(started_by_us=True), False, PROCESS),  # which is to stay down
        (ran(started_by_us=False), True, PROCESS),  # the state file is younger than the process
        (ran(started_by_us=True, process=OTHER), True, PROCESS),
        (ran(started_by_us=True, stop_intent=True), True, PROCESS),
    ],
    ids=["started since", "rests", "adopted", "another one", "told before"],
)
def test_who_adopts_an_entry_does_not_stop_a_broker_that_nobody_has_told_to_stop(
    known: Record, working: bool, meant: ProcessId | None
) -> None:
    why = Reason.RESTARTED if working else Reason.STOPPED_ON_PURPOSE
    obs = serving(agreed(changes=(), ours=entry(working=working, why=why.value)), known)
    record = saved(decided(obs, counted(obs)))
    assert record is not None
    assert record.stop is not None
    assert (record.stop.intended, record.stop.process, record.stop_intent) == (True, meant, meant is not None)


def test_an_entry_that_was_released_before_sigterm_ends_its_change_as_failed() -> None:
    obs = serving(agreed(), noted(intended(), stop_intent=True), outcomes={})
    record = saved(decided(obs))
    assert record is not None
    assert record.stop is None
    assert record.finished is not None
    assert not record.finished.done
    (write,) = acts(decided(replace(obs, record=record)), WriteChange)
    assert write.change.state is C.FAILED


def test_the_record_is_saved_before_a_start_of_the_same_cycle() -> None:
    """Else what the start wrote down, the new process, would be undone by it."""
    view = agreed(changes=(), ours=entry())
    obs = after_end(coordination=read(view), record=ran(registration=None), outcomes=raised())
    memory = counted(obs, raise_sent_at=NOW - 0.5, election_since=NOW - 1)
    decision = decided(obs, memory)
    kinds = [type(action) for action in decision.actions]
    assert StartBroker in kinds
    assert kinds[0] is Remember
    assert kinds.count(Remember) == 1


@pytest.mark.parametrize(
    ("why", "said"),
    [
        ("restarted", "stopped for a restart that was asked for: starting Kafka again"),
        ("not_registered", "stopped because the cluster did not list it: starting Kafka again"),
        ("terminating", "stopped with its daemon: starting Kafka again"),
    ],
)
def test_a_start_after_a_stop_says_whose_wish_it_was(why: str, said: str) -> None:
    obs = after_end(ended(code=143), record=noted(intended(why=why), stop_intent=True), outcomes=raised())
    (start,) = acts(decided(obs, counted(obs, raise_sent_at=NOW - 0.5, election_since=NOW - 60)), StartBroker)
    assert start.sentence == said


def test_an_end_of_the_broker_that_came_back_is_told_as_such() -> None:
    """And not as the end that was asked for, which was that of the process before it."""
    record = noted(intended(process=OTHER), registration=None)
    obs = after_end(record=record, coordination=read(agreed(ours=entry())), outcomes=raised())
    decision = decided(obs, counted(obs, noted=TOKEN, raise_sent_at=NOW - 0.5, election_since=NOW - 1))
    (start,) = acts(decision, StartBroker)
    assert start.reason is Reason.PROCESS_DIED
    assert start.sentence == "Kafka (pid 41) ended with exit code 1: starting it again"


def gone_wrong(ours: Any, for_seconds: float) -> tuple[Observation, Memory]:
    """Stopped for a restart, and held since: its settings cannot be made any more."""
    record = noted(intended(), stop_intent=True)
    obs = after_end(
        ended(code=143),
        record=record,
        coordination=read(agreed(ours=ours)),
        outcomes=raised(),
        settings_error="line 3: no '='",
        log=read(LogView(last_lines=("stopping", "bye"))),
    )
    return obs, counted(obs, noted=TOKEN, state=S.HELD, since=NOW - for_seconds, failing_since=NOW - for_seconds)


def test_a_restart_that_does_not_come_back_holds_up_the_others_for_a_while_alone() -> None:
    obs, memory = gone_wrong(entry(), for_seconds=59)
    decision = decided(obs, memory)
    assert not acts(decision, *WRITES)
    assert all(write.change.state.is_open for write in acts(decision, WriteChange))
    obs, memory = gone_wrong(entry(), for_seconds=60)
    assert acts(decided(obs, memory), *WRITES) == [RestPermit(1, TOKEN)]
    obs, memory = gone_wrong(entry(working=False), for_seconds=61)
    decision = decided(obs, memory)
    (write,) = acts(decision, WriteChange)
    assert write.change.state is C.FAILED
    said = "broker 1 was stopped and does not come back: line 3: no '='"
    assert write.change.sentence == f"{said}; Kafka's log ends with: stopping | bye"
    assert not acts(decision, *WRITES), "the entry stays: it is down by us"


@pytest.mark.parametrize(("failures", "given_up"), [(4, True), (0, False)])
def test_one_that_crashes_again_and_again_does_not_come_back_either(failures: int, given_up: bool) -> None:
    up = serving(
        agreed(ours=entry()),
        noted(intended(process=OTHER), failures=failures, registration=None),
        answers=read(False),
        registration=read(RegistrationView(None, 2, asked_for=1)),
    )
    memory, decision = decide(POLICY, Memory(noted=TOKEN, failing_since=NOW - 400), up)
    assert decision.state is S.STARTING
    assert (memory.failing_since is not None) is given_up
    obs = after_end(
        record=noted(intended(process=OTHER), failures=9, counted=True),
        coordination=read(agreed(ours=entry())),
        outcomes=raised(),
    )
    counting = counted(
        obs, noted=TOKEN, state=S.FAILED, since=NOW - 1, next_start_at=NOW + 255, failing_since=memory.failing_since
    )
    decision = decided(obs, counting)
    assert decision.state is S.FAILED
    assert acts(decision, *WRITES) == ([RestPermit(1, TOKEN)] if given_up else [])


def test_who_came_back_unlisted_is_restarted_once_its_change_has_failed() -> None:
    """By a stop of its own: the entry of the first is withdrawn, for nothing was sent to the process that runs now."""
    nobody = read(RegistrationView(None, 2, None, 1))
    record, failed = noted(intended(process=OTHER)), change(state=C.FAILED)

    def came_back(ours: Entry, shown: Change) -> Decision:
        obs = serving(agreed(shown, ours=ours), record, registration=nobody, outcomes={SettlePermit: done(NOW - 99)})
        since = NOW - 130
        return decided(obs, watching(noted=TOKEN, state=S.UNREGISTERED, since=since, unlisted_since=since))

    assert acts(came_back(entry(), change()), RestPermit) == [RestPermit(1, TOKEN)]
    told = came_back(entry(working=False), change())
    assert acts(told, WriteChange)[0].change.state is C.FAILED
    assert not acts(told, Remember, DropPermit)
    (written,) = acts(came_back(entry(working=False), failed), Remember)
    assert written.record.stop == replace(record.stop, intended=False)
    record = written.record
    assert acts(came_back(entry(working=False), failed), DropPermit) == [DropPermit(1, TOKEN)]


# stopped on purpose


def down(ours: Any, **changes: Any) -> Observation:
    record = noted(intended(stay_down=True), stop_intent=True)
    asked = changes.pop("asked", change(kind="stop"))
    usual = {"record": record, "coordination": read(agreed(asked, ours=ours)), "outcomes": raised()}
    return after_end(ended(code=143), **{**usual, **changes})


def at_rest(obs: Observation) -> Memory:
    return counted(obs, noted=TOKEN, raise_sent_at=NOW - 0.5, election_since=NOW - 1)


def test_stopped_on_purpose_it_stays_down_and_its_entry_holds_up_nobody() -> None:
    obs = down(entry())
    decision = decided(obs, at_rest(obs))
    assert (decision.state, decision.reason) == (S.NOT_RUNNING, Reason.STOPPED_ON_PURPOSE)
    assert not acts(decision, StartBroker)
    assert acts(decision, *WRITES) == [RestPermit(1, TOKEN)]
    assert not [w for w in acts(decision, WriteChange) if not w.change.state.is_open], "not before its entry rests"


def test_then_its_change_is_done() -> None:
    obs = down(entry(working=False))
    decision = decided(obs, at_rest(obs))
    assert not acts(decision, *WRITES)
    (write,) = acts(decision, WriteChange)
    assert (write.change.state, write.change.sentence) == (C.DONE, "broker 1 is stopped, and stays so")


@pytest.mark.parametrize(
    "asked",
    [
        change(uuid="change-2", kind="start"),
        change(kind="stop", cancel=True),
    ],
    ids=["start", "cancelled"],
)
def test_it_is_started_when_somebody_asks_for_it_or_takes_the_stop_back(asked: Change) -> None:
    obs = down(entry(working=False), asked=asked)
    again = noted_stop(decided(obs, at_rest(obs)))
    assert again is not None
    assert (again.stay_down, again.change, again.token) == (False, asked.uuid, TOKEN)
    next_cycle = replace(obs, record=replace(obs.record, stop=again))
    assert acts(decided(next_cycle, at_rest(obs)), StartBroker)


def test_a_restart_of_a_broker_that_is_stopped_on_purpose_fails_with_what_to_do() -> None:
    obs = down(entry(working=False), asked=change(uuid="change-2"))
    (write,) = acts(decided(obs, at_rest(obs)), WriteChange)
    assert write.change.state is C.FAILED
    assert write.change.sentence == "broker 1 is stopped on purpose: bubuku-cli start --broker 1"


# a stop that hangs


def stuck(sent_for: float, silent_for: float) -> list[KillStuck]:
    record = noted(intended(), stop_intent=True)
    memory = watching(
        noted=TOKEN,
        signalled_at=NOW - sent_for,
        state=S.STOPPING,
        progress=(0, 5),
        progress_at=NOW - silent_for,
    )
    return acts(decided(serving(agreed(ours=entry()), record, outcomes=sent()), memory), KillStuck)


def test_a_stop_is_cut_short_after_its_deadline_and_only_where_nothing_moves() -> None:
    assert not stuck(POLICY.stop_deadline - 1, 300)
    assert not stuck(POLICY.stop_deadline + 600, POLICY.stop_silence - 1), "it flushes"
    (kill,) = stuck(POLICY.stop_deadline, POLICY.stop_silence)
    assert kill.identity == PROCESS


# the invariant


def checked(action: Action, view: CoordinationView, record: Record) -> None:
    obs = serving(view, record)
    check(S.SERVING, Decision(S.STOPPING, Reason.TERMINATING, "", (action,)), obs)


@pytest.mark.parametrize(
    ("record", "why"),
    [
        (ran(), "without an intent"),
        (noted(), "without an intent"),
        (noted(intended(process=OTHER)), "without an intent"),
        (noted(intended(token="another")), "without its entry"),
    ],
    ids=["nothing noted", "noted", "of another process", "of another token"],
)
def test_no_signal_without_an_intent_for_this_process_and_the_entry(record: Record, why: str) -> None:
    with pytest.raises(InvariantError, match=why):
        checked(SendStop(PROCESS, NOW + 1), agreed(ours=entry()), record)


@pytest.mark.parametrize("view", [agreed(), agreed(permit=None), agreed(ours=entry(token="of before"))], ids=range(3))
def test_no_signal_without_our_entry_in_the_permit(view: CoordinationView) -> None:
    with pytest.raises(InvariantError, match="without its entry"):
        checked(SendStop(PROCESS, NOW + 1), view, noted(intended()))


def test_what_is_in_order_is_let_through() -> None:
    checked(SendStop(PROCESS, NOW + 1), agreed(ours=entry()), noted(intended()))
    checked(KillStuck(PROCESS, ""), agreed(permit=None), noted(intended()))
    with pytest.raises(InvariantError, match="without an intent"):
        checked(KillStuck(PROCESS, ""), agreed(ours=entry()), noted())


def test_the_times_and_names_of_this_file_agree() -> None:
    assert ENDED < NOW
    assert isinstance(serving().process, ProcessView)
    assert isinstance(serving().registration.value, RegistrationView)
