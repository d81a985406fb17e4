"""`/v1/changes`, `/v1/maintenance`, `/v1/permit`: what operators ask for, and what becomes of it.

Caller: `http.app`. What changes something (POST, DELETE) needs the bearer token where one is configured; where none is,
it is taken from loopback alone. ZooKeeper and Kafka are asked in `http.threads`.
"""

from __future__ import annotations

import hmac
import ipaddress
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route

from bubuku.http.change_documents import (
    change_document,
    entry_document,
    maintenance_document,
    plan_document,
    shown_document,
)
from bubuku.http.rendering import json_response
from bubuku.http.safe_to_stop import LARGEST_ID, verdict_document
from bubuku.http.threads import Threads
from bubuku.operations import Answer, Operations, Request

CHANGES, MAINTENANCE, PERMIT = "/v1/changes", "/v1/maintenance", "/v1/permit"
BODY_BYTES = 65_536
TEXT_LENGTH = 500
ENDED_SHOWN = 20
ASKED = {
    "kind",
    "brokers",
    "reason",
    "by",
    "accept_unavailable",
    "parallel",
    "cool_down_seconds",
    "dry_run",
}
Handler = Callable[[HttpRequest], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Access:
    """Who may change something. `token` None: whoever asks from this host."""

    token: str | None

    def check(self, request: HttpRequest) -> None:
        """Raises HTTPException 401 or 403 with what to do."""
        if self.token is not None:
            given = request.headers.get("authorization", "")
            if not hmac.compare_digest(given.encode(), f"Bearer {self.token}".encode()):
                raise HTTPException(
                    401, "give the token of api.token_file: Authorization: Bearer …", {"www-authenticate": "Bearer"}
                )
        elif request.client is None or not is_loopback(request.client.host):
            raise HTTPException(403, "from elsewhere than this host a token is needed, and api.token_file is not set")
        elif not is_loopback(page_host(request.headers.get("origin", "//localhost"))):
            raise HTTPException(
                403, "pages from elsewhere change nothing here without a token"
            )  # in a browser on this host


def page_host(origin: str) -> str:
    """
    >>> [page_host(each) for each in ("http://localhost:8888", "https://example.org", "null", "http://[")]
    ['localhost', 'example.org', '', '']
    """
    try:
        return urlsplit(origin).hostname or ""
    except ValueError:
        return ""


def is_loopback(host: str) -> bool:
    """
    >>> [is_loopback(each) for each in ("127.0.0.1", "::1", "::ffff:127.0.0.1", "localhost")]
    [True, True, True, True]
    >>> [is_loopback(each) for each in ("10.0.0.1", "::ffff:10.0.0.1", "example.org", "")]
    [False, False, False, False]
    """
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return address.is_loopback if mapped is None else mapped.is_loopback


def answer_document(answer: Answer, dry_run: bool) -> dict[str, Any]:
    return {
        "dry_run": dry_run,
        "plan": None if answer.plan is None else plan_document(answer.plan),
        "changes": [change_document(change) for change in answer.changes],
        "verdicts": [verdict_document(verdict) for verdict in answer.verdicts],
    }


def routes(operations: Operations, access: Access, threads: Threads) -> list[Route]:
    """path → handlers, by method."""

    async def listed(request: HttpRequest) -> Response:
        _only(request.query_params, {"ended"})
        ended = _number(request.query_params.get("ended", str(ENDED_SHOWN)), "a number of ended changes up to 500", 500)
        found = await threads.run(lambda: operations.changes(ended))
        return json_response({"changes": [change_document(change) for change in found]})

    async def asked(request: HttpRequest) -> Response:
        wanted = submission(await body(request))
        answer = await threads.run(lambda: operations.submit(wanted))
        return json_response(answer_document(answer, wanted.dry_run), 200 if wanted.dry_run else 201)

    async def shown(request: HttpRequest) -> Response:
        sequence = _number(request.path_params["sequence"], "a change's number")
        return json_response(shown_document(await threads.run(lambda: operations.shown(sequence))))

    async def cancelled(request: HttpRequest) -> Response:
        sequence = _number(request.path_params["sequence"], "a change's number")
        dry_run = dry_run_asked(request)
        change = await threads.run(lambda: operations.cancel(sequence, dry_run))
        return json_response(change_document(change), 202 if change.state.is_open and not dry_run else 200)

    async def paused(request: HttpRequest) -> Response:
        sequence = _number(request.path_params["sequence"], "a change's number")
        wanted = pause_asked(await body(request))
        return json_response(change_document(await threads.run(lambda: operations.pause(sequence, wanted))))

    async def maintenance(_: HttpRequest) -> Response:
        return json_response(maintenance_document(await threads.run(operations.maintenance), time.time()))

    async def set_maintenance(request: HttpRequest) -> Response:
        on, by, text, seconds, dry_run = maintenance_asked(await body(request))
        await threads.run(lambda: operations.set_maintenance(on, by, text, seconds, dry_run))
        return json_response({"dry_run": dry_run, "on": on})

    async def permit(_: HttpRequest) -> Response:
        entries = await threads.run(operations.permit)
        return json_response({"entries": [entry_document(node, entries[node]) for node in sorted(entries)]})

    async def released(request: HttpRequest) -> Response:
        node = _number(request.path_params["node"], "a broker's id")
        dry_run = dry_run_asked(request)
        entry = await threads.run(lambda: operations.release(node, dry_run))
        return json_response({"dry_run": dry_run, "released": entry_document(node, entry)})

    table: dict[str, dict[str, Handler]] = {
        CHANGES: {"GET": listed, "POST": asked},
        CHANGES + "/{sequence}": {"GET": shown, "PATCH": paused, "DELETE": cancelled},
        MAINTENANCE: {"GET": maintenance, "POST": set_maintenance},
        PERMIT: {"GET": permit},
        PERMIT + "/{node}": {"DELETE": released},
    }
    return [Route(path, _by_method(handlers, access), methods=list(handlers)) for path, handlers in table.items()]


def _by_method(handlers: dict[str, Handler], access: Access) -> Handler:
    async def handle(request: HttpRequest) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        if method != "GET":
            access.check(request)
        return await handlers[method](request)

    return handle


async def body(request: HttpRequest) -> dict[str, Any]:
    """The JSON object of a request. Raises HTTPException 400 or 413."""
    received = b""
    try:
        async for piece in request.stream():
            received += piece
            if len(received) > BODY_BYTES:
                raise HTTPException(413, f"a request's body has at most {BODY_BYTES} bytes")
    except ClientDisconnect:  # nobody reads the answer, and it is not our fault that a log would tell of
        raise HTTPException(400, "the request broke off") from None
    try:
        found = json.loads(received)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise HTTPException(400, 'the body must be a JSON object, like {"kind": "restart", "brokers": [1]}')
    return found


def submission(document: dict[str, Any]) -> Request:
    """Raises HTTPException 400 that names what makes no sense."""
    _only(document, ASKED)
    kind, brokers = document.get("kind"), document.get("brokers")
    if not isinstance(kind, str):
        raise HTTPException(400, "kind must be a text, like restart")
    ids = brokers if isinstance(brokers, list) else []
    if not ids or not all(_is_id(each) for each in ids) or len(set(ids)) != len(ids):
        raise HTTPException(400, "brokers must be a list of different broker ids, like [1, 2]")
    return Request(
        kind=kind,
        nodes=tuple(ids),
        by=_text(document, "by") or "somebody",
        text=_text(document, "reason"),
        accept_unavailable=_flag(document, "accept_unavailable"),
        parallel=_parallel(document),
        cool_down=_seconds(document, "cool_down_seconds", 0.0) or 0.0,
        dry_run=_flag(document, "dry_run"),
    )


def maintenance_asked(document: dict[str, Any]) -> tuple[bool, str, str | None, float | None, bool]:
    """(on, by, reason, seconds, dry_run). Raises HTTPException 400."""
    _only(document, {"on", "by", "reason", "for_seconds", "dry_run"})
    if not isinstance(document.get("on"), bool):
        raise HTTPException(400, "on must be true or false")
    seconds, on = _seconds(document, "for_seconds", None), bool(document["on"])
    if seconds == 0:
        raise HTTPException(400, "for_seconds must be more than 0")
    by, text = _text(document, "by") or "somebody", _text(document, "reason")
    return on, by, text, seconds, _flag(document, "dry_run")


def pause_asked(document: dict[str, Any]) -> bool:
    """Raises HTTPException 400."""
    _only(document, {"paused"})
    if not isinstance(document.get("paused"), bool):
        raise HTTPException(400, "paused must be true or false")
    return bool(document["paused"])


def dry_run_asked(request: HttpRequest) -> bool:
    """`?dry_run=true` of a DELETE. Raises HTTPException 400."""
    _only(request.query_params, {"dry_run"})
    given = request.query_params.get("dry_run", "false")
    if given not in ("true", "false"):
        raise HTTPException(400, f"dry_run={given[:100]!r} is neither true nor false")
    return given == "true"


def _only(document: Mapping[str, Any], known: set[str]) -> None:
    for name in document:
        if name not in known:
            raise HTTPException(400, f"{name[:100]!r} is not asked for here; there are {', '.join(sorted(known))}")


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST_ID


def _flag(document: dict[str, Any], name: str) -> bool:
    value = document.get(name, False)
    if not isinstance(value, bool):
        raise HTTPException(400, f"{name} must be true or false")
    return value


def _parallel(document: dict[str, Any]) -> int:
    found = document.get("parallel", 1)
    if not _is_id(found):
        raise HTTPException(400, "parallel must be a number of brokers, or 0: as many as the guard allows")
    return int(found)


def _seconds(document: dict[str, Any], name: str, default: float | None) -> float | None:
    found = document.get(name)
    if found is None:
        return default
    if not isinstance(found, int | float) or isinstance(found, bool) or not 0 <= found < 10**9:
        raise HTTPException(400, f"{name} must be a number of seconds")
    return float(found)


def _text(document: dict[str, Any], name: str) -> str | None:
    value = document.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > TEXT_LENGTH or not value.isprintable():
        raise HTTPException(400, f"{name} must be a line of at most {TEXT_LENGTH} characters")
    return value.strip() or None


def _number(text: str, what: str, most: int = LARGEST_ID) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 10 and int(text) <= most):
        raise HTTPException(400, f"{text[:100]!r} is not {what}")
    return int(text)
