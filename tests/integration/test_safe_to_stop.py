"""`bubuku-cli safe-to-stop` against a real cluster that is well, frozen in part, short of a broker, and moving."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import requests
from click.testing import CliRunner
from kafka import TopicPartition
from kafka.admin import NewTopic

from benchmarks.view import View, admin_client
from bubuku.cli.main import cli
from bubuku.core.model import Mode
from bubuku.sandbox.layout import FIRST_CONTROLLER_ID, Options
from tests.support.cluster import RealCluster
from tests.support.faults import RECOVERY_SECONDS, SETTINGS, controller, metadata

SAFE, SINGLE, MOVING = "safe", "single", "moving"


@dataclass(frozen=True)
class Answer:
    """What the command line did."""

    code: int
    document: dict[str, Any]
    said: str

    def blocked(self, topic: str) -> dict[int, dict[str, Any]]:
        return {row["partition"]: row for row in self.document["blocked"] if row["topic"] == topic}


@dataclass(frozen=True)
class Asked:
    """A cluster, and the command line asking one daemon of it."""

    cluster: RealCluster

    def ask(self, *brokers: int, of: int = 1, accept: bool = False) -> Answer:
        arguments = ["safe-to-stop", "--api", self.cluster.layout.node(of).api_url, "-o", "json"]
        for broker in brokers:
            arguments += ["--broker", str(broker)]
        done = CliRunner().invoke(cli, arguments + ["--accept-unavailable"] * accept)
        return Answer(done.exit_code, json.loads(done.stdout) if done.stdout else {}, done.stderr)

    def wait_safe(self, *brokers: int) -> None:
        def safe() -> bool:
            return self.ask(*brokers).code == 0

        self.cluster.wait_for(safe, RECOVERY_SECONDS, f"{brokers} to be safe to stop")

    def create(self, topic: str, assignment: dict[int, list[int]], min_isr: int) -> None:
        with admin_client(self.cluster.layout) as admin:
            admin.create_topics(
                [NewTopic(topic, replica_assignments=assignment, topic_configs={"min.insync.replicas": str(min_isr)})]
            )

        def there() -> bool:
            view = metadata(self.cluster)
            found = [] if view is None else [p for p in view.partitions if p.topic == topic]
            return len(found) == len(assignment) and all(len(p.isr) == len(p.replicas) for p in found)

        self.cluster.wait_for(there, 30, f"topic {topic} to be in sync")


@pytest.fixture(
    scope="module",
    params=[pytest.param(Mode.ZOOKEEPER, id="zookeeper"), pytest.param(Mode.KRAFT, id="kraft", marks=pytest.mark.full)],
)
def asked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    mode: Mode = request.param
    with RealCluster(tmp_path_factory.mktemp(str(mode)), Options(mode=mode), SETTINGS[mode]) as cluster:
        found = Asked(cluster)
        found.create(SAFE, {0: [1, 2, 3], 1: [2, 3, 1], 2: [3, 1, 2]}, 2)
        found.create(SINGLE, {0: [3]}, 1)
        yield found


@contextmanager
def frozen(cluster: RealCluster, broker: int) -> Iterator[None]:
    cluster.signal_kafka(broker, signal.SIGSTOP)
    try:
        yield
    finally:
        cluster.signal_kafka(broker, signal.SIGCONT)


def test_any_daemon_says_yes_of_each_broker_of_a_healthy_cluster(asked: Asked) -> None:
    for of in (1, 2, 3):
        for broker in (1, 2):
            answer = asked.ask(broker, of=of)
            assert (answer.code, answer.document["safe"]) == (0, True), answer
            assert answer.document["sentence"] == f"broker {broker} may be stopped"


def test_a_topic_without_a_second_replica_needs_acceptance(asked: Asked) -> None:
    answer = asked.ask(3)
    assert answer.code == 3
    assert answer.blocked(SINGLE)[0]["objection"] == "cannot_be_available"
    assert answer.document["blocked_total"] == 1
    accepted = asked.ask(3, accept=True)
    assert (accepted.code, accepted.document["accepted_unavailable"]) == (0, 1)


def test_two_at_once_are_too_many(asked: Asked) -> None:
    answer = asked.ask(1, 2)
    assert answer.code == 3
    blocked = answer.blocked(SAFE)
    assert set(blocked) == {0, 1, 2}
    assert {tuple(row["left"]) for row in blocked.values()} == {(3,)}
    assert answer.document["unknown"] is None  # of three brokers the third alone can tell
    assert asked.ask(1, 2, accept=True).code == 3


def test_what_is_no_broker_is_named(asked: Asked) -> None:
    answer = asked.ask(9)
    assert answer.code == 2
    assert "there is no broker 9 in this cluster; it has 1, 2, 3" in answer.said


def test_dedicated_controllers_have_a_quorum(asked: Asked) -> None:
    answer = asked.ask(FIRST_CONTROLLER_ID)
    if asked.cluster.layout.options.mode is Mode.KRAFT:
        assert (answer.code, answer.document["warning"] is None) == (0, False), answer
    else:
        assert answer.code == 2


@pytest.mark.full
def test_a_frozen_broker_does_not_count_although_metadata_still_shows_it(asked: Asked) -> None:
    victim = _not_the_controller(asked.cluster)
    one, other = sorted({1, 2, 3} - {victim})
    url = asked.cluster.layout.node(one).api_url
    with frozen(asked.cluster, victim):
        begun = time.monotonic()
        answer = asked.ask(one, of=one)
        taken = time.monotonic() - begun
        with requests.Session() as session:
            before = time.monotonic()
            assert session.get(f"{url}/livez", timeout=5).status_code == 200
            assert time.monotonic() - before < 0.5
    assert answer.code == 3
    blocked = answer.blocked(SAFE)
    assert set(blocked) == {0, 1, 2}, answer
    assert {tuple(row["left"]) for row in blocked.values()} == {(other,)}
    assert taken < 10, taken
    View(asked.cluster.layout).wait_in_sync(RECOVERY_SECONDS)
    asked.wait_safe(one)


@pytest.mark.full
def test_a_dead_broker_leaves_too_few(asked: Asked) -> None:
    victim = _not_the_controller(asked.cluster)
    one, other = sorted({1, 2, 3} - {victim})
    asked.cluster.stop_daemon(victim, signal.SIGKILL)
    asked.cluster.kill_kafka(victim)
    answer = asked.ask(one, of=one)
    assert answer.code == 3
    assert {tuple(row["left"]) for row in answer.blocked(SAFE).values()} == {(other,)}, answer
    asked.cluster.start_daemon(victim)
    asked.cluster.wait_serving([victim])
    View(asked.cluster.layout).wait_in_sync(RECOVERY_SECONDS)
    asked.wait_safe(one)


@pytest.mark.full
def test_during_a_reassignment_the_replicas_that_leave_do_not_count(asked: Asked) -> None:
    target = _not_the_controller(asked.cluster)
    one, leaving = sorted({1, 2, 3} - {target})
    asked.create(MOVING, {0: [one, leaving]}, 1)
    assert not asked.ask(one, of=one, accept=True).blocked(MOVING)
    # frozen, so that it goes on for as long as we look
    with admin_client(asked.cluster.layout) as admin, frozen(asked.cluster, target):
        begun = admin.alter_partition_reassignments({TopicPartition(MOVING, 0): [one, target]})
        assert list(begun.values()) == [None], begun
        answer = asked.ask(one, of=one)
        assert answer.code == 3
        assert answer.blocked(MOVING)[0]["objection"] == "below_min_isr_without_removing", answer

    def moved() -> bool:
        return not asked.ask(one, of=one, accept=True).blocked(MOVING)

    asked.cluster.wait_for(moved, RECOVERY_SECONDS, "the reassignment to end")
    assert asked.ask(leaving, of=one, accept=True).code == 0


def _not_the_controller(cluster: RealCluster) -> int:
    """A broker other than the controller and, where it can be, than 3, which has a topic of its own."""
    return next(broker for broker in (2, 1) if broker != controller(cluster).node_id)
