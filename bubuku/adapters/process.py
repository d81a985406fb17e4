"""The local Kafka process: started in a session of its own, known by pid *and* start time, watched by pidfd.

Called by the supervisor's loop thread only. Nothing here waits. An adopted process is not our child: its end is seen by
the same pidfd, its exit status is not known then.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bubuku.core.actions import Outcome, Result
from bubuku.core.errors import UnavailableError
from bubuku.core.model import Exit, ProcessView
from bubuku.core.shared import ProcessId

STOP_HELPER = Path(__file__).with_name("stop_helper.py")
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class LaunchSettings:
    command: Sequence[str]
    environment: Mapping[str, str] = field(repr=False)
    output: Path  # Kafka's stdout and stderr are appended to it
    directory: Path
    niceness: int = 0  # Kafka's; the daemon itself may run at a better one


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def identify(pid: int, boot: str | None = None) -> ProcessId | None:
    """Who runs under `pid` now; None: nobody, or only what is left of an ended process (a zombie)."""
    stat = _stat(pid)
    if stat is None or stat.state in ("Z", "X"):
        return None
    return ProcessId(pid, stat.start_ticks, boot if boot is not None else boot_id())


@dataclass(frozen=True, slots=True)
class _Stat:
    state: str
    start_ticks: int


def _stat(pid: int) -> _Stat | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text[text.rindex(")") + 2 :].split()  # the command, in brackets, may contain anything
    return _Stat(fields[0], int(fields[19]))


def _watch(pid: int) -> int | None:
    """A pidfd; None where no process has this pid (a thread may have it). Raises UnavailableError on a kernel, or in a
    container, without pidfds."""
    try:
        return os.pidfd_open(pid)
    except OSError as error:
        if error.errno in (errno.ESRCH, errno.EINVAL, errno.ENOENT):
            return None
        reason = f"pidfd_open: {error.strerror}; it needs Linux 5.3, and a container that permits it"
        raise UnavailableError(f"process {pid} cannot be watched ({reason})") from error


def _has_ended(pidfd: int) -> bool:
    """Whether the last of its threads has; the state in /proc is that of the first one alone."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))


def _bytes_moved(pid: int) -> int:
    """Bytes read and written, through caches too; 0 where the kernel does not tell (another user's process)."""
    try:
        lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    except OSError:
        return 0
    counts = dict(line.split(": ", 1) for line in lines)
    return int(counts.get("rchar", 0)) + int(counts.get("wchar", 0))


