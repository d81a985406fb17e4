"""The daemon's loop: a tick a second, woken early by the broker's end, a reading, or a signal.

Runs in the main thread. The daemon's own end is not Kafka's end: told to stop, it leaves Kafka running, unless it was
told to take Kafka with it (`graceful_terminate`, or the host itself goes down).
"""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from bubuku.core.model import BrokerState
from bubuku.supervisor import Supervisor

LOG = logging.getLogger(__name__)
TICK_SECONDS = 1.0
START_APART_SECONDS = 0.15  # while Kafka starts it needs the cores: readings that come together make one tick
EXTENSION_SECONDS = 30  # systemd waits so much longer for the daemon's end with each tick


class Waker:
    """Ends the loop's wait from any thread or signal handler."""

    def __init__(self) -> None:
        self.descriptor = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def wake(self) -> None:
        os.eventfd_write(self.descriptor, 1)

    def clear(self) -> None:
        try:
            os.eventfd_read(self.descriptor)
        except BlockingIOError:
            pass

    def close(self) -> None:
        os.close(self.descriptor)


class Loop:
    """Ticks the supervisor until the daemon is told to end."""

    def __init__(
        self,
        supervisor: Supervisor,
        waker: Waker,
        exit_fd: Callable[[], int | None],
        graceful_terminate: bool,
        patience_seconds: float,
    ) -> None:
        self._supervisor = supervisor
        self._waker = waker
        self._exit_fd = exit_fd
        self._graceful = graceful_terminate
        self._patience = patience_seconds
        self._told_to_end = 0  # so often

    def end(self, number: int, _frame: FrameType | None) -> None:
        """Signal handler."""
        LOG.warning("%s: the daemon ends", signal.Signals(number).name)
        self._told_to_end += 1
        self._waker.wake()

    def run(self) -> None:
        notify("READY=1")
        leave: bool | None = None  # with Kafka; None: not told to end
        left_at = 0.0  # since when the guard is asked for leave
        failure: str | None = None
        next_tick, starting = time.monotonic(), False
        while True:
            self._wait(max(0.0, next_tick - time.monotonic()), START_APART_SECONDS if starting else 0.0)
            next_tick = time.monotonic() + TICK_SECONDS
            if self._told_to_end and leave is None:
                leave, left_at = self._graceful or host_goes_down(), time.monotonic()
                if not leave:
                    LOG.warning("Kafka goes on without its daemon; the next daemon adopts it")
                    return
            now = bool(leave) and (self._told_to_end > 1 or time.monotonic() - left_at >= self._patience)
            try:
                published = self._supervisor.tick(terminate=now, leaving=leave is True)
            except Exception as error:  # a bug must not end the watch over Kafka; /livez goes bad meanwhile
                if repr(error) != failure:  # with its traceback once: cycles may be many a second
                    LOG.exception("a cycle failed")
                failure = repr(error)
                continue
            failure = None
            starting = published.decision.state in (BrokerState.STARTING, BrokerState.RECOVERING) and not leave
            if leave and published.observation.process.identity is None:
                return
            notify("WATCHDOG=1" if not leave else f"WATCHDOG=1\nEXTEND_TIMEOUT_USEC={EXTENSION_SECONDS * 1_000_000}")

    def _wait(self, seconds: float, apart: float) -> None:
        """For so long, or until something is new; but for `apart` anyway, save for the broker's end."""
        ends = [fd for fd in (self._exit_fd(),) if fd is not None]
        if not _wait_for(ends, apart):
            _wait_for([self._waker.descriptor, *ends], max(0.0, seconds - apart))
        self._waker.clear()


def _wait_for(descriptors: list[int], seconds: float) -> bool:
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def host_goes_down() -> bool:
    """Whether systemd is shutting this host down. False where systemd does not run it, or does not say within 2 s."""
    if not Path("/run/systemd/system").exists():
        return False
    try:
        answer = subprocess.run(["systemctl", "is-system-running"], capture_output=True, timeout=2, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.stdout.strip() == b"stopping"


def notify(message: str) -> None:
    """Tell systemd (sd_notify), where it asked to be told."""
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        try:
            channel.sendto(message.encode(), "\0" + path[1:] if path.startswith("@") else path)
        except OSError as error:
            LOG.debug("systemd could not be told: %s", error)
