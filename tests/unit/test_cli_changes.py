"""`restart`, `stop`, `start`, `changes`, `maintenance`, `permit`: against real servers, changes and Kafka in memory."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from bubuku.cli import acting, source
from bubuku.cli.main import cli
from bubuku.core.errors import TimedOutError, UnavailableError
from bubuku.core.shared import ChangeState, Permit
from bubuku.http.server import HttpServer
from tests.support import operators
from tests.support import published as make
from tests.support.operators import BLOCKED, ENTRY, HEALTHY, LOOPBACK, Kafka, Meeting, change
from tests.support.wait import wait_for

DONE = (ChangeState.DONE, "done", "broker 1 serves again, in all its in-sync replica sets")
STOPPING = (ChangeState.RUNNING, "stopping", "Kafka is being stopped")


@dataclass
class World:
    meeting: Meeting = field(default_factory=Meeting)
    kafka: Kafka = field(default_factory=Kafka)
    url: str = ""

    def run(self, *arguments: str, typed: str | None = None) -> Result:
        clean = dict.fromkeys((source.API_VARIABLE, source.CONFIG_VARIABLE, "HEALTH_PORT", acting.TOKEN_VARIABLE))
        return CliRunner().invoke(cli, [*arguments, "--api", self.url], env=clean, input=typed)

    def goes(self, sequence: int, *states: tuple[ChangeState, str, str]) -> None:
        """What the broker's own daemon writes: one of these before each look at the change."""
        self.meeting.steps = [lambda state=state: self.meeting.becomes(sequence, *state) for state in states]  # type: ignore[misc]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acting, "POLL_SECONDS", 0.02)


@pytest.fixture
def world() -> Iterator[World]:
    one = World()
    with operators.serving(operators.operations(one.meeting, one.kafka)) as one.url:
        yield one


@pytest.fixture
def rolling() -> Iterator[World]:
    """As `world`, with a daemon that shows the cluster too."""
    one = World()
    server = HttpServer(
        LOOPBACK,
        0,
        lambda: make.published(),
        time.monotonic,
        make.ABOUT,
        operations=operators.operations(one.meeting, one.kafka),
    )
    server.start()
    assert server.api_address is not None
    one.url = f"http://{LOOPBACK}:{server.api_address[1]}"
    yield one
    server.stop()


def free_port() -> int:
    with socket.create_server((LOOPBACK, 0)) as held:
        return int(held.getsockname()[1])


# --- asking -----------------------------------------------------------------------------------------------------------


def test_a_restart_is_followed_to_its_end(world: World) -> None:
    world.goes(100, STOPPING, STOPPING, (ChangeState.RUNNING, "catching_up", "orders-1"), DONE)
    result = world.run("restart", "--broker", "1", "--reason", "new settings")
    assert result.exit_code == 0
    assert result.stderr.splitlines() == [
        "change 100: restart of broker 1: stopping: Kafka is being stopped",
        "change 100: restart of broker 1: catching up: orders-1",
        f"change 100: restart of broker 1: done: {DONE[2]}",
    ]
    heading, row = result.stdout.splitlines()
    assert " ".join(heading.split()) == "CHANGE KIND BROKER STATE PHASE ASKED BY WHAT IS GOING ON"
    assert row.split()[:5] == ["100", "restart", "1", "done", "done"]
    assert world.meeting.history[0].text == "new settings"
    assert world.meeting.history[0].asked_by == acting.asker()


@pytest.mark.parametrize(("output", "load"), [("json", json.loads), ("yaml", yaml.safe_load)])
def test_data_alone_is_on_stdout(world: World, output: str, load: Callable[[str], Any]) -> None:
    world.goes(100, STOPPING, DONE)
    document = load(world.run("restart", "--broker", "1", "-o", output).stdout)
    assert [(c["sequence"], c["state"]) for c in document["changes"]] == [(100, "done")]
    assert document["dry_run"] is False
    world.meeting.history.clear()
    assert load(world.run("restart", "--broker", "1", "--dry-run", "-o", output).stdout)["dry_run"] is True
    for command in (["changes", "list"], ["changes", "show", "101"], ["maintenance", "show"], ["permit", "show"]):
        world.meeting.shows(changes=(change(101),))
        result = world.run(*command, "-o", output)
        assert (result.exit_code, result.stderr) == (0, "")
        assert isinstance(load(result.stdout), dict)


