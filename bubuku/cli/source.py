"""Where the command line gets its data: which daemons to ask, and asking them.

Callers: commands. Any daemon of a cluster answers for all of it, so the first of the addresses that answers will do.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bubuku.core.errors import BubukuError, TimedOutError, UnavailableError, UsageError

API_VARIABLE = "BUBUKU_API"
CONFIG_VARIABLE = "BUBUKU_CONFIG"
CONNECT_SECONDS = 3.0
ANSWER_SECONDS = 5.0
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
    troubles: list[BubukuError] = []
    for url in urls:
        try:
            return fetch_one(url, path, answer_seconds)
        except (UnavailableError, TimedOutError) as error:
            troubles.append(error)
    more = f" (nor does any other of {len(urls)} daemons)" if len(urls) > 1 else ""
    raise type(troubles[0])(str(troubles[0]) + more)


def fetch_one(url: str, path: str, answer_seconds: float = ANSWER_SECONDS) -> dict[str, Any]:
    import requests

    with requests.Session() as session:
        session.trust_env = False  # a proxy from the environment is not meant for daemons
        try:
            answer = session.get(url + path, timeout=(CONNECT_SECONDS, answer_seconds), allow_redirects=False)
        except requests.Timeout as error:
            raise TimedOutError(f"no daemon answers at {url} in time; is it the right address (--api)?") from error
        except requests.ConnectionError as error:
            raise UnavailableError(
                f"no daemon answers at {url}; does it run, is it the right address (--api)?"
            ) from error
        except requests.RequestException as error:
            raise UnavailableError(f"{url} cannot be asked: {error}") from error
    try:
        document = answer.json()
    except requests.JSONDecodeError:
        document = None
    if isinstance(document, dict) and answer.status_code == 200:
        return document
    if isinstance(document, dict) and answer.status_code == 503:
        raise UnavailableError(f"the daemon at {url} does not know yet: {document.get('detail', '')}")
    if isinstance(document, dict) and answer.status_code == 400 and "detail" in document:
        raise UsageError(str(document["detail"]))
    raise UnavailableError(f"{url}{path} is not a bubuku daemon's API (HTTP {answer.status_code}); name it with --api")
