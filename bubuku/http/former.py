"""The original's `/api/…` paths: 410 with a problem document that names the successor.

Caller: `http.app`, for both listeners: the original answered on its health port. The table is `core.former`.
"""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bubuku.core import former

METHODS = ["GET", "POST", "PUT", "DELETE"]


async def gone(request: Request) -> Response:
    row = former.path(request.url.path)
    if row is None:
        raise HTTPException(404)
    raise HTTPException(410, f"{request.url.path[:200]} is the original bubuku's; its successor: {row.successor}")


ROUTES = [Route("/api/{rest:path}", gone, methods=METHODS)]
