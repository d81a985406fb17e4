"""Waiting for something outside to become true, with a deadline. Callers: the sandbox and the tests, any thread."""

from __future__ import annotations

import time
from collections.abc import Callable

from bubuku.core.errors import TimedOutError


def wait_until(
    condition: Callable[[], bool], deadline_seconds: float, what: str, interval_seconds: float = 0.05
) -> None:
    """Return once `condition()` is true; ask again every `interval_seconds`.

    Raises TimedOutError after `deadline_seconds`, saying what was waited for. `what` completes "waited 5 s for …".
    """
    end = time.monotonic() + deadline_seconds
    while not condition():
        if time.monotonic() >= end:
            raise TimedOutError(f"waited {deadline_seconds:g} s for {what}")
        time.sleep(interval_seconds)
