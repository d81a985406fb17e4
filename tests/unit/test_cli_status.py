"""`bubuku-cli`: status and cluster against a real local server with literal Published values; exit codes; addresses."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result
from rich.console import Console

from bubuku import __version__
from bubuku.adapters.process import identify
from bubuku.cli import output as out
from bubuku.cli import source
from bubuku.cli.main import COMMANDS, LazyGroup, cli
from bubuku.cli.output import duration
from bubuku.cli.status import cells, disk, goings_on, status_view
from bubuku.core import errors
from bubuku.core.errors import UnavailableError, UsageError
from bubuku.core.model import BrokerState, ClusterView
from bubuku.core.observation import Decision, Observation, Published
from bubuku.core.reasons import EXPLANATIONS, Reason
from bubuku.core.shared import Maintenance, Permit
from bubuku.http.server import HttpServer
from bubuku.sandbox import layout, running
from bubuku.sandbox.layout import Layout, Options
from tests.support import published as make
from tests.support.operators import ENTRY, change
from tests.support.wait import wait_for

LOOPBACK = "127.0.0.1"


@dataclass
class Daemon:
    """A daemon's API on a free port; `published` is what it answers from, as if it had just ticked."""

    published: Published | None = field(default_factory=make.published)
    url: str = ""

    def look(self) -> Published | None:
        now, published = time.monotonic(), self.published
        if published is None:
            return None
        seen = published.observation
        fresh = replace(seen, cluster=replace(seen.cluster, begun=now - 1))
        return replace(published, at=now, observation=fresh)

    def shows(self, decision: Decision = make.SERVING, seen: Observation | None = None) -> None:
        wall = time.time()
        self.published = make.published(decision, seen, since_epoch=wall - 185)


@pytest.fixture(scope="module")
def served() -> Iterator[Daemon]:
    one = Daemon()
    server = HttpServer(LOOPBACK, 0, one.look, time.monotonic, make.ABOUT)
    server.start()
    assert server.api_address is not None
    one.url = f"http://{LOOPBACK}:{server.api_address[1]}"
    yield one
    server.stop()


@pytest.fixture
def daemon(served: Daemon) -> Daemon:
    served.shows()
    return served


def run(*arguments: str, **environ: str) -> Result:
    clean = dict.fromkeys((source.API_VARIABLE, source.CONFIG_VARIABLE, "HEALTH_PORT"))
    return CliRunner().invoke(cli, list(arguments), env=clean | environ)


# --- what it shows ----------------------------------------------------------------------------------------------------


def test_status_of_a_healthy_cluster(daemon: Daemon) -> None:
    result = run("status", "--api", daemon.url)
    assert (result.exit_code, result.stderr) == (0, "")
    heading, first, second, third, empty, summary = result.stdout.splitlines()
    assert " ".join(heading.split()) == "BROKER HOST RACK STATE SINCE KAFKA DAEMON LEADERS REPLICAS URP DISK"
    assert " ".join(first.split()) == "1 kafka-1.example a serving 3m 5s 3.9.2 2.0.0 2 6 0 20% of 100 GiB"
    assert second.split()[:4] == ["2", "kafka-2.example", "b", "serving"]
    assert third.split()[:4] == ["3", "kafka-3.example", "c", "serving"]
    assert empty == ""
    assert summary == "3 of 3 nodes serve; 6 partitions, all in sync"


def test_status_says_what_is_going_on(daemon: Daemon) -> None:
    held = make.member(2, state="held", sentence="log dir /data/2 came up empty")
    daemon.shows(
        make.RECOVERING,
        make.observation(
            coordination=make.dated(make.coordination(make.member(1), held)),
            cluster=make.dated(ClusterView.of(make.cluster(partitions=24, offline=2, under=5))),
        ),
    )
    lines = run("status", "--api", daemon.url).stdout.splitlines()
    assert lines[1].split()[3] == "recovering"
    assert lines[2].split()[3] == "held"
    assert "daemon missing" in lines[3]
    assert lines[5:] == [
        "0 of 3 nodes serve; 24 partitions, 2 have no leader, 7 under-replicated",
        "1: Kafka recovers its logs: 40 of 100 are done",
        "2: log dir /data/2 came up empty",
        "3: no bubuku daemon answers for it; Kafka itself is up",
    ]


