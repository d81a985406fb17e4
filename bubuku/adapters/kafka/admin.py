"""`ports.Kafka` on kafka-python: the cluster's metadata, and whether our own listener answers.

Callers: reader threads. Invariants: nothing runs between calls; no call exceeds its deadline (a name server that hangs
aside: the resolver has time-outs of its own); while the cluster's topics do not change, they are not decoded again and
one and the same tuple of partitions is handed out.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from kafka.protocol.metadata import ApiVersionsRequest

from bubuku.adapters.kafka.evidence import Question, gather
from bubuku.adapters.kafka.link import ClientSettings, Link, RefusedClientError
from bubuku.adapters.kafka.messages import DESCRIBE_QUORUM, Metadata, decode_partitions, elect_request
from bubuku.adapters.kafka.servers import Servers
from bubuku.core.errors import TimedOutError, UnavailableError
from bubuku.core.guard import Evidence
from bubuku.core.model import Cluster, Partition

_QUORUM_SECONDS = 1.0  # who leads the quorum is worth so much waiting, while a controller is frozen


@dataclass(frozen=True, slots=True)
class _Decoded:
    topics: bytes
    partitions: tuple[Partition, ...]


class KafkaAdmin:
    """The cluster through Kafka's own protocol. Thread-safe."""

    def __init__(
        self, servers: Sequence[str], settings: ClientSettings | None = None, own_endpoint: str | None = None
    ) -> None:
        """`servers` and `own_endpoint` (our broker's listener) are "host:port". Raises UsageError."""
        self._settings = settings = settings or ClientSettings()
        self._servers = Servers(servers, settings)
        self._own_endpoint = own_endpoint
        self._own: Link | None = None
        self._lock = threading.Lock()
        self._decoded = _Decoded(b"", ())

    def suggest(self, servers: Sequence[str]) -> None:
        """Where other daemons say that their brokers are; asked after those of the configuration."""
        self._servers.suggest(servers)

    def listen_at(self, endpoint: str | None) -> None:
        """Our broker's listener, as the template says it now: it may move with the next start."""
        self._own_endpoint = endpoint

    def cluster(self, exclude: int | None, deadline_seconds: float) -> Cluster:
        """All metadata, from a live broker (not `exclude`, where another one answers). Raises UnavailableError."""
        until = time.monotonic() + deadline_seconds
        server, metadata = self._servers.metadata(exclude, until, all_topics=True)
        partitions = self._partitions(metadata.topics)
        return Cluster(
            cluster_id=metadata.cluster_id,
            controller_id=self._controller(server, metadata, until),
            brokers=metadata.brokers,
            partitions=partitions,
            answered_by=server,
        )

    def answers(self, deadline_seconds: float) -> bool:
        """Whether the local broker's own listener answers a Kafka request within the deadline.

        Raises UnavailableError where that cannot be known: no listener is configured, or it refuses our credentials.
        """
        endpoint = self._own_endpoint
        if self._own is not None and self._own.server != endpoint:
            self._own.close()
            self._own = None
        if endpoint is None:
            raise UnavailableError("this node has no Kafka listener to ask")
        own = self._own = self._own or Link(endpoint, self._settings)
        until = time.monotonic() + deadline_seconds
        for _ in range(2):  # the second on a fresh connection, where the broker had closed the first
            try:
                own.ask(ApiVersionsRequest(version=0), until)
            except RefusedClientError:
                raise
            except (UnavailableError, TimedOutError):
                if time.monotonic() >= until:
                    break
            else:
                return True
        return False

    def evidence(
        self,
        stopping: frozenset[int],
        permitted: frozenset[int],
        cluster_id: str | None,
        deadline_seconds: float,
        planning: bool = False,
    ) -> Evidence:
        """See `ports.Kafka.evidence`."""
        question = Question(stopping, permitted, cluster_id, planning)
        return gather(self._servers.candidates(None), self._settings, question, self._partitions, deadline_seconds)

    def elect_preferred(self, partitions: Sequence[tuple[str, int]], deadline_seconds: float) -> None:
        """See `ports.Kafka.elect_preferred`. In ZooKeeper mode the controller itself is asked."""
        if not partitions:
            return
        until = time.monotonic() + deadline_seconds
        server, metadata = self._servers.metadata(None, until, all_topics=False)
        controller = next((b for b in metadata.brokers if b.node_id == metadata.controller_id), None)
        if controller is not None:
            server = f"{controller.host}:{controller.port}"
        answer = self._servers.link(server).ask(elect_request(partitions, deadline_seconds), until)
        if answer.error_code != 0:
            raise UnavailableError(f"Kafka at {server} refuses the election of preferred leaders ({answer.error_code})")

    def close(self) -> None:
        self._servers.close()
        if self._own is not None:
            self._own.close()

    def _partitions(self, topics: bytes) -> tuple[Partition, ...]:
        with self._lock:
            if topics != self._decoded.topics:
                try:
                    self._decoded = _Decoded(topics, decode_partitions(topics))
                except ValueError as error:
                    raise UnavailableError(f"Kafka's metadata cannot be read: {error}") from error
            return self._decoded.partitions

    def _controller(self, server: str, metadata: Metadata, until: float) -> int | None:
        """In KRaft metadata names any live broker as the controller, so the quorum's leader is asked for."""
        link = self._servers.link(server)
        if not link.supports(DESCRIBE_QUORUM):
            return metadata.controller_id
        return self._servers.quorum_leader(server, min(until, time.monotonic() + _QUORUM_SECONDS))
