"""What is on record as running, and what of it still lives."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from bubuku.adapters.process import identify
from bubuku.core.shared import ProcessId
from bubuku.sandbox.keeper import Watch, clean_environment
from bubuku.sandbox.layout import Layout, Node, Options
from bubuku.sandbox.running import Running, distinct, lock, read, recorded_kafka, write
from tests.support.wait import wait_for


@pytest.fixture
def us() -> ProcessId:
    found = identify(os.getpid())
    assert found is not None
    return found


@pytest.fixture
def node(tmp_path: Path) -> Node:
    made = Layout(tmp_path, Options().checked(), 21_000, "id").brokers[0]
    made.state_dir.mkdir(parents=True)
    return made


def test_only_what_lives_is_read_back(tmp_path: Path, us: ProcessId) -> None:
    earlier = replace(us, start_ticks=us.start_ticks - 1)
    another_boot = replace(us, boot_id="another")
    write(tmp_path, Running(us, earlier, {1: us, 2: earlier, 3: another_boot}, {1: 4}))
    assert read(tmp_path) == Running(us, None, {1: us}, {1: 4})
    assert read(tmp_path).anything()


@pytest.mark.parametrize("text", [None, "", "{}", "[]", '{"keeper": 7}'])
def test_no_file_or_half_of_one_is_nothing(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "run.json").write_text(text)
    assert read(tmp_path) == Running()
    assert not read(tmp_path).anything()


def test_kafka_is_taken_from_the_daemons_record(node: Node, us: ProcessId) -> None:
    path = node.state_dir / "state.json"
    assert recorded_kafka(node) is None
    path.write_text(json.dumps({"schema": 1, "record": {"process": asdict(us), "more": 1}}))
    assert recorded_kafka(node) == us
    for other in (None, asdict(replace(us, start_ticks=1)), asdict(replace(us, boot_id="another")), {"pid": 1}):
        path.write_text(json.dumps({"record": {"process": other}}))
        assert recorded_kafka(node) is None


def test_the_lock_is_for_one(tmp_path: Path) -> None:
    held = lock(tmp_path / "lock")
    assert held is not None
    assert lock(tmp_path / "lock") is None
    held.close()
    again = lock(tmp_path / "lock")
    assert again is not None
    again.close()


def test_distinct_keeps_the_order(us: ProcessId) -> None:
    other = replace(us, pid=1)
    assert distinct([us, None, other, us]) == [us, other]


def test_daemons_see_nothing_that_goes_over_their_yaml() -> None:
    given = {
        "PATH": "/bin",
        "HEALTH_PORT": "1",
        "KAFKA_OPTS": "-Dx",
        "BUBUKU_CONFIG": "/etc",
        "LOG_DIR": "/l",
        "TZ": "UTC",
    }
    assert clean_environment(given) == {"PATH": "/bin", "TZ": "UTC"}


@pytest.fixture
def sleepers() -> Iterator[list[subprocess.Popen[bytes]]]:
    children: list[subprocess.Popen[bytes]] = []
    yield children
    for child in children:
        child.kill()
        child.wait(10)


@pytest.mark.parametrize("restart", [True, False])
def test_a_watch_notices_an_end_and_only_a_daemon_is_due_again(
    sleepers: list[subprocess.Popen[bytes]], restart: bool
) -> None:
    def spawn() -> subprocess.Popen[bytes]:
        sleepers.append(subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"]))
        return sleepers[-1]

    watch = Watch("it", spawn, restart)
    watch.start()
    watch.reap()
    assert watch.process is not None
    assert watch.process.pid == sleepers[0].pid
    sleepers[0].kill()
    wait_for(lambda: watch.reap() or watch.process is None, 10, "its end to be noticed")
    assert watch.restarts == 1
    assert (watch.start_at < float("inf")) is restart


def test_a_watch_takes_over_what_runs_and_nothing_else(us: ProcessId) -> None:
    watch = Watch("it", lambda: pytest.fail("it runs already"), restart=True)
    watch.take(replace(us, start_ticks=1), None)
    assert watch.process is None
    watch.take(us, None)
    assert watch.process == us
    assert watch.descriptor is not None
    os.close(watch.descriptor)
