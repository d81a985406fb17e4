"""Documents as HTTP answers. Callers: `http.app` and the handlers, in the HTTP thread. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

JSON = "application/json"
NO_STORE = {"cache-control": "no-store"}


def rendered(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def json_response(document: Mapping[str, Any], status: int = 200) -> Response:
    return Response(rendered(document), status, media_type=JSON, headers=NO_STORE)
