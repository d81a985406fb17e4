"""What slow actions leave behind: who reads anew, and what the guard's word rests on."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any, cast

import pytest

from bubuku.core.actions import Action, ElectPreferred, Judge, Outcome, Result, TakePermit
from bubuku.core.errors import UnavailableError
from bubuku.core.guard import Evidence, Verdict
from bubuku.core.model import Partition
from bubuku.daemon.handlers import table
from tests.support.stops import entry


class Host:
    """The table of a daemon whose Kafka and permit are these."""

    def __init__(self, **kafka: Any) -> None:
        self.woken: list[str] = []
        readers = {
            name: SimpleNamespace(wake=lambda name=name: self.woken.append(name))
            for name in ("coordination", "cluster", "log_dirs", "registration")
        }
        nothing = cast(Any, None)
        self._table = table(
            coordination=nothing,
            permits=cast(Any, SimpleNamespace(take=lambda *_: Outcome(Result.REFUSED, 0.0))),
            changes=nothing,
            registrations=None,
            files=nothing,
            kafka=cast(Any, SimpleNamespace(**kafka)),
            readers=cast(Any, SimpleNamespace(**readers)),
            cluster_id=lambda: "cluster-a",
        )

    def run(self, action: Action) -> Outcome:
        return self._table[type(action)](action)


def test_after_a_write_the_permit_is_read_anew() -> None:
    host = Host()
    assert host.run(TakePermit(1, entry(), 5, 3)).result is Result.REFUSED
    assert host.woken == ["coordination"]


def test_metadata_is_read_anew_also_after_an_election_that_failed() -> None:
    """The way back waits for metadata of after it."""

    def refused(*_: object) -> None:
        raise UnavailableError("no controller")

    host = Host(elect_preferred=refused)
    with pytest.raises(UnavailableError):
        host.run(ElectPreferred("token", ()))
    assert host.woken == ["cluster"]


def test_the_guard_judges_evidence_that_is_asked_for_now() -> None:
    asked: list[tuple[object, ...]] = []

    def evidence(*arguments: object) -> Evidence:
        asked.append(arguments)
        shapes = (Partition("t", 0, 1, (1, 2, 3), (1, 2, 3)), Partition("t", 0, 1, (1, 2, 4), (1, 2, 4)))
        elsewhere = Partition("u", 1, 1, (1, 2, 3), (2, 3))
        return Evidence((*shapes, elsewhere), {"t": 1, "u": 1}, frozenset({3}), frozenset({2}))

    before = time.monotonic()
    outcome = Host(evidence=evidence).run(asked_of({2}))
    assert asked[0][:3] == (frozenset({1}), frozenset({3}), "cluster-a")
    assert before <= outcome.begun
    assert outcome.data == {"verdict": Verdict((1,), ()), "in_sync": ("t-0",), "version": 5}


def asked_of(joined: set[int], settled: bool = True) -> Judge:
    return Judge(1, frozenset({3}), 5, accept_unavailable=False, joined=frozenset(joined), settled=settled)


@pytest.mark.parametrize(
    ("joined", "settled", "allowed"),
    [({2}, True, True), (set(), True, False), ({2}, False, False)],
)
def test_the_guard_is_told_who_has_joined_and_whether_ours_has_settled(
    joined: set[int], settled: bool, allowed: bool
) -> None:
    out_of_sync = Partition("t", 0, 2, (1, 2), (2,))
    evidence = Evidence((out_of_sync,), {"t": 2}, frozenset({3}), frozenset({1, 2}))
    outcome = Host(evidence=lambda *_: evidence).run(asked_of(joined, settled))
    assert outcome.data is not None
    verdict = outcome.data["verdict"]
    assert isinstance(verdict, Verdict)
    assert verdict.allowed is allowed
