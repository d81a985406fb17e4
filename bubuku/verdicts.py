"""May these brokers be stopped now: evidence, then the guard; for people who ask, not for a stop of our own.

Made by the daemon, called in threads of the HTTP server. One question at a time asks the cluster; others wait for it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import replace

from bubuku.core.batches import planned
from bubuku.core.errors import UnavailableError, UsageError
from bubuku.core.guard import Evidence, Verdict, judge
from bubuku.ports import Kafka

WAIT_SECONDS = 10.0  # for the questions before
DEADLINE_SECONDS = 10.0  # for the cluster's answers


class Verdicts:
    """`cluster_id`: as in this host's log dirs; `permitted`: the ids in the permit; `members`: those with a daemon;
    `joined`: those whose daemon has joined this ZooKeeper."""

    def __init__(
        self,
        kafka: Kafka,
        cluster_id: Callable[[], str | None],
        permitted: Callable[[], frozenset[int]],
        members: Callable[[], Iterable[int]],
        joined: Callable[[], frozenset[int]],
    ) -> None:
        self._kafka = kafka
        self._cluster_id, self._permitted, self._members = cluster_id, permitted, members
        self._joined = joined
        self._one = threading.Lock()

    def safe_to_stop(self, nodes: frozenset[int], accept_unavailable: bool) -> Verdict:
        """The verdict on stopping all of `nodes` at once.

        Raises UsageError for an id that the cluster has never heard of, UnavailableError where no broker answers, or
        questions before this one take too long.
        """
        evidence = self._evidence(nodes, planning=False)
        known = evidence.known.union(self._members())
        for node in sorted(nodes - known):
            raise UsageError(f"there is no broker {node} in this cluster; it has {', '.join(map(str, sorted(known)))}")
        return judge(nodes, evidence, accept_unavailable)

    def batches(
        self, order: tuple[int, ...], alone: frozenset[int], limit: int, accept_unavailable: bool
    ) -> tuple[tuple[int, ...], ...]:
        """Who may be down together, as `core.batches.planned`. Raises as `safe_to_stop`."""
        evidence = self._evidence(frozenset(order), planning=True)
        return planned(order, alone, evidence, limit, accept_unavailable)

    def _evidence(self, nodes: frozenset[int], planning: bool) -> Evidence:
        if not self._one.acquire(timeout=WAIT_SECONDS):
            raise UnavailableError("another question is being answered; ask again in a few seconds")
        try:
            permitted, joined = self._permitted(), self._joined()
            cluster_id = self._cluster_id()
            evidence = self._kafka.evidence(nodes, permitted, cluster_id, DEADLINE_SECONDS, planning)
        finally:
            self._one.release()
        return replace(evidence, joined=joined)
