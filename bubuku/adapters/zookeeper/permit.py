"""`ports.Permits` on ZooKeeper: the one permit, a persistent document that is written by compare-and-set alone.

Callers: `read` the reader thread, writes the effects threads (and a request, where an operator releases an entry).
Invariants: the node is never deleted; a writer changes its own entry and copies the rest as it is, whoever wrote it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bubuku.adapters.zookeeper import documents
from bubuku.adapters.zookeeper.cache import WatchedNodes
from bubuku.adapters.zookeeper.nodes import CONFLICTS, TRIES, Nodes, ended, outcome
from bubuku.adapters.zookeeper.session import Session
from bubuku.core.actions import Outcome, Result, TakePermit
from bubuku.core.shared import Permit


class ZooKeeperPermits:
    def __init__(self, session: Session, cache: WatchedNodes) -> None:
        self._nodes = Nodes(session)
        self._cache = cache

    def read(self, until: float) -> Permit | None:
        """None where it cannot be read: nothing is stopped then."""
        path = self._nodes.path("permit")
        node = self._cache.nodes([path], until)[path]
        return Permit(-1) if node is None else documents.parse_permit(node.data, node.version)

    def take(self, action: TakePermit, deadline_seconds: float) -> Outcome:
        """Our entry into the permit of exactly this version, with maintenance of exactly that one, or REFUSED."""
        return outcome(deadline_seconds, lambda until: self._take(action, until))

    def drop(self, node_id: int, token: str | None, deadline_seconds: float) -> Outcome:
        """Our entry out of the permit, if it is of this token (None: of whichever)."""

        def edit(before: dict[str, Any]) -> bytes | None:
            entry = (before.get("entries") or {}).get(str(node_id))
            if entry is None or (token is not None and entry.get("token") != token):
                return None
            return documents.permit_document(before, node_id, None)

        return outcome(deadline_seconds, lambda until: self._edit(edit, until))

    def rest(self, node_id: int, token: str, deadline_seconds: float) -> Outcome:
        """Our entry is not in work any more: nobody waits for it, and it still counts for the guard."""

        def edit(before: dict[str, Any]) -> bytes | None:
            entries = before.get("entries") or {}
            entry = entries.get(str(node_id))
            if entry is None or entry.get("token") != token or entry.get("working") is False:
                return None
            return documents.encode({**before, "entries": {**entries, str(node_id): {**entry, "working": False}}})

        return outcome(deadline_seconds, lambda until: self._edit(edit, until))

    def settle(self, deadline_seconds: float) -> Outcome:
        """Write the permit as it stands: whatever was sent before over an older version fails from now on."""
        return outcome(
            deadline_seconds,
            lambda until: self._edit(lambda before: documents.encode({"entries": {}, **before}), until),
        )

    def _take(self, action: TakePermit, until: float) -> Outcome:
        path, maintenance = self._nodes.path("permit"), self._nodes.path("maintenance")
        before: dict[str, Any] | None = {}
        if action.version >= 0:
            node = self._nodes.get(path, until)
            if node is None or node.version != action.version:
                self._cache.forget(path)
                return ended(Result.REFUSED, "the permit has changed")
            before = documents.decode(node.data)
        else:
            self._nodes.ensure(self._nodes.path(), until)
        if before is None:
            return ended(Result.FAILED, f"{path} is not JSON: mend it")
        body = documents.permit_document(before, action.node_id, action.entry)

        def send(client: Any) -> Any:
            transaction = client.transaction()
            if action.maintenance_version >= 0:
                transaction.check(maintenance, action.maintenance_version)
            else:
                transaction.create(maintenance, documents.maintenance_document(False, "", None, None))
            if action.version >= 0:
                transaction.set_data(path, body, action.version)
            else:
                transaction.create(path, body)
            return transaction.commit_async()

        answers = self._nodes.call(send, until, "taking the permit")
        self._cache.forget(path)
        self._cache.forget(maintenance)
        if any(isinstance(answer, Exception) for answer in answers):
            return ended(Result.REFUSED, "the permit, or maintenance, has changed meanwhile")
        return ended(Result.DONE, data={"version": action.version + 1})

    def _edit(self, edit: Callable[[dict[str, Any]], bytes | None], until: float) -> Outcome:
        """`edit` makes the new document of the one that stands; None leaves it."""
        path = self._nodes.path("permit")
        for _ in range(TRIES):
            node = self._nodes.get(path, until)
            before = {} if node is None else documents.decode(node.data)
            if before is None:
                return ended(Result.FAILED, f"{path} is not JSON: mend it")
            body = edit(before)
            if body is None:
                return ended(Result.DONE, data={"version": -1 if node is None else node.version})
            try:
                version = self._nodes.write(path, body, None if node is None else node.version, until)
            except CONFLICTS:
                continue
            finally:
                self._cache.forget(path)
            return ended(Result.DONE, data={"version": version})
        return ended(Result.FAILED, f"{path} kept changing while it was written")
