"""The process adapter with real processes: what counts as the recorded Kafka, and what is proof of its end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bubuku.adapters import process as adapter
from bubuku.adapters.process import STOP_HELPER, KafkaProcess, LaunchSettings, identify, send_stop
from bubuku.core.actions import Outcome, Result
from bubuku.core.errors import UnavailableError
from bubuku.core.shared import ProcessId
from tests.support.wait import wait_for

# its first thread ends, another one goes on: as of a Kafka that was killed while a thread waits for a sick disk
WITHOUT_ITS_FIRST_THREAD = """
import ctypes, sys, threading, time
threading.Thread(target=time.sleep, args=(60,)).start()
print("begun", flush=True)
ctypes.CDLL(None).syscall(60 if sys.maxsize and __import__("platform").machine() == "x86_64" else 93, 0)
"""


@pytest.fixture
def children() -> Iterator[list[subprocess.Popen[bytes]]]:
    found: list[subprocess.Popen[bytes]] = []
    yield found
    for child in found:
        child.kill()
        child.communicate()


def kafka(tmp_path: Path, *command: str) -> KafkaProcess:
    return KafkaProcess(LaunchSettings(command or ("sleep", "60"), dict(os.environ), tmp_path / "out", tmp_path))


def end(identity: ProcessId) -> None:
    os.kill(identity.pid, signal.SIGKILL)


def test_a_recorded_pid_that_is_a_thread_of_another_process_by_now_is_an_end(tmp_path: Path) -> None:
    """pidfd_open refuses a thread's id with EINVAL, or ENOENT, and not as it refuses one that nobody has."""
    go_on = threading.Event()
    thread = threading.Thread(target=go_on.wait)
    thread.start()
    try:
        assert thread.native_id is not None
        recorded = ProcessId(thread.native_id, 1, adapter.boot_id())
        ours = kafka(tmp_path)
        assert not ours.adopt(recorded)
        exit_seen = ours.view().exit
        assert exit_seen is not None
        assert exit_seen.identity == recorded
        assert not exit_seen.watched
    finally:
        go_on.set()
        thread.join()


@pytest.mark.parametrize("pid", [0, -1, 2**30], ids=str)
def test_a_recorded_pid_that_nobody_can_have_is_an_end(tmp_path: Path, pid: int) -> None:
    assert not kafka(tmp_path).adopt(ProcessId(pid, 1, adapter.boot_id()))


def test_a_reused_pid_is_not_adopted(tmp_path: Path, children: list[subprocess.Popen[bytes]]) -> None:
    children.append(subprocess.Popen(["sleep", "60"]))
    there = identify(children[0].pid)
    assert there is not None
    assert not kafka(tmp_path).adopt(replace(there, start_ticks=there.start_ticks - 1))
    assert not kafka(tmp_path).adopt(replace(there, boot_id="of before"))
    ours = kafka(tmp_path)
    assert ours.adopt(there)
    assert ours.view().identity == there
    ours.adopt(replace(there, start_ticks=1))  # closes the descriptor


def test_an_adopted_process_lives_until_its_last_thread_has_ended(
    tmp_path: Path, children: list[subprocess.Popen[bytes]]
) -> None:
    child = subprocess.Popen([sys.executable, "-c", WITHOUT_ITS_FIRST_THREAD], stdout=subprocess.PIPE)
    children.append(child)
    assert child.stdout is not None
    assert child.stdout.readline() == b"begun\n"
    stat = Path(f"/proc/{child.pid}/stat")
    wait_for(lambda: stat.read_text().rpartition(")")[2].split()[0] == "Z", 10, "the first thread's end")
    ticks = int(stat.read_text().rpartition(")")[2].split()[19])
    identity = ProcessId(child.pid, ticks, adapter.boot_id())
    ours = kafka(tmp_path)
    assert ours.adopt(identity), "its other thread lives"
    assert ours.view().identity == identity
    end(identity)
    wait_for(lambda: ours.view().exit is not None, 10, "the end to be seen")
    assert ours.exit_fd() is None


def test_an_adopted_process_that_nobody_waits_for_has_ended(
    tmp_path: Path, children: list[subprocess.Popen[bytes]]
) -> None:
    children.append(subprocess.Popen(["sleep", "60"]))
    identity = identify(children[0].pid)
    assert identity is not None
    ours = kafka(tmp_path)
    assert ours.adopt(identity)
    end(identity)  # it is a zombie from now on
    wait_for(lambda: ours.view().exit is not None, 10, "the end to be seen")
    assert not kafka(tmp_path).adopt(identity)


def test_a_child_that_cannot_be_watched_does_not_live_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the next tick would start a second one beside it. Seen in containers that forbid pidfd_open."""
    begun: list[int] = []

    def refused(pid: int) -> int:
        begun.append(pid)
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "pidfd_open", refused)
    ours = kafka(tmp_path)
    with pytest.raises(UnavailableError, match="pidfd_open: Operation not permitted"):
        ours.start()
    assert identify(begun[0]) is None
    assert ours.view().identity is None


# SIGTERM by the helper

FREEZES = """
import os, runpy, signal, sys, time
from pathlib import Path

