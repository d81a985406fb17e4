"""The deliberate stop of our own broker, drawn from observations: what is judged, asked, written, and left alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bubuku.core import permit, stop_facts
from bubuku.core.actions import Action, Judge, Outcome, Remember, Result, SettlePermit, TakePermit, WriteChange
from bubuku.core.decide import decide
from bubuku.core.guard import Blocked, Objection, Verdict
from bubuku.core.memory import Memory
from bubuku.core.model import LogView
from bubuku.core.observation import Observation
from bubuku.core.shared import Change, ChangeState, Entry, Maintenance, Permit, Stop
from tests.support.observations import (
    INSTANCE,
    MARKER,
    NOW,
    OTHER,
    POLICY,
    PROCESS,
    after_end,
    counted,
    meeting,
    ran,
    read,
    record,
    running,
    watching,
)

CHANGE = Change(
    0, "uuid-0", "restart", 1, ChangeState.RUNNING, "op", 0.0, owner=INSTANCE, epoch=1, phase="waiting", version=1
)
TOKEN = f"{INSTANCE}:uuid-0"
KNOWN = Permit(4)
YES, NO = Verdict((1,), ()), Verdict((1,), (Blocked("t", 0, Objection.BELOW_MIN_ISR, (2,), 2),))


def asked(change: Change = CHANGE, known: Permit = KNOWN, **changes: Any) -> Observation:
    """Our broker serves, and somebody wants it restarted."""
    found = meeting(permit=known, maintenance=Maintenance(0), changes=(change,))
    return running(**{"coordination": read(found), **changes})


def said(verdict: Verdict, begun: float = NOW - 0.5) -> Outcome:
    return Outcome(Result.DONE, begun, begun + 0.1, data={"verdict": verdict, "in_sync": ("t-0",), "version": 4})


def acts(obs: Observation, memory: Memory | None = None) -> list[Action]:
    return list(decide(POLICY, memory if memory is not None else watching(), obs)[1].actions)


def written(actions: list[Action]) -> list[tuple[str, str]]:
    return [(a.change.phase, a.change.sentence) for a in actions if isinstance(a, WriteChange)]


def kinds(actions: list[Action]) -> list[type]:
    return [type(action) for action in actions if not isinstance(action, WriteChange)]


def test_the_verdict_comes_first() -> None:
    assert kinds(acts(asked())) == [Judge]


# a broker that starts, or recovers its logs, is left alone: SIGTERM would undo that, or be forgotten

STARTING = Memory(process=PROCESS, watched_since=NOW - 5, progress_at=NOW)


@pytest.mark.parametrize(
    ("memory", "on_record", "allowed"),
    [
        (STARTING, record(process=PROCESS), False),
        (
            replace(STARTING, registered_once=True),
            record(process=PROCESS),
            False,
        ),  # its predecessor may be
        (replace(STARTING, answered_at=NOW - 1), record(process=PROCESS), True),
        (STARTING, ran(), True),  # a new daemon: this very process had registered
        (STARTING, ran(process=OTHER), False),
    ],
    ids=["starts", "is listed", "answered", "registered, says the record", "another one registered"],
)
def test_who_never_came_up_is_not_stopped(memory: Memory, on_record: Any, allowed: bool) -> None:
    obs = asked(record=on_record, answers=read(False), outcomes={Judge: said(YES)})
    verdict, sentence = stop_facts.judged(memory, obs, KNOWN)
    assert (verdict is permit.Verdict.YES) is allowed
    assert ("Kafka is starting" in sentence) is not allowed


def test_a_recovering_broker_is_not_even_judged() -> None:
    log = LogView(recovered=2, recover_total=10, lines_seen=7)
    obs = asked(record=record(process=PROCESS), log=read(log), answers=read(False), registration=read(None))
    actions = acts(obs, STARTING)
    assert Judge not in kinds(actions)
    assert written(actions) == [("refused", "Kafka is starting, and is not stopped before it is up; it is asked again")]


# what the guard refuses stays refused while it is asked again

REFUSED = replace(CHANGE, phase="refused", sentence=f"{NO.sentence()}; it is asked again")


@pytest.mark.parametrize(
    ("outcome", "change", "phase"),
    [
        (said(NO), CHANGE, "refused"),
        (said(NO), REFUSED, None),
        (said(NO, NOW - 6), REFUSED, None),
        (Outcome(Result.RUNNING, NOW - 0.1), REFUSED, None),
        (Outcome(Result.RUNNING, NOW - 0.1), CHANGE, "checking"),
        (said(YES), REFUSED, "checking"),
    ],
    ids=["at first", "unchanged", "too old", "asked again", "asked for the first time", "allowed"],
)
def test_a_refusal_is_written_once(outcome: Outcome, change: Change, phase: str | None) -> None:
    assert [p for p, _ in written(acts(asked(change, outcomes={Judge: outcome})))] == ([] if phase is None else [phase])


# another ZooKeeper than the one that we joined is not written to

STOPPED = Stop(TOKEN, "uuid-0", "restarted", PROCESS, intended=True, marker=MARKER)


@pytest.mark.parametrize(
    ("changes", "settles"),
    [
        ({}, True),
        ({"marker": "another"}, False),
        ({"marker": None}, False),
        ({"member_owner": "instance-2"}, False),
        ({"connected": False}, False),
    ],
    ids=["ours", "another root", "wiped", "another member", "away"],
)
def test_the_permit_is_settled_only_where_we_are_at_home(changes: dict[str, Any], settles: bool) -> None:
    there = replace(meeting(permit=KNOWN, maintenance=Maintenance(0), changes=(CHANGE,)), **changes)
    obs = running(coordination=read(there), record=ran(stop=STOPPED))
    actions = acts(obs)
    assert (SettlePermit in kinds(actions)) is settles
    assert bool(written(actions)) is settles


# the order: noted, then taken over exactly the version that was judged


def test_it_is_taken_over_the_version_that_was_judged() -> None:
    noted = replace(STOPPED, intended=False)
    obs = asked(record=ran(stop=noted), outcomes={Judge: said(YES)})
    (take,) = [a for a in acts(obs, watching(noted=TOKEN)) if isinstance(a, TakePermit)]
    assert (take.version, take.maintenance_version, take.entry.token) == (4, 0, TOKEN)


def test_while_others_work_it_waits() -> None:
    busy = Permit(4, {2: Entry("t", "host-2", 0.0)})
    actions = acts(asked(known=busy, outcomes={Judge: said(YES)}))
    assert kinds(actions) == []
    assert written(actions) == [("waiting", "waits for broker 2, which is in work")]


# an operator released our entry meanwhile


def test_a_stop_whose_entry_was_released_is_not_said_to_be_done() -> None:
    obs = asked(record=ran(stop=STOPPED, stop_intent=True))
    (remembered,) = [
        a.record for a in acts(obs, watching(noted=TOKEN)) if isinstance(a, Remember) and a.record.finished
    ]
    assert remembered.stop is None
    assert remembered.finished is not None
    assert not remembered.finished.done


@pytest.mark.parametrize(
    ("known", "over"),
    [
        (Permit(4, {1: Entry(TOKEN, "host-1", 0.0)}), False),
        (Permit(4, {1: Entry(TOKEN, "host-1", 0.0, working=False)}), True),
        (Permit(4), True),
    ],
    ids=["in work", "rests", "released"],
)
def test_a_broker_that_stays_down_ends_its_change(known: Permit, over: bool) -> None:
    stop = replace(CHANGE, kind="stop")
    there = meeting(permit=known, maintenance=Maintenance(0), changes=(stop,))
    obs = after_end(record=ran(stop=replace(STOPPED, stay_down=True), stop_intent=True), coordination=read(there))
    phases = [phase for phase, _ in written(acts(obs, counted(obs, noted=TOKEN)))]
    assert phases == (["done"] if over else ["stopped"])
