"""Slow actions on real threads: what becomes of them, one at a time a kind. Tests wait for conditions, not for time."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bubuku.core.actions import Action, Fence, JoinMarker, Outcome, RaiseFence, Result
from bubuku.core.errors import RefusedError, TimedOutError, UnavailableError
from bubuku.effects import Effects
from tests.support.observations import REGISTRATION
from tests.support.wait import wait_for

RAISE = RaiseFence(1)
FENCE = Fence(REGISTRATION, "")


class Bench:
    """Effects whose handlers do what `does` says, and wait for `gate` where a test holds it closed."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.done = threading.Semaphore(0)
        self.seen: list[Action] = []
        self.does: Callable[[], Outcome] = lambda: Outcome(Result.DONE, 0.0, detail="said", data={"a": 1})
        self.effects = Effects(dict.fromkeys((RaiseFence, Fence, JoinMarker), self._handle), self.done.release)

    def _handle(self, action: Action) -> Outcome:
        self.seen.append(action)
        assert self.gate.wait(10.0), "the test did not open the gate"
        return self.does()

    def outcome(self, kind: type = RaiseFence) -> Outcome | None:
        return self.effects.outcomes().get(kind)

    def ended(self, kind: type = RaiseFence) -> Outcome:
        assert self.done.acquire(timeout=10.0), f"no action ended; outcomes: {self.effects.outcomes()}"
        outcome = self.outcome(kind)
        assert outcome is not None
        return outcome


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.gate.set()
    made.effects.stop(10.0)


def test_done(bench: Bench) -> None:
    assert bench.effects.submit(RAISE, 5.0)
    outcome = bench.ended()
    assert (outcome.result, outcome.begun, outcome.detail, outcome.data) == (Result.DONE, 5.0, "said", {"a": 1})
    assert outcome.ended is not None
    assert bench.seen == [RAISE]


def test_running_is_seen_at_once(bench: Bench) -> None:
    bench.gate.clear()
    assert bench.effects.submit(RAISE, 5.0)
    assert bench.outcome() == Outcome(Result.RUNNING, 5.0)


@pytest.mark.parametrize(
    ("error", "result"),
    [
        (TimedOutError("no reply"), Result.UNKNOWN),
        (UnavailableError("not sent"), Result.FAILED),
        (RefusedError("not ours"), Result.FAILED),
        (ZeroDivisionError("a bug"), Result.UNKNOWN),  # before or after the act: nobody knows
    ],
)
def test_errors_become_outcomes(bench: Bench, error: Exception, result: Result) -> None:
    def fail() -> Outcome:
        raise error

    bench.does = fail
    bench.effects.submit(RAISE, 5.0)
    outcome = bench.ended()
    assert outcome.result is result
    assert str(error) in outcome.detail


def test_one_at_a_time_a_kind(bench: Bench) -> None:
    bench.gate.clear()
    assert bench.effects.submit(RAISE, 5.0)
    assert not bench.effects.submit(RAISE, 6.0)
    assert bench.outcome() == Outcome(Result.RUNNING, 5.0)  # the dropped one left no trace
    bench.gate.set()
    bench.ended()
    assert bench.effects.submit(RAISE, 7.0)
    assert bench.ended().begun == 7.0


def test_kinds_do_not_wait_for_each_other(bench: Bench) -> None:
    bench.gate.clear()
    bench.effects.submit(RAISE, 5.0)
    bench.effects.submit(FENCE, 5.0)
    wait_for(lambda: len(bench.seen) == 2, 10.0, "both kinds at work")


def test_the_next_may_be_asked_for_as_soon_as_the_outcome_is_seen(bench: Bench) -> None:
    """Even from within the callback, while the thread of the last one still ends."""
    again: list[bool] = []

    def on_done() -> None:
        if next(calls) == 0:
            again.append(effects.submit(RAISE, 6.0))
        else:
            ended.set()

    calls = itertools.count()
    ended = threading.Event()
    effects = Effects({RaiseFence: lambda _action: Outcome(Result.DONE, 0.0)}, on_done)
    effects.submit(RAISE, 5.0)
    assert ended.wait(10.0), f"asked again: {again}"
    effects.stop(10.0)
    assert again == [True]


def test_no_room_for_a_thread_is_a_known_failure(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_self: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert not bench.effects.submit(RAISE, 5.0)
    outcome = bench.outcome()
    assert outcome is not None
    assert outcome.result is Result.FAILED
    monkeypatch.undo()
    assert bench.effects.submit(RAISE, 6.0)
    assert bench.ended().result is Result.DONE
