"""A producer of acks=all records beside a test or benchmark, in a process of its own.

Callers: benchmarks and fault tests, one thread. Use it as a context manager:

    with Workload(layout.bootstrap_servers, log=folder / "workload.log") as workload:
        begin = time.monotonic()
        ...                                           # the fault
        window = workload.window(begin, time.monotonic())
        result = workload.finish()                    # stops, reads all back
    assert result.missing == 0

`benchmarks.load` has the client's settings and why.
"""

from __future__ import annotations

import json
import select
import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from bubuku.core.errors import TimedOutError, UnavailableError

START_DEADLINE_SECONDS = 60.0
WINDOW_DEADLINE_SECONDS = 140.0  # an answer waits for what is in flight: up to the client's delivery timeout
FINISH_DEADLINE_SECONDS = 330.0
END_DEADLINE_SECONDS = 5.0
REPOSITORY = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Window:
    """What the producer saw between two moments. Seconds; None where nothing was acknowledged."""

    acknowledged: int
    failed: int
    longest_gap_seconds: float  # between two acknowledgements, of whatever partitions
    gap_began_after_seconds: float  # since the window's begin
    p50_seconds: float | None
    p99_seconds: float | None
    worst_seconds: float | None


@dataclass(frozen=True, slots=True)
class Result:
    """All that was sent, against what a consumer then read."""

    sent: int
    acknowledged: int
    failed: int  # not acknowledged, whatever the error
    missing: int  # acknowledged, but not there
    first_missing: tuple[int, ...]
    duplicates: int
    errors: tuple[str, ...]


@dataclass(slots=True)
class Workload:
    """`rate` records a second of `size` bytes over `partitions` partitions of a topic made for it.

    `placement`: the replicas of each partition, the preferred leader first, instead of `partitions` and `replication`.
    """

    bootstrap_servers: Sequence[str]
    log: Path
    rate: float = 200.0
    size: int = 200
    partitions: int = 24
    replication: int = 3
    min_isr: int = 2
    placement: Sequence[Sequence[int]] = ()
    topic: str = field(default_factory=lambda: f"load-{uuid.uuid4().hex[:8]}")
    _child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Workload:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def start(self) -> None:
        """Make the topic and begin. Raises UnavailableError with the last line of `log`, TimedOutError."""
        settings = {
            "bootstrap_servers": list(self.bootstrap_servers),
            "topic": self.topic,
            "partitions": len(self.placement) or self.partitions,
            "placement": [list(replicas) for replicas in self.placement],
            "replication": self.replication,
            "min_isr": self.min_isr,
            "rate": self.rate,
            "size": self.size,
        }
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.load", json.dumps(settings)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=REPOSITORY,
                start_new_session=True,  # Ctrl-C is for who started it; it ends with its stdin
            )
        try:
            self._answer(START_DEADLINE_SECONDS)
        except BaseException:
            self.close()
            raise

    def window(self, begin: float, end: float) -> Window:
        """What happened between two moments of the monotonic clock; waits for what was in flight at `end`."""
        return Window(**self._ask({"what": "window", "begin": begin, "end": end}, WINDOW_DEADLINE_SECONDS))

    def finish(self) -> Result:
        """Stop sending, wait for what is in flight, read everything back."""
        document = self._ask({"what": "finish"}, FINISH_DEADLINE_SECONDS)
        first, errors = tuple(document.pop("first_missing")), tuple(document.pop("errors"))
        return Result(**document, first_missing=first, errors=errors)

    def close(self) -> None:
        """End the process, if it runs."""
        child, self._child = self._child, None
        if child is None:
            return
        if child.stdin is not None:
            child.stdin.close()
        child.terminate()
        try:
            child.wait(END_DEADLINE_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait(END_DEADLINE_SECONDS)
        if child.stdout is not None:
            child.stdout.close()

    def _ask(self, question: dict[str, Any], deadline_seconds: float) -> dict[str, Any]:
        child = self._child
        if child is None or child.stdin is None:
            raise UnavailableError("the workload does not run")
        try:
            child.stdin.write(json.dumps(question).encode() + b"\n")
            child.stdin.flush()
        except OSError:
            raise UnavailableError(f"the workload has ended: {self._last_line()}") from None
        return self._answer(deadline_seconds)

    def _answer(self, deadline_seconds: float) -> dict[str, Any]:
        child = self._child
        if child is None or child.stdout is None:
            raise UnavailableError("the workload does not run")
        end = time.monotonic() + deadline_seconds
        line = b""
        while not line.endswith(b"\n"):
            if not select.select([child.stdout], [], [], max(0.0, end - time.monotonic()))[0]:
                raise TimedOutError(f"the workload did not answer within {deadline_seconds:g} s (log: {self.log})")
            piece = child.stdout.read1(65536)  # type: ignore[attr-defined]  # a BufferedReader, which has it
            if not piece:
                raise UnavailableError(f"the workload has ended: {self._last_line()}")
            line += piece
        document: dict[str, Any] = json.loads(line)
        return document

    def _last_line(self) -> str:
        lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1] if lines else f"it wrote nothing to {self.log}"
