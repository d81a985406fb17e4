"""`/v1/changes`, `/v1/maintenance` and `/v1/permit` of a real server: who may, what makes no sense, what comes back."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import requests
from starlette.exceptions import HTTPException
from starlette.requests import Request

from bubuku.core.actions import Outcome, Result
from bubuku.core.errors import RefusedError, TimedOutError, UnavailableError
from bubuku.core.shared import ChangeState, Permit
from bubuku.http import changes as over_http
from bubuku.http import threads
from bubuku.http.changes import Access
from tests.support import operators
from tests.support import published as make
from tests.support.operators import BLOCKED, ENTRY, Kafka, Meeting, change

TOKEN = "s3cret-of-the-test"
RESTART = {"kind": "restart", "brokers": [1]}


@dataclass
class World:
    meeting: Meeting = field(default_factory=Meeting)
    kafka: Kafka = field(default_factory=Kafka)
    url: str = ""

    def ask(self, method: str, path: str, document: Any = None, **headers: str) -> tuple[int, dict[str, Any]]:
        answer = requests.request(method, self.url + path, json=document, headers=headers, timeout=10)
        return answer.status_code, answer.json()

    def send(self, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
        answer = requests.post(self.url + path, data=body, timeout=10)
        return answer.status_code, answer.json()


@pytest.fixture
def world() -> Iterator[World]:
    one = World()
    with operators.serving(operators.operations(one.meeting, one.kafka)) as one.url:
        yield one


@pytest.fixture
def guarded() -> Iterator[World]:
    one = World()
    with operators.serving(operators.operations(one.meeting, one.kafka), TOKEN) as one.url:
        yield one


# --- who may ----------------------------------------------------------------------------------------------------------

ACTS = [
    ("POST", "/v1/changes", RESTART),
    ("DELETE", "/v1/changes/4", None),
    ("POST", "/v1/maintenance", {"on": True}),
    ("DELETE", "/v1/permit/3", None),
]


@pytest.mark.parametrize(("method", "path", "document"), ACTS)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer wrong"},
        {"authorization": f"Bearer {TOKEN}x"},
        {"authorization": f"Basic {TOKEN}"},
        {"authorization": TOKEN},
        {"authorization": "Bearer \xe9"},
    ],
)
def test_without_the_token_nothing_is_changed(
    guarded: World, method: str, path: str, document: Any, headers: dict[str, str]
) -> None:
    guarded.meeting.shows(changes=(change(4),), permit=Permit(4, {3: ENTRY}))
    before = guarded.meeting.view
    code, answer = guarded.ask(method, path, document, **headers)
    assert (code, answer["title"]) == (401, "not authorised")
    assert "api.token_file" in answer["detail"]
    assert guarded.meeting.view == before


def test_401_names_the_scheme(guarded: World) -> None:
    answer = requests.post(f"{guarded.url}/v1/changes", json=RESTART, timeout=10)
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(("method", "path", "document"), ACTS)
def test_with_the_token_it_is_done(guarded: World, method: str, path: str, document: Any) -> None:
    members = (make.member(1), make.member(2))
    guarded.meeting.shows(changes=(change(4, node_id=2),), permit=Permit(4, {3: ENTRY}), members=members)
    before = guarded.meeting.view
    code, _ = guarded.ask(method, path, document, authorization=f"Bearer {TOKEN}")
    assert code in (200, 201, 202)
    assert guarded.meeting.view != before


@pytest.mark.parametrize("path", ["/v1/changes", "/v1/maintenance", "/v1/permit"])
def test_looking_needs_no_token(guarded: World, path: str) -> None:
    assert guarded.ask("GET", path)[0] == 200
    assert requests.head(guarded.url + path, timeout=10).status_code == 200


def coming(client: tuple[str, int] | None, **headers: str) -> Request:
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "client": client, "headers": raw})


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_without_a_configured_token_this_host_may(host: str) -> None:
    Access(None).check(coming((host, 5)))


@pytest.mark.parametrize("host", ["10.1.2.3", "::ffff:10.1.2.3", "fe80::1%eth0", "2001:db8::1", "", "nonsense"])
def test_and_nobody_else(host: str) -> None:
    with pytest.raises(HTTPException, match=r"a token is needed, and api\.token_file is not set") as refused:
        Access(None).check(coming((host, 5)))
    assert refused.value.status_code == 403
    with pytest.raises(HTTPException):
        Access(None).check(coming(None))


def test_with_a_token_it_may_come_from_anywhere() -> None:
    Access(TOKEN).check(coming(("10.1.2.3", 5), authorization=f"Bearer {TOKEN}"))


@pytest.mark.parametrize("origin", ["https://example.org", "null", "http://[", "http://127.0.0.1.example.org"])
def test_a_page_from_elsewhere_in_a_browser_on_this_host_may_not(world: World, origin: str) -> None:
    code, answer = world.ask("POST", "/v1/changes", RESTART, origin=origin)
    assert (code, world.meeting.created) == (403, 0)
    assert "pages from elsewhere" in answer["detail"]


@pytest.mark.parametrize("origin", ["http://localhost:8888", "http://127.0.0.1:8888", "http://[::1]:8888"])
def test_a_page_of_this_host_may(world: World, origin: str) -> None:
    assert world.ask("POST", "/v1/changes", RESTART, origin=origin)[0] == 201


# --- changes ----------------------------------------------------------------------------------------------------------


def test_asking_for_a_change(world: World) -> None:
    code, answer = world.ask("POST", "/v1/changes", {**RESTART, "reason": " new settings ", "by": "anna@desk"})
    assert (code, answer["dry_run"]) == (201, False)
    (made,) = answer["changes"]
    assert {key: made[key] for key in ("sequence", "kind", "broker", "state", "phase", "asked_by", "reason")} == {
        "sequence": 100,
        "kind": "restart",
        "broker": 1,
        "state": "queued",
        "phase": "queued",
        "asked_by": "anna@desk",
        "reason": "new settings",
    }
    assert (made["accept_unavailable"], made["cancel_asked"], made["ended_epoch"]) == (False, False, None)
    assert [verdict["safe"] for verdict in answer["verdicts"]] == [True]
    assert world.ask("GET", "/v1/changes/100") == (200, {**made, "worker": None, "children": []})
    assert world.ask("GET", "/v1/changes") == (200, {"changes": [made]})


def test_a_roll_is_paused_over_http(world: World) -> None:
    code, answer = world.ask("POST", "/v1/changes", {"kind": "roll", "brokers": [1, 2], "cool_down_seconds": 5})
    assert (code, answer["changes"][0]["brokers"], answer["changes"][0]["cool_down_seconds"]) == (201, [1, 2], 5.0)
    assert [turn["broker"] for turn in answer["plan"]["turns"]] == [1, 2]
    code, paused = world.ask("PATCH", "/v1/changes/100", {"paused": True})
    assert (code, paused["paused"]) == (200, True)
    assert world.ask("PATCH", "/v1/changes/100", {"paused": 1})[0] == 400
    assert world.ask("PATCH", "/v1/changes/100", {"state": "done"})[0] == 400


def test_a_dry_run_changes_nothing(world: World) -> None:
    code, answer = world.ask("POST", "/v1/changes", {**RESTART, "dry_run": True})
    assert (code, answer["dry_run"], answer["changes"][0]["sequence"]) == (200, True, None)
    assert world.meeting.created == 0


def test_a_refusal_is_409_with_its_reason(world: World) -> None:
    world.kafka.found = BLOCKED
    code, answer = world.ask("POST", "/v1/changes", RESTART)
    assert (code, answer["title"]) == (409, "refused as unsafe")
    assert "orders-1: 1 in-sync replica would be left (2), min.insync.replicas is 2" in answer["detail"]


@pytest.mark.parametrize(
    ("document", "detail"),
    [
        ({}, "kind must be a text"),
        ({"kind": 5, "brokers": [1]}, "kind must be a text"),
        ({"kind": "reboot", "brokers": [1]}, "no kind of change 'reboot'; there are restart, roll, start, stop"),
        ({"kind": "x" * 5000, "brokers": [1]}, "no kind of change 'xxx"),
        ({"kind": "restart"}, "list of different broker ids"),
        ({"kind": "restart", "brokers": []}, "list of different broker ids"),
        ({"kind": "restart", "brokers": 1}, "list of different broker ids"),
        ({"kind": "restart", "brokers": "1"}, "list of different broker ids"),
        ({"kind": "restart", "brokers": [1, 1]}, "list of different broker ids"),
        ({"kind": "restart", "brokers": ["1"]}, "list of different broker ids"),
        ({"kind": "restart", "brokers": [True]}, "list of different broker ids"),
        ({"kind": "restart", "brokers": [1.0]}, "list of different broker ids"),
        ({"kind": "restart", "brokers": [-1]}, "list of different broker ids"),
        ({"kind": "restart", "brokers": [2**31]}, "list of different broker ids"),
        ({"kind": "restart", "brokers": [[1]]}, "list of different broker ids"),
        ({"kind": "restart", "brokers": [9]}, "no daemon answers for broker 9; those with one are 1, 2, 3"),
        ({**RESTART, "broker": 1}, "'broker' is not asked for here"),
        ({**RESTART, "reason": 5}, "reason must be a line"),
        ({**RESTART, "reason": "two\nlines"}, "reason must be a line"),
        ({**RESTART, "reason": "x" * 501}, "reason must be a line"),
        ({**RESTART, "by": "\x1b[2J"}, "by must be a line"),
        ({**RESTART, "dry_run": "yes"}, "dry_run must be true or false"),
        ({**RESTART, "accept_unavailable": 1}, "accept_unavailable must be true or false"),
    ],
)
def test_what_makes_no_sense_is_400_and_named(world: World, document: dict[str, Any], detail: str) -> None:
    code, answer = world.ask("POST", "/v1/changes", document)
    assert (code, answer["title"]) == (400, "bad request")
    assert detail in answer["detail"]
    assert len(answer["detail"]) < 300
    assert world.meeting.created == 0


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'"restart"', b"\xff\xfe", b"[" * 30_000, b'{"kind": ' + b"9" * 5000 + b"}"],
)
def test_a_body_that_is_no_json_object_is_400(world: World, body: bytes) -> None:
    for path in ("/v1/changes", "/v1/maintenance"):
        code, answer = world.send(path, body)
        assert code == 400
        assert "JSON object" in answer["detail"]


def test_a_body_without_end_is_413(world: World) -> None:
    code, answer = world.send("/v1/changes", b" " * (over_http.BODY_BYTES + 1))
    assert (code, answer["title"]) == (413, "too large")


def test_a_client_that_goes_in_mid_body_leaves_nothing_behind(world: World, caplog: pytest.LogCaptureFixture) -> None:
    host, port = world.url.removeprefix("http://").split(":")
    for _ in range(threads.MOST + 1):
        with socket.create_connection((host, int(port)), timeout=5) as client:
            client.sendall(b"POST /v1/changes HTTP/1.1\r\nhost: x\r\ncontent-length: 900\r\n\r\n" + b'{"kind"')
    assert world.ask("POST", "/v1/changes", RESTART)[0] == 201
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


@pytest.mark.parametrize(
    ("trouble", "code", "title"),
    [
        (UnavailableError("ZooKeeper is away"), 503, "not available"),
        (TimedOutError("ZooKeeper gave no answer"), 504, "timed out"),
        (RefusedError("no"), 409, "refused as unsafe"),
    ],
)
def test_what_goes_wrong_has_its_status(world: World, trouble: Exception, code: int, title: str) -> None:
    world.meeting.shows(changes=(change(4, node_id=2),))
    world.meeting.trouble = trouble  # type: ignore[assignment]
    for method, path, document in (*ACTS[:3], ("GET", "/v1/changes/4", None)):
        found, answer = world.ask(method, path, document)
        assert (found, answer["title"], answer["detail"]) == (code, title, str(trouble)), path


def test_what_nobody_foresaw_is_500_and_frees_its_place(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.meeting.trouble = ValueError("oh")  # type: ignore[assignment]
    for _ in range(threads.MOST + 1):
        code, answer = world.ask("GET", "/v1/changes/4")
        assert (code, answer["detail"]) == (500, "the daemon failed to answer; its log says why")
    world.meeting.trouble = None
    assert world.ask("GET", "/v1/changes")[0] == 200


def test_where_no_thread_can_be_started_it_is_503_and_frees_its_place(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    class None_(threads.threading.Thread):
        def start(self) -> None:
            raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threads.threading, "Thread", None_)
        for _ in range(threads.MOST + 1):
            code, answer = world.ask("GET", "/v1/changes")
            assert (code, "can't start new thread" in answer["detail"]) == (503, True)
    assert world.ask("GET", "/v1/changes")[0] == 200


def test_cancelling(world: World) -> None:
    world.meeting.shows(changes=(change(4, state=ChangeState.RUNNING), change(5)))
    assert world.ask("DELETE", "/v1/changes/4?dry_run=true")[0] == 200
    assert not world.meeting.known.changes[0].cancel
    code, answer = world.ask("DELETE", "/v1/changes/4")
    assert (code, answer["cancel_asked"], answer["state"]) == (202, True, "running")
    code, answer = world.ask("DELETE", "/v1/changes/5")
    assert (code, answer["cancel_asked"], answer["state"]) == (200, True, "cancelled")


def test_what_has_ended_or_never_was_cannot_be_cancelled(world: World) -> None:
    world.meeting.history = [change(3, state=ChangeState.DONE)]
    assert world.ask("DELETE", "/v1/changes/3")[1]["detail"] == "change 3 has ended already: done"
    code, answer = world.ask("DELETE", "/v1/changes/5")
    assert (code, answer["detail"]) == (400, "there is no change 5; see: bubuku-cli changes list")


@pytest.mark.parametrize(
    ("method", "path", "detail"),
    [
        ("GET", "/v1/changes/x", "'x' is not a change's number"),
        ("GET", "/v1/changes/-1", "'-1' is not a change's number"),
        ("GET", "/v1/changes/" + "9" * 4000, "is not a change's number"),
        ("GET", "/v1/changes/%D9%A3", "is not a change's number"),
        ("GET", "/v1/changes?ended=501", "'501' is not a number of ended changes up to 500"),
        ("GET", "/v1/changes?last=5", "'last' is not asked for here"),
        ("DELETE", "/v1/changes/4?dry_run=1", "neither true nor false"),
        ("DELETE", "/v1/permit/one", "'one' is not a broker's id"),
        ("DELETE", "/v1/permit/3?force=true", "'force' is not asked for here"),
    ],
)
def test_a_path_or_query_that_makes_no_sense_is_named(world: World, method: str, path: str, detail: str) -> None:
    code, answer = world.ask(method, path)
    assert code == 400
    assert detail in answer["detail"]
    assert len(answer["detail"]) < 300


@pytest.mark.parametrize(
    ("method", "path"),
    [("PUT", "/v1/changes"), ("DELETE", "/v1/changes"), ("POST", "/v1/changes/4"), ("POST", "/v1/permit")],
)
def test_other_methods_are_405(world: World, method: str, path: str) -> None:
    assert world.ask(method, path)[0] == 405


# --- maintenance and the permit ---------------------------------------------------------------------------------------


def test_maintenance(world: World) -> None:
    off = {"on": False, "by": None, "text": None, "since_epoch": None, "until_epoch": None}
    assert world.ask("GET", "/v1/maintenance") == (200, off)
    wanted = {"on": True, "by": "anna", "reason": "disks", "for_seconds": 90}
    assert world.ask("POST", "/v1/maintenance", {**wanted, "dry_run": True}) == (200, {"dry_run": True, "on": True})
    assert world.ask("GET", "/v1/maintenance") == (200, off)
    assert world.ask("POST", "/v1/maintenance", wanted) == (200, {"dry_run": False, "on": True})
    _, found = world.ask("GET", "/v1/maintenance")
    assert (found["on"], found["by"], found["text"]) == (True, "anna", "disks")
    assert found["until_epoch"] - found["since_epoch"] == pytest.approx(90)
    assert world.ask("POST", "/v1/maintenance", {"on": False})[0] == 200
    assert world.ask("GET", "/v1/maintenance") == (200, off)


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"on": 1},
        {"on": True, "for_seconds": 0},
        {"on": True, "for_seconds": -5},
        {"on": True, "for_seconds": "60"},
        {"on": True, "for_seconds": True},
        {"on": True, "for_seconds": 10**12},
        {"on": True, "until": 5},
    ],
)
def test_maintenance_that_makes_no_sense(world: World, document: dict[str, Any]) -> None:
    assert world.ask("POST", "/v1/maintenance", document)[0] == 400
    assert not world.meeting.known.maintenance.on  # type: ignore[union-attr]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_numbers_that_are_none(world: World, number: str) -> None:
    assert world.send("/v1/maintenance", b'{"on": true, "for_seconds": %s}' % number.encode())[0] == 400


def test_the_permit(world: World) -> None:
    assert world.ask("GET", "/v1/permit") == (200, {"entries": []})
    world.meeting.shows(permit=Permit(4, {3: ENTRY}))
    assert world.ask("DELETE", "/v1/permit/3")[0] == 409
    world.meeting.shows(members=(make.member(1), make.member(2)))
    entry = json.loads(json.dumps({"broker": 3, "host": ENTRY.host, "since_epoch": ENTRY.since_epoch, "working": True}))
    assert world.ask("GET", "/v1/permit")[1]["entries"] == [{**entry, "why": "restarted", "change": "uuid"}]
    assert world.ask("DELETE", "/v1/permit/3?dry_run=true")[1]["released"]["broker"] == 3
    assert world.meeting.known.permit is not None
    assert 3 in world.meeting.known.permit.entries
    assert world.ask("DELETE", "/v1/permit/3")[0] == 200
    assert world.ask("GET", "/v1/permit") == (200, {"entries": []})
    assert world.ask("DELETE", "/v1/permit/3")[0] == 400


def test_a_release_with_no_known_outcome_is_504(world: World) -> None:
    world.meeting.shows(permit=Permit(4, {3: ENTRY}), members=(make.member(1), make.member(2)))
    world.meeting.dropping = Outcome(Result.UNKNOWN, 0.0, 5.0, "ZooKeeper gave no answer")
    code, answer = world.ask("DELETE", "/v1/permit/3")
    assert (code, answer["detail"]) == (504, "ZooKeeper gave no answer; see: bubuku-cli permit show")