def freeze():
    Path("{told}.new").write_text(f"{{os.getpid()}} {{sys.argv[2]}}")
    os.rename("{told}.new", "{told}")
    os.kill(os.getpid(), signal.SIGSTOP)

def late(*arguments, send=signal.pidfd_send_signal):
    freeze()
    send(*arguments)

sys.argv[2] = repr(time.monotonic() + 0.5)  # so that it is frozen before its deadline, however slowly it began
if "{where}" == "before its timer":
    freeze()
else:
    signal.pidfd_send_signal = late
runpy.run_path("{helper}", run_name="__main__")
"""


@pytest.fixture
def broker(children: list[subprocess.Popen[bytes]]) -> ProcessId:
    children.append(subprocess.Popen(["sleep", "60"]))
    identity = identify(children[0].pid)
    assert identity is not None
    return identity


def soon() -> float:
    return time.monotonic() + 60


def test_sigterm_is_sent_in_time(broker: ProcessId, children: list[subprocess.Popen[bytes]]) -> None:
    outcome = send_stop(broker, soon())
    assert (outcome.result, outcome.data) == (Result.DONE, {"process": broker})
    assert children[0].wait(10) == -signal.SIGTERM


def test_too_late_nothing_is_sent(broker: ProcessId) -> None:
    outcome = send_stop(broker, time.monotonic())
    assert (outcome.result, outcome.detail) == (Result.REFUSED, "too late: the verdict is too old")
    assert identify(broker.pid) == broker


def test_nothing_is_sent_to_who_is_gone_or_to_who_has_its_pid_now(broker: ProcessId) -> None:
    reused = replace(broker, start_ticks=broker.start_ticks - 1)
    assert send_stop(reused, soon()).result is Result.REFUSED
    assert send_stop(replace(broker, boot_id="of before"), soon()).result is Result.REFUSED
    assert identify(broker.pid) == broker
    end(broker)
    wait_for(lambda: identify(broker.pid) is None, 10, "the end")
    assert send_stop(broker, soon()).detail == f"process {broker.pid} is gone"
    assert send_stop(replace(broker, pid=2**30), soon()).result is Result.REFUSED


def sent_by_a_frozen_helper(where: str, identity: ProcessId, tmp_path: Path, blocked: bool = False) -> Outcome:
    """`send_stop` with a helper that is frozen before its deadline and thawed after it."""
    told, helper = tmp_path / "frozen", tmp_path / "helper.py"
    helper.write_text(FREEZES.format(told=told, where=where, helper=STOP_HELPER))
    outcomes: list[Outcome] = []

    def send() -> None:
        if blocked:
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
        outcomes.append(send_stop(identity, soon(), helper))

    sender = threading.Thread(target=send)
    sender.start()
    wait_for(told.exists, 30, "the helper to get as far")
    pid, deadline = told.read_text().split()
    stat = Path(f"/proc/{pid}/stat")
    wait_for(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T", 10, "the helper to be frozen")
    wait_for(lambda: time.monotonic() > float(deadline), 10, "its deadline")
    os.kill(int(pid), signal.SIGCONT)
    sender.join(30)
    return outcomes[0]


@pytest.mark.parametrize("where", ["before its timer", "right before it sends"])
def test_a_helper_that_is_thawed_after_its_deadline_sends_nothing(
    where: str, broker: ProcessId, tmp_path: Path
) -> None:
    outcome = sent_by_a_frozen_helper(where, broker, tmp_path)
    assert (outcome.result, outcome.detail) == (Result.REFUSED, "too late: the verdict is too old")
    assert identify(broker.pid) == broker


def test_its_timer_works_where_the_daemon_was_made_to_block_the_alarm(broker: ProcessId, tmp_path: Path) -> None:
    outcome = sent_by_a_frozen_helper("right before it sends", broker, tmp_path, blocked=True)
    assert outcome.result is Result.REFUSED
    assert identify(broker.pid) == broker


def test_its_timer_works_where_the_daemon_was_made_to_ignore_the_alarm(broker: ProcessId, tmp_path: Path) -> None:
    """Whoever starts the daemon may do so, and a process inherits what is ignored."""
    before = signal.signal(signal.SIGALRM, signal.SIG_IGN)
    try:
        outcome = sent_by_a_frozen_helper("right before it sends", broker, tmp_path)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert outcome.result is Result.REFUSED
    assert identify(broker.pid) == broker


def test_a_helper_that_ends_in_another_way_may_have_sent_it(broker: ProcessId, tmp_path: Path) -> None:
    broken = tmp_path / "helper.py"
    broken.write_text("import os; os.kill(os.getpid(), 9)")
    assert send_stop(broker, soon(), broken).result is Result.UNKNOWN