class KafkaProcess:
    """Implements `ports.BrokerProcess`."""

    def __init__(self, settings: LaunchSettings) -> None:
        self._settings = settings
        self._boot = boot_id()
        self._identity: ProcessId | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._pidfd: int | None = None
        self._adopted = False
        self._started_at: float | None = None
        self._exit: Exit | None = None

    def start(self) -> ProcessId:
        """Start Kafka. Raises UnavailableError with the reason where it cannot be executed."""
        if self._identity is not None:
            raise UnavailableError(f"Kafka runs already as pid {self._identity.pid}")
        started = time.monotonic()
        try:
            with self._settings.output.open("ab") as output:
                child = subprocess.Popen(
                    list(self._settings.command),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=dict(self._settings.environment),
                    cwd=self._settings.directory,
                    start_new_session=True,  # a signal for the daemon's group must not reach Kafka
                )
        except OSError as error:
            raise UnavailableError(f"{self._settings.command[0]} cannot be started: {error.strerror}") from error
        _set_niceness(child.pid, self._settings.niceness)
        self._forget()
        try:
            pidfd = _watch(child.pid)
        except UnavailableError:
            child.kill()  # it has only just begun; left to itself, it would be joined by a second one
            child.wait()
            raise
        stat = _stat(child.pid)
        assert stat is not None, "our own child is there, if only as a zombie, until it was waited for"
        self._child, self._pidfd = child, pidfd
        self._identity = ProcessId(child.pid, stat.start_ticks, self._boot)
        self._started_at = started
        return self._identity

    def adopt(self, identity: ProcessId) -> bool:
        """Watch a running process. False, and a proven end in the view, where it does not run any more.

        Raises UnavailableError where this host cannot watch processes at all.
        """
        self._forget()
        if identity.boot_id == self._boot:
            pidfd = _watch(identity.pid)
            stat = None if pidfd is None else _stat(identity.pid)
            # looked at after the descriptor was opened: from here on the pid cannot be another process
            same = stat is not None and stat.start_ticks == identity.start_ticks
            if pidfd is not None and same and not _has_ended(pidfd):
                self._pidfd, self._identity, self._adopted = pidfd, identity, True
                self._started_at = identity.start_ticks / CLOCK_TICKS + _boot_offset()
                return True
            if pidfd is not None:
                os.close(pidfd)
        self._exit = Exit(identity, time.monotonic(), watched=False)
        return False

    def view(self) -> ProcessView:
        if self._identity is None:
            return ProcessView(exit=self._exit)
        stat = _stat(self._identity.pid)
        if self._child is not None:
            status = self._child.poll()
            if status is not None:
                return self._ended(code=status if status >= 0 else None, signal_number=-status if status < 0 else None)
        elif self._pidfd is None or _has_ended(self._pidfd):
            return self._ended(code=None, signal_number=None)
        return ProcessView(
            identity=self._identity,
            started_at=self._started_at,
            adopted=self._adopted,
            suspended=stat is not None and stat.state in ("T", "t"),
            activity=_bytes_moved(self._identity.pid),
        )

    def exit_fd(self) -> int | None:
        return self._pidfd

    def signal(self, identity: ProcessId, number: int) -> bool:
        """Send a signal to exactly this process. False: it is not the one that we watch, or is gone."""
        if self._pidfd is None or identity != self._identity:
            return False
        try:
            signal.pidfd_send_signal(self._pidfd, number)
        except ProcessLookupError:
            return False
        return True

    def _ended(self, code: int | None, signal_number: int | None) -> ProcessView:
        assert self._identity is not None
        ended = Exit(self._identity, time.monotonic(), code, signal_number)
        self._forget()
        self._exit = ended
        return ProcessView(exit=ended)

    def _forget(self) -> None:
        if self._pidfd is not None:
            os.close(self._pidfd)
        self._identity = self._child = self._pidfd = self._started_at = self._exit = None
        self._adopted = False


def send_stop(identity: ProcessId, deadline: float, helper: Path = STOP_HELPER) -> Outcome:
    """SIGTERM to exactly this process, not after `deadline` (monotonic seconds). Effects thread.

    `helper`: the program that sends it, or in a test one that freezes on its way.
    DONE: sent; REFUSED: too late, or it is gone; UNKNOWN: the helper itself ended in another way.
    """
    begun = time.monotonic()
    pidfd = _watch(identity.pid)
    if pidfd is None:
        return Outcome(Result.REFUSED, begun, time.monotonic(), f"process {identity.pid} is gone")
    try:
        if identify(identity.pid) != identity or _has_ended(pidfd):
            return Outcome(Result.REFUSED, begun, time.monotonic(), f"process {identity.pid} is gone")
        command = [sys.executable, "-I", "-S", str(helper), str(pidfd), repr(deadline)]
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=(pidfd,))
    except OSError as error:
        raise UnavailableError(f"the helper that stops Kafka cannot be started: {error.strerror}") from error
    finally:
        os.close(pidfd)
    status = child.wait()  # its timer bounds it
    result, detail = {
        0: (Result.DONE, ""),
        1: (Result.REFUSED, "too late: the verdict is too old"),
        2: (Result.REFUSED, f"process {identity.pid} is gone"),
        -signal.SIGALRM: (Result.REFUSED, "too late: the verdict is too old"),
    }.get(status, (Result.UNKNOWN, f"the helper that stops Kafka ended with status {status}"))
    return Outcome(result, begun, time.monotonic(), detail, {"process": identity} if result is Result.DONE else None)


def _set_niceness(pid: int, niceness: int) -> None:
    try:
        os.setpriority(os.PRIO_PROCESS, pid, niceness)
    except (PermissionError, ProcessLookupError):
        pass  # it ended at once, or we were started at a worse priority and may not better Kafka's


def _boot_offset() -> float:
    """Monotonic time minus time since boot: /proc counts the latter, which also runs while the host is suspended."""
    return time.monotonic() - time.clock_gettime(time.CLOCK_BOOTTIME)
