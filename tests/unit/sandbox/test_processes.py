"""Signals reach the process that was meant, or none."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest

from bubuku.adapters.process import identify
from bubuku.core.shared import ProcessId
from bubuku.sandbox.processes import alive, send, stop, wait_gone, with_arguments

STUBBORN = (
    "import signal, sys\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('ready', flush=True)\nsignal.pause()"
)


@pytest.fixture
def child() -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen([sys.executable, "-c", STUBBORN, "a-mark", "b"], stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


@pytest.fixture
def process(child: subprocess.Popen[str]) -> ProcessId:
    found = identify(child.pid)
    assert found is not None
    return found


def test_another_process_of_the_same_pid_is_not_signalled(process: ProcessId) -> None:
    earlier = replace(process, start_ticks=process.start_ticks - 1)
    assert not alive(earlier)
    assert not send(earlier, signal.SIGKILL)
    assert wait_gone([earlier], 0) == []
    assert alive(process)


def test_what_ignores_sigterm_is_killed_and_named(process: ProcessId) -> None:
    assert stop([process], 0.2) == [process]
    assert not alive(process)


def test_a_suspended_one_ends_too(process: ProcessId) -> None:
    assert send(process, signal.SIGSTOP)
    assert stop([process], 0.2) == [process]
    assert not alive(process)


def test_found_by_its_arguments(process: ProcessId) -> None:
    assert with_arguments("a-mark", "b") == [process]
    assert with_arguments("a-mark", "c") == []
    assert with_arguments("a-mar") == []
