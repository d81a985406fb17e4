"""`safe-to-stop` from the command line over HTTP to the judge, on evidence that a test sets."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import requests
import yaml
from click.testing import CliRunner, Result

from bubuku.cli.main import cli
from bubuku.core.errors import UnavailableError, UsageError
from bubuku.core.guard import Evidence
from bubuku.core.model import Cluster, Partition
from bubuku.http import threads
from bubuku.http.server import HttpServer
from bubuku.verdicts import Verdicts
from tests.support import published as make
from tests.support.wait import wait_for

LOOPBACK = "127.0.0.1"
ALL = frozenset({1, 2, 3})
IN_SYNC = Partition("orders", 0, 1, (1, 2, 3), (1, 2, 3))
SHORT = Partition("orders", 1, 1, (1, 2, 3), (1, 2))
HEALTHY = Evidence([IN_SYNC], {"orders": 2}, frozenset(), ALL, known=ALL)


@dataclass
class Kafka:
    """`ports.Kafka` whose evidence is set by the test; it waits for `gate`."""

    found: Evidence | UnavailableError = field(default_factory=lambda: HEALTHY)
    gate: threading.Event = field(default_factory=threading.Event)
    asked: list[tuple[Any, ...]] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0

    def evidence(
        self,
        stopping: frozenset[int],
        permitted: frozenset[int],
        cluster_id: str | None,
        deadline_seconds: float,
        planning: bool = False,
    ) -> Evidence:
        self.asked.append((stopping, permitted, cluster_id))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        assert self.gate.wait(10), "the test never opened the gate"
        self.at_once -= 1
        if isinstance(self.found, UnavailableError):
            raise self.found
        return self.found

    def cluster(self, exclude: int | None, deadline_seconds: float) -> Cluster:
        raise AssertionError("not asked")

    def answers(self, deadline_seconds: float) -> bool:
        raise AssertionError("not asked")

    def close(self) -> None:
        pass


@dataclass
class World:
    kafka: Kafka
    url: str

    def get(self, query: str) -> tuple[int, dict[str, Any]]:
        answer = requests.get(f"{self.url}/v1/safe-to-stop{query}", timeout=20)
        return answer.status_code, answer.json()

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(cli, ["safe-to-stop", "--api", self.url, *arguments])


@pytest.fixture
def world() -> Iterator[World]:
    kafka = Kafka()
    kafka.gate.set()
    verdicts = Verdicts(kafka, lambda: make.CLUSTER_ID, lambda: frozenset({7}), lambda: (1, 2, 3, 5), lambda: ALL)
    server = HttpServer(
        LOOPBACK, 0, lambda: None, time.monotonic, make.ABOUT, exchange_seconds=1.0, safe_to_stop=verdicts.safe_to_stop
    )
    server.start()
    assert server.api_address is not None
    yield World(kafka, f"http://{LOOPBACK}:{server.api_address[1]}")
    kafka.gate.set()
    server.stop()
    wait_for(lambda: not [t for t in threading.enumerate() if t.name == "request"], 10, "its threads to end")


# --- HTTP -------------------------------------------------------------------------------------------------------------


def test_yes(world: World) -> None:
    code, document = world.get("?broker=1")
    assert code == 200
    assert document == {
        "safe": True,
        "brokers": [1],
        "sentence": "broker 1 may be stopped",
        "blocked": [],
        "blocked_total": 0,
        "unknown": None,
        "quorum": None,
        "warning": None,
        "accepted_unavailable": 0,
    }
    assert world.kafka.asked == [(frozenset({1}), frozenset({7}), make.CLUSTER_ID)]


def test_no_names_at_most_a_hundred_partitions(world: World) -> None:
    world.kafka.found = replace(HEALTHY, partitions=[replace(SHORT, partition=n) for n in range(150)], missing="unsure")
    code, document = world.get("?broker=1&broker=1")
    assert (code, document["safe"], document["blocked_total"]) == (200, False, 150)
    assert len(document["blocked"]) == 100
    assert document["blocked"][4] == {
        "topic": "orders",
        "partition": 4,
        "objection": "below_min_isr",
        "sentence": "orders-4: 1 in-sync replica would be left (2), min.insync.replicas is 2",
        "left": [2],
        "needed": 2,
    }
    assert document["unknown"] == "unsure"


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("", "give the brokers to stop"),
        ("?broker=", "'' is not a broker id"),
        ("?broker=one", "'one' is not a broker id"),
        ("?broker=-1", "'-1' is not a broker id"),
        ("?broker=2147483648", "is not a broker id"),
        ("?broker=" + "9" * 5000, "is not a broker id"),
        ("?broker=1&accept_unavailable=yes", "neither true nor false"),
        ("?broker=1&force=true", "'force' is not asked for here"),
        ("?broker=9", "there is no broker 9 in this cluster; it has 1, 2, 3, 5"),
    ],
)
def test_what_makes_no_sense_is_named(world: World, query: str, detail: str) -> None:
    code, document = world.get(query)
    assert (code, document["title"]) == (400, "bad request")
    assert detail in document["detail"]
    assert len(document["detail"]) < 300


def test_a_member_whose_broker_kafka_forgot_is_known(world: World) -> None:
    assert world.get("?broker=5")[0] == 200


def test_nothing_is_changed_by_it(world: World) -> None:
    assert requests.post(f"{world.url}/v1/safe-to-stop?broker=1", timeout=5).status_code == 405
    assert world.kafka.asked == []


def test_where_nobody_answers_it_is_503(world: World) -> None:
    world.kafka.found = UnavailableError("no Kafka broker answers")
    code, document = world.get("?broker=1")
    assert (code, document["detail"]) == (503, "no Kafka broker answers")


def test_a_slow_cluster_holds_up_nothing_else_and_is_asked_once_at_a_time(world: World) -> None:
    """The exchange of 1 s that other paths have is over long before the cluster answers."""
    world.kafka.gate.clear()
    with ThreadPoolExecutor(20) as pool:
        asked = [pool.submit(world.get, "?broker=1") for _ in range(threads.MOST + 3)]
        refused = [each for each in asked if _status_soon(each) == 503]
        begun = time.monotonic()
        assert requests.get(f"{world.url}/livez", timeout=5).status_code == 200
        assert time.monotonic() - begun < 1.0
        wait_for(lambda: time.monotonic() - begun > 1.5, 5, "an exchange's time to pass")
        world.kafka.gate.set()
        codes = sorted(each.result()[0] for each in asked)
    assert len(refused) == 3
    assert codes == [200] * threads.MOST + [503] * 3
    assert world.kafka.most_at_once == 1
    assert world.get("?broker=1")[0] == 200  # all places are free again


def _status_soon(asked: Any) -> int | None:
    """The status of an answer that has come by now, or comes within a moment."""
    try:
        return int(asked.result(timeout=0.3)[0])
    except TimeoutError:
        return None


def test_it_is_a_path_of_the_api_alone() -> None:
    server = HttpServer(LOOPBACK, 0, lambda: None, time.monotonic, make.ABOUT)
    server.start()
    assert server.api_address is not None
    url = f"http://{LOOPBACK}:{server.api_address[1]}/v1/safe-to-stop?broker=1"
    assert requests.get(url, timeout=5).status_code == 404  # of a server that was given nobody to ask
    server.stop()


# --- the command line -------------------------------------------------------------------------------------------------


def test_exit_code_0_is_yes(world: World) -> None:
    result = world.run("--broker", "1", "--broker", "2", "--accept-unavailable")
    assert result.exit_code == 3  # two of three
    assert world.run("--broker", "1").exit_code == 0
    assert world.run("--broker", "1").stdout == "broker 1 may be stopped\n"


def test_exit_code_3_is_no_with_a_table_of_the_partitions(world: World) -> None:
    world.kafka.found = replace(HEALTHY, partitions=[IN_SYNC, SHORT], missing="the controller does not answer")
    result = world.run("--broker", "1")
    assert result.exit_code == 3
    assert result.stdout.splitlines() == [
        "broker 1 may not be stopped now",
        "1 partition says no",
        "the controller does not answer",
        "",
        "TOPIC   PARTITION  LEFT IN SYNC  NEEDED  WHY",
        "orders  1          2             2       below min isr",
    ]


@pytest.mark.parametrize(("output", "load"), [("json", json.loads), ("yaml", yaml.safe_load)])
def test_the_document_for_programs(world: World, output: str, load: Any) -> None:
    world.kafka.found = replace(HEALTHY, partitions=[SHORT])
    result = world.run("--broker", "1", "-o", output)
    assert result.exit_code == 3
    assert load(result.stdout) == world.get("?broker=1")[1]


def test_acceptance_is_passed_on_and_told(world: World) -> None:
    world.kafka.found = replace(HEALTHY, partitions=[Partition("orders", 0, 1, (1,), (1,))])
    assert world.run("--broker", "1").exit_code == 3
    result = world.run("--broker", "1", "--accept-unavailable")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[1] == "1 partition will be unavailable meanwhile, as accepted"


def test_exit_code_2_names_the_broker_that_there_is_not(world: World) -> None:
    result = world.run("--broker", "9")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "bubuku-cli: there is no broker 9 in this cluster; it has 1, 2, 3, 5\n"
    assert world.run().exit_code == 2
    assert world.run("--broker", "x").exit_code == 2


def test_exit_code_1_where_nobody_can_tell(world: World) -> None:
    world.kafka.found = UnavailableError("no Kafka broker answers")
    result = world.run("--broker", "1")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "no Kafka broker answers" in result.stderr


# --- the judge --------------------------------------------------------------------------------------------------------


def test_without_another_broker_it_has_to_be_accepted() -> None:
    kafka = Kafka(replace(HEALTHY, partitions=[], alone=True))
    kafka.gate.set()
    verdicts = Verdicts(kafka, lambda: make.CLUSTER_ID, frozenset, tuple, lambda: ALL)
    assert not verdicts.safe_to_stop(frozenset({1}), False).allowed
    assert verdicts.safe_to_stop(frozenset({1}), True).allowed
    with pytest.raises(UsageError, match="there is no broker 4"):
        verdicts.safe_to_stop(frozenset({4}), True)


def test_a_broker_whose_daemon_has_not_joined_this_zookeeper_may_go_down_by_another_permit() -> None:
    kafka = Kafka()
    kafka.gate.set()
    verdicts = Verdicts(kafka, lambda: make.CLUSTER_ID, frozenset, tuple, lambda: ALL - {3})
    verdict = verdicts.safe_to_stop(frozenset({1}), False)
    assert verdict.sentence() == (
        "broker 1 may not be stopped: broker 3 answers, and no daemon beside it has joined this ZooKeeper: start "
        "bubuku there"
    )
    assert verdicts.safe_to_stop(frozenset({3}), False).allowed, "whoever asks about it stops it himself"
