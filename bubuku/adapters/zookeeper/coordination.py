"""`ports.Coordination` on ZooKeeper: members, desired state and the marker under `<prefix>/bubuku/v2`.

Callers: one reader thread (`view`, `publish`) and the effects threads (`record_desired`, `join_marker`).
Invariants: at rest nothing is sent (watches); a document is written only when its content changed; `view` raises
nothing; another instance's member node is never touched; the marker is created, never overwritten.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from kazoo.exceptions import BadVersionError, NodeExistsError, NoNodeError

from bubuku.adapters.zookeeper import documents
from bubuku.adapters.zookeeper.cache import Node, WatchedNodes
from bubuku.adapters.zookeeper.changes import ZooKeeperChanges
from bubuku.adapters.zookeeper.nodes import Nodes, ended, outcome
from bubuku.adapters.zookeeper.permit import ZooKeeperPermits
from bubuku.adapters.zookeeper.session import ConnectionState, Session
from bubuku.core.actions import Outcome, Result
from bubuku.core.errors import RefusedError, TimedOutError, UnavailableError
from bubuku.core.model import CoordinationView, Desired, Member

_V1_EPHEMERALS = ("changes", "size_stats", "global_lock")  # where an original (v1) daemon's ephemeral nodes live
_TRIES = 4  # a write that meets a concurrent one starts over so often


class ZooKeeperCoordination:
    """Where daemons meet. `on_change` is called from kazoo's thread when anything that `view` shows has changed."""

    def __init__(self, session: Session, on_change: Callable[[], None] | None = None) -> None:
        self._session = session
        self._nodes = Nodes(session)
        self._cache = WatchedNodes(session, on_change)
        self.permits = ZooKeeperPermits(session, self._cache)
        self.changes = ZooKeeperChanges(session, self._cache)
        self._view = CoordinationView(connected=False)
        self._view_key: tuple[int, int | None, int | None] | None = None

    def start(self) -> None:
        """Begin to connect, and retry for ever in the background. Returns at once."""
        self._session.start()

    def close(self) -> None:
        """End the session, within seconds: our member node goes with it."""
        self._session.close()

    def view(self, node_id: int | None, deadline_seconds: float) -> CoordinationView:
        """All that one cycle needs; with no answer in time the last that was known, `connected` False."""
        until = time.monotonic() + deadline_seconds
        session_id = self._session.session_id
        if self._session.state is not ConnectionState.CONNECTED or session_id is None:
            self._nudge()
            return self._away()
        key = (self._cache.revision, node_id, session_id)
        if key == self._view_key:
            return self._view
        try:
            self._view = self._read(node_id, session_id, until)
        except (UnavailableError, TimedOutError):
            return self._away()
        self._view_key = key
        return self._view

    def publish(self, member: Member, deadline_seconds: float) -> None:
        """Create or refresh our ephemeral member node, where its content changed.

        Raises RefusedError where another instance owns it, UnavailableError or TimedOutError without an answer.
        """
        until = time.monotonic() + deadline_seconds
        path = self._nodes.path("members", member.node_id)
        body = documents.member_document(member)
        for _ in range(_TRIES):
            node = self._cache.nodes([path], until)[path]
            try:
                if node is None:
                    self._create_member(path, body, until)
                elif node.owner == self._session.session_id:
                    old = documents.parse_member(member.node_id, node.data)
                    if old is not None and not documents.worth_writing(old, member):
                        return
                    self._nodes.call(lambda c: c.set_async(path, body), until, f"refreshing {path}")
                else:
                    self._replace_predecessor(path, node, member, body, until)
            except (NodeExistsError, NoNodeError, BadVersionError):
                self._cache.forget(path)
                continue
            self._cache.forget(path)
            return
        raise UnavailableError(f"{path} kept changing while it was written")

    def record_desired(self, node_id: int, desired: Desired, deadline_seconds: float) -> Outcome:
        """Write `desired/<node id>` by compare-and-set; fields of newer versions are kept."""
        return outcome(deadline_seconds, lambda until: self._record_desired(node_id, desired, until))

    def join_marker(self, cluster_id: str | None, deadline_seconds: float) -> Outcome:
        """Create the marker if there is none. DONE with its UUID in `data` where it stands for our cluster."""
        return outcome(deadline_seconds, lambda until: self._join_marker(cluster_id, until))

    def _nudge(self) -> None:
        """Asking for the client while there is no connection revives one that has given up."""
        try:
            self._session.client()
        except UnavailableError:
            pass

    def _away(self) -> CoordinationView:
        self._view_key = None
        self._view = replace(self._view, connected=False, session_id=None)
        return self._view

    def _read(self, node_id: int | None, session_id: int, until: float) -> CoordinationView:
        members_path, marker_path = self._nodes.path("members"), self._nodes.path("marker")
        ids = sorted(int(name) for name in self._cache.children(members_path, until) if name.isdecimal())
        member_paths = {number: f"{members_path}/{number}" for number in ids}
        wanted = [marker_path, *member_paths.values()]
        desired_path = None if node_id is None else self._nodes.path("desired", node_id)
        if desired_path is not None:
            wanted.append(desired_path)
        nodes = self._cache.nodes(wanted, until)
        members = {
            number: documents.parse_member(number, node.data)
            for number, path in member_paths.items()
            if (node := nodes[path]) is not None
        }
        own = None if node_id is None or node_id not in member_paths else nodes[member_paths[node_id]]
        marker_node = nodes[marker_path]
        marker = None if marker_node is None else documents.parse_marker(marker_node.data)
        desired_node = None if desired_path is None else nodes[desired_path]
        desired = None if desired_node is None else documents.parse_desired(desired_node.data)
        maintenance, changes = self.changes.read(until)
        return CoordinationView(
            connected=True,
            session_id=session_id,
            members=tuple(m for m in members.values() if m is not None),
            member_owner=_owner(members, node_id),
            member_session=None if own is None else own.owner,
            desired=desired,
            desired_read=desired_path is not None and (desired_node is None or desired is not None),
            marker=None if marker is None else marker[0],
            marker_cluster_id=None if marker is None else marker[1],
            marker_read=marker_node is None or marker is not None,
            predecessor_v1=self._predecessor(until),
            permit=self.permits.read(until),
            maintenance=maintenance,
            changes=changes,
        )

    def _predecessor(self, until: float) -> bool:
        for folder in _V1_EPHEMERALS:
            path = self._session.path("bubuku", folder)
            paths = [f"{path}/{name}" for name in self._cache.children(path, until)]
            if any(node is not None and node.owner != 0 for node in self._cache.nodes(paths, until).values()):
                return True
        return False

    def _create_member(self, path: str, body: bytes, until: float) -> None:
        try:
            self._nodes.call(lambda c: c.create_async(path, body, ephemeral=True), until, f"creating {path}")
        except NoNodeError:
            self._nodes.ensure(self._nodes.path("members"), until)
            self._nodes.call(lambda c: c.create_async(path, body, ephemeral=True), until, f"creating {path}")

    def _replace_predecessor(self, path: str, node: Node, member: Member, body: bytes, until: float) -> None:
        """The caller holds the state lock, so another session of our instance is a dead process of this host."""
        owner = documents.parse_member(member.node_id, node.data)
        if owner is None:
            raise RefusedError(
                f"{path} is held by a document that cannot be read: see whose it is, or wait for its end"
            )
        if owner.instance != member.instance:
            raise RefusedError(
                f"the daemon on {owner.host} answers for node id {member.node_id}: stop that one, or correct node_id"
            )

        def swap(client: Any) -> Any:
            transaction = client.transaction()
            transaction.delete(path, node.version)
            transaction.create(path, body, ephemeral=True)
            return transaction.commit_async()

        for answer in self._nodes.call(swap, until, f"replacing {path}"):
            if isinstance(answer, Exception):
                raise BadVersionError

    def _record_desired(self, node_id: int, desired: Desired, until: float) -> Outcome:
        path = self._nodes.path("desired", node_id)
        for _ in range(_TRIES):
            try:
                outcome = self._write_desired(path, desired, until)
            except (NodeExistsError, NoNodeError, BadVersionError):
                continue
            self._cache.forget(path)
            return outcome
        return ended(Result.FAILED, f"{path} kept changing while it was written")

    def _write_desired(self, path: str, desired: Desired, until: float) -> Outcome:
        node = self._nodes.get(path, until)
        before = {} if node is None else documents.decode(node.data)
        if before is None:
            return ended(Result.FAILED, f"{path} is not JSON: mend or delete it")
        body = documents.desired_document(desired, before)
        if node is None or node.data != body:
            self._nodes.write(path, body, None if node is None else node.version, until)
        return ended(Result.DONE)

    def _join_marker(self, cluster_id: str | None, until: float) -> Outcome:
        path = self._nodes.path("marker")
        own = str(uuid.uuid4())
        body = documents.encode({"uuid": own, "cluster_id": cluster_id, "since_epoch": round(time.time(), 3)})
        self._nodes.ensure(self._nodes.path(), until)
        try:
            self._nodes.call(lambda c: c.create_async(path, body), until, f"creating {path}")
        except NodeExistsError:
            return self._existing_marker(path, cluster_id, until)
        finally:
            self._cache.forget(path)
        return ended(Result.DONE, data={"marker": own, "cluster_id": cluster_id, "created": True})

    def _existing_marker(self, path: str, cluster_id: str | None, until: float) -> Outcome:
        node = Node.of(self._nodes.call(lambda c: c.get_async(path), until, f"reading {path}"))
        marker = documents.parse_marker(node.data)
        if marker is None:
            return ended(Result.REFUSED, f"{path} cannot be read: mend it, or correct the ZooKeeper address")
        found, theirs = marker
        if theirs is not None and cluster_id is not None and theirs != cluster_id:
            return ended(Result.REFUSED, f"{path} is of Kafka cluster {theirs}, not {cluster_id}: correct the address")
        return ended(Result.DONE, data={"marker": found, "cluster_id": theirs, "created": False})


def _owner(members: dict[int, Member | None], node_id: int | None) -> str | None:
    """The instance that owns our member node; "?" where somebody does whose document cannot be read."""
    if node_id is None or node_id not in members:
        return None
    member = members[node_id]
    return "?" if member is None else member.instance
