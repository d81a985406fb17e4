"""May these brokers be stopped now: evidence, then the guard; for people who ask, not for a stop of our own.

Made by the daemon, called in threads of the HTTP server. One question at a time asks the cluster; others wait for it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import replace

from bubuku.core.errors import UnavailableError, UsageError
from bubuku.core.guard import Verdict, judge
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
        if not self._one.acquire(timeout=WAIT_SECONDS):
            raise UnavailableError("another question is being answered; ask again in a few seconds")
        try:
            permitted, joined = self._permitted(), self._joined()
            evidence = self._kafka.evidence(nodes, permitted, self._cluster_id(), DEADLINE_SECONDS)
        finally:
            self._one.release()
        known = evidence.known.union(self._members())
        for node in sorted(nodes - known):
            raise UsageError(f"there is no broker {node} in this cluster; it has {', '.join(map(str, sorted(known)))}")
        return judge(nodes, replace(evidence, joined=joined), accept_unavailable)
