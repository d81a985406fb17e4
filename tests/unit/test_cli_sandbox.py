"""`bubuku-cli sandbox` where no process is needed: usage, tables, logs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bubuku.cli.main import cli
from bubuku.core.model import Mode
from bubuku.sandbox.layout import Layout, Options, save


def call(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(cli, ["sandbox", *arguments, "--dir", str(folder)])


@pytest.fixture(autouse=True)
def _nothing_can_be_started(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No jars and no Maven: an `up` that gets further than it should ends there, before any process."""
    monkeypatch.setenv("BUBUKU_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("JAVA_HOME", raising=False)


@pytest.fixture
def stopped(tmp_path: Path) -> Path:
    """A sandbox of which nothing runs."""
    save(Layout(tmp_path, Options(mode=Mode.KRAFT, brokers=2).checked(), 21_000, "XtzWWN4bTjitpL3kfd9s5g"))
    return tmp_path


def test_no_sandbox_there(tmp_path: Path) -> None:
    for arguments in (["status"], ["logs", "1"]):
        done = call(tmp_path, *arguments)
        assert done.exit_code == 2
        assert f"there is no sandbox in {tmp_path}: start one with `bubuku-cli sandbox up`" in done.stderr
        assert done.stdout == ""
    done = call(tmp_path, "down")
    assert done.exit_code == 0
    assert "no sandbox runs" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--combined"], "--combined is about KRaft"),
        (["--kafka-version", "4.3.0"], "has no ZooKeeper mode"),
        (["--brokers", "0"], "--brokers"),
        (["--mode", "raft"], "--mode"),
        (["--base-port", "80"], "--base-port"),
        (["--brokers", "2", "--kafka-version", "3.9.2"], "mvn was not found on PATH"),
    ],
)
def test_usage(tmp_path: Path, arguments: list[str], words: str) -> None:
    done = call(tmp_path, "up", *arguments)
    assert done.exit_code == 2
    assert words in done.stderr


def test_a_stopped_one_is_shown_and_not_changed_in_kind(stopped: Path) -> None:
    document = json.loads(call(stopped, "status", "-o", "json").stdout)
    assert document["running"] is False
    assert document["bootstrap_servers"] == "127.0.0.1:21010,127.0.0.1:21020"
    assert document["zookeeper"] == {"address": "127.0.0.1:21000", "pid": None}
    assert [node["node_id"] for node in document["brokers"]] == [1, 2]
    assert [node["node_id"] for node in document["controllers"]] == [100]
    assert {node["state"] for node in document["brokers"]} == {"no daemon"}

    table = call(stopped, "status").stdout.splitlines()
    assert "Kafka 4.3.0, kraft mode" in table[0]
    assert table[2].split()[:4] == ["NODE", "ROLES", "RACK", "STATE"]
    assert table[5].split()[:3] == ["100", "controller", "-"]

    done = call(stopped, "up", "--brokers", "3")
    assert done.exit_code == 2
    assert "is stopped, but its data is there with --brokers 2, not 3: add --fresh" in done.stderr


def test_logs_of_what_is_not_there(stopped: Path) -> None:
    for name, words in (("7", "there is no node 7"), ("x", "'x' is not a node"), ("1", "1 has written no log yet")):
        done = call(stopped, "logs", name)
        assert done.exit_code == 2
        assert words in done.stderr
