"""What may block for seconds is read in threads of its own, which publish dated snapshots.

Made by the daemon, read by the supervisor's loop. One reader is one thread and one call in flight; a sick source delays
only its own snapshot, whose age shows. Between readings a reader sleeps for its pace, and `wake` ends that sleep.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from bubuku.core.errors import BubukuError
from bubuku.core.model import Dated

T = TypeVar("T")
LOG = logging.getLogger(__name__)


class Reader(Generic[T]):
    """Calls `read` again and again. `latest` is what it last said, or why it could not."""

    def __init__(
        self,
        name: str,
        read: Callable[[], T],
        *,
        rest_seconds: float,
        busy_seconds: float,
        on_change: Callable[[], None],
    ) -> None:
        self._name = name
        self._read = read
        self._rest, self._busy = rest_seconds, busy_seconds
        self._on_change = on_change
        self._pace = busy_seconds
        self._wake = threading.Event()
        self._stopped = threading.Event()
        self._latest: Dated[T] = Dated(float("-inf"), None, "not read yet")
        self._thread = threading.Thread(target=self._run, name=f"read-{name}", daemon=True)

    @property
    def latest(self) -> Dated[T]:
        return self._latest

    @property
    def pace(self) -> float:
        """Seconds from reading to reading."""
        return self._pace

    def start(self) -> None:
        self._thread.start()

    def stop(self, deadline_seconds: float) -> None:
        self._stopped.set()
        self._wake.set()
        self._thread.join(deadline_seconds)

    def wake(self) -> None:
        """Read now (again, if a reading is under way), whatever the pace."""
        self._wake.set()

    def hurry(self, busy: bool, at_least: float = 0.0) -> None:
        """Busy while the broker is anything but serving; else at rest. `at_least`: seconds from reading to reading."""
        pace = max(self._busy, at_least) if busy else self._rest
        if pace != self._pace:
            self._pace = pace
            self._wake.set()

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._wake.clear()
            begun = time.monotonic()
            before = self._latest
            try:
                self._latest = Dated(begun, self._read())
            except BubukuError as error:
                self._latest = Dated(begun, None, str(error))
            except Exception as error:  # a bug in an adapter must not end the reading for ever; it is said, and shown
                LOG.exception("reading %s failed", self._name)
                self._latest = Dated(begun, None, f"{type(error).__name__}: {error}")
            if (before.value, before.error) != (self._latest.value, self._latest.error) or self._pace == self._busy:
                self._on_change()
            self._wake.wait(self._pace)