@pytest.mark.parametrize("state", [ChangeState.FAILED, ChangeState.CANCELLED])
def test_what_was_not_done_is_exit_1(world: World, state: ChangeState) -> None:
    world.goes(100, (state, state.value, "why"))
    assert world.run("stop", "--broker", "1").exit_code == 1


def test_a_roll_is_followed_with_what_it_asks_for(world: World) -> None:
    def asks() -> None:
        (roll,) = world.meeting.known.changes
        child = change(101, state=ChangeState.RUNNING, phase="settling", sentence="it serves", parent=roll.uuid)
        world.meeting.shows(changes=(replace(roll, state=ChangeState.RUNNING, phase="working"), child))

    def ends() -> None:
        roll, child = world.meeting.known.changes
        world.meeting.history = [replace(each, state=ChangeState.DONE, phase="done") for each in (roll, child)]
        world.meeting.shows(changes=())

    world.meeting.steps = [asks, ends]
    result = world.run("rolling-restart", "--broker", "1", "--broker", "3")
    assert result.exit_code == 0
    assert result.stderr.splitlines() == [
        "1. broker 1: rack a",
        "2. broker 3: rack c",
        "change 100: roll of brokers 1, 3: working: brokers 1, 3 are to be restarted",
        "change 101: restart of broker 1: settling: it serves",
        "change 100: roll of brokers 1, 3: done: brokers 1, 3 are to be restarted",
        "change 101: restart of broker 1: done: it serves",
    ]
    shown = world.run("changes", "show", "100").stdout.splitlines()
    assert [row.split()[:2] for row in shown[1:]] == [["100", "roll"], ["101", "restart"]]


@pytest.mark.parametrize(
    ("arguments", "brokers"),
    [
        ([], (1, 2, 3)),
        (["--brokers", "3, 1"], (3, 1)),
        (["--broker", "2", "--brokers", "1"], (2, 1)),
        (["--rack", "b"], (2,)),
    ],
)
def test_which_brokers_are_rolled(rolling: World, arguments: list[str], brokers: tuple[int, ...]) -> None:
    result = rolling.run("rolling-restart", *arguments, "--cool-down", "30", "--no-wait", "-o", "json")
    assert result.exit_code == 0
    (made,) = rolling.meeting.known.changes
    assert (made.nodes, made.cool_down) == (brokers, 30.0)
    assert len(json.loads(result.stdout)["plan"]["turns"]) == len(brokers)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--rack", "x"], "no broker is in rack 'x'; see: bubuku-cli status"),
        (["--rack", "a", "--broker", "1"], "give brokers, or --rack or --pending"),
        (["--brokers", "1,two"], "--brokers: 'two' is not a broker's id; give them like 1,2,5"),
    ],
)
def test_which_brokers_cannot_be_rolled(rolling: World, arguments: list[str], said: str) -> None:
    result = rolling.run("rolling-restart", *arguments)
    assert (result.exit_code, result.stderr) == (2, f"bubuku-cli: {said}\n")


