"""What users of the original Bubuku type and ask for: it works, or one line names its successor."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import requests
from click.testing import CliRunner, Result

from bubuku.cli import source
from bubuku.cli.main import COMMANDS, FORMER, cli
from bubuku.core import former
from bubuku.core.shared import ChangeState
from bubuku.http.server import HttpServer
from tests.support import operators
from tests.support import published as make
from tests.support.operators import LOOPBACK, Kafka, Meeting, change


@dataclass
class World:
    meeting: Meeting = field(default_factory=Meeting)
    url: str = ""
    health_url: str = ""

    def run(self, *arguments: str) -> Result:
        clean = dict.fromkeys((source.API_VARIABLE, source.CONFIG_VARIABLE, "HEALTH_PORT"))
        return CliRunner().invoke(cli, list(arguments), env=clean | {source.API_VARIABLE: self.url})


@pytest.fixture
def world() -> Iterator[World]:
    one = World()
    server = HttpServer(
        LOOPBACK,
        0,
        make.published,
        time.monotonic,
        make.ABOUT,
        0,
        health_host=LOOPBACK,
        operations=operators.operations(one.meeting, Kafka()),
    )
    server.start()
    assert server.api_address is not None
    assert server.health_address is not None
    one.url, one.health_url = (f"http://{LOOPBACK}:{port}" for _, port in (server.api_address, server.health_address))
    yield one
    server.stop()


# --- commands ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ["rebalance"],
        ["rebalance", "--broker", "1", "--empty_brokers", "1,2", "--exclude_topics", "a", "--bin-packing"],
        ["rebalance", "--parallelism", "3", "--throttle", "100", "--remove-throttle"],
        ["swap_fat_slim", "--threshold", "100000"],
        ["migrate", "--from", "1,2", "--to", "3,4", "--shrink", "--broker", "1"],
        ["preferred-replica-election", "--dry-run", "--max-json-size", "512000"],
        ["validate", "replication", "--factor", "3"],
    ],
)
def test_what_is_gone_names_its_successor_and_exits_2(world: World, arguments: list[str]) -> None:
    result = world.run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    words = " ".join(arguments[:2]) if arguments[0] == "validate" else arguments[0]
    successor = former.command(words).successor
    assert result.stderr == f"bubuku-cli: `{words}` is the original bubuku's; its successor: {successor}\n"


@pytest.mark.parametrize(
    "options",
    [
        ["--image-tag", "x", "--instance-type=m4.4xlarge", "--scalyr-key", "k", "--cool-down", "20"],
        ["--scalyr-region", "eu", "--kms-key-id", "arn"],
        ["--instance-type=m4.4xlarge", "--broker", "1"],
    ],
)
def test_what_a_rolling_restart_does_not_do_any_more_is_named(world: World, options: list[str]) -> None:
    result = world.run("rolling-restart", *options)
    name = options[0].partition("=")[0]
    said = "there is no such option; a rolling restart changes no image, instance or key"
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", f"bubuku-cli: {name}: {said}\n")
    assert world.meeting.created == 0


def test_restart_without_a_broker_says_how(world: World) -> None:
    result = world.run("restart")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "bubuku-cli: which broker? name it: bubuku-cli restart --broker N\n"
    assert world.run("restart", "--broker=1", "--no-wait").exit_code == 0


def test_actions_list(world: World) -> None:
    world.meeting.shows(changes=(change(4), change(5, node_id=2)))
    world.meeting.history = [change(3, state=ChangeState.DONE)]
    result = world.run("actions", "list")
    assert result.stderr == "`actions list` is now: bubuku-cli changes list\n"
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["CHANGE", "4", "5"]
    only = world.run("actions", "list", "--broker", "2", "-o", "json")
    assert [c["sequence"] for c in json.loads(only.stdout)["changes"]] == [5]
    assert world.run("actions", "list", "--broker", "3").stdout == "no changes\n"


def test_actions_delete(world: World) -> None:
    world.meeting.shows(
        changes=tuple(
            change(n, node_id=node, kind=kind, state=ChangeState.RUNNING)
            for n, node, kind in ((4, 1, "restart"), (5, 2, "restart"), (6, 1, "start"))
        )
    )
    assert world.run("actions", "delete").exit_code == 2
    assert world.run("actions", "delete", "--action", "restart", "--dry-run").exit_code == 0
    assert not any(c.cancel for c in world.meeting.known.changes)
    result = world.run("actions", "delete", "--action", "restart", "--broker", "2")
    assert (result.exit_code, result.stderr) == (0, "`actions delete` is now: bubuku-cli changes cancel NUMBER\n")
    assert [c.sequence for c in world.meeting.known.changes if c.cancel] == [5]
    assert world.run("actions", "delete", "--action", "restart", "--yes").exit_code == 0
    assert [c.sequence for c in world.meeting.known.changes if c.cancel] == [4, 5]


def test_stats(world: World) -> None:
    result = world.run("stats")
    assert result.stderr == "`stats` is now: bubuku-cli status, column DISK\n"
    heading, first, *_ = result.stdout.splitlines()
    assert " ".join(heading.split()) == "Address Broker Id Free kb Used kb"
    assert first.split() == ["kafka-1.example", "1", str(80 * make.GIB // 1024), str(20 * make.GIB // 1024)]
    rows = json.loads(world.run("stats", "-o", "json").stdout)["brokers"]
    assert [row["broker"] for row in rows] == [1, 2, 3]


def test_each_former_command_is_there_and_in_a_section_of_its_own(world: World) -> None:
    assert {row.words.split()[0] for row in former.COMMANDS} == {*FORMER, "restart", "rolling-restart"}
    assert not set(FORMER) & set(COMMANDS)
    text = world.run("--help").stdout
    assert text.index("Commands:") < text.index("restart") < text.index("Former names:") < text.index("swap_fat_slim")
    for name in FORMER:
        command = cli.get_command(None, name)  # type: ignore[arg-type]
        assert command is not None


# --- paths ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "successor"),
    [
        ("GET", "/api/controller/queue", "GET /v1/changes"),
        ("GET", "/api/controller/queue/", "GET /v1/changes"),
        ("DELETE", "/api/controller/queue/restart", "DELETE /v1/changes/{number}"),
        ("GET", "/api/disk_stats", "GET /v1/status"),
        ("GET", "/api/disk_stats/", "GET /v1/status"),
        ("GET", "/api/metrics", "GET /metrics"),
        ("GET", "/api/state", "GET /v1/status"),
        ("POST", "/api/stop", "POST /v1/changes"),
    ],
)
def test_the_originals_paths_are_410_on_both_ports(world: World, method: str, path: str, successor: str) -> None:
    for url in (world.url, world.health_url):
        answer = requests.request(method, url + path, timeout=10)
        assert (answer.status_code, answer.headers["content-type"]) == (410, "application/problem+json")
        document: dict[str, Any] = answer.json()
        assert (document["title"], document["status"]) == ("gone", 410)
        assert document["detail"].startswith(f"{path} is the original bubuku's; its successor: {successor}")


@pytest.mark.parametrize("path", ["/api", "/api/", "/api/other", "/api/controller", "/apis", "/api/controller/queued"])
def test_other_paths_are_404(world: World, path: str) -> None:
    for url in (world.url, world.health_url):
        assert requests.get(url + path, timeout=10).status_code == 404


def test_nothing_that_acts_is_on_the_health_port(world: World) -> None:
    for path in ("/v1/changes", "/v1/permit", "/v1/maintenance"):
        assert requests.get(world.health_url + path, timeout=10).status_code == 404
