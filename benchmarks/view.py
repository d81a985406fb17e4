"""What a cluster says of itself through Kafka's Admin protocol: who is registered, who controls, what is in sync.

Callers: the benchmarks, one thread. Each question uses a client of its own: one that met a broker before its restart
may answer from what it knew then.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from bubuku.core.errors import UnavailableError
from bubuku.core.model import Mode
from bubuku.sandbox.layout import Layout, Node
from bubuku.sandbox.waiting import wait_until

T = TypeVar("T")
ASK_DEADLINE_SECONDS = 20.0
PREFERRED = 0


class View:
    """Questions to the living brokers of `layout`."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def brokers(self) -> tuple[Node, ...]:
        return self._layout.brokers

    def registered(self) -> set[int]:
        """The brokers that the cluster counts as alive."""
        brokers = self._ask(lambda admin: admin.describe_cluster()["brokers"])
        return {broker["broker_id"] for broker in brokers if not broker.get("is_fenced", False)}

    def controller(self) -> Node:
        """ZooKeeper mode: the controller. KRaft: the quorum's leader."""
        if self._layout.options.mode is Mode.ZOOKEEPER:
            number = self._ask(lambda admin: admin.describe_cluster()["controller_id"])
        else:
            number = self._ask(_quorum_leader)
        return self._layout.node(number)

    def partitions(self) -> list[dict[str, Any]]:
        topics = self._ask(lambda admin: admin.describe_topics())
        return [partition for topic in topics for partition in topic["partitions"]]

    def unsettled(self) -> int:
        """Partitions that are not fully in sync, or not led by their preferred replica."""
        return sum(
            len(p["isr_nodes"]) < len(p["replica_nodes"]) or p["leader_id"] != p["replica_nodes"][0]
            for p in self.partitions()
        )

    def under_replicated(self) -> int:
        return sum(len(p["isr_nodes"]) < len(p["replica_nodes"]) for p in self.partitions())

    def wait_in_sync(self, deadline_seconds: float) -> None:
        wait_until(_quietly(lambda: self.under_replicated() == 0), deadline_seconds, "all replicas to be in sync", 0.2)

    def settle(self, deadline_seconds: float) -> None:
        """All in sync, all led by the preferred replica: where each round begins. Raises TimedOutError."""
        self.wait_in_sync(deadline_seconds)

        def settled() -> bool:
            self._ask(lambda admin: admin.elect_leaders(PREFERRED, raise_errors=False))
            return self.unsettled() == 0

        wait_until(_quietly(settled), deadline_seconds, "all preferred replicas to lead", 0.3)

    def _ask(self, question: Callable[[Any], T]) -> T:
        end = time.monotonic() + ASK_DEADLINE_SECONDS
        while True:
            try:
                with admin_client(self._layout) as admin:
                    return question(admin)
            except KafkaError as error:
                if time.monotonic() > end:
                    raise UnavailableError(f"the cluster did not answer: {error!r}") from error
                time.sleep(0.1)


@contextmanager
def admin_client(layout: Layout, request_seconds: float = 10.0) -> Iterator[Any]:
    """A client that has found a living broker. Raises KafkaError."""
    admin = KafkaAdminClient(
        bootstrap_servers=list(layout.bootstrap_servers),
        bootstrap_timeout_ms=3_000,
        request_timeout_ms=int(request_seconds * 1000),
    )
    try:
        yield admin
    finally:
        admin.close()


def _quorum_leader(admin: Any) -> int:
    return int(admin.describe_metadata_quorum()["topics"][0]["partitions"][0]["leader_id"])


def _quietly(condition: Callable[[], bool]) -> Callable[[], bool]:
    def asked() -> bool:
        try:
            return condition()
        except (KafkaError, UnavailableError):
            return False  # a broker is on its way back: the wait's deadline decides

    return asked
