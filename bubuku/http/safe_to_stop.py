"""`GET /v1/safe-to-stop?broker=1&broker=2[&accept_unavailable=true]`: may these be stopped, and if not, why.

Caller: `http.app`, on uvicorn's event loop, which never waits here: the cluster is asked in a thread of the question's
own (`http.threads`). The judge lets one at a time ask the cluster, and ends each by a deadline.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypedDict

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from bubuku.core.guard import Verdict
from bubuku.http.rendering import json_response
from bubuku.http.threads import Threads

SAFE_TO_STOP = "/v1/safe-to-stop"
NAMED = 100  # partitions
LARGEST_ID = 2**31 - 1

Ask = Callable[[frozenset[int], bool], Verdict]
"""(node ids, whether unavailability is accepted) → the verdict. Raises BubukuError. Called in threads."""


class BlockedDocument(TypedDict):
    """A partition that says no. `left`: who would still be in sync; `needed`: how many must be."""

    topic: str
    partition: int
    objection: str
    sentence: str
    left: list[int]
    needed: int


class VerdictDocument(TypedDict):
    """`blocked` has the first `NAMED` of `blocked_total`. `unknown`: what could not be had: so no."""

    safe: bool
    brokers: list[int]
    sentence: str
    blocked: list[BlockedDocument]
    blocked_total: int
    unknown: str | None
    quorum: str | None
    warning: str | None
    accepted_unavailable: int


def verdict_document(verdict: Verdict) -> VerdictDocument:
    return {
        "safe": verdict.allowed,
        "brokers": list(verdict.brokers),
        "sentence": verdict.sentence(),
        "blocked": [
            {
                "topic": b.topic,
                "partition": b.partition,
                "objection": b.objection.value,
                "sentence": b.sentence(),
                "left": list(b.left),
                "needed": b.needed,
            }
            for b in verdict.blocked[:NAMED]
        ],
        "blocked_total": len(verdict.blocked),
        "unknown": verdict.unknown,
        "quorum": verdict.quorum,
        "warning": verdict.warning,
        "accepted_unavailable": verdict.accepted,
    }


def answering(ask: Ask, threads: Threads) -> Callable[[Request], Awaitable[Response]]:
    """The path's handler."""

    async def answer(request: Request) -> Response:
        brokers, accept = asked(request)
        verdict = await threads.run(lambda: ask(brokers, accept))
        return json_response(verdict_document(verdict))

    return answer


def asked(request: Request) -> tuple[frozenset[int], bool]:
    """(node ids, accept_unavailable). Raises HTTPException 400 that names what makes no sense."""
    query = request.query_params
    for name in query:
        if name not in ("broker", "accept_unavailable"):
            raise HTTPException(400, f"{name[:100]!r} is not asked for here; give broker and accept_unavailable")
    ids = query.getlist("broker")
    if not ids:
        raise HTTPException(400, f"give the brokers to stop: {SAFE_TO_STOP}?broker=1&broker=2")
    for text in ids:
        if not (text.isascii() and text.isdecimal() and len(text) <= 10 and int(text) <= LARGEST_ID):
            raise HTTPException(400, f"broker={text[:100]!r} is not a broker id")
    accept = query.get("accept_unavailable", "false")
    if accept not in ("true", "false"):
        raise HTTPException(400, f"accept_unavailable={accept[:100]!r} is neither true nor false")
    return frozenset(map(int, ids)), accept == "true"
