"""`ports.Registrations` in ZooKeeper mode: Kafka's own znodes, looked at and, for the fence, deleted.

Callers: one reader thread (`view`), the effects threads (`raise_fence`, `fence`).
Invariants: only the znode that matches `expected` in czxid, ephemeralOwner and content is deleted, in one transaction
with a check of `bubuku/v2/fence/<id>`'s version; `/controller` only if the same session owns it and its epoch stands.
A transaction that is executed late, after the fence was raised for the next start, fails on that check: the znode's own
version would not do, for each incarnation's begins at 0. A version is remembered from an acknowledged reply alone.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kazoo.exceptions import NoAuthError, NodeExistsError, NoNodeError

from bubuku.adapters.zookeeper import documents
from bubuku.adapters.zookeeper.cache import Node, WatchedNodes
from bubuku.adapters.zookeeper.session import Session
from bubuku.core.actions import Outcome, Result
from bubuku.core.errors import TimedOutError, UnavailableError
from bubuku.core.model import Registration, RegistrationView


@dataclass(frozen=True, slots=True)
class _Standing:
    """What stands in ZooKeeper right before a fence."""

    broker: Node | None
    controller: Node | None
    epoch: Node | None
    fence_version: int


class ZooKeeperRegistrations:
    """Who is registered, and the fence. `node_id` says who we are, None as long as nobody knows.

    `on_change` is called from kazoo's thread as soon as a registration or the controller changed.
    """

    def __init__(
        self, session: Session, node_id: Callable[[], int | None], on_change: Callable[[], None] | None = None
    ) -> None:
        self._session = session
        self._node_id = node_id
        self._cache = WatchedNodes(session, on_change)
        self._lock = threading.Lock()
        self._raised: dict[int, int] = {}  # node id → version of its fence node, as of our last acknowledged raise

    def view(self, deadline_seconds: float) -> RegistrationView:
        """Who is registered, from watched nodes: as fresh as the connection. Raises UnavailableError."""
        until = time.monotonic() + deadline_seconds
        try:
            self._session.client()
            return self._read(self._node_id(), until)
        except TimedOutError as error:
            raise UnavailableError(str(error)) from error

    def raise_fence(self, node_id: int, deadline_seconds: float) -> Outcome:
        """DONE: every fence that was sent before this fails from now on. UNKNOWN: no reply; raise it again."""
        begun = time.monotonic()
        with self._lock:
            self._raised.pop(node_id, None)
        try:
            version = self._raise(node_id, begun + deadline_seconds)
        except TimedOutError as error:
            return _ended(begun, Result.UNKNOWN, str(error))
        except (UnavailableError, NoNodeError, NodeExistsError) as error:
            return _ended(begun, Result.FAILED, str(error) or repr(error))
        with self._lock:
            self._raised[node_id] = version
        return _ended(begun, Result.DONE, f"fence version {version}")

    def fence(self, expected: Registration, deadline_seconds: float) -> Outcome:
        """Delete the registration of a broker proven dead, if it is still the one that `expected` describes.

        DONE: it is gone. REFUSED: something else stands, nothing was done. FAILED: not sent. UNKNOWN: no reply.
        """
        begun = time.monotonic()
        until = begun + deadline_seconds
        if expected.czxid is None or expected.owner is None or expected.content is None:
            return _ended(begun, Result.REFUSED, "the expected registration has no czxid, owner or content to compare")
        try:
            standing = self._standing(expected.node_id, until)
        except (TimedOutError, UnavailableError, NodeExistsError, NoNodeError) as error:
            return _ended(begun, Result.FAILED, f"not sent: {str(error) or repr(error)}")
        other = _difference(expected, standing.broker)
        if other is not None:
            return _ended(begun, Result.REFUSED, other)
        controls = _owns_controller(expected, standing)
        if standing.broker is None and not controls:
            return _ended(begun, Result.DONE, "its registration was already gone")
        return self._commit(begun, until, expected, standing, controls)

    def _read(self, node_id: int | None, until: float) -> RegistrationView:
        names = self._cache.children(self._session.path("brokers", "ids"), until)
        own_path, controller_path = self._ids(node_id), self._session.path("controller")
        registered = node_id is not None and str(node_id) in names
        nodes = self._cache.nodes([controller_path, *([own_path] if registered else [])], until)
        controller = nodes[controller_path]
        own = nodes.get(own_path)
        return RegistrationView(
            own=None if own is None or node_id is None else _registration(node_id, own),
            others=len(names) - registered,
            controller_id=None if controller is None else documents.parse_controller(controller.data),
            asked_for=node_id,
        )

    def _ids(self, node_id: int | None) -> str:
        return self._session.path("brokers", "ids", "" if node_id is None else node_id)

    def _fence_path(self, node_id: int) -> str:
        return self._session.path("bubuku", "v2", "fence", node_id)

    def _raise(self, node_id: int, until: float) -> int:
        path = self._fence_path(node_id)
        body = documents.encode({"raised_epoch": round(time.time(), 3)})
        doing = f"raising {path}"
        try:
            return int(self._session.call(lambda c: c.set_async(path, body), until, doing).version)
        except NoNodeError:
            self._create_fence(node_id, until)
        # A set follows even a fresh create: what was sent against another life of this node must not match version 0.
        return int(self._session.call(lambda c: c.set_async(path, body), until, doing).version)

    def _create_fence(self, node_id: int, until: float) -> None:
        path = self._fence_path(node_id)
        self._session.ensure(self._session.path("bubuku", "v2", "fence"), until)
        try:
            self._session.call(lambda c: c.create_async(path, documents.encode({})), until, f"creating {path}")
        except NodeExistsError:
            pass

    def _standing(self, node_id: int, until: float) -> _Standing:
        with self._lock:
            version = self._raised.get(node_id)
        if version is None:
            # Before the registration is looked at: a raise that comes in between makes the transaction fail.
            version = self._current_fence(node_id, until)
        paths = (self._ids(node_id), self._session.path("controller"), self._session.path("controller_epoch"))
        answers = self._session.gather({path: _get(path) for path in paths}, until, f"looking at broker {node_id}")
        broker, controller, epoch = (None if answers[path] is None else Node.of(answers[path]) for path in paths)
        return _Standing(broker, controller, epoch, version)

    def _current_fence(self, node_id: int, until: float) -> int:
        path = self._fence_path(node_id)
        doing = f"reading {path}"
        found = self._session.gather({path: _get(path)}, until, doing)[path]
        if found is None:
            self._create_fence(node_id, until)
            found = self._session.call(_get(path), until, doing)
        return Node.of(found).version

    def _commit(
        self, begun: float, until: float, expected: Registration, standing: _Standing, controls: bool
    ) -> Outcome:
        def begin(client: Any) -> Any:
            transaction = client.transaction()
            transaction.check(self._fence_path(expected.node_id), standing.fence_version)
            if standing.broker is not None:
                transaction.delete(self._ids(expected.node_id), standing.broker.version)
            if controls and standing.controller is not None and standing.epoch is not None:
                transaction.check(self._session.path("controller_epoch"), standing.epoch.version)
                transaction.delete(self._session.path("controller"), standing.controller.version)
            return transaction.commit_async()

        try:
            answers = self._session.call(begin, until, f"fencing broker {expected.node_id}")
        except TimedOutError as error:
            return _ended(begun, Result.UNKNOWN, str(error))
        except UnavailableError as error:
            return _ended(begun, Result.FAILED, str(error))
        errors = [answer for answer in answers if isinstance(answer, Exception)]
        if any(isinstance(error, NoAuthError) for error in errors):
            return _ended(begun, Result.FAILED, "ZooKeeper does not permit the fence: check the ACL of /brokers/ids")
        if errors:
            names = ", ".join(type(error).__name__ for error in errors)
            return _ended(begun, Result.REFUSED, f"something changed meanwhile, nothing was deleted ({names})")
        gone = "registration" if standing.broker is not None else ""
        also = "controller" if controls else ""
        return _ended(begun, Result.DONE, f"deleted: {' and '.join(filter(None, (gone, also)))}")


def _get(path: str) -> Callable[[Any], Any]:
    return lambda client: client.get_async(path)


def _registration(node_id: int, node: Node) -> Registration:
    content = node.data.decode("utf-8", "replace")
    return Registration(node_id, documents.parse_endpoints(content), node.czxid, node.owner, content)


def _difference(expected: Registration, node: Node | None) -> str | None:
    """Why what stands is not what is expected; None where it is, or where nothing stands."""
    if node is None:
        return None
    if node.czxid != expected.czxid:
        return f"another registration of broker {expected.node_id} stands (czxid {node.czxid}, not {expected.czxid})"
    if node.owner != expected.owner:
        return f"broker {expected.node_id}'s registration belongs to another session"
    if node.data.decode("utf-8", "replace") != expected.content:
        return f"broker {expected.node_id}'s registration has other content than expected"
    return None


def _owns_controller(expected: Registration, standing: _Standing) -> bool:
    controller = standing.controller
    if controller is None or standing.epoch is None or controller.owner != expected.owner:
        return False
    return documents.parse_controller(controller.data) == expected.node_id


def _ended(begun: float, result: Result, detail: str) -> Outcome:
    return Outcome(result, begun, time.monotonic(), detail)
