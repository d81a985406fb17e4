"""`ports.Changes` on ZooKeeper: the changes' documents and maintenance, each write one compare-and-set.

Callers: `read` the reader thread; `write` an effects thread; the rest are requests. Invariants: a document is written
only over the version that was read; an ended change moves to `history` in one transaction, and the newest `HISTORY`
stay there.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from kazoo.exceptions import NoNodeError

from bubuku.adapters.zookeeper import documents
from bubuku.adapters.zookeeper.cache import Node, WatchedNodes
from bubuku.adapters.zookeeper.nodes import CONFLICTS, TRIES, Nodes, ended, outcome
from bubuku.adapters.zookeeper.session import Session
from bubuku.core.actions import Outcome, Result
from bubuku.core.change import HISTORY, SCHEMA
from bubuku.core.errors import RefusedError, TimedOutError, UnavailableError, UsageError
from bubuku.core.shared import Change, Maintenance

LOG = logging.getLogger(__name__)
FIRST = "0"  # of a name, before what ZooKeeper appends: kazoo's transactions drop a path's last slash


class ZooKeeperChanges:
    def __init__(self, session: Session, cache: WatchedNodes) -> None:
        self._nodes = Nodes(session)
        self._cache = cache

    def read(self, until: float) -> tuple[Maintenance, tuple[Change, ...]]:
        """(maintenance, the open changes in the order of their sequence)."""
        path, folder = self._nodes.path("maintenance"), self._nodes.path("changes")
        names = [name for name in self._cache.children(folder, until) if name.isdecimal()]
        found = self._cache.nodes([path, *(f"{folder}/{name}" for name in names)], until)
        node = found.pop(path)
        maintenance = (
            Maintenance(-1)
            if node is None
            else documents.parse_maintenance(node.data, node.version, node.modified_epoch)
        )
        return maintenance, tuple(sorted(_parsed(found), key=lambda c: c.sequence))

    def standing(self, deadline_seconds: float) -> tuple[Change, ...]:
        """As `ports.Changes`."""
        until, folder = time.monotonic() + deadline_seconds, self._nodes.path("changes")
        self._nodes.sync(until)
        found = self._nodes.all([f"{folder}/{name}" for name in self._nodes.children(folder, until)], until)
        return tuple(sorted(_parsed(found), key=lambda c: c.sequence))

    def write(
        self,
        change: Change,
        deadline_seconds: float,
        created: Sequence[Change] = (),
        children: Sequence[Change] = (),
    ) -> Outcome:
        """The document over its version; REFUSED where another one stands. An ended one moves to the history, with its
        `children`; that of a child stays until its parent's does."""
        return outcome(deadline_seconds, lambda until: self._write(change, created, children, until))

    def create(self, changes: Sequence[Change], deadline_seconds: float) -> tuple[Change, ...]:
        """All of them, in one transaction, with the sequences that ZooKeeper gave them."""
        until, folder = time.monotonic() + deadline_seconds, self._nodes.path("changes")
        self._nodes.ensure(folder, until)

        def send(client: Any) -> Any:
            transaction = client.transaction()
            for change in changes:
                transaction.create(f"{folder}/{FIRST}", documents.change_document(change), sequence=True)
            return transaction.commit_async()

        answers = self._nodes.call(send, until, "asking for changes")
        for answer in answers:
            if isinstance(answer, Exception):
                raise UnavailableError(f"ZooKeeper refused the change: {answer!r}")
        return tuple(replace(c, sequence=int(path.rsplit("/", 1)[1])) for c, path in zip(changes, answers, strict=True))

    def cancel(self, sequence: int, deadline_seconds: float) -> Change:
        """Ask for its end. Raises as `_mark` does."""
        return self._mark(sequence, deadline_seconds, cancel=True)

    def pause(self, sequence: int, paused: bool, deadline_seconds: float) -> Change:
        """Ask that it goes no further, or goes on. Raises as `_mark` does."""
        return self._mark(sequence, deadline_seconds, paused=paused)

    def _mark(self, sequence: int, deadline_seconds: float, **wishes: bool) -> Change:
        """Raises UsageError where there is no such open change, RefusedError where its document is of a newer schema:
        what this daemon does not know of it would be lost."""
        until, path = time.monotonic() + deadline_seconds, self._nodes.path("changes", node_name(sequence))
        for _ in range(TRIES):
            node = self._nodes.get(path, until)
            change = None if node is None else documents.parse_change(sequence, node.data, node.version)
            body = None if node is None else documents.marked_document(node.data, **wishes)
            if change is None or body is None or not change.state.is_open:
                raise UsageError(f"there is no open change {sequence}; see: bubuku-cli changes list")
            if change.schema > SCHEMA:
                raise RefusedError(f"change {sequence} was written by a newer bubuku: ask a daemon of that version")
            asked = documents.parse_change(sequence, body, change.version) or change
            try:
                self._nodes.write(path, body, change.version, until)
            except CONFLICTS:
                continue
            return asked
        raise UnavailableError(f"change {sequence} kept changing while it was written; ask again")

    def find(self, sequence: int, deadline_seconds: float) -> Change | None:
        """A change moves from `changes` to `history` and never back, so it is looked for in that order."""
        until, name = time.monotonic() + deadline_seconds, node_name(sequence)
        self._nodes.sync(until)
        for folder in ("changes", "history"):
            node = self._nodes.get(self._nodes.path(folder, name), until)
            change = None if node is None else documents.parse_change(sequence, node.data, node.version)
            if change is not None:
                return change
        return None

    def ended(self, most: int, deadline_seconds: float) -> tuple[Change, ...]:
        """The changes that ended last, the newest first."""
        until, folder = time.monotonic() + deadline_seconds, self._nodes.path("history")
        newest = self._nodes.children(folder, until)[-most:] if most > 0 else []
        found = self._nodes.all([f"{folder}/{name}" for name in newest], until)
        return tuple(sorted(_parsed(found), key=lambda c: -c.sequence))

    def set_maintenance(
        self, on: bool, by: str, text: str | None, for_seconds: float | None, deadline_seconds: float
    ) -> None:
        until = time.monotonic() + deadline_seconds
        path, body = self._nodes.path("maintenance"), documents.maintenance_document(on, by, text, for_seconds)
        for _ in range(TRIES):
            node = self._nodes.get(path, until)
            try:
                self._nodes.write(path, body, None if node is None else node.version, until)
            except CONFLICTS:
                continue
            return
        raise UnavailableError(f"{path} kept changing while it was written; ask again")

    def _write(self, change: Change, created: Sequence[Change], children: Sequence[Change], until: float) -> Outcome:
        stays = change.state.is_open or change.parent is not None
        leaving = (*children, *(() if stays else (change,)))
        folder, history = self._nodes.path("changes"), self._nodes.path("history")
        if leaving:
            self._nodes.ensure(history, until)

        def send(client: Any) -> Any:
            transaction = client.transaction()
            if stays:
                body = documents.change_document(change)
                transaction.set_data(f"{folder}/{node_name(change.sequence)}", body, change.version)
            for each in created:
                transaction.create(f"{folder}/{FIRST}", documents.change_document(each), sequence=True)
            for each in leaving:
                transaction.delete(f"{folder}/{node_name(each.sequence)}", each.version)
                transaction.create(f"{history}/{node_name(each.sequence)}", documents.change_document(each))
            return transaction.commit_async()

        try:
            answers = self._nodes.call(send, until, f"writing change {change.sequence}")
        finally:
            if created:  # a parent of after this step beside a list of before it would lack what it asked for
                self._cache.forget(folder)
            for each in (change, *children):
                self._cache.forget(f"{folder}/{node_name(each.sequence)}")
        if any(isinstance(answer, Exception) for answer in answers):
            return ended(Result.REFUSED, "its document has changed meanwhile")
        if leaving:
            try:
                self._prune(until)
            except (UnavailableError, TimedOutError) as error:  # the next one that ends does it
                LOG.warning("the history was not pruned: %s", error)
        return ended(Result.DONE)

    def _prune(self, until: float) -> None:
        folder = self._nodes.path("history")
        for name in self._nodes.children(folder, until)[:-HISTORY]:
            path = f"{folder}/{name}"
            try:
                self._nodes.call(lambda c, path=path: c.delete_async(path), until, "pruning the history")  # type: ignore[misc]
            except NoNodeError:
                continue


def node_name(sequence: int) -> str:
    """As ZooKeeper makes it of `FIRST`; sorted by name they are in their order.

    >>> node_name(12)
    '00000000012'
    """
    return f"{FIRST}{sequence:010d}"


def _parsed(nodes: Mapping[str, Node | None]) -> list[Change]:
    """Those of the documents that can be read."""
    found = (
        documents.parse_change(int(path.rsplit("/", 1)[1]), node.data, node.version)
        for path, node in nodes.items()
        if node is not None
    )
    return [change for change in found if change is not None]
