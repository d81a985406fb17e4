"""In-memory `Coordination` and `Registrations` over the `ZooKeeper` and `KafkaCluster` models. Calls take no time.

`Permits` and `Changes` of the same session are in `agreed`.

They pass the contract suite. Latency, lost replies and late execution are added by `slow` and `readings`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from bubuku.adapters.zookeeper import documents
from bubuku.core.actions import Outcome, Result
from bubuku.core.errors import RefusedError, UnavailableError
from bubuku.core.model import CoordinationView, Desired, Member, Mode, Registration, RegistrationView
from tests.sim.agreed import MemoryChanges, MemoryPermits
from tests.sim.events import Fenced
from tests.sim.host import Host
from tests.sim.kafka_cluster import Entry, KafkaCluster
from tests.sim.zookeeper import MemberNode, Session, ZooKeeper

DAEMON_SESSION_SECONDS = 10.0


class MemoryCoordination:
    """Implements `ports.Coordination`."""

    def __init__(
        self,
        zookeeper: ZooKeeper,
        session_seconds: float = DAEMON_SESSION_SECONDS,
        cut: Callable[[], bool] = lambda: False,
        newer: bool = False,
    ) -> None:
        self._zookeeper = zookeeper
        self._session_seconds = session_seconds
        self._session: Session | None = None
        self._last = CoordinationView(connected=False)
        self._started = False
        self._cut = cut
        self.permits = MemoryPermits(zookeeper, self._connected, newer)
        self.changes = MemoryChanges(zookeeper, self._connected, newer)

    @property
    def session(self) -> Session | None:
        return self._session

    def start(self) -> None:
        self._started = True

    def close(self) -> None:
        """Closed in good order: the member goes at once."""
        if self._session is not None and self._zookeeper.up and not self._cut():
            self._zookeeper.sessions.end(self._session)
        elif self._session is not None:
            self._zookeeper.sessions.lose(self._session)
        self._started, self._session = False, None

    def die(self) -> None:
        """Its daemon was killed: the session lingers."""
        if self._session is not None:
            self._zookeeper.sessions.lose(self._session)
        self._started, self._session = False, None

    def _connected(self) -> Session | None:
        if not self._started or not self._zookeeper.up or self._cut():
            return None
        if self._session is None or self._session.expired:
            session = self._zookeeper.sessions.open(self._session_seconds, lambda: self._gone(session))
            self._session = session
        return self._session

    def _gone(self, session: Session) -> None:
        members = self._zookeeper.members
        for node_id in [n for n, node in members.items() if node.session is session]:
            del members[node_id]

    def view(self, node_id: int | None, deadline_seconds: float) -> CoordinationView:
        session = self._connected()
        if session is None:
            self._last = replace(self._last, connected=False, session_id=None)
            return self._last
        zookeeper = self._zookeeper
        spoilt = zookeeper.spoilt
        readable = {n: node.member for n, node in zookeeper.members.items() if ("members", n) not in spoilt}
        owner = None
        if node_id is not None and node_id in zookeeper.members:
            owner = readable[node_id].instance if node_id in readable else "?"
        known = node_id is not None and ("desired", node_id) not in spoilt
        standing = zookeeper.members.get(node_id) if node_id is not None else None
        marker = zookeeper.root.marker if ("marker",) not in spoilt else None
        self._last = CoordinationView(
            connected=True,
            session_id=session.number,
            members=tuple(member for _, member in sorted(readable.items())),
            member_owner=owner,
            member_session=standing.session.number if standing is not None else None,
            desired=zookeeper.root.desired.get(node_id) if known and node_id is not None else None,
            desired_read=known,
            marker=marker[0] if marker is not None else None,
            marker_cluster_id=marker[1] if marker is not None else None,
            marker_read=("marker",) not in spoilt,
            predecessor_v1=zookeeper.v1_daemon,
            permit=self.permits.read(),
            maintenance=self.changes.maintenance(),
            changes=self.changes.seen(),
        )
        return self._last

    def publish(self, member: Member, deadline_seconds: float) -> None:
        session = self._connected()
        if session is None:
            raise UnavailableError("ZooKeeper does not answer")
        standing = self._zookeeper.members.get(member.node_id)
        if standing is not None and standing.session is session and not self._worth_writing(standing.member, member):
            return
        if standing is not None and standing.member.instance != member.instance:
            raise RefusedError(f"the daemon of {standing.member.host} owns members/{member.node_id}")
        self._zookeeper.members[member.node_id] = MemberNode(session, member)
        self._zookeeper.spoilt.discard(("members", member.node_id))
        self._zookeeper.writes += 1

    def _worth_writing(self, old: Member, new: Member) -> bool:
        spoilt = ("members", new.node_id) in self._zookeeper.spoilt
        return spoilt or documents.worth_writing(old, new)

    def record_desired(self, node_id: int, desired: Desired, deadline_seconds: float) -> Outcome:
        now = self._zookeeper.engine.now()
        if self._connected() is None:
            return Outcome(Result.FAILED, now, now, "ZooKeeper does not answer")
        if ("desired", node_id) in self._zookeeper.spoilt:
            return Outcome(Result.FAILED, now, now, f"desired/{node_id} cannot be read")
        self._zookeeper.writes += 1
        self._zookeeper.root.desired[node_id] = Desired(dict(desired.dirs), desired.cluster_id)
        return Outcome(Result.DONE, now, now)

    def join_marker(self, cluster_id: str | None, deadline_seconds: float) -> Outcome:
        zookeeper = self._zookeeper
        now = zookeeper.engine.now()
        if self._connected() is None:
            return Outcome(Result.FAILED, now, now, "ZooKeeper does not answer")
        if ("marker",) in zookeeper.spoilt:
            return Outcome(Result.REFUSED, now, now, "the marker cannot be read")
        created = zookeeper.root.marker is None
        if zookeeper.root.marker is None:
            zookeeper.root.marker = (f"root-{zookeeper.next_zxid()}", cluster_id)
        marker, theirs = zookeeper.root.marker
        if theirs is not None and cluster_id is not None and theirs != cluster_id:
            return Outcome(Result.REFUSED, now, now, f"the marker is of Kafka cluster {theirs}, not {cluster_id}")
        return Outcome(Result.DONE, now, now, data={"marker": marker, "cluster_id": theirs, "created": created})


class MemoryRegistrations:
    """Implements `ports.Registrations`, for both modes. `host`: whose daemon this is, for the checkers."""

    def __init__(self, cluster: KafkaCluster, host: Host, node_id: Callable[[], int | None]) -> None:
        self._cluster, self._host, self._node_id = cluster, host, node_id
        self._raised: dict[int, int] = {}  # node id → version of its fence, as of our last acknowledged raise

    def view(self, deadline_seconds: float) -> RegistrationView:
        cluster, node_id = self._cluster, self._node_id()
        if self._host.cut:
            raise UnavailableError("nobody answers")
        if cluster.mode is Mode.ZOOKEEPER:
            if not cluster.zookeeper.up:
                raise UnavailableError("ZooKeeper does not answer")
        elif cluster.metadata(node_id) is None:
            raise UnavailableError("no broker answers")
        own = cluster.entries.get(node_id) if node_id is not None else None
        others = len(cluster.entries) - (own is not None)
        controller = cluster.controller if cluster.mode is Mode.ZOOKEEPER else None
        return RegistrationView(own.registration if own is not None else None, others, controller, node_id)

    def raise_fence(self, node_id: int, deadline_seconds: float) -> Outcome:
        now = self._cluster.engine.now()
        if self._cluster.mode is Mode.ZOOKEEPER:
            self._raised.pop(node_id, None)
            if not self._cluster.zookeeper.up or self._host.cut:
                return Outcome(Result.UNKNOWN, now, now, "ZooKeeper does not answer")
            fences = self._cluster.zookeeper.root.fences
            self._raised[node_id] = fences[node_id] = fences.get(node_id, 0) + 1
        return Outcome(Result.DONE, now, now)

    def fence(self, expected: Registration, deadline_seconds: float) -> Outcome:
        prepared = self.prepare_fence(expected)
        return prepared() if callable(prepared) else prepared

    def prepare_fence(self, expected: Registration) -> Outcome | Callable[[], Outcome]:
        """First half: look at what stands. Then either the outcome, or the request as it goes on the wire."""
        cluster, now = self._cluster, self._cluster.engine.now()
        zookeeper = cluster.mode is Mode.ZOOKEEPER
        if self._host.cut or not cluster.sessions.up or (not zookeeper and cluster.metadata(expected.node_id) is None):
            return Outcome(Result.FAILED, now, now, "not sent: nobody answers")
        if zookeeper and None in (expected.czxid, expected.owner, expected.content):
            return Outcome(Result.REFUSED, now, now, "the expected registration has nothing to compare")
        standing = cluster.entries.get(expected.node_id)
        version = self._raised.get(expected.node_id, cluster.zookeeper.root.fences.get(expected.node_id, 0))
        controls = cluster.controller_session is not None and cluster.controller_session.number == expected.owner
        if standing is None and controls:
            return self._depose_alone
        if standing is None:
            return Outcome(Result.DONE, now, now, "its registration was already gone")
        if standing.registration != expected:
            return Outcome(Result.REFUSED, now, now, "another registration stands")
        return lambda: self._commit(standing, version)

    def _depose_alone(self) -> Outcome:
        """Whatever removed the registration alone, the dead controller must not stay."""
        now = self._cluster.engine.now()
        self._cluster.depose()
        return Outcome(Result.DONE, now, now, "deleted: controller")

    def _commit(self, seen: Entry, version: int) -> Outcome:
        cluster, now = self._cluster, self._cluster.engine.now()
        node_id = seen.registration.node_id
        standing = cluster.entries.get(node_id)
        if cluster.mode is Mode.ZOOKEEPER:
            if cluster.zookeeper.root.fences.get(node_id, 0) != version:
                return Outcome(Result.REFUSED, now, now, "the fence was raised meanwhile")
            if standing is None:  # a delete by path: it takes whatever stands there
                return Outcome(Result.REFUSED, now, now, "NoNodeError")
        elif standing is None:
            return Outcome(Result.DONE, now, now, "the broker was not registered any more")
        cluster.fence(standing)
        cluster.emit(Fenced(standing.process, self._host))
        return Outcome(Result.DONE, now, now, "deleted")
