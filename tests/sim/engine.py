"""Virtual time: a queue of events, the seed's random numbers, and the transcript. Single-threaded.

Invariant: the same seed gives the same run. Nothing here, or in what it drives, reads a real clock.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable

EPOCH = 1_700_000_000.0


class Engine:
    """Runs events in order of time, then of scheduling. Implements `ports.Clock`."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.time = 0.0
        self.events_run = 0
        self.lines: list[tuple[float, str, str]] = []
        self._queue: list[tuple[float, int, Callable[[], object]]] = []
        self._count = 0

    def now(self) -> float:
        return self.time

    def wall(self) -> float:
        return EPOCH + self.time

    def at(self, when: float, act: Callable[[], object]) -> None:
        """Run `act` at `when`; what is in the past runs next."""
        self._count += 1
        heapq.heappush(self._queue, (max(when, self.time), self._count, act))

    def after(self, seconds: float, act: Callable[[], object]) -> None:
        self.at(self.time + seconds, act)

    def run_until(self, end: float, done: Callable[[], bool] | None = None, every: float = 0.0) -> None:
        """Until `end`, or until `done()`, asked after an event, but not more often than `every` seconds, is true."""
        asked = self.time
        while self._queue and self._queue[0][0] <= end:
            self.time, _, act = heapq.heappop(self._queue)
            self.events_run += 1
            act()
            if done is not None and self.time >= asked:
                if done():
                    return
                asked = self.time + every
        self.time = max(self.time, end)

    def say(self, who: str, what: str) -> None:
        """One line of the transcript."""
        self.lines.append((self.time, who, what))

    def transcript(self) -> str:
        return "".join(f"{when:9.3f}  {who:<10}  {what}\n" for when, who, what in self.lines)
