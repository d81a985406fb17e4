"""The API's answers, from literal Published values: each route, each error, and nothing that is secret."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest
from starlette.types import ASGIApp

from bubuku.core.model import BrokerState, ClusterView, Exit, ProcessView, RegistrationView
from bubuku.core.observation import Decision, Note, Progress, Published
from bubuku.core.reasons import EXPLANATIONS, Reason
from bubuku.core.shared import Maintenance, Permit, ProcessId
from bubuku.http.app import Source, application
from tests.support import published as make
from tests.support.operators import ENTRY, change

HEALTH_PORT = 8887


@dataclass
class Client:
    """Asks the application without a socket, each time on a new event loop."""

    app: ASGIApp
    port: int

    def request(self, method: str, path: str) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport) as client:
                return await client.request(method, f"http://127.0.0.1:{self.port}{path}")

        return asyncio.run(ask())

    def get(self, path: str) -> httpx.Response:
        return self.request("GET", path)


@dataclass
class World:
    """What a test sets before it asks."""

    published: Published | None = None
    now: float = make.NOW + 0.5

    def client(self, port: int = 8888) -> Client:
        source = Source(lambda: self.published, lambda: self.now, make.ABOUT, started=make.NOW)
        return Client(application(source, HEALTH_PORT), port)

    def get(self, path: str) -> tuple[int, Any]:
        answer = self.client().get(path)
        return answer.status_code, answer.json()


def in_state(state: BrokerState) -> Published:
    return make.published(Decision(state, Reason.NOT_REGISTERED, f"the broker is {state}"))


# --- probes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ticked", "silent_seconds", "status"),
    [(False, 0.5, 200), (False, 9.9, 200), (False, 10.0, 503), (True, 0.5, 200), (True, 9.9, 200), (True, 10.0, 503)],
)
def test_livez_is_about_the_age_of_the_last_tick(ticked: bool, silent_seconds: float, status: int) -> None:
    world = World(make.published(make.HELD) if ticked else None, make.NOW + silent_seconds)
    answer = world.client().get("/livez")
    assert answer.status_code == status
    if status == 503:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["title"] == "the daemon's loop hangs"


@pytest.mark.parametrize("state", list(BrokerState))
def test_readyz_and_health_are_200_for_a_serving_broker_alone(state: BrokerState) -> None:
    world = World(in_state(state))
    expected = 200 if state is BrokerState.SERVING else 503
    assert world.get("/readyz")[0] == expected
    code, health = world.get("/health")
    assert code == expected
    assert health["state"] == state
    assert health["ready"] is (expected == 200)


def test_readyz_says_which_state_and_why() -> None:
    code, document = World(make.published(make.RECOVERING)).get("/readyz")
    assert code == 503
    assert document == {
        "title": "the broker does not serve",
        "status": 503,
        "detail": "Kafka recovers its logs: 40 of 100 are done",
        "state": "recovering",
        "reason": "log_recovery",
    }


def test_readyz_does_not_vouch_for_a_broker_that_nobody_looks_at() -> None:
    code, document = World(make.published(), make.NOW + 60).get("/readyz")
    assert code == 503
    assert "60 s ago" in document["detail"]


def test_before_the_first_tick_the_port_answers_that_it_knows_nothing() -> None:
    world = World(None)
    assert world.get("/livez")[0] == 200
    for path in ("/readyz", "/health", "/v1/status", "/v1/cluster"):
        assert world.get(path)[0] == 503, path
    assert world.get("/health")[1]["state"] == "unknown"
    assert world.get("/v1/status")[1]["status"] == 503


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/health"])
def test_head_is_get_without_the_body(path: str) -> None:
    for published in (make.published(), make.published(make.HELD)):
        client = World(published).client()
        head, get = client.request("HEAD", path), client.get(path)
        assert head.status_code == get.status_code
        assert head.headers["content-length"] == get.headers["content-length"]


# --- routes and errors ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/", "/livez/", "/v1", "/v1/status/", "/v1/statusx", "/xlivez", "/V1/STATUS", "/metrics/x", "//livez"]
)
def test_paths_are_exact(path: str) -> None:
    answer = World(make.published()).client().get(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert set(answer.json()) == {"title", "status", "detail"}


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/health", "/v1/status", "/v1/cluster", "/metrics"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_nothing_can_be_changed(path: str, method: str) -> None:
    answer = World(make.published()).client().request(method, path)
    assert answer.status_code == 405
    assert sorted(answer.headers["allow"].split(", ")) == ["GET", "HEAD"]
    assert answer.json()["detail"] == f"{method} is not allowed on {path}"


@pytest.mark.parametrize("path", ["/v1/status", "/v1/cluster", "/metrics"])
def test_the_health_port_answers_health_alone(path: str) -> None:
    client = World(make.published()).client(HEALTH_PORT)
    assert client.get(path).status_code == 404
    for allowed in ("/livez", "/readyz", "/health"):
        assert client.get(allowed).status_code == 200


def test_an_error_of_ours_is_a_document_without_its_text() -> None:
    def broken() -> Published:
        raise RuntimeError("password=hunter2")

    source = Source(broken, lambda: make.NOW, make.ABOUT, started=make.NOW)
    answer = Client(application(source, None), 8888).get("/v1/status")
    assert answer.status_code == 500
    assert answer.json() == {
        "title": "internal error",
        "status": 500,
        "detail": "the daemon failed to answer; its log says why",
    }


# --- /v1/status -------------------------------------------------------------------------------------------------------


def test_status_of_a_serving_broker() -> None:
    code, status = World(make.published()).get("/v1/status")
    assert code == 200
    assert (status["node_id"], status["host"], status["rack"], status["roles"]) == (
        1,
        "kafka-1.example",
        "a",
        ["broker"],
    )
    assert (status["state"], status["reason"], status["sentence"]) == ("serving", "running", "the broker serves")
    assert status["since_epoch"] == make.EPOCH - 100
    assert status["state_seconds"] == 100.5
    assert status["process"] == {
        "pid": 4321,
        "started_epoch": make.EPOCH - 120,
        "uptime_seconds": 120.5,
        "adopted": False,
        "suspended": False,
    }
    assert status["registration"]["registered"] is True
    assert status["registration"]["endpoints"] == ["kafka-1.example:9092"]
    assert status["versions"] == {"daemon": "2.0.0", "kafka": "3.9.2"}
    assert status["load"] == {"leaders": 2, "replicas": 6, "under_replicated": 0, "offline": 0}
    assert status["disks"][0]["path"] == "/data/1"
    assert status["coordination"]["connected"] is True
    assert status["coordination"]["member_ours"] is True
    assert [m["node_id"] for m in status["members"]] == [1, 2, 3]
    assert [e["state"] for e in status["events"]] == ["starting", "serving"]
    assert status["starts"] == {"first_start": 1, "process_died": 2}
    assert status["last_exit"] is None


def test_a_note_and_zookeepers_addresses_are_shown() -> None:
    note = Note(Reason.ADDRESSES_CHANGED, "new ZooKeeper addresses b:1 come in force", make.EPOCH + 60)
    seen = make.observation()
    seen = replace(seen, record=replace(seen.record, addresses=("a:1",), started_with=("c:1",)))
    world = World(make.published(replace(make.SERVING, note=note), seen))
    _, status = world.get("/v1/status")
    assert status["note"] == {
        "reason": "addresses_changed",
        "sentence": "new ZooKeeper addresses b:1 come in force",
        "due_epoch": make.EPOCH + 60,
    }
    assert status["addresses"] == {"in_force": ["a:1"], "started_with": ["c:1"]}
    _, cluster = world.get("/v1/cluster")
    assert [(row["note"], row["note_due_epoch"]) for row in cluster["brokers"]] == [
        (note.sentence, note.due_epoch),
        (None, None),
        (None, None),
    ]
    _, status = World(make.published()).get("/v1/status")
    assert (status["note"], status["addresses"]) == (None, {"in_force": None, "started_with": None})


def test_status_of_a_held_broker_has_the_reason_and_the_remedy() -> None:
    _, status = World(make.published(make.HELD)).get("/v1/status")
    assert status["reason"] == "log_dir_empty"
    assert status["meaning"] == EXPLANATIONS[Reason.LOG_DIR_EMPTY].meaning
    assert status["remedy"] == EXPLANATIONS[Reason.LOG_DIR_EMPTY].remedy


def test_status_of_a_recovering_broker_has_progress_and_eta() -> None:
    _, status = World(make.published(make.RECOVERING)).get("/v1/status")
    assert status["progress"] == {"done": 40, "total": 100}
    assert status["eta_seconds"] == 12.5


def test_status_of_a_failed_broker_has_kafkas_last_lines_and_its_exit() -> None:
    identity = ProcessId(77, 1, "boot")
    dead = make.observation(process=ProcessView(exit=Exit(identity, at=make.NOW - 3, code=1, signal=None)))
    _, status = World(make.published(make.FAILED, dead)).get("/v1/status")
    assert status["last_lines"] == list(make.FAILED.last_lines)
    assert status["process"] is None
    assert status["last_exit"] == {"pid": 77, "seconds_ago": 3.5, "code": 1, "signal": None}


def test_status_and_cluster_have_what_was_asked_for() -> None:
    view = replace(
        make.coordination(),
        maintenance=Maintenance(1, True, "anna", "disks", make.EPOCH - 5, None),
        changes=(change(5), change(6, node_id=2)),
        permit=Permit(4, {1: ENTRY, 3: ENTRY}),
    )
    stopping = replace(make.SERVING, progress_of_stop=Progress("waiting", "maintenance is on"))
    world = World(make.published(stopping, make.observation(coordination=make.dated(view))))
    _, status = world.get("/v1/status")
    assert status["stop"] == {"phase": "waiting", "sentence": "maintenance is on"}
    assert [c["sequence"] for c in status["changes"]] == [5]
    assert (status["permit"]["broker"], status["permit"]["why"]) == (1, "restarted")
    _, cluster = world.get("/v1/cluster")
    assert [c["sequence"] for c in cluster["changes"]] == [5, 6]
    assert [e["broker"] for e in cluster["permit"]] == [1, 3]
    for document in (status, cluster):
        assert document["maintenance"] == {
            "on": True,
            "by": "anna",
            "text": "disks",
            "since_epoch": make.EPOCH - 5,
            "until_epoch": None,
        }


def test_what_was_never_read_is_null() -> None:
    _, cluster = World(nothing_known()).get("/v1/cluster")
    assert (cluster["maintenance"], cluster["permit"], cluster["changes"]) == (None, None, [])
    _, status = World(nothing_known()).get("/v1/status")
    assert (status["stop"], status["maintenance"], status["permit"], status["changes"]) == (None, None, None, [])


def nothing_known() -> Published:
    unread = make.dated(None, "no answer")
    names = ("log_dirs", "log", "registration", "answers", "jmx", "cluster", "coordination")
    return make.published(seen=make.observation(**dict.fromkeys(names, unread)))


@pytest.mark.parametrize("path", ["/v1/status", "/v1/cluster", "/health", "/metrics"])
def test_what_is_not_known_is_null_and_never_an_error(path: str) -> None:
    assert World(nothing_known()).client().get(path).status_code == 200


def test_unknown_is_null_not_zero() -> None:
    _, status = World(nothing_known()).get("/v1/status")
    assert status["registration"]["registered"] is None
    assert status["load"] is None
    assert status["disks"] is None
    _, cluster = World(nothing_known()).get("/v1/cluster")
    assert cluster["partitions"] is None
    assert cluster["offline_partitions"] is None
    assert cluster["metadata"] == {"known": False, "age_seconds": 1.5, "error": "no answer"}
    assert [b["node_id"] for b in cluster["brokers"]] == [1]


def test_a_node_id_of_zero_is_a_node_id() -> None:
    zero = make.cluster()
    brokers = tuple(replace(b, node_id=b.node_id - 1) for b in zero.brokers)
    shifted = tuple(
        replace(p, leader=p.leader - 1, replicas=tuple(r - 1 for r in p.replicas), isr=tuple(i - 1 for i in p.isr))
        for p in zero.partitions
    )
    view = ClusterView.of(replace(zero, brokers=brokers, partitions=shifted, controller_id=0))
    seen = make.observation(
        cluster=make.dated(view), coordination=make.dated(make.coordination(make.member(0), make.member(1)))
    )
    published = make.published(seen=seen, node_id=0)
    _, status = World(published).get("/v1/status")
    assert status["node_id"] == 0
    assert status["load"]["leaders"] == 2
    _, cluster = World(published).get("/v1/cluster")
    assert cluster["controller_id"] == 0
    assert [b["node_id"] for b in cluster["brokers"]] == [0, 1, 2]


# --- /v1/cluster ------------------------------------------------------------------------------------------------------


def rows(published: Published) -> dict[int, Any]:
    _, document = World(published).get("/v1/cluster")
    return {row["node_id"]: row for row in document["brokers"]}


def test_cluster_joins_metadata_with_members() -> None:
    code, document = World(make.published()).get("/v1/cluster")
    assert code == 200
    assert document["cluster_id"] == make.CLUSTER_ID
    assert document["controller_id"] == 2
    assert document["racks"] == {"a": [1], "b": [2], "c": [3]}
    assert (document["topics"], document["partitions"]) == (1, 6)
    assert (document["offline_partitions"], document["under_replicated_partitions"]) == (0, 0)
    assert [m["node_id"] for m in document["members"]] == [1, 2, 3]
    assert all(row["registered"] and row["daemon"] and row["state"] == "serving" for row in document["brokers"])
    assert document["brokers"][2]["load"] == {"leaders": 2, "replicas": 6, "under_replicated": 0, "offline": 0}


def test_a_broker_without_a_daemon_is_missing() -> None:
    seen = make.observation(coordination=make.dated(make.coordination(make.member(1), make.member(2))))
    row = rows(make.published(seen=seen))[3]
    assert (row["daemon"], row["state"], row["registered"], row["host"]) == (False, "missing", True, "kafka-3.example")
    assert row["load"]["leaders"] == 2
    assert row["daemon_version"] is None


def test_a_broker_that_neither_kafka_nor_a_daemon_shows_is_known_by_its_replicas() -> None:
    whole = make.cluster()
    view = ClusterView.of(replace(whole, brokers=whole.brokers[:2]))
    seen = make.observation(
        cluster=make.dated(view), coordination=make.dated(make.coordination(make.member(1), make.member(2)))
    )
    row = rows(make.published(seen=seen))[3]
    assert (row["daemon"], row["state"], row["registered"]) == (False, "missing", False)
    assert "does not list it either" in row["sentence"]


def test_a_daemon_that_could_not_be_looked_for_is_unknown_and_not_missing() -> None:
    seen = make.observation(coordination=make.dated(None, "no connection"))
    row = rows(make.published(seen=seen))[2]
    assert (row["daemon"], row["state"]) == (None, "unknown")


def test_members_known_from_before_stay_while_zookeeper_is_away() -> None:
    seen = make.observation(coordination=make.dated(make.coordination(connected=False)))
    _, document = World(make.published(seen=seen)).get("/v1/cluster")
    assert document["coordination"]["connected"] is False
    assert {row["state"] for row in document["brokers"]} == {"serving"}


def test_our_own_row_is_newer_than_what_we_published() -> None:
    row = rows(make.published(make.RECOVERING))[1]
    assert (row["state"], row["reason"]) == ("recovering", "log_recovery")
    assert row["restarts"] == 3


def test_a_dedicated_controller_is_in_no_rack_of_brokers() -> None:
    controller = make.member(100, roles=("controller",), rack="a")
    seen = make.observation(coordination=make.dated(make.coordination(*map(make.member, (1, 2, 3)), controller)))
    _, document = World(make.published(seen=seen)).get("/v1/cluster")
    assert document["racks"] == {"a": [1], "b": [2], "c": [3]}
    assert document["brokers"][3]["roles"] == ["controller"]
    assert document["brokers"][3]["registered"] is False


def test_controller_comes_from_the_registration_where_metadata_lacks_it() -> None:
    view = ClusterView.of(replace(make.cluster(), controller_id=None))
    seen = make.observation(
        cluster=make.dated(view), registration=make.dated(RegistrationView(None, 2, controller_id=3))
    )
    assert World(make.published(seen=seen)).get("/v1/cluster")[1]["controller_id"] == 3


# --- secrets ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/v1/status", "/v1/cluster", "/health", "/metrics"])
@pytest.mark.parametrize(
    "hide",
    [
        lambda p: str(p.observation.registration.value.own.owner),  # a ZooKeeper session's id
        lambda p: p.observation.registration.value.own.content,
        lambda p: p.observation.process.identity.boot_id,
        lambda p: p.observation.record.instance,
    ],
)
def test_what_is_nobodys_business_is_in_no_answer(path: str, hide: Callable[[Any], str]) -> None:
    seen = make.observation(coordination=make.dated(make.coordination(make.member(2), make.member(3))))
    own = replace(seen.registration.value.own, owner=987654321987)
    published = make.published(seen=replace(seen, registration=make.dated(RegistrationView(own, 2))))
    assert hide(published) not in World(published).client().get(path).text


def test_documents_are_one_line_of_json() -> None:
    text = World(make.published()).client().get("/v1/status").text
    assert text.endswith("}\n")
    assert text.count("\n") == 1
    json.loads(text)