def test_a_roll_of_all_leaves_out_who_is_stopped_on_purpose(rolling: World, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped = make.member(3, state="not_running", reason="stopped_on_purpose")
    view = make.coordination(make.member(1), make.member(2), stopped)
    seen = make.observation(coordination=make.dated(view))
    monkeypatch.setattr(make, "published", partial(make.published, seen=seen))
    assert rolling.run("rolling-restart", "--no-wait").exit_code == 0
    assert rolling.meeting.known.changes[0].nodes == (1, 2)


def test_pending_rolls_those_that_differ_from_what_a_start_would_make(
    rolling: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert rolling.run("rolling-restart", "--pending").stderr.startswith("no restart is pending")
    assert rolling.meeting.created == 0
    seen = make.observation()
    members = tuple(
        replace(each, pending=("num.io.threads",)) if each.node_id == 3 else each
        for each in (seen.coordination.value or make.coordination()).members
    )
    meeting = make.dated(replace(make.coordination(), members=members))
    monkeypatch.setattr(make, "published", partial(make.published, seen=replace(seen, coordination=meeting)))
    assert rolling.run("rolling-restart", "--pending", "--no-wait").exit_code == 0
    assert rolling.meeting.known.changes[0].nodes == (3,)


def test_a_roll_is_paused_and_goes_on(world: World) -> None:
    assert world.run("rolling-restart", "--broker", "1", "--no-wait").exit_code == 0
    for command, paused in (("pause", True), ("resume", False)):
        assert world.run("changes", command, "100").exit_code == 0
        assert world.meeting.known.changes[0].paused is paused
    world.meeting.shows(changes=(change(4),))
    result = world.run("changes", "pause", "4")
    assert (result.exit_code, result.stderr) == (
        2,
        "bubuku-cli: change 4 is of one broker: it cannot be paused, but cancelled\n",
    )


def test_of_several_each_must_be_done(world: World) -> None:
    world.meeting.steps = [
        lambda: world.meeting.becomes(100, *DONE),
        lambda: world.meeting.becomes(101, ChangeState.FAILED, "failed", "its host was replaced"),
    ]
    result = world.run("restart", "--broker", "2", "--broker", "1", "--broker", "2")
    assert result.exit_code == 1
    assert [line.split()[:4] for line in result.stdout.splitlines()[1:]] == [
        ["100", "restart", "2", "done"],
        ["101", "restart", "1", "failed"],
    ]


@pytest.mark.parametrize("kind", ["restart", "stop", "start"])
def test_no_wait_returns_at_once(world: World, kind: str) -> None:
    result = world.run(kind, "--broker", "1", "--no-wait")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines()[1].split()[:4] == ["100", kind, "1", "queued"]


def test_a_dry_run_asks_for_nothing_and_says_what_the_guard_says(world: World) -> None:
    result = world.run("restart", "--broker", "1", "--dry-run")
    assert result.exit_code == 0
    assert result.stderr.splitlines() == ["now: broker 1 may be stopped", "dry run: nothing was asked for"]
    assert result.stdout.splitlines()[1].split()[:3] == ["restart", "1", "queued"]
    assert world.meeting.created == 0


@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
def test_a_refusal_is_exit_3_with_its_reason(world: World, dry: list[str]) -> None:
    world.kafka.found = BLOCKED
    result = world.run("restart", "--broker", "1", *dry)
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr == (
        "bubuku-cli: broker 1 may not be stopped: orders-1: 1 in-sync replica would be left (2), "
        "min.insync.replicas is 2\n"
    )


def test_once_it_is_healed_it_is_done(world: World) -> None:
    world.kafka.found = BLOCKED
    assert world.run("restart", "--broker", "1").exit_code == 3
    world.kafka.found = HEALTHY
    world.goes(100, DONE)
    assert world.run("restart", "--broker", "1").exit_code == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["restart", "--broker", "9"],
        ["restart", "--broker", "x"],
        ["restart", "--broker", "-1"],
        ["stop"],
        ["start", "--broker", "1", "--accept-unavailable"],
        ["changes", "show", "7"],
        ["changes", "cancel", "7"],
        ["maintenance", "on", "--for", "soon"],
        ["maintenance", "on", "--for", "0s"],
        ["permit", "release", "--broker", "7"],
        ["restart", "--broker", "1", "--token-file", "/no/such"],
    ],
)
def test_wrong_usage_is_exit_2_and_nothing_on_stdout(world: World, arguments: list[str]) -> None:
    result = world.run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert world.meeting.created == 0