def test_status_says_what_it_does_not_know(daemon: Daemon) -> None:
    daemon.shows(
        seen=make.observation(
            cluster=make.dated(None, "no broker answers"), coordination=make.dated(make.coordination(connected=False))
        )
    )
    lines = run("status", "--api", daemon.url).stdout.splitlines()
    assert lines[1].split()[-7:] == ["-", "-", "-", "20%", "of", "100", "GiB"]
    assert "Kafka's metadata is not known: no broker answers" in lines
    assert any(line.startswith("the daemon of broker 1 is not connected to ZooKeeper") for line in lines)


def test_status_shows_maintenance_and_what_was_asked_for(daemon: Daemon) -> None:
    now = time.time()
    view = replace(
        make.coordination(make.member(1), make.member(2)),
        maintenance=Maintenance(1, True, "anna@desk", "disks", now, now + 1790),
        changes=(change(5, phase="waiting", sentence="maintenance is on"), change(6, node_id=2, kind="roll")),
        permit=Permit(4, {2: ENTRY, 3: ENTRY, 9: replace(ENTRY, working=False)}),
    )
    daemon.shows(seen=make.observation(coordination=make.dated(view)))
    lines = run("status", "--api", daemon.url).stdout.splitlines()
    assert lines[7].startswith("maintenance is on, by anna@desk, for 29m ")
    assert lines[7].endswith(" more: disks")
    assert lines[8:10] == [
        "change 5: restart of broker 1: waiting: maintenance is on",
        "change 6: roll of broker 2: queued: broker 1 is to be restarted",
    ]
    assert lines[10].startswith("3: in the permit for ")
    assert lines[10].endswith("; if its host is lost for good: bubuku-cli permit release --broker 3")
    assert "others wait for it" in lines[10]
    assert "it counts as down" in lines[11]
    document = json.loads(run("status", "--api", daemon.url, "-o", "json").stdout)
    assert [c["sequence"] for c in document["changes"]] == [5, 6]
    assert [e["broker"] for e in document["permit"]] == [2, 3, 9]
    assert document["maintenance"]["on"]


def test_status_of_an_older_daemon_says_nothing_of_it(daemon: Daemon) -> None:
    document = source.fetch([daemon.url], "/v1/cluster")
    for name in ("maintenance", "permit", "changes"):
        del document[name]
    assert goings_on(document) == ["3 of 3 nodes serve; 6 partitions, all in sync"]


def test_status_of_a_member_that_serves_without_being_listed(daemon: Daemon) -> None:
    whole = make.cluster()
    daemon.shows(seen=make.observation(cluster=make.dated(ClusterView.of(replace(whole, brokers=whole.brokers[:2])))))
    assert (
        "3: its daemon says that it serves, but Kafka's metadata does not list it"
        in run("status", "--api", daemon.url).stdout
    )


@pytest.mark.parametrize("state", list(BrokerState))
def test_every_state_has_a_word(daemon: Daemon, state: BrokerState) -> None:
    daemon.shows(Decision(state, Reason.RUNNING, "a sentence"))
    assert state.replace("_", " ") in run("status", "--api", daemon.url).stdout.splitlines()[1]


@pytest.mark.parametrize("command", [["status"], ["cluster", "show"]])
def test_json_and_yaml_are_the_daemons_document_alone_on_stdout(daemon: Daemon, command: list[str]) -> None:
    documents = []
    for form, parse in (("json", json.loads), ("yaml", yaml.safe_load)):
        result = run(*command, "--api", daemon.url, "-o", form)
        assert (result.exit_code, result.stderr) == (0, "")
        documents.append(out.lasting(parse(result.stdout), frozenset({"age_seconds"})))
    assert documents[0] == documents[1]
    assert [row["node_id"] for row in documents[0]["brokers"]] == [1, 2, 3]


def test_cluster_show(daemon: Daemon) -> None:
    result = run("cluster", "show", "--api", daemon.url)
    assert result.exit_code == 0
    shown = dict(line.split("  ", 1) for line in result.stdout.splitlines())
    assert {key: value.strip() for key, value in shown.items()} == {
        "cluster": make.CLUSTER_ID,
        "mode": "zookeeper",
        "controller": "2",
        "brokers": "3 registered of 3",
        "rack a": "1",
        "rack b": "2",
        "rack c": "3",
        "topics": "1",
        "partitions": "6",
        "without a leader": "0",
        "under-replicated": "0",
        "daemons": "1, 2, 3",
    }


