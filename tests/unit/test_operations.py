"""An operator's release: what is told is what became of it."""

from __future__ import annotations

from typing import cast

import pytest

from bubuku.core.actions import Outcome, Result
from bubuku.core.errors import BubukuError, TimedOutError, UnavailableError, UsageError
from bubuku.operations import Operations
from bubuku.ports import Changes, Clock, Permits
from bubuku.verdicts import Verdicts
from tests.support.observations import read
from tests.support.stops import agreed, entry


class Drops:
    """Permits of which only an entry is removed, with this outcome."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self.asked: list[tuple[int, str | None]] = []

    def drop(self, node_id: int, token: str | None, deadline_seconds: float) -> Outcome:
        self.asked.append((node_id, token))
        return self.outcome


def operations(result: Result, detail: str = "") -> tuple[Operations, Drops]:
    drops = Drops(Outcome(result, 0.0, 1.0, detail))
    nobody = cast(object, None)
    made = Operations(
        cast(Permits, drops),
        cast(Changes, nobody),
        cast(Verdicts, nobody),
        lambda: read(agreed(ours=entry())),
        cast(Clock, nobody),
    )
    return made, drops


def test_an_entry_is_released_whatever_its_token() -> None:
    made, drops = operations(Result.DONE)
    made.release(1)
    assert drops.asked == [(1, None)]


@pytest.mark.parametrize(
    ("result", "error", "sentence"),
    [
        (Result.UNKNOWN, TimedOutError, "whether broker 1 left the permit is not known (no answer); look again"),
        (Result.FAILED, UnavailableError, "broker 1 is still in the permit: no answer"),
    ],
)
def test_a_release_that_failed_is_not_told_as_done(result: Result, error: type[BubukuError], sentence: str) -> None:
    made, _ = operations(result, "no answer")
    with pytest.raises(error) as raised:
        made.release(1)
    assert str(raised.value) == sentence


def test_who_is_not_in_the_permit_cannot_be_released() -> None:
    made, drops = operations(Result.DONE)
    with pytest.raises(UsageError, match="broker 2 is not in the permit"):
        made.release(2)
    assert not drops.asked