def test_an_unknown_broker_is_named(world: World) -> None:
    result = world.run("restart", "--broker", "9")
    assert result.stderr == "bubuku-cli: no daemon answers for broker 9; those with one are 1, 2, 3\n"


def test_zookeeper_away_is_exit_1(world: World) -> None:
    world.meeting.shows(connected=False)
    result = world.run("restart", "--broker", "1")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "ZooKeeper does not answer, and changes are written there; ask again" in result.stderr
    assert result.stderr.count("\n") == 1


# --- the token --------------------------------------------------------------------------------------------------------


def test_the_token_comes_from_a_file(tmp_path: Path) -> None:
    meeting, file = Meeting(), tmp_path / "token"
    with operators.serving(operators.operations(meeting, Kafka()), "right") as url:
        world = World(meeting, url=url)
        for given, code in (("right\n", 0), ("wrong", 2)):
            file.write_text(given)
            result = world.run("restart", "--broker", str(code + 1), "--no-wait", "--token-file", str(file))
            assert result.exit_code == code
        assert "--token-file" in result.stderr
        without = world.run("restart", "--broker", "1", "--no-wait")
        assert (without.exit_code, without.stdout) == (2, "")
        assert "name the file that holds it with --token-file, or $BUBUKU_TOKEN_FILE" in without.stderr
        assert meeting.created == 1


@pytest.mark.parametrize("content", [b"", b"\n", b"two\nlines", "Schl\xfcssel".encode(), b"\xff", b"a\x00b"])
def test_a_file_without_a_token_is_named_and_not_shown(world: World, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "token"
    file.write_bytes(content)
    result = world.run("restart", "--broker", "1", "--token-file", str(file))
    assert (result.exit_code, world.meeting.created) == (2, 0)
    assert str(file) in result.stderr
    assert "lines" not in result.stderr


# --- daemons that come and go -----------------------------------------------------------------------------------------


def test_the_next_daemon_is_asked_where_the_first_is_not_there(world: World) -> None:
    world.goes(100, DONE)
    world.url = f"http://{LOOPBACK}:{free_port()},{world.url}"
    assert world.run("restart", "--broker", "1").exit_code == 0
    assert world.meeting.created == 1


def test_the_next_daemon_is_asked_where_the_first_has_no_zookeeper(world: World) -> None:
    cut_off = Meeting()
    cut_off.shows(connected=False)
    world.goes(100, DONE)
    with operators.serving(operators.operations(cut_off, Kafka())) as url:
        world.url = f"{url},{world.url}"
        assert world.run("restart", "--broker", "1").exit_code == 0
    assert (cut_off.created, world.meeting.created) == (0, 1)


def test_what_may_have_been_taken_is_not_asked_for_again_elsewhere(world: World) -> None:
    """The first daemon wrote it, and did not hear so from ZooKeeper."""
    first = Meeting(trouble=TimedOutError("ZooKeeper gave no answer to asking for changes"), lost=True)
    with operators.serving(operators.operations(first, Kafka())) as url:
        world.url = f"{url},{world.url}"
        result = world.run("restart", "--broker", "1")
    assert (result.exit_code, result.stdout) == (4, "")
    assert result.stderr == (
        "bubuku-cli: ZooKeeper gave no answer to asking for changes; "
        "it may have been taken: see bubuku-cli changes list\n"
    )
    assert (first.created, world.meeting.created) == (1, 0)


def _listener(answer: bytes, taken: list[bytes]) -> tuple[socket.socket, threading.Thread]:
    """Takes one request, and ends the connection after `answer`."""
    listener = socket.create_server((LOOPBACK, 0))

    def serve() -> None:
        with listener.accept()[0] as client:
            taken.append(client.recv(65_536))
            client.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    return listener, thread


BODY = json.dumps({"title": "internal error", "status": 500, "detail": "its log says why"}).encode()


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 201 Created\r\ncontent-length: 500\r\n\r\n{",
        b"HTTP/1.1 201 Created\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{",
        b"HTTP/1.1 500 Oh\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(BODY), BODY),
    ],
)
def test_a_daemon_that_dies_over_a_request_may_have_taken_it(world: World, answer: bytes) -> None:
    taken: list[bytes] = []
    listener, thread = _listener(answer, taken)
    with listener:
        world.url = f"http://{LOOPBACK}:{listener.getsockname()[1]},{world.url}"
        result = world.run("restart", "--broker", "1")
        thread.join(10)
    assert (result.exit_code, result.stdout, world.meeting.created) == (4, "", 0)
    assert "it may have been taken: see bubuku-cli changes list" in result.stderr
    assert taken[0].startswith(b"POST /v1/changes ")


