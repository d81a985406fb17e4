"""Where the command line gets its data: which daemons to ask, and asking them.

Callers: commands. Any daemon of a cluster answers for all of it, so the first of the addresses that answers will do.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bubuku.core.errors import BubukuError, RefusedError, TimedOutError, UnavailableError, UsageError

API_VARIABLE = "BUBUKU_API"
CONFIG_VARIABLE = "BUBUKU_CONFIG"
CONNECT_SECONDS = 3.0
ANSWER_SECONDS = 5.0
ERRORS: dict[int, type[BubukuError]] = {
    400: UsageError,
    401: UsageError,
    403: UsageError,
    409: RefusedError,
    504: TimedOutError,
}
TOKEN_HINT = "; name the file that holds it with --token-file, or $BUBUKU_TOKEN_FILE"
SEE_ALSO = {  # what tells whether a request was taken
    "/v1/changes": "bubuku-cli changes list",
    "/v1/maintenance": "bubuku-cli maintenance show",
    "/v1/permit": "bubuku-cli permit show",
}
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}


def addresses(api: str | None, environ: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """The base URLs to ask, in order: `api` (or $BUBUKU_API), the daemon's configuration, a running sandbox, this host.

    `api` may be several with commas. Raises UsageError for one that is no http URL or a configuration without sense.
    """
    if api is not None:
        return tuple(checked(each.strip()) for each in api.split(",") if each.strip())
    if environ.get(CONFIG_VARIABLE) or environ.get("HEALTH_PORT"):
        return (configured(environ),)
    return sandbox_addresses() or ("http://127.0.0.1:8888",)


def checked(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise UsageError(f"{url!r} is not the URL of a daemon's API; it should look like http://127.0.0.1:8888")
    return url.rstrip("/")


def configured(environ: Mapping[str, str]) -> str:
    """The API of this host's daemon by its configuration, of which only `api` is read."""
    import yaml
    from pydantic import ValidationError

    from bubuku.config.model import Api

    path = environ.get(CONFIG_VARIABLE)
    section: dict[str, Any] = {}
    try:
        if path:
            section = dict((yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}).get("api") or {})
        if environ.get("HEALTH_PORT"):
            section["health_port"] = environ["HEALTH_PORT"]
        api = Api.model_validate(section)
    except OSError as error:
        raise UsageError(f"{path} (${CONFIG_VARIABLE}) cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, ValidationError, AttributeError, TypeError, ValueError) as error:
        where = f"{path} (${CONFIG_VARIABLE})" if path else "$HEALTH_PORT"
        raise UsageError(f"{where}: no sense can be made of api; see `bubuku-cli config check`") from error
    return f"http://{EVERYWHERE.get(api.host, api.host)}:{api.port}"


def sandbox_addresses() -> tuple[str, ...]:
    """The APIs of the living daemons of the sandbox in its usual folder; none where none runs."""
    from bubuku.sandbox import layout, running

    folder = layout.default_folder()
    known = layout.load(folder)
    if known is None:
        return ()
    daemons = running.read(folder).daemons
    return tuple(node.api_url for node in known.nodes if node.node_id in daemons)


def fetch(urls: Sequence[str], path: str, answer_seconds: float = ANSWER_SECONDS) -> dict[str, Any]:
    """The JSON document at `path` of the first daemon of `urls` that answers.

    Raises UnavailableError, or TimedOutError where it did not answer in time, with one line that names the address;
    UsageError with the daemon's word where it says that what was asked makes no sense.
    """
    return ask(urls, "GET", path, answer_seconds=answer_seconds)


def ask(
    urls: Sequence[str],
    method: str,
    path: str,
    document: Mapping[str, Any] | None = None,
    token: str | None = None,
    answer_seconds: float = ANSWER_SECONDS,
) -> dict[str, Any]:
    """As `fetch`, for any method. Raises RefusedError too, with the daemon's reason.

    What changes something is not sent to a second daemon where the first one may have taken it: TimedOutError then.
    """
    troubles: list[BubukuError] = []
    for url in urls:
        try:
            return ask_one(url, method, path, document, token, answer_seconds)
        except (UnavailableError, TimedOutError) as error:
            if method != "GET" and isinstance(error, TimedOutError):
                raise TimedOutError(f"{error}; it may have been taken: see {SEE_ALSO.get(_top(path), path)}") from error
            troubles.append(error)
    more = f" (nor does any other of {len(urls)} daemons)" if len(urls) > 1 else ""
    raise type(troubles[0])(str(troubles[0]) + more)


def _top(path: str) -> str:
    return "/".join(path.partition("?")[0].split("/")[:3])


def ask_one(
    url: str,
    method: str,
    path: str,
    document: Mapping[str, Any] | None,
    token: str | None,
    answer_seconds: float,
) -> dict[str, Any]:
    """Raises TimedOutError where it was sent, and no answer of a daemon came."""
    import requests

    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    acts = method != "GET"
    with requests.Session() as session:
        session.trust_env = False  # a proxy from the environment is not meant for daemons
        try:
            answer = session.request(
                method,
                url + path,
                json=document,
                headers=headers,
                timeout=(CONNECT_SECONDS, answer_seconds),
                allow_redirects=False,
            )
        except requests.ConnectTimeout as error:
            raise UnavailableError(f"no daemon answers at {url}; is it the right address (--api)?") from error
        except requests.Timeout as error:
            raise TimedOutError(f"no daemon answers at {url} in time; is it the right address (--api)?") from error
        except requests.ConnectionError as error:
            if acts and not _never_connected(error):
                raise TimedOutError(f"the daemon at {url} ended the connection before it answered") from error
            raise UnavailableError(
                f"no daemon answers at {url}; does it run, is it the right address (--api)?"
            ) from error
        except requests.RequestException as error:
            if acts and isinstance(error, requests.exceptions.ChunkedEncodingError):
                raise TimedOutError(f"the daemon at {url} ended the connection in its answer") from error
            raise UnavailableError(f"{url} cannot be asked: {error}") from error
    try:
        found = answer.json()
    except requests.JSONDecodeError:
        found = None
    status = answer.status_code
    if isinstance(found, dict) and status in (200, 201, 202):
        return found
    detail = str(found["detail"]) if isinstance(found, dict) and "detail" in found else None
    if detail is not None and status in ERRORS:
        more = TOKEN_HINT if status in (401, 403) else ""
        raise ERRORS[status](detail + more)
    if detail is not None and status == 503:
        raise UnavailableError(f"the daemon at {url} does not know yet: {detail}")
    if acts and detail is not None and status == 500:
        raise TimedOutError(f"the daemon at {url} failed while it was at it: {detail}")
    raise UnavailableError(f"{url}{path} is not a bubuku daemon's API (HTTP {answer.status_code}); name it with --api")


def _never_connected(error: Exception) -> bool:
    """Whether there was no connection at all, so that nothing was sent."""
    from urllib3.exceptions import MaxRetryError, NewConnectionError

    cause = error.args[0] if error.args else None
    return isinstance(cause, MaxRetryError) and isinstance(cause.reason, NewConnectionError)