def test_a_dedicated_controller_says_that_it_is_one(daemon: Daemon) -> None:
    controller = make.member(100, roles=("controller",))
    members = (*map(make.member, (1, 2, 3)), controller)
    daemon.shows(seen=make.observation(coordination=make.dated(make.coordination(*members))))
    assert run("status", "--api", daemon.url).stdout.splitlines()[4].startswith("100 (controller)")
    assert "controllers       100" in run("cluster", "show", "--api", daemon.url).stdout.splitlines()


def test_a_pipe_gets_whole_lines_without_colours_or_padding(daemon: Daemon) -> None:
    sentence = "very long: " + "x" * 400
    daemon.shows(replace(make.HELD, sentence=sentence))
    text = run("status", "--api", daemon.url).stdout
    assert f"1: {sentence} -> {EXPLANATIONS[make.HELD.reason].remedy}\n" in text
    assert "\x1b" not in text
    assert all(line == line.rstrip() for line in text.splitlines())


def test_a_terminal_gets_colours(daemon: Daemon) -> None:
    document = source.fetch([daemon.url], "/v1/cluster")
    terminal = Console(force_terminal=True, width=140, color_system="standard")
    with terminal.capture() as captured:
        terminal.print(status_view(document))
    assert "\x1b[32mserving\x1b[0m" in captured.get()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0s"),
        (0, "0s"),
        (42.9, "42s"),
        (60, "1m"),
        (185, "3m 5s"),
        (3600, "1h"),
        (7_800, "2h 10m"),
        (86_400 * 4 + 3 * 3_600 + 59, "4d 3h"),
        (86_400 + 5, "1d"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("used", "total", "text"),
    [
        (None, 5, "-"),
        (0, 0, "-"),
        (0, 1024, "0% of 1 KiB"),
        (512, 1024, "50% of 1 KiB"),
        (1, 2 * 1024**4, "0% of 2.0 TiB"),
    ],
)
def test_disks(used: int | None, total: int | None, text: str) -> None:
    assert disk(used, total) == text


def test_zero_is_shown_and_unknown_is_a_dash(daemon: Daemon) -> None:
    row = source.fetch([daemon.url], "/v1/cluster")["brokers"][0]
    assert (
        cells({**row, "load": {"leaders": 0, "replicas": 0, "under_replicated": 0, "offline": 0}}, 0)[7:10] == ["0"] * 3
    )
    assert cells({**row, "load": None}, 0)[7:10] == ["-"] * 3


# --- when it goes wrong -----------------------------------------------------------------------------------------------


def free_port() -> int:
    with socket.create_server((LOOPBACK, 0)) as held:
        return int(held.getsockname()[1])


def test_nobody_there_is_one_line_and_exit_1() -> None:
    url = f"http://{LOOPBACK}:{free_port()}"
    result = run("status", "--api", url)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"bubuku-cli: no daemon answers at {url}; does it run, is it the right address (--api)?\n"


def test_a_daemon_that_has_not_ticked_yet_is_one_line_and_exit_1(daemon: Daemon) -> None:
    daemon.published = None
    result = run("status", "--api", daemon.url)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "does not know yet: the daemon has just started" in result.stderr


def test_something_else_there_is_one_line_and_exit_1(daemon: Daemon) -> None:
    result = run("status", "--api", daemon.url + "/livez")
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert "is not a bubuku daemon's API (HTTP 404)" in result.stderr


