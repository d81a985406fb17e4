"""Waiting in tests: for a condition, never for time to pass."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_for(
    condition: Callable[[], T],
    deadline_seconds: float,
    describe: str | Callable[[], str],
    interval_seconds: float = 0.05,
) -> T:
    """The first true value of `condition()`, asked every `interval_seconds`.

    Fails the test after `deadline_seconds`, saying what was waited for, the last value, and what `describe` (a text, or
    a function that looks again) tells.
    """
    end = time.monotonic() + deadline_seconds
    while True:
        seen = condition()
        if seen:
            return seen
        if time.monotonic() >= end:
            text = describe if isinstance(describe, str) else describe()
            raise AssertionError(f"waited {deadline_seconds:g} s for {text}; last seen: {seen!r}")
        time.sleep(interval_seconds)
