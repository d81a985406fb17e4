"""Which Kafka server to ask, and the asking: one after the other until one answers, within one deadline.

Callers: `admin` and `kraft_registrations`, from reader and effects threads. Invariants: a server other than the
excluded broker comes first; a frozen server costs its share of the deadline and no more; what was learned from one
answer replaces what was learned before.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from bubuku.adapters.kafka.link import ClientSettings, Link
from bubuku.adapters.kafka.messages import Metadata, metadata_request, quorum_request
from bubuku.core.errors import TimedOutError, UnavailableError, UsageError
from bubuku.core.model import BrokerNode

_SHARE_SECONDS = 3.0  # the most that one of several servers may take


class Servers:
    """The brokers that are known: from the configuration, other daemons, and Kafka's own answers. Thread-safe."""

    def __init__(self, bootstrap: Sequence[str], settings: ClientSettings) -> None:
        """`bootstrap` is a list of "host:port". Raises UsageError where one of them is not."""
        for server in bootstrap:
            if not _is_address(server):
                raise UsageError(f"Kafka server {server!r} is not host:port")
        self._bootstrap = tuple(bootstrap)
        self._suggested: tuple[str, ...] = ()
        self._settings = settings
        self._lock = threading.Lock()
        self._links: dict[str, Link] = {}
        self._learned: dict[str, int] = {}  # "host:port" → broker id
        self._last_good: str | None = None
        self._closed = False

    def learn(self, brokers: Sequence[BrokerNode]) -> None:
        """The live brokers of an answer."""
        learned = {f"{b.host}:{b.port}": b.node_id for b in brokers}
        with self._lock:
            if learned:
                self._learned = learned

    def suggest(self, servers: Sequence[str]) -> None:
        """Where other daemons say that their brokers are; asked after all else. What is not host:port is dropped."""
        self._suggested = tuple(server for server in servers if _is_address(server))

    def prefer(self, server: str) -> None:
        """Ask this one first among equals."""
        with self._lock:
            self._last_good = server

    def is_other(self, server: str, exclude: int | None) -> bool:
        """Whether this server is surely not the excluded broker."""
        with self._lock:
            return exclude is None or self._learned.get(server, exclude) != exclude

    def metadata(self, exclude: int | None, until: float, all_topics: bool) -> tuple[str, Metadata]:
        """(who answered, the answer), by a broker other than `exclude` where one answers. Raises UnavailableError."""
        best: tuple[str, Metadata] | None = None
        asked: list[str] = []
        errors: list[str] = []
        while time.monotonic() < until:
            left = [server for server in self.candidates(exclude) if server not in asked]
            if not left or (best is not None and not self.is_other(left[0], exclude)):
                break
            server = left[0]
            asked.append(server)
            try:
                answer = self.link(server).ask(metadata_request(all_topics), _share(until, len(left)))
            except (UnavailableError, TimedOutError) as error:
                errors.append(str(error))
                continue
            self.learn(answer.brokers)
            best = (server, answer)
            if self.is_other(server, exclude):
                break
        if best is None:
            raise UnavailableError("no Kafka broker answers: " + ("; ".join(errors) or "none is configured"))
        self.prefer(best[0])
        return best

    def candidates(self, exclude: int | None) -> list[str]:
        """Whom to ask, best first: who is known to be another broker, the unknown, the excluded; who answered last."""
        with self._lock:
            known, last = self._learned, self._last_good

        def rank(server: str) -> tuple[int, bool]:
            node_id = known.get(server)
            return 1 if node_id is None else 2 if node_id == exclude else 0, server != last

        return sorted(dict.fromkeys([*known, *self._bootstrap, *self._suggested]), key=rank)

    def link(self, server: str) -> Link:
        """The link to a server, made where there is none. Raises UnavailableError after `close`."""
        with self._lock:
            if self._closed:
                raise UnavailableError("the Kafka client was closed")
            return self._links.setdefault(server, Link(server, self._settings))

    def quorum_leader(self, server: str, until: float) -> int | None:
        """KRaft: the active controller, which itself answers through this server; None where it does not."""
        try:
            answer = self.link(server).ask(quorum_request(), until)
        except (UnavailableError, TimedOutError):
            return None
        leaders = [p.leader_id for t in answer.topics for p in t.partitions if p.error_code == 0]
        return leaders[0] if leaders and leaders[0] >= 0 else None

    def close(self) -> None:
        with self._lock:
            self._closed = True
            links = list(self._links.values())
        for link in links:
            link.close()


def _is_address(server: str) -> bool:
    host, _, port = server.rpartition(":")
    return bool(host) and port.isdecimal()


def _share(until: float, servers_left: int) -> float:
    """Until when one server may take: a frozen one must leave time for the others."""
    now = time.monotonic()
    if servers_left == 1:
        return until
    return now + min(_SHARE_SECONDS, (until - now) / min(servers_left, 3))