def test_looking_is_asked_again_elsewhere(world: World) -> None:
    taken: list[bytes] = []
    listener, thread = _listener(b"", taken)
    with listener:
        world.url = f"http://{LOOPBACK}:{listener.getsockname()[1]},{world.url}"
        assert world.run("changes", "list").exit_code == 0
        thread.join(10)


def test_waiting_goes_on_while_nobody_answers(world: World) -> None:
    def away() -> None:
        world.meeting.trouble = UnavailableError("ZooKeeper does not answer")

    def back() -> None:
        world.meeting.trouble = None
        world.meeting.becomes(100, *DONE)

    world.meeting.steps = [lambda: world.meeting.becomes(100, *STOPPING), away, lambda: None, lambda: None, back]
    result = world.run("restart", "--broker", "1")
    assert result.exit_code == 0
    lines = result.stderr.splitlines()
    assert [line.rsplit(": ", 1)[-1] for line in lines] == [
        "Kafka is being stopped",
        "ZooKeeper does not answer; still waiting",
        DONE[2],
    ]


def test_waiting_goes_on_with_a_daemon_that_is_restarted(world: World) -> None:
    """The whole daemon is away for a while, and back at the same address."""
    port, meeting = free_port(), world.meeting
    world.meeting.shows(changes=(change(100),))
    seen = threading.Event()

    def look() -> None:
        meeting.steps.append(look)
        seen.set()

    meeting.steps = [look]
    results: list[Result] = []
    world.url = f"http://{LOOPBACK}:{port}"
    with ExitStack() as first:
        first.enter_context(operators.serving(operators.operations(meeting, Kafka()), port=port))
        waiting = threading.Thread(target=lambda: results.append(world.run("changes", "show", "100", "--watch")))
        waiting.start()
        assert seen.wait(10)
    time.sleep(0.3)  # some looks find nobody
    meeting.becomes(100, *DONE)
    with operators.serving(operators.operations(meeting, Kafka()), port=port):
        waiting.join(10)
    assert results[0].exit_code == 0
    assert f"no daemon answers at {world.url}" in results[0].stderr
    assert "still waiting" in results[0].stderr


def test_waiting_ends_where_nobody_answers_for_long(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acting, "SILENCE_SECONDS", 0.2)

    def away() -> None:
        world.meeting.trouble = UnavailableError("ZooKeeper does not answer")

    world.meeting.steps = [away]
    result = world.run("restart", "--broker", "1")
    assert (result.exit_code, result.stdout) == (4, "")
    assert result.stderr.endswith("what was asked for goes on: bubuku-cli changes list\n")


# --- changes ----------------------------------------------------------------------------------------------------------


def test_changes_list(world: World) -> None:
    assert world.run("changes", "list").stdout == "no changes\n"
    world.meeting.shows(changes=(change(4),))
    world.meeting.history = [change(n, state=ChangeState.DONE) for n in (1, 2, 3)]
    lines = world.run("changes", "list", "--ended", "2").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["CHANGE", "4", "3", "2"]


