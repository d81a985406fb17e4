"""What the adapters of bubuku's own nodes share: paths, reading past the cache, writing over a version, outcomes.

Callers: `coordination`, `permit`, `changes`; any thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from kazoo.exceptions import BadVersionError, NodeExistsError, NoNodeError

from bubuku.adapters.zookeeper.cache import Node
from bubuku.adapters.zookeeper.session import Session
from bubuku.core.actions import Outcome, Result
from bubuku.core.errors import TimedOutError, UnavailableError

CONFLICTS = (NodeExistsError, NoNodeError, BadVersionError)  # what a write that met a concurrent one raises
TRIES = 5  # such a write starts over so often


class Nodes:
    """Bubuku's nodes over one session. Raises as `Session.call` does."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def path(self, *parts: str | int) -> str:
        return self._session.path("bubuku", "v2", *parts)

    def ensure(self, path: str, until: float) -> None:
        self._session.ensure(path, until)

    def call(self, begin: Callable[[Any], Any], until: float, doing: str) -> Any:
        return self._session.call(begin, until, doing)

    def get(self, path: str, until: float) -> Node | None:
        """As it is in ZooKeeper, and not in a cache; None: there is none."""
        return self.all([path], until)[path]

    def all(self, paths: list[str], until: float) -> dict[str, Node | None]:
        answers = self._session.gather({path: _getter(path) for path in paths}, until, "reading its nodes")
        return {path: None if answer is None else Node.of(answer) for path, answer in answers.items()}

    def sync(self, until: float) -> None:
        """What is read afterwards is no older than this call, whichever server of ZooKeeper it is read from."""
        self.call(lambda c: c.sync_async(self.path()), until, "catching up with its leader")

    def children(self, path: str, until: float) -> list[str]:
        """The names of digits alone under `path`, sorted; none where it does not exist."""
        try:
            names = self.call(lambda c: c.get_children_async(path), until, f"listing {path}")
        except NoNodeError:
            return []
        return sorted(name for name in names if name.isdecimal())

    def write(self, path: str, body: bytes, version: int | None, until: float) -> int:
        """Over this version, or (None) as a new node. Returns the version afterwards; raises one of `CONFLICTS`."""
        if version is None:
            self.ensure(path.rsplit("/", 1)[0], until)
            self.call(lambda c: c.create_async(path, body), until, f"creating {path}")
            return 0
        return int(self.call(lambda c: c.set_async(path, body, version), until, f"writing {path}").version)


def ended(result: Result, detail: str = "", data: dict[str, object] | None = None) -> Outcome:
    return Outcome(result, 0.0, None, detail, data)


def outcome(deadline_seconds: float, act: Callable[[float], Outcome]) -> Outcome:
    """Run a write, given until when, and say what became of it; no reply means that it may have happened."""
    begun = time.monotonic()
    try:
        found = act(begun + deadline_seconds)
    except TimedOutError as error:
        found = ended(Result.UNKNOWN, str(error))
    except UnavailableError as error:
        found = ended(Result.FAILED, str(error))
    except NoNodeError as error:
        found = ended(Result.FAILED, f"a node vanished while it was read: {error!r}")
    return replace(found, begun=begun, ended=time.monotonic())


def _getter(path: str) -> Callable[[Any], Any]:
    return lambda client: client.get_async(path)
