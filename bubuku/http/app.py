"""The ASGI application: routes by a table, each an exact path with GET and HEAD.

Caller: uvicorn, in the HTTP thread; handlers never wait for anything, they render the last `Published` (and
`http.safe_to_stop` awaits a thread of its own). The request is one of the project's two boundaries: an error of ours
becomes a 500 document and a line in the log. Every error is a problem document {title, status, detail}. The health
listener answers `HEALTH_PATHS` alone. Both say what became of the original's paths (`http.former`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from bubuku import metrics
from bubuku.core.observation import About, Published
from bubuku.http import changes, documents, former
from bubuku.http.cluster_document import cluster_document
from bubuku.http.rendering import JSON, NO_STORE, json_response, rendered
from bubuku.http.safe_to_stop import SAFE_TO_STOP, Ask, answering
from bubuku.http.status_document import status_document
from bubuku.http.threads import Threads
from bubuku.operations import Operations

HEALTH_PATHS = ("/livez", "/readyz", "/health")
PROBLEM = "application/problem+json"

OK = Response(b'{"status":"ok"}\n', media_type=JSON, headers=NO_STORE)  # sent by any number of requests at once
TITLES = {
    400: "bad request",
    401: "not authorised",
    403: "forbidden",
    404: "no such path",
    405: "method not allowed",
    409: "refused as unsafe",
    410: "gone",
    413: "too large",
    504: "timed out",
}
PATIENCE: Mapping[str, float] = {  # path, or the folder that it is in → seconds: the deadlines of what is asked
    SAFE_TO_STOP: 30.0,
    changes.CHANGES: 40.0,
    changes.MAINTENANCE: 15.0,
    changes.PERMIT: 15.0,
}


Probe = Callable[[Published | None, float, float], documents.Problem | None]


@dataclass(frozen=True, slots=True)
class Source:
    """Where answers come from. `started` and `now` are monotonic; `published` gives None before the first tick."""

    published: Callable[[], Published | None]
    now: Callable[[], float]
    about: About
    started: float
    safe_to_stop: Ask | None = None  # None: this server is not asked for verdicts
    operations: Operations | None = None  # None: it changes nothing
    token: str | None = None  # what requests that change something must carry


def application(source: Source, health_port: int | None) -> ASGIApp:
    """The application of both listeners. Requests that came in by `health_port` see `HEALTH_PATHS` alone, and what
    became of the original's paths."""
    table = routes(source)
    full = starlette([*table, *former.ROUTES])
    health = starlette([*(r for r in table if r.path in HEALTH_PATHS), *former.ROUTES])

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if health_port is not None and scope["server"][1] == health_port:
            await health(scope, receive, send)
        else:
            await full(scope, receive, send)

    return answer


def starlette(table: list[Route]) -> Starlette:
    app = Starlette(routes=table, exception_handlers={HTTPException: on_http_error, Exception: on_error})
    app.router.redirect_slashes = False  # paths are exact
    return app


def routes(source: Source) -> list[Route]:
    """path → handler."""
    operations = source.operations
    refused = dict if operations is None else lambda: operations.refusals
    ours = metrics.registry(source.published, source.about, refused)

    def livez(_: Request) -> Response:
        return probe_response(source, documents.live)

    def readyz(_: Request) -> Response:
        return probe_response(source, documents.ready)

    def health(_: Request) -> Response:
        document = documents.health(source.published(), source.now(), source.started)
        return json_response(document, 200 if document["ready"] else 503)

    def status(_: Request) -> Response:
        return json_response(status_document(ticked(source), source.about, source.now()))

    def cluster(_: Request) -> Response:
        return json_response(cluster_document(ticked(source), source.about, source.now()))

    def scrape(_: Request) -> Response:
        return Response(metrics.exposition(ours), headers={"content-type": metrics.CONTENT_TYPE})

    table: dict[str, Callable[[Request], Response]] = {
        "/livez": livez,
        "/readyz": readyz,
        "/health": health,
        "/v1/status": status,
        "/v1/cluster": cluster,
        "/metrics": scrape,
    }
    found = [Route(path, on_loop(handler), methods=["GET"]) for path, handler in table.items()]
    threads = Threads()
    if source.safe_to_stop is not None:
        found.append(Route(SAFE_TO_STOP, answering(source.safe_to_stop, threads), methods=["GET"]))
    if source.operations is not None:
        found += changes.routes(source.operations, changes.Access(source.token), threads)
    return found


def on_loop(handler: Callable[[Request], Response]) -> Callable[[Request], Any]:
    """Handlers render in microseconds, so they run on the event loop and not in Starlette's thread pool."""

    async def handle(request: Request) -> Response:
        return handler(request)

    return handle


def ticked(source: Source) -> Published:
    published = source.published()
    if published is None:
        raise HTTPException(503, "the daemon has just started and knows nothing yet; ask again in a second")
    return published


def probes(source: Source) -> Callable[[str], Response | None]:
    """path → the answer to a plain GET; None where the path is not that of a probe."""
    table = {"/livez": documents.live, "/readyz": documents.ready}

    def answer(path: str) -> Response | None:
        probe = table.get(path)
        return None if probe is None else probe_response(source, probe)

    return answer


def probe_response(source: Source, probe: Probe) -> Response:
    trouble = probe(source.published(), source.now(), source.started)
    if trouble is None:
        return OK
    return Response(rendered(trouble), trouble["status"], media_type=PROBLEM, headers=NO_STORE)


def on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path = request.url.path[:200]
    details = {404: f"{path} is not a path of this port", 405: f"{request.method} is not allowed on {path}"}
    document = documents.problem(
        error.status_code,
        TITLES.get(error.status_code, "not available"),
        details.get(error.status_code, error.detail),
    )
    headers = NO_STORE | dict(error.headers or {})
    return Response(rendered(document), error.status_code, media_type=PROBLEM, headers=headers)


def on_error(_: Request, __: Exception) -> Response:
    document = documents.problem(500, "internal error", "the daemon failed to answer; its log says why")
    return Response(rendered(document), 500, media_type=PROBLEM, headers=NO_STORE)