def test_what_people_wrote_is_shown_as_it_is(world: World) -> None:
    odd = change(4, asked_by="[/]anna[red]", sentence="[bold]orders[/bold] :smile: [1]")
    world.meeting.shows(changes=(odd,))
    row = world.run("changes", "list").stdout.splitlines()[1]
    assert "[/]anna[red]" in row
    assert "[bold]orders[/bold] :smile: [1]" in row
    assert world.run("maintenance", "on", "--reason", "see [/x]").exit_code == 0
    assert "see [/x]" in world.run("maintenance", "show").stdout
    world.meeting.shows(permit=Permit(4, {3: ENTRY}))
    assert "kafka-3.example" in world.run("permit", "show").stdout


def test_cancelling_is_followed_to_its_end(world: World) -> None:
    world.meeting.shows(changes=(change(4, state=ChangeState.RUNNING),))
    dry = world.run("changes", "cancel", "4", "--dry-run")
    assert (dry.exit_code, dry.stderr) == (0, "dry run: nothing was asked for\n")
    assert not world.meeting.known.changes[0].cancel
    world.meeting.steps = [
        lambda: None,  # the daemon's own look before it cancels
        lambda: world.meeting.becomes(4, ChangeState.CANCELLED, "cancelled", "cancelled before anything was stopped"),
    ]
    result = world.run("changes", "cancel", "4")
    assert result.exit_code == 0
    assert "cancelled before anything was stopped" in result.stdout


def test_a_change_that_was_done_before_it_was_cancelled_is_exit_1(world: World) -> None:
    world.meeting.shows(changes=(change(4, state=ChangeState.RUNNING),))
    world.meeting.steps = [lambda: None, lambda: world.meeting.becomes(4, *DONE)]
    assert world.run("changes", "cancel", "4").exit_code == 1


def test_cancelling_without_waiting(world: World) -> None:
    world.meeting.shows(changes=(change(4, state=ChangeState.RUNNING),))
    assert world.run("changes", "cancel", "4", "--no-wait").exit_code == 0
    assert world.meeting.known.changes[0].cancel


# --- maintenance and the permit ---------------------------------------------------------------------------------------


def test_maintenance(world: World) -> None:
    assert world.run("maintenance", "show").stdout == "maintenance is off\n"
    assert world.run("maintenance", "on", "--dry-run").stderr == "dry run: nothing was asked for\n"
    assert world.run("maintenance", "show").stdout == "maintenance is off\n"
    result = world.run("maintenance", "on", "--for", "30m", "--reason", "disks")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "maintenance is on for 30m\n")
    shown = world.run("maintenance", "show").stdout
    assert shown.startswith(f"maintenance is on, by {acting.asker()}, for 29m 5")
    assert shown.endswith(" more: disks\n")
    assert world.run("maintenance", "off").stderr == "maintenance is off\n"
    assert world.run("maintenance", "show").stdout == "maintenance is off\n"


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90.0), ("1.5h", 5400.0), ("2d", 172_800.0)])
def test_durations(world: World, text: str, seconds: float) -> None:
    world.run("maintenance", "on", "--for", text)
    found = world.meeting.known.maintenance
    assert found is not None
    assert found.until_epoch is not None
    assert found.until_epoch - found.since_epoch == pytest.approx(seconds)


def test_the_permit(world: World) -> None:
    assert world.run("permit", "show").stdout == "nobody is in the permit\n"
    world.meeting.shows(permit=Permit(4, {3: ENTRY}))
    result = world.run("permit", "release", "--broker", "3")
    assert result.exit_code == 3
    assert "the daemon of broker 3 is at work on it" in result.stderr
    world.meeting.shows(members=(make.member(1), make.member(2)))
    heading, row = world.run("permit", "show").stdout.splitlines()
    assert heading.split() == ["BROKER", "HOST", "SINCE", "IN", "WORK", "WHY"]
    assert (row.split()[0], row.split()[-1]) == ("3", "restarted")
    assert world.run("permit", "release", "--broker", "3", "--dry-run").exit_code == 0
    assert "3" in world.run("permit", "show").stdout
    result = world.run("permit", "release", "--broker", "3")
    assert (result.exit_code, result.stderr) == (0, "broker 3 is not in the permit any more\n")
    assert world.run("permit", "show").stdout == "nobody is in the permit\n"


