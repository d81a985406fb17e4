"""In-memory `Kafka` over the `KafkaCluster` model. Calls take no time; `tests.sim.slow` adds it."""

from __future__ import annotations

from collections.abc import Sequence

from bubuku.core.errors import UnavailableError
from bubuku.core.guard import Evidence
from bubuku.core.model import Cluster, Mode, Partition
from tests.sim.host import Host
from tests.sim.kafka_cluster import KafkaCluster, Part

WITNESSES = 2


class MemoryKafka:
    """Implements `ports.Kafka`."""

    def __init__(self, cluster: KafkaCluster, host: Host) -> None:
        self._cluster, self._host = cluster, host

    def cluster(self, exclude: int | None, deadline_seconds: float) -> Cluster:
        found = None if self._host.cut else self._cluster.metadata(exclude)
        if found is None:
            raise UnavailableError("no broker answers")
        return found

    def answers(self, deadline_seconds: float) -> bool:
        return any(p.listens and p.holds_lock_since is not None for p in self._host.processes)

    def evidence(
        self,
        stopping: frozenset[int],
        permitted: frozenset[int],
        cluster_id: str | None,
        deadline_seconds: float,
        planning: bool = False,
    ) -> Evidence:
        """Pessimistic as the real one: who is registered and does not answer itself does not count."""
        cluster = self._cluster
        registered = frozenset(cluster.entries)
        answered = frozenset(n for n, entry in cluster.entries.items() if entry.process.answers)
        if not answered or self._host.cut:
            raise UnavailableError("no Kafka broker answers in time")
        leaving = frozenset() if planning else stopping
        others, told = registered - leaving, answered - leaving
        missing = []
        if len(told) < min(WITNESSES, len(others)):
            missing.append("too few of the other brokers tell the cluster's metadata")
        if cluster_id is None:
            missing.append("which cluster this is is not known")
        elif cluster_id != cluster.cluster_id:
            missing.append(f"the metadata is of cluster {cluster.cluster_id}")
        if not self._controller_answers():
            missing.append("running reassignments are not known: the controller does not answer")
        parts = [p for p in cluster.parts if not stopping.isdisjoint(p.replicas)]
        return Evidence(
            partitions=tuple(self._seen(part) for part in parts),
            min_isr={p.name: cluster.min_isr for p in parts},
            permitted=permitted,
            answered=answered,
            missing="; ".join(missing) or None,
            alone=not told,
            known=registered | permitted,
            begun=cluster.engine.now(),
        )

    def elect_preferred(self, partitions: Sequence[tuple[str, int]], deadline_seconds: float) -> None:
        if self._host.cut or self._cluster.metadata(None) is None or not self._controller_answers():
            raise UnavailableError("the controller does not answer")
        self._cluster.elect_preferred({name for name, _ in partitions})

    def close(self) -> None:
        """Nothing is open."""

    def _controller_answers(self) -> bool:
        cluster = self._cluster
        if cluster.mode is Mode.KRAFT:
            return cluster.quorum.up
        if cluster.controller is None:
            return False
        entry = cluster.entries.get(cluster.controller)
        return entry is not None and entry.process.answers

    def _seen(self, part: Part) -> Partition:
        """Metadata calls a replica offline whose broker is not registered."""
        offline = tuple(n for n in part.replicas if n not in self._cluster.entries)
        return Partition(part.name, 0, part.leader, part.replicas, part.isr, offline)
