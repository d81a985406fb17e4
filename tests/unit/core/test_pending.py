"""What a restart is pending for: a running Kafka beside what a start would make now."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bubuku.core.observation import Observation
from bubuku.core.pending import pending
from tests.support.observations import OTHER, POLICY, STARTED, observe, ran, read, running

THEN = {"KAFKA_HEAP_OPTS": "1", "start command": "2"}
NOW_ = replace(POLICY, launch={"KAFKA_HEAP_OPTS": "1", "start command": "2"})


def seen(*names: str, begun: float = STARTED + 1, **record: Any) -> Observation:
    usual = {"started_by_us": True, "launch": THEN}
    return running(record=ran(**{**usual, **record}), differing=read(names, begun))


def test_nothing_is_pending_while_all_is_as_it_was() -> None:
    assert pending(NOW_, seen()) == ()


def test_settings_environment_and_command_are_named() -> None:
    later = replace(POLICY, launch={"KAFKA_OPTS": "3", "start command": "4"})
    assert pending(later, seen("num.io.threads")) == (
        "KAFKA_HEAP_OPTS",
        "KAFKA_OPTS",
        "num.io.threads",
        "start command",
    )


@pytest.mark.parametrize(
    "obs",
    [
        observe(differing=read(("a",))),
        seen("a", begun=STARTED - 1),
        seen("a", started_by_us=False),
        seen("a", process=OTHER),
    ],
    ids=["it does not run", "looked at before its start", "adopted", "another process"],
)
def test_what_cannot_be_known_is_not_said(obs: Observation) -> None:
    assert pending(NOW_, obs) == ()


def test_of_a_state_file_of_an_older_daemon_the_settings_are_known() -> None:
    assert pending(replace(POLICY, launch={"x": "1"}), seen("a", launch=None)) == ("a",)
