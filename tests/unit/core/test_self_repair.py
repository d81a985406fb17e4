"""A broker that lives and is not listed is restarted, a few times an hour at most."""

from __future__ import annotations

from dataclasses import replace

from bubuku.core import self_repair
from bubuku.core.actions import DumpThreads, Judge, Outcome, Remember, Result
from bubuku.core.decide import decide
from bubuku.core.guard import Verdict
from bubuku.core.memory import Memory
from bubuku.core.model import RegistrationView
from bubuku.core.observation import Observation
from bubuku.core.shared import Maintenance, Permit
from tests.support.observations import NOW, OTHER, POLICY, PROCESS, meeting, ran, read, running, watching

LONG = watching(unlisted_since=NOW - 60)


def unlisted(**changes: object) -> Observation:
    found = meeting(permit=Permit(4), maintenance=Maintenance(0))
    said = Outcome(Result.DONE, NOW - 0.5, NOW - 0.4, data={"verdict": Verdict((1,), ()), "version": 4})
    usual = running(
        record=ran(),
        registration=read(RegistrationView(None, 2, None, 1)),
        coordination=read(found),
        outcomes={Judge: said},
    )
    return replace(usual, **changes)  # type: ignore[arg-type]


def test_it_is_wanted_after_two_sessions() -> None:
    assert self_repair.want(POLICY, LONG, unlisted()) is not None
    assert self_repair.want(POLICY, replace(LONG, unlisted_since=NOW - 36), unlisted()) is None
    alone = unlisted(registration=read(RegistrationView(None, 0, None, 1)))
    assert self_repair.want(POLICY, LONG, alone) is None


def test_a_note_that_cannot_be_written_costs_one_of_the_budget() -> None:
    """The state file's disk may be full for a while, and the note is tried again in each cycle."""
    memory: Memory = LONG
    for _ in range(5):
        memory, decision = decide(POLICY, memory, unlisted())
        assert {type(a) for a in decision.actions} >= {Remember, DumpThreads}
    assert memory.repairs == (NOW,)
    assert memory.repaired == PROCESS


def test_no_more_than_three_in_an_hour() -> None:
    spent = replace(LONG, repairs=(NOW - 3000, NOW - 2000, NOW - 1000), repaired=OTHER)
    assert self_repair.want(POLICY, spent, unlisted()) is None
    assert self_repair.want(POLICY, replace(spent, repaired=PROCESS), unlisted()) is not None  # the third, not yet done
    assert self_repair.want(POLICY, replace(spent, repairs=(NOW - 3601, *spent.repairs[1:])), unlisted()) is not None
