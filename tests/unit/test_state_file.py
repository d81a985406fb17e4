"""The state file: what comes back is what was saved, and what cannot be understood is one clear error."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bubuku.adapters.state_file import JsonStateFile
from bubuku.core.errors import RefusedError, UnavailableError
from bubuku.core.model import Record, Registration
from bubuku.core.shared import ProcessId

FULL = Record(
    "instance-1",
    machine="here",
    node_id=0,
    cluster_id="c",
    marker="m",
    process=ProcessId(41, 4100, "boot"),
    started_by_us=True,
    registration=Registration(0, ("a:9092", "b:9093"), czxid=7, owner=16, content="{}"),
    dirs={"u": "/data/1"},
    settings_digest="d",
    addresses=("a:2181", "b:2181"),
    started_with=("c:2181",),
    stop_intent=True,
    failures=3,
    counted=True,
    fencing=True,
)


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    path = tmp_path / "machine-id"
    path.write_text("here\n")
    return path


@pytest.fixture
def state(tmp_path: Path, machine: Path) -> JsonStateFile:
    return JsonStateFile(tmp_path, machine)


def test_what_is_saved_is_loaded(state: JsonStateFile) -> None:
    state.save(FULL)
    assert state.load() == FULL


def test_a_fresh_one_is_kept(state: JsonStateFile) -> None:
    first = state.load()
    assert first.machine == "here"
    assert state.load() == first


def test_fields_of_a_newer_bubuku_are_dropped(state: JsonStateFile, tmp_path: Path) -> None:
    state.save(FULL)
    document = json.loads((tmp_path / "state.json").read_text())
    document["record"]["new"] = document["record"]["process"]["new"] = {"a": 1}
    (tmp_path / "state.json").write_text(json.dumps(document))
    assert state.load() == FULL


def test_of_another_hosts_state_only_what_the_data_is_remains(state: JsonStateFile, machine: Path) -> None:
    """Its process is not ours to declare dead: with its registration on record, a live broker would be fenced."""
    state.save(FULL)
    machine.write_text("there\n")
    moved = state.load()
    assert moved.instance != FULL.instance
    data = replace(FULL, instance=moved.instance, machine="there", process=None, registration=None)
    assert moved == replace(data, stop_intent=False, counted=False)
    assert state.load() == moved


@pytest.mark.parametrize("found", [None, ""])
def test_a_host_without_an_id_is_taken_for_the_same(state: JsonStateFile, machine: Path, found: str | None) -> None:
    state.save(FULL)
    machine.unlink()
    if found is not None:
        machine.write_text(found)
    assert state.load() == FULL


@pytest.mark.parametrize(
    ("record", "names"),
    [
        ({}, "instance"),
        ({"instance": "i", "failures": "many"}, "failures"),
        ({"instance": "i", "dirs": None}, "dirs"),
        ({"instance": "i", "process": {"pid": 1}}, "process.start_ticks"),
        ({"instance": "i", "registration": {"node_id": 1, "endpoints": "a:1"}}, "registration.endpoints"),
        ([], "dict"),
    ],
)
def test_what_cannot_be_understood_is_named(state: JsonStateFile, tmp_path: Path, record: Any, names: str) -> None:
    (tmp_path / "state.json").write_text(json.dumps({"record": record}))
    with pytest.raises(UnavailableError, match=rf"state.json .*{names}.*; restore it, or move it away"):
        state.load()


@pytest.mark.parametrize("text", ["", "{", "[]", "1", "null", '{"record": null}'])
def test_what_is_no_state_file_is_one_clear_line(state: JsonStateFile, tmp_path: Path, text: str) -> None:
    (tmp_path / "state.json").write_text(text)
    with pytest.raises(UnavailableError, match="restore it, or move it away"):
        state.load()


def test_a_second_daemon_is_refused_and_told_whose_folder_it_is(tmp_path: Path, state: JsonStateFile) -> None:
    state.lock()
    with pytest.raises(RefusedError, match=f"pid {os.getpid()}"):
        JsonStateFile(tmp_path).lock()


def test_a_lock_that_cannot_be_opened_is_one_clear_line(tmp_path: Path, state: JsonStateFile) -> None:
    (tmp_path / "lock").mkdir()
    with pytest.raises(UnavailableError, match="lock: Is a directory; it must belong to the daemon's user"):
        state.lock()