@pytest.mark.parametrize("reply", [b"", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"])
def test_what_does_not_speak_our_language_is_one_line_and_exit_1(reply: bytes) -> None:
    with socket.create_server((LOOPBACK, 0)) as listener:

        def answer() -> None:
            with listener.accept()[0] as client:
                client.recv(1000)
                client.sendall(reply)

        thread = threading.Thread(target=answer)
        thread.start()
        result = run("status", "--api", f"http://{LOOPBACK}:{listener.getsockname()[1]}")
        thread.join(5)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.count("\n") == 1


def test_the_next_address_is_asked_when_the_first_is_away(daemon: Daemon) -> None:
    away = f"http://{LOOPBACK}:{free_port()}"
    assert run("status", "--api", f"{away},{daemon.url}").exit_code == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["status", "--api", "kafka-1:8888"],
        ["status", "-o", "xml"],
        ["status", "--no-such"],
        ["no-such"],
        ["cluster"],
        ["completion", "cmd"],
    ],
)
def test_wrong_usage_is_exit_2_and_nothing_on_stdout(arguments: list[str]) -> None:
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.UnavailableError, 1),
        (errors.UsageError, 2),
        (errors.RefusedError, 3),
        (errors.TimedOutError, 4),
        (errors.InvariantError, 1),
    ],
)
def test_each_error_is_its_line_and_its_exit_code(error: type[errors.BubukuError], code: int) -> None:
    def fail() -> None:
        raise error("one clear line")

    group = LazyGroup("group", callback=fail, invoke_without_command=True, no_args_is_help=False)
    result = CliRunner().invoke(group, [])
    assert (result.exit_code, result.stdout, result.stderr) == (code, "", "bubuku-cli: one clear line\n")


# --- where it asks ----------------------------------------------------------------------------------------------------


def test_the_environment_names_the_daemon(daemon: Daemon) -> None:
    assert run("status", BUBUKU_API=daemon.url).exit_code == 0


@pytest.mark.parametrize(
    ("text", "health", "url"),
    [
        ("api: {port: 9999}", None, "http://127.0.0.1:9999"),
        ("api: {host: 0.0.0.0}", None, "http://127.0.0.1:8888"),
        ("api: {host: 10.1.2.3, port: 80}", None, "http://10.1.2.3:80"),
        ("kafka: {}", None, "http://127.0.0.1:8888"),
        ("", None, "http://127.0.0.1:8888"),
        ("kafka: {}", "8888", "http://127.0.0.1:8889"),
        (None, "8888", "http://127.0.0.1:8889"),
        (None, "7777", "http://127.0.0.1:8888"),
    ],
)
def test_the_daemons_configuration_names_its_api(
    tmp_path: Path, text: str | None, health: str | None, url: str
) -> None:
    environ = {}
    if text is not None:
        environ[source.CONFIG_VARIABLE] = str(tmp_path / "bubuku.yaml")
        (tmp_path / "bubuku.yaml").write_text(text)
    if health is not None:
        environ["HEALTH_PORT"] = health
    assert source.addresses(None, environ) == (url,)


