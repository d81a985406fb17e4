"""The sums about changes and refusals: each counted once, when it is known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bubuku.core.actions import Judge, Outcome, Result, WriteChange
from bubuku.core.guard import Blocked, Objection, Verdict
from bubuku.core.model import Dated
from bubuku.core.observation import Decision, Observation, Tally
from bubuku.core.shared import ChangeState
from bubuku.core.tally import counted
from tests.support import published as make
from tests.support.operators import change

RUNNING = change(5, state=ChangeState.RUNNING)
DONE = replace(RUNNING, state=ChangeState.DONE)
NO = Verdict((1,), (Blocked("orders", 1, Objection.BELOW_MIN_ISR, (2,), 2),), unknown="who leads")
YES = Verdict((1,), ())


def at(now: float, *changes: Any, begun: float | None = None, connected: bool = True, **more: Any) -> Observation:
    view = replace(make.coordination(connected=connected), changes=changes)
    looked = Dated(now if begun is None else begun, view)
    return make.observation(now=now, coordination=looked, **more)


def decided(*written: Any) -> Decision:
    return replace(make.SERVING, actions=tuple(WriteChange(each) for each in written))


def test_a_change_counts_once_its_end_was_written() -> None:
    tally = counted(Tally(), at(1, RUNNING), decided(RUNNING))
    assert tally.ending == {}
    tally = counted(tally, at(2, RUNNING), decided(DONE))
    for obs in (at(3, RUNNING), at(4, begun=2), at(5, connected=False)):  # not yet, too old a look, no look
        tally = counted(tally, obs, decided())
        assert tally.changes == {}
    for now in (6, 7):
        tally = counted(tally, at(now), decided())
        assert (tally.changes, tally.ending) == ({("restart", "done"): 1}, {})


def test_an_end_that_was_overtaken_counts_as_what_was_written_last() -> None:
    tally = counted(Tally(), at(1, RUNNING), decided(DONE))
    tally = counted(tally, at(2, RUNNING), decided(replace(DONE, state=ChangeState.CANCELLED)))
    assert counted(tally, at(3), decided()).changes == {("restart", "cancelled"): 1}


def judged(begun: float, result: Result, verdict: Verdict | None) -> dict[type, Outcome]:
    return {Judge: Outcome(result, begun, begun + 1, data=None if verdict is None else {"verdict": verdict})}


def test_each_judgement_that_says_no_counts_once_for_each_reason() -> None:
    tally = counted(Tally(), at(1, outcomes=judged(1, Result.RUNNING, None)), decided())
    assert tally.refusals == {}
    for _ in range(2):
        tally = counted(tally, at(2, outcomes=judged(1, Result.DONE, NO)), decided())
        assert tally.refusals == {"below_min_isr": 1, "unknown": 1}
    tally = counted(tally, at(9, outcomes=judged(8, Result.DONE, NO)), decided())
    assert tally.refusals == {"below_min_isr": 2, "unknown": 2}


@pytest.mark.parametrize(
    ("result", "verdict", "refusals"),
    [(Result.DONE, YES, {}), (Result.FAILED, None, {"unknown": 1}), (Result.UNKNOWN, None, {"unknown": 1})],
)
def test_what_a_judgement_counts(result: Result, verdict: Verdict | None, refusals: dict[str, int]) -> None:
    assert counted(Tally(), at(2, outcomes=judged(1, result, verdict)), decided()).refusals == refusals
