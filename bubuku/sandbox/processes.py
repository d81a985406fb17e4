"""Signals to and waiting for processes of the sandbox, so that a reused pid is never taken for one of them.

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

import psutil

from bubuku.adapters.process import identify
from bubuku.core.shared import ProcessId

KILL_DEADLINE_SECONDS = 10.0


def alive(process: ProcessId) -> bool:
    """Whether exactly this process runs (a zombie does not)."""
    return identify(process.pid) == process


@contextmanager
def opened(process: ProcessId) -> Iterator[int | None]:
    """A pidfd of exactly this process, for as long as the context; None: it is gone."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        yield None
        return
    try:
        yield descriptor if alive(process) else None
    finally:
        os.close(descriptor)


def send(process: ProcessId, number: signal.Signals) -> bool:
    """Send a signal. False: it is gone."""
    with opened(process) as descriptor:
        if descriptor is None:
            return False
        signal.pidfd_send_signal(descriptor, number)
        return True


def wait_gone(processes: Iterable[ProcessId], deadline_seconds: float) -> list[ProcessId]:
    """Wait until all have ended; the ones that still live after `deadline_seconds`."""
    end = time.monotonic() + deadline_seconds
    left = []
    for process in processes:
        with opened(process) as descriptor:
            if descriptor is None:
                continue
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            if not poll.poll(max(0.0, end - time.monotonic()) * 1000):
                left.append(process)
    return left


def stop(processes: Iterable[ProcessId], deadline_seconds: float) -> list[ProcessId]:
    """SIGTERM all, wait `deadline_seconds`, SIGKILL what is left; the ones that had to be killed."""
    chosen = list(processes)
    for process in chosen:
        send(process, signal.SIGTERM)
        send(process, signal.SIGCONT)  # a suspended one would see SIGTERM only when it goes on
    left = wait_gone(chosen, deadline_seconds)
    for process in left:
        send(process, signal.SIGKILL)
    wait_gone(left, KILL_DEADLINE_SECONDS)
    return left


def with_arguments(*arguments: str) -> list[ProcessId]:
    """All processes whose command line has exactly these arguments among its own."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if set(arguments) <= set(process.info["cmdline"] or []):
            identity = identify(process.pid)
            if identity is not None:
                found.append(identity)
    return found
