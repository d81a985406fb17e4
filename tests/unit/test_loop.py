"""What the daemon's loop tells systemd while it runs, and while it ends together with its Kafka."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from bubuku.core.model import BrokerState
from bubuku.core.shared import ProcessId
from bubuku.daemon.loop import START_APART_SECONDS, Loop, Waker


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[str]]]:
    """What was told since the last look."""
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(path))
        channel.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))

        def told() -> list[str]:
            found = []
            while True:
                try:
                    found.append(channel.recv(1000).decode())
                except BlockingIOError:
                    return found

        yield told


class Ticks:
    """A supervisor whose Kafka ends at the last of so many ticks."""

    def __init__(self, waker: Waker, count: int, at: Callable[[int], None]) -> None:
        self.waker, self.count, self.at = waker, count, at
        self.told: list[tuple[bool, bool]] = []
        self.begun: list[float] = []
        self.state = BrokerState.SERVING

    def tick(self, terminate: bool, leaving: bool) -> Any:
        self.told.append((terminate, leaving))
        self.begun.append(time.monotonic())
        self.at(len(self.told))
        self.waker.wake()
        identity = None if len(self.told) == self.count else ProcessId(1, 1, "boot")
        return SimpleNamespace(
            observation=SimpleNamespace(process=SimpleNamespace(identity=identity)),
            decision=SimpleNamespace(state=self.state),
        )


def run(count: int, at: Callable[[int, Loop], None], patience: float = 60.0) -> list[tuple[bool, bool]]:
    waker = Waker()
    try:
        ticks = Ticks(waker, count, lambda number: at(number, loop))
        loop = Loop(cast(Any, ticks), waker, lambda: None, True, patience)
        loop.run()
    finally:
        waker.close()
    return ticks.told


def end_at_the_second(number: int, loop: Loop) -> None:
    if number == 2:
        loop.end(signal.SIGTERM, None)


def test_while_it_ends_with_its_kafka_it_asks_systemd_for_more_time(systemd: Callable[[], list[str]]) -> None:
    told = run(4, end_at_the_second)
    assert told == [(False, False), (False, False), (False, True), (False, True)]
    assert systemd() == ["READY=1", "WATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1\nEXTEND_TIMEOUT_USEC=30000000"]


def test_a_second_signal_or_the_end_of_its_patience_waits_for_no_guard(systemd: Callable[[], list[str]]) -> None:
    def twice(number: int, loop: Loop) -> None:
        if number in (1, 2):
            loop.end(signal.SIGTERM, None)

    assert run(3, twice) == [(False, False), (False, True), (True, True)]
    assert run(3, end_at_the_second, patience=0.0) == [(False, False), (False, False), (True, True)]
    assert "READY=1" in systemd()


def test_while_kafka_starts_what_comes_together_makes_one_tick(systemd: Callable[[], list[str]]) -> None:
    waker = Waker()

    def at(number: int) -> None:
        ticks.state = BrokerState.STARTING if number < 4 else BrokerState.SERVING
        if number == 4:
            loop.end(signal.SIGTERM, None)

    ticks = Ticks(waker, 5, at)
    loop = Loop(cast(Any, ticks), waker, lambda: None, True, 60.0)
    try:
        loop.run()
    finally:
        waker.close()
    pauses = [later - earlier for earlier, later in pairwise(ticks.begun)]
    assert min(pauses[:3]) >= START_APART_SECONDS
    assert systemd()