# --- on a terminal ----------------------------------------------------------------------------------------------------


class Terminal:
    """`bubuku-cli` as a process of its own on a pseudo-terminal; its stdout a pipe, unless told otherwise."""

    def __init__(self, world: World, *arguments: str, stdout_too: bool = False) -> None:
        ours, theirs = pty.openpty()
        self.fd = ours
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bubuku.cli.main", *arguments, "--api", world.url],
            stdin=theirs,
            stdout=theirs if stdout_too else subprocess.PIPE,
            stderr=theirs,
            start_new_session=True,
            env=os.environ | {"COLUMNS": "120", "TERM": "xterm"},
        )
        os.close(theirs)
        self.seen = ""
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self) -> None:
        while True:
            try:
                self.seen += os.read(self.fd, 65_536).decode(errors="replace")
            except OSError:
                return

    def shows(self, text: str) -> None:
        wait_for(lambda: text in self.seen, 20, lambda: f"{text!r} in {self.seen!r}")

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def end(self) -> tuple[int, str]:
        stdout = self.process.stdout.read().decode() if self.process.stdout is not None else ""
        code = self.process.wait(20)
        self.reader.join(5)
        os.close(self.fd)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return code, stdout


def test_a_terminal_is_asked_and_no_is_no(world: World) -> None:
    terminal = Terminal(world, "restart", "--broker", "1", "--broker", "2")
    terminal.shows("Restart brokers 1, 2? [y/N]")
    terminal.type("n\n")
    assert terminal.end() == (1, "")
    assert world.meeting.created == 0


def test_yes_is_followed_live_and_stdout_has_the_data_alone(world: World) -> None:
    world.goes(100, STOPPING, DONE)
    terminal = Terminal(world, "restart", "--broker", "1", "-o", "json")
    terminal.shows("Restart broker 1? [y/N]")
    terminal.type("y\n")
    code, stdout = terminal.end()
    assert code == 0
    assert json.loads(stdout)["changes"][0]["state"] == "done"
    assert "Kafka is being stopped" in terminal.seen
    assert "\x1b[" in terminal.seen


def test_yes_beforehand_is_not_asked(world: World) -> None:
    world.goes(100, DONE)
    terminal = Terminal(world, "restart", "--broker", "1", "--yes", stdout_too=True)
    assert terminal.end()[0] == 0
    assert "[y/N]" not in terminal.seen


def test_ctrl_c_ends_the_waiting_and_not_the_change(world: World) -> None:
    world.goes(100, STOPPING)
    terminal = Terminal(world, "restart", "--broker", "1", "--yes")
    terminal.shows("Kafka is being stopped")
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.end() == (1, "")
    assert "not waited for any longer; what was asked for goes on: bubuku-cli changes list" in terminal.seen
    assert not world.meeting.known.changes[0].cancel


@pytest.mark.parametrize(
    "arguments",
    [
        ["changes", "cancel", "4"],
        ["maintenance", "on"],
        ["maintenance", "off"],
        ["permit", "release", "--broker", "3"],
    ],
)
def test_all_that_acts_asks_first(world: World, arguments: list[str]) -> None:
    world.meeting.shows(changes=(change(4),), permit=Permit(4, {3: ENTRY}))
    before = world.meeting.view
    terminal = Terminal(world, *arguments)
    terminal.shows("[y/N]")
    terminal.type("\n")
    assert terminal.end()[0] == 1
    assert world.meeting.view == before


def test_a_script_is_taken_at_its_word(world: World) -> None:
    assert world.run("restart", "--broker", "1", "--no-wait", typed="n\n").exit_code == 0
