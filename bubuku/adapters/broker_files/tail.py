"""Follows a log file that grows, is rotated or truncated, and feeds what it says to `core.kafka_log`.

Reader thread. Memory is bounded: chunks of 1 MB, lines of at most 64 KB; of a backlog beyond 64 MB the newest is read.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from bubuku.core.errors import UnavailableError
from bubuku.core.kafka_log import KafkaLog
from bubuku.core.model import LogView

CHUNK_BYTES = 1 << 20
LINE_BYTES = 1 << 16
BACKLOG_BYTES = 64 << 20
LOOK_BACK_BYTES = 4 << 20


class LogTail:
    """From the file's end as it is now (`from_end`), or from the last 4 MB of what it holds.

    The latter is for a Kafka that runs already: its own first line, if it is among them, makes all before it forgotten.
    """

    def __init__(self, path: Path, *, from_end: bool) -> None:
        self._path = path
        self._inode: int | None = None
        self._offset = 0
        self._partial = b""
        self._skip = False  # the rest of a line that began before what we read
        self._log = KafkaLog()
        stat = self._stat()
        if stat is not None:
            self._inode = stat.st_ino
            self._offset = stat.st_size if from_end else max(0, stat.st_size - LOOK_BACK_BYTES)
            self._skip = not from_end and self._offset > 0

    def read(self) -> LogView:
        """All that was written since the last call. Raises UnavailableError where the file cannot be read."""
        try:
            with self._path.open("rb") as file:
                stat = os.fstat(file.fileno())
                if stat.st_ino != self._inode:
                    self._rest_of_rotated()
                    self._restart(stat.st_ino)
                elif stat.st_size < self._offset:
                    self._restart(stat.st_ino)
                if stat.st_size - self._offset > BACKLOG_BYTES:
                    self._offset, self._partial, self._skip = stat.st_size - LOOK_BACK_BYTES, b"", True
                self._consume(file.fileno(), stat.st_size)
        except FileNotFoundError:
            pass  # between a rotation's two renames, or not written yet
        except OSError as error:
            raise UnavailableError(f"{self._path}: {error.strerror}") from error
        return self._log.view()

    def _consume(self, descriptor: int, end: int) -> None:
        os.lseek(descriptor, self._offset, os.SEEK_SET)
        while self._offset < end:
            chunk = os.read(descriptor, min(CHUNK_BYTES, end - self._offset))
            if not chunk:
                return
            self._offset += len(chunk)
            *whole, self._partial = (self._partial + chunk).split(b"\n")
            if whole and self._skip:
                del whole[0]
                self._skip = False
            if len(self._partial) > LINE_BYTES:
                whole.append(self._partial[:LINE_BYTES])
                self._partial, self._skip = b"", True
            now = time.monotonic()
            for line in whole:
                self._log.feed(line[:LINE_BYTES].decode("utf-8", "replace"), now)

    def _rest_of_rotated(self) -> None:
        """What was written to the old file before it was renamed: a few names are tried, else it is lost."""
        if self._inode is None:
            return
        for candidate in sorted(self._path.parent.glob(f"{self._path.name}*"))[:50]:
            try:
                with candidate.open("rb") as file:
                    stat = os.fstat(file.fileno())
                    if stat.st_ino == self._inode and stat.st_size - self._offset <= BACKLOG_BYTES:
                        self._consume(file.fileno(), stat.st_size)
                        return
            except OSError:
                continue

    def _restart(self, inode: int) -> None:
        self._inode, self._offset, self._partial, self._skip = inode, 0, b"", False

    def _stat(self) -> os.stat_result | None:
        try:
            return self._path.stat()
        except OSError:
            return None
