"""Nodes kept up to date by watches, so that a daemon at rest sends ZooKeeper nothing.

Purpose: `coordination` and `registrations` ask for the same few nodes every second; each is read once and again only
after its watch fired or the connection was interrupted.
Callers: one reader thread reads; kazoo's threads mark entries stale. Invariants: an entry is marked fresh *before* its
request is sent, so that a change in between is never missed; whatever was known is stale once the connection was lost.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from kazoo.protocol.states import EventType

from bubuku.adapters.zookeeper.session import Session


@dataclass(frozen=True, slots=True)
class Node:
    data: bytes
    version: int
    czxid: int
    owner: int  # ephemeralOwner: the session that holds it, 0 for a persistent node
    modified_epoch: float = 0.0  # by ZooKeeper's clock

    @classmethod
    def of(cls, answer: Any) -> Node:
        """From kazoo's (data, stat)."""
        data, stat = answer
        return cls(data, stat.version, stat.czxid, stat.ephemeralOwner, stat.mtime / 1000)


class WatchedNodes:
    """A cache over one session. `on_change` is called from kazoo's thread as soon as anything read here changed."""

    def __init__(self, session: Session, on_change: Callable[[], None] | None = None) -> None:
        self._session = session
        self._on_change = on_change
        self._lock = threading.Lock()
        self._nodes: dict[str, Node | None] = {}
        self._children: dict[str, tuple[str, ...]] = {}
        self._fired_paths: set[str] = set()  # whose watch fired while they were being read
        self._connection = 0  # grows when the connection changes: answers of an earlier one are not kept
        self._revision = 0
        session.add_listener(self._connection_changed)

    @property
    def revision(self) -> int:
        """Grows with each change that was noticed: what was computed at the same revision still stands."""
        return self._revision

    def nodes(self, paths: Iterable[str], until: float) -> dict[str, Node | None]:
        """Each path's node, None where there is none. Raises as `Session.call` does."""
        with self._lock:
            known = {path: self._nodes[path] for path in paths if path in self._nodes}
        missing = [path for path in paths if path not in known]
        if not missing:
            return known
        connection = self._begin(missing)
        answers = self._session.gather({path: _get(path, self._fired) for path in missing}, until, "reading its nodes")
        found = {path: None if answer is None else Node.of(answer) for path, answer in answers.items()}
        absent = [path for path, node in found.items() if node is None]
        self._keep(self._nodes, found, self._appeared(absent, until), connection)
        return known | found

    def children(self, path: str, until: float) -> tuple[str, ...]:
        """The names under `path`; none where it does not exist."""
        with self._lock:
            if path in self._children:
                return self._children[path]
        connection = self._begin([path])
        answer = self._session.gather({path: _list(path, self._fired)}, until, f"listing {path}")[path]
        found: tuple[str, ...] = () if answer is None else tuple(sorted(answer))
        appeared = self._appeared([path] if answer is None else [], until)
        self._keep(self._children, {path: found}, appeared, connection)
        return found

    def forget(self, path: str) -> None:
        """Read `path`, and the names under it, anew next time."""
        with self._lock:
            self._revision += 1
            self._fired_paths.add(path)
            self._nodes.pop(path, None)
            self._children.pop(path, None)

    def _begin(self, paths: list[str]) -> int:
        with self._lock:
            self._fired_paths.difference_update(paths)
            return self._connection

    def _keep(self, table: dict[str, Any], found: dict[str, Any], outdated: set[str], connection: int) -> None:
        with self._lock:
            if connection != self._connection:
                return
            for path, value in found.items():
                if path not in self._fired_paths and path not in outdated:
                    table[path] = value

    def _appeared(self, paths: list[str], until: float) -> set[str]:
        """A node that is not there is watched by `exists`. The answer: those that appeared meanwhile."""
        if not paths:
            return set()
        answers = self._session.gather({path: _exists(path, self._fired) for path in paths}, until, "watching")
        return {path for path, answer in answers.items() if answer is not None}

    def _fired(self, event: Any) -> None:
        with self._lock:
            self._revision += 1
            if event.path is None:
                self._forget_all()
            else:
                self._fired_paths.add(event.path)
                self._children.pop(event.path, None)
                if event.type != EventType.CHILD:
                    self._nodes.pop(event.path, None)
        if self._on_change is not None:
            self._on_change()

    def _connection_changed(self) -> None:
        with self._lock:
            self._revision += 1
            self._forget_all()
        if self._on_change is not None:
            self._on_change()

    def _forget_all(self) -> None:
        self._connection += 1
        self._nodes.clear()
        self._children.clear()
        self._fired_paths.clear()


def _get(path: str, fired: Callable[[Any], None]) -> Callable[[Any], Any]:
    return lambda client: client.get_async(path, watch=fired)


def _list(path: str, fired: Callable[[Any], None]) -> Callable[[Any], Any]:
    return lambda client: client.get_children_async(path, watch=fired)


def _exists(path: str, fired: Callable[[Any], None]) -> Callable[[Any], Any]:
    return lambda client: client.exists_async(path, watch=fired)
