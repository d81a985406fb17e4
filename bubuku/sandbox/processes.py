"""Processes of the sandbox, named so that a reused pid is never taken for one of them.

Callers: the keeper, `sandbox down` and the tests; any thread. A signal goes through a pidfd whose process was compared
with the recorded start time after it was opened.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True, slots=True)
class Started:
    """A process by pid and start time (field 22 of /proc/PID/stat: clock ticks since boot)."""

    pid: int
    start_ticks: int

    @classmethod
    def of(cls, pid: int) -> Started | None:
        """The process that has this pid now; None where there is none, or only a zombie."""
        ticks = start_ticks(pid)
        return None if ticks is None else cls(pid, ticks)

    def alive(self) -> bool:
        return start_ticks(self.pid) == self.start_ticks

    def send(self, number: signal.Signals) -> bool:
        """Send a signal. False: it is gone."""
        with self._descriptor() as descriptor:
            if descriptor is None:
                return False
            signal.pidfd_send_signal(descriptor, number)
            return True

    @contextmanager
    def _descriptor(self) -> Iterator[int | None]:
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            yield None
            return
        try:
            yield descriptor if self.alive() else None
        finally:
            os.close(descriptor)


def start_ticks(pid: int) -> int | None:
    """Field 22 of /proc/PID/stat; None for a process that does not exist or is a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text.rpartition(")")[2].split()  # the name in field 2 may hold blanks and brackets
    return None if fields[0] in "ZX" else int(fields[19])


def wait_gone(processes: Iterable[Started], deadline_seconds: float) -> list[Started]:
    """Wait until all have ended; the ones that still live after `deadline_seconds`."""
    end = time.monotonic() + deadline_seconds
    left: list[Started] = []
    for process in processes:
        with process._descriptor() as descriptor:
            if descriptor is None:
                continue
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            if not poll.poll(max(0.0, end - time.monotonic()) * 1000):
                left.append(process)
    return left


def stop(processes: Iterable[Started], deadline_seconds: float) -> list[Started]:
    """SIGTERM all, wait `deadline_seconds`, SIGKILL what is left; the ones that had to be killed."""
    chosen = list(processes)
    for process in chosen:
        process.send(signal.SIGCONT)  # a suspended one would take SIGTERM only when it goes on
        process.send(signal.SIGTERM)
    left = wait_gone(chosen, deadline_seconds)
    for process in left:
        process.send(signal.SIGKILL)
    wait_gone(left, 10.0)
    return left


def with_argument(argument: str) -> list[Started]:
    """All processes of this user with exactly this command line argument."""
    found = []
    for process in psutil.process_iter(["pid", "cmdline"]):
        if argument in (process.info["cmdline"] or []):
            started = Started.of(process.info["pid"])
            if started is not None:
                found.append(started)
    return found