@pytest.mark.parametrize("text", ["api: {port: many}", "api: [", "- 1", "api: 7", None])
def test_a_configuration_without_sense_is_named(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "bubuku.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UsageError, match=str(path)):
        source.addresses(None, {source.CONFIG_VARIABLE: str(path)})


def test_without_anything_said_it_is_this_hosts_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert source.addresses(None, {}) == ("http://127.0.0.1:8888",)


def test_a_running_sandboxes_daemons_come_before_this_hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    made = Layout(layout.default_folder(), Options(), 21_000, make.CLUSTER_ID)
    layout.save(made)
    ourselves = identify(os.getpid())
    assert ourselves is not None
    dead = replace(ourselves, start_ticks=1)
    running.write(made.folder, running.Running(daemons={1: dead, 2: ourselves}))
    assert source.addresses(None, {}) == ("http://127.0.0.1:21022",)
    running.write(made.folder, running.Running(daemons={1: dead}))
    assert source.addresses(None, {}) == ("http://127.0.0.1:8888",)


def test_a_proxy_in_the_environment_is_not_asked(daemon: Daemon) -> None:
    proxy = f"http://{LOOPBACK}:{free_port()}"
    assert run("status", "--api", daemon.url, http_proxy=proxy, HTTP_PROXY=proxy, ALL_PROXY=proxy).exit_code == 0


# --- watching ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def watching(daemon: Daemon, tmp_path: Path) -> Iterator[Callable[..., tuple[subprocess.Popen[bytes], Path]]]:
    """`bubuku-cli status -w` as a process of its own, its stdout a file."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str) -> tuple[subprocess.Popen[bytes], Path]:
        shown = tmp_path / "shown"
        command = [sys.executable, "-m", "bubuku.cli.main", "status", "-w", "--api", daemon.url, *arguments]
        with shown.open("wb") as stdout, (tmp_path / "stderr").open("wb") as stderr:
            started.append(subprocess.Popen(command, stdout=stdout, stderr=stderr, env=os.environ | {"COLUMNS": "80"}))
        return started[-1], shown

    yield start
    for each in started:
        each.kill()
        each.wait(10)


def test_watching_prints_once_a_change_and_ends_well_on_ctrl_c(
    daemon: Daemon, watching: Callable[..., tuple[subprocess.Popen[bytes], Path]]
) -> None:
    process, shown = watching("-o", "json")

    def states() -> list[str]:
        return [json.loads(line)["brokers"][0]["state"] for line in shown.read_text().splitlines()]

    wait_for(lambda: states() == ["serving"], 10, lambda: shown.read_text())
    daemon.shows(make.RECOVERING)
    wait_for(lambda: states() == ["serving", "recovering"], 10, lambda: shown.read_text())
    daemon.shows()
    wait_for(lambda: states() == ["serving", "recovering", "serving"], 10, lambda: shown.read_text())
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 0


def test_watching_prints_a_table_a_change(
    daemon: Daemon, watching: Callable[..., tuple[subprocess.Popen[bytes], Path]]
) -> None:
    _, shown = watching()
    wait_for(lambda: shown.read_text().count("BROKER") == 1, 10, lambda: shown.read_text())
    daemon.shows(make.HELD)
    wait_for(lambda: shown.read_text().count("BROKER") == 2, 10, lambda: shown.read_text())
    assert make.HELD.sentence in shown.read_text()


def test_watching_outlives_the_daemons_absence_and_says_it_once(capsys: pytest.CaptureFixture[str]) -> None:
    answers: list[dict[str, int] | None] = [{"a": 1}, None, None, {"a": 1}, {"a": 2}, None]

    def fetch() -> dict[str, int]:
        answer = answers.pop(0)
        if answer is None:
            raise UnavailableError("nobody there")
        return answer

    out.watch(fetch, "json", str, frozenset(), [None] * 6)
    shown = capsys.readouterr()
    assert shown.out == '{"a": 1}\n{"a": 2}\n'
    assert shown.err == "nobody there\n" * 2


def test_watching_fails_when_the_first_look_fails() -> None:
    assert run("status", "-w", "--api", f"http://{LOOPBACK}:{free_port()}").exit_code == 1


@pytest.mark.parametrize(("form", "text"), [("json", '{"a": 1}\n{"a": 2}\n'), ("yaml", "a: 1\n---\na: 2\n")])
def test_volatile_fields_are_no_change(capsys: pytest.CaptureFixture[str], form: str, text: str) -> None:
    documents = [{"a": 1}, {"a": 1}, {"a": 2}]
    out.watch(lambda: documents.pop(0), form, str, frozenset({"age_seconds"}), [None] * 3)
    assert capsys.readouterr().out == text
    assert out.lasting({"a": [{"age_seconds": 1, "b": 2}]}, frozenset({"age_seconds"})) == {"a": [{"b": 2}]}


# --- the root ---------------------------------------------------------------------------------------------------------


def test_help_names_every_command_without_importing_it() -> None:
    code = (
        "import sys; from click.testing import CliRunner; from bubuku.cli.main import cli;"
        "print(CliRunner().invoke(cli, ['--help']).stdout);"
        "heavy = {'requests', 'rich', 'pydantic', 'yaml', 'kazoo', 'kafka', 'uvicorn', 'psutil'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert result.returncode == 0, result.stderr
    for name in COMMANDS:
        assert f"\n  {name} " in result.stdout


def test_version() -> None:
    assert run("--version").stdout == f"bubuku-cli, version {__version__}\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_ask_this_program(shell: str) -> None:
    result = run("completion", shell)
    assert result.exit_code == 0
    assert "_BUBUKU_CLI_COMPLETE" in result.stdout


def test_completion_knows_commands_and_options() -> None:
    def completed(words: str, at: int) -> str:
        environ = os.environ | {"_BUBUKU_CLI_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(at)}
        code = "from bubuku.cli.main import main; main()"
        return subprocess.run(
            [sys.executable, "-c", code], env=environ, capture_output=True, text=True, timeout=30, check=False
        ).stdout

    assert "plain,status" in completed("bubuku-cli st", 1)
    assert "plain,show" in completed("bubuku-cli cluster sh", 2)
    assert "plain,json" in completed("bubuku-cli status -o j", 3)
