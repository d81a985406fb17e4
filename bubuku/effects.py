"""Slow actions run here: one thread a kind, so that a fence never waits behind a format. Outcomes are kept by kind.

Called by the supervisor's loop. An action of a kind whose thread is still at work is dropped: the core asks again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping

from bubuku.core.actions import Action, Outcome, Result
from bubuku.core.errors import BubukuError, TimedOutError

LOG = logging.getLogger(__name__)
Handler = Callable[[Action], Outcome]


class Effects:
    """Runs slow actions and remembers the latest outcome of each kind."""

    def __init__(self, handlers: Mapping[type, Handler], on_done: Callable[[], None]) -> None:
        self._handlers = handlers
        self._on_done = on_done
        self._lock = threading.Lock()
        self._outcomes: dict[type, Outcome] = {}
        self._threads: dict[type, threading.Thread] = {}

    def outcomes(self) -> dict[type, Outcome]:
        with self._lock:
            return dict(self._outcomes)

    def submit(self, action: Action, now: float) -> bool:
        """False: one of its kind is still at work."""
        kind = type(action)
        with self._lock:
            before = self._outcomes.get(kind)
            if before is not None and before.result is Result.RUNNING:
                return False
            self._outcomes[kind] = Outcome(Result.RUNNING, now)
        thread = threading.Thread(target=self._run, args=(kind, action, now), name=f"do-{kind.__name__}", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # the host has no room for one more thread
            with self._lock:
                self._outcomes[kind] = Outcome(Result.FAILED, now, now, f"not begun: {error}")
            return False
        self._threads[kind] = thread
        return True

    def stop(self, deadline_seconds: float) -> None:
        until = time.monotonic() + deadline_seconds
        for thread in self._threads.values():
            thread.join(max(0.0, until - time.monotonic()))

    def _run(self, kind: type, action: Action, begun: float) -> None:
        try:
            done = self._handlers[kind](action)
            outcome = Outcome(done.result, begun, time.monotonic(), done.detail, done.data)
        except TimedOutError as error:
            outcome = Outcome(Result.UNKNOWN, begun, time.monotonic(), str(error))
        except BubukuError as error:
            outcome = Outcome(Result.FAILED, begun, time.monotonic(), str(error))
        except Exception as error:  # whether a bug struck before or after the act is not known
            LOG.exception("%s failed", kind.__name__)
            outcome = Outcome(Result.UNKNOWN, begun, time.monotonic(), f"{type(error).__name__}: {error}")
        with self._lock:
            self._outcomes[kind] = outcome
        if outcome.result is not Result.DONE:  # refused is usual: of two that write, one comes second
            level = logging.INFO if outcome.result is Result.REFUSED else logging.WARNING
            LOG.log(level, "%s: %s %s", kind.__name__, outcome.result, outcome.detail)
        self._on_done()
