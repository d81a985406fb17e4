"""What Kafka's own log says: recovery progress, the last lines, and failures that a restart cannot mend. Pure.

Called by the adapter that follows the log, from one reader thread, a line at a time. Seen with Kafka 3.9.2 and 4.3.0.

Invariant: a failure counts only where Kafka says that it ends because of it (`_FATAL`), or in the exception printed
below that line. The same words elsewhere, such as the ConfigException of a client's bad request, mean nothing here.
"""

from __future__ import annotations

import re
from collections import deque

from bubuku.core.model import LogView
from bubuku.core.reasons import Reason

KEPT_LINES = 20
KEPT_CHARACTERS = 500

_BEGIN = re.compile(r"Registered `?kafka:type=kafka\.Log4jController`? MBean|Registered signal handlers for TERM")
_RECOVERING = re.compile(r"Recovering (\d+) logs from (.+?) since no clean shutdown file was found")
_COMPLETED = re.compile(r"Completed load of Log\(dir=.*\((\d+)/(\d+) completed in (.+?)\)")
_LOADED = re.compile(r"Loaded \d+ logs in \d+ ?ms")
_LEVEL = re.compile(r"\b(?:TRACE|DEBUG|INFO|WARN|ERROR|FATAL)\b")
_LEVEL_WITHIN = 60  # characters of a line in which its level stands; continuation lines have none
_FRAME = re.compile(r"\s+(?:at |\.\.\. \d+ )")
_NO_SPACE = re.compile(r"No space left on device|Disk quota exceeded")
_DIRS_GONE = re.compile(r"Shutdown broker because .*\blog dir")
_CONFIGURATION_CONTEXT = "Exiting Kafka due to fatal exception"
_FATAL = re.compile(
    r"Exiting Kafka due to fatal exception"
    r"|Fatal error during .*startup\. Prepare to shutdown"
    r"|Encountered fatal fault"
    r"|Unable to start acceptor for"
)
_CAUSES: tuple[tuple[Reason, re.Pattern[str]], ...] = (
    (Reason.DISK_FULL, _NO_SPACE),
    (Reason.PORT_TAKEN, re.compile(r"Address already in use|Socket server failed to bind")),
    (
        Reason.NODE_ID_MISMATCH,
        re.compile(
            r"doesn't match previous node id|InconsistentBrokerIdException|Configured broker\.id .*doesn't match"
        ),
    ),
    (
        Reason.CLUSTER_ID_MISMATCH,
        re.compile(r"Invalid cluster\.id in|InconsistentClusterIdException|INCONSISTENT_CLUSTER_ID"),
    ),
    (Reason.LOG_DIRS_FAILED, re.compile(r"KafkaStorageException")),
)
# Kafka reads its configuration before anything else; what fails later may be a file beside it that was mended since
_CONFIGURATION = re.compile(r"ConfigException: |IllegalArgumentException: requirement failed: ")


class KafkaLog:
    """One run of Kafka after the other: the first line that Kafka prints makes the run before it forgotten."""

    def __init__(self) -> None:
        self._lines_seen = 0
        self._last: deque[str] = deque(maxlen=KEPT_LINES)
        self._begin()

    def _begin(self) -> None:
        self._total: dict[str, int] = {}  # log dirs under recovery → logs in them
        self._done: dict[str, int] = {}
        self._loaded = False
        self._started_at: float | None = None
        self._context: str | None = None  # the line by which Kafka said that it ends
        self._no_space: str | None = None
        self._fatal: tuple[Reason, str] | None = None

    def feed(self, line: str, now: float) -> None:
        """One line without its end; `now` is when it was read, in seconds of the host's monotonic clock."""
        line = line.rstrip()
        if not line:
            return
        self._lines_seen += 1
        if _FRAME.match(line):
            return  # a stack's frames are progress, but tell nobody anything
        headed = _LEVEL.search(line, 0, _LEVEL_WITHIN) is not None
        if headed and _BEGIN.search(line):
            self._begin()
        self._last.append(line[:KEPT_CHARACTERS])
        if headed:
            self._context = line if _FATAL.search(line) else None
            self._progress(line, now)
        self._classify(line)

    def _progress(self, line: str, now: float) -> None:
        if found := _COMPLETED.search(line):
            directory = found[3]
            if directory in self._total:
                self._done[directory] = max(self._done.get(directory, 0), int(found[1]))
        elif found := _RECOVERING.search(line):
            self._total[found[2]] = int(found[1])
            self._loaded = False
            if self._started_at is None:
                self._started_at = now
        elif _LOADED.search(line):
            self._loaded = True

    def _classify(self, line: str) -> None:
        if _NO_SPACE.search(line):
            self._no_space = line
        if self._fatal is not None:
            return
        if _DIRS_GONE.search(line):
            full = self._no_space is not None
            self._fatal = (Reason.DISK_FULL, f"{line} ({self._no_space})") if full else (Reason.LOG_DIRS_FAILED, line)
        elif self._context is not None:
            reason = next((reason for reason, words in _CAUSES if words.search(line)), None)
            if reason is None and _CONFIGURATION_CONTEXT in self._context and "startup" not in self._context:
                reason = Reason.BAD_CONFIGURATION if _CONFIGURATION.search(line) else None
            if reason is not None:
                self._fatal = (reason, line)

    def view(self) -> LogView:
        """What is known so far; recovery counts are the sums over the log dirs that are being recovered."""
        total = sum(self._total.values())
        done = total if self._loaded else sum(self._done.values())
        return LogView(
            recovered=done if self._total else None,
            recover_total=total if self._total else None,
            recover_started_at=self._started_at,
            lines_seen=self._lines_seen,
            last_lines=tuple(self._last),
            fatal=None if self._fatal is None else self._fatal[0].value,
            fatal_line=None if self._fatal is None else self._fatal[1][:KEPT_CHARACTERS],
        )
