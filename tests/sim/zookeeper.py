"""ZooKeeper as the simulator needs it: sessions that outlive their holders, ephemeral nodes, versions. No latency here.

Expiry stands still while the server is down, and starts anew when it is back, as ZooKeeper's does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from bubuku.core.model import Desired, Member
from bubuku.core.shared import Change, Entry, Maintenance, Permit
from tests.sim.engine import Engine


@dataclass(eq=False)
class Session:
    """A lease of someone with the server. `lost_at`: since when nobody keeps it alive."""

    number: int
    timeout: float
    on_expiry: Callable[[], None]
    lost_at: float | None = None
    expired: bool = False


class Sessions:
    """The leases of one server (ZooKeeper, or the KRaft quorum)."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.up = True
        self._all: list[Session] = []
        self._count = 0x1000

    def open(self, timeout: float, on_expiry: Callable[[], None]) -> Session:
        self._count += 1
        session = Session(self._count, timeout, on_expiry)
        self._all.append(session)
        return session

    def lose(self, session: Session) -> None:
        """Its holder died or froze."""
        if session.expired or session.lost_at is not None:
            return
        session.lost_at = self._engine.now()
        self._watch(session)

    def resume(self, session: Session) -> None:
        """Its holder goes on. Too late where it expired."""
        if not session.expired:
            session.lost_at = None

    def end(self, session: Session) -> None:
        """Closed or expired: what it held goes."""
        if session.expired:
            return
        session.expired = True
        self._all.remove(session)
        session.on_expiry()

    def set_up(self, up: bool) -> None:
        self.up = up
        if up:
            for session in list(self._all):
                if session.lost_at is not None:
                    session.lost_at = self._engine.now()
                    self._watch(session)

    def _watch(self, session: Session) -> None:
        since = session.lost_at

        def expire() -> None:
            if self.up and not session.expired and session.lost_at == since:
                self.end(session)

        self._engine.after(session.timeout, expire)


@dataclass(eq=False)
class MemberNode:
    session: Session
    member: Member


@dataclass(eq=False)
class Root:
    """The persistent nodes below bubuku's root. A version of -1: there is no such node."""

    desired: dict[int, Desired] = field(default_factory=dict)
    fences: dict[int, int] = field(default_factory=dict)
    marker: tuple[str, str | None] | None = None
    permit: Permit = field(default_factory=lambda: Permit(-1))
    permit_text: bytes = b"{}"  # the same as it is stored
    maintenance: Maintenance = field(default_factory=lambda: Maintenance(-1))
    changes: dict[int, Change] = field(default_factory=dict)  # by sequence, the open ones
    history: dict[int, Change] = field(default_factory=dict)
    sequences: int = 0  # given so far


ChangeListener = Callable[[Change, Change], None]  # its document before, and now
TextListener = Callable[[bytes, bytes, set[int]], None]  # the permit's text before, and now; whose entries changed
PermitListener = Callable[[int, Entry | None, Entry | None], None]  # node id, its entry before, and now


class ZooKeeper:
    """bubuku's part of ZooKeeper, and the sessions. Kafka's znodes are in `kafka_cluster`, which shares these."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.sessions = Sessions(engine)
        self.members: dict[int, MemberNode] = {}
        self.root = Root()
        self.permit_listeners: list[PermitListener] = []
        self.change_listeners: list[ChangeListener] = []
        self.text_listeners: list[TextListener] = []
        self.zxid = 100
        self.v1_daemon = False
        self.writes = 0
        self.torn: Callable[[], bool] = lambda: False  # whether a list of documents is older than the documents
        self.writes_newer = True  # newer daemons write their own schema
        self.spoilt: set[tuple[str | int, ...]] = set()  # documents that cannot be read, by their path
        self._stored: Root | None = None
        self.roots = 1  # so many there were: the last ones are lost for good

    @property
    def up(self) -> bool:
        return self.sessions.up

    @property
    def wiped(self) -> bool:
        return self._stored is not None

    def next_zxid(self) -> int:
        self.zxid += 1
        return self.zxid

    def set_up(self, up: bool) -> None:
        if up != self.sessions.up:
            self.engine.say("zookeeper", "is back" if up else "goes down")
            self.sessions.set_up(up)

    def wipe(self) -> None:
        """bubuku's root is lost (a restore from nothing). `restore` brings it back."""
        if self._stored is None:
            self.engine.say("zookeeper", "bubuku's root is wiped")
            self.spoilt.clear()
            self._stored, self.root = self.root, Root()
            for node in list(self.members.values()):
                self.sessions.end(node.session)

    def known_desired(self, node_id: int) -> Desired | None:
        """What is on record, also while the root is wiped."""
        stored = self._stored.desired if self._stored is not None else {}
        return self.root.desired.get(node_id) or stored.get(node_id)

    def true_permit(self) -> Permit:
        """As it is, or was before the root was wiped."""
        return self._stored.permit if self._stored is not None else self.root.permit

    def write_permit(self, permit: Permit, text: bytes) -> None:
        before, self.root.permit = self.root.permit.entries, permit
        text_before, self.root.permit_text = self.root.permit_text, text
        changed = {n for n in before.keys() | permit.entries.keys() if before.get(n) != permit.entries.get(n)}
        for text_listener in self.text_listeners:
            text_listener(text_before, text, changed)
        for node_id in sorted(before.keys() | permit.entries.keys()):
            if before.get(node_id) != permit.entries.get(node_id):
                for listener in self.permit_listeners:
                    listener(node_id, before.get(node_id), permit.entries.get(node_id))

    def accept_new(self) -> None:
        """Nobody has a copy of the root that was wiped: what was in it is gone."""
        if self._stored is not None:
            self.engine.say("zookeeper", "bubuku's root begins anew")
            self._stored, self.roots = None, self.roots + 1

    def restore(self) -> None:
        if self._stored is not None:
            self.engine.say("zookeeper", "bubuku's root is restored")
            self.root, self._stored = self._stored, None
