"""Which brokers of a roll may be down at once: the next batch, and all of them for a plan. Pure.

The guard's own judgement, broker by broker in the roll's order: one that it would not let down beside those chosen
before is left for a later batch. It is a proposal: each broker's own daemon asks the guard again before it stops it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from bubuku.core.guard import Evidence, judge
from bubuku.core.model import Partition

ALL = 0  # a limit: as many as the guard allows


def following(
    order: Sequence[int], alone: frozenset[int], evidence: Evidence, limit: int, accept_unavailable: bool
) -> tuple[int, ...]:
    """The next of `order` that may go down together, `limit` at most; none where not even one may now.

    `alone`: KRaft's voters and the active controller, which go by themselves: without a controller the guard says no to
    everybody else. `evidence` is on all of `order`. Each partition is judged once for each of its replicas.
    """
    held = _by_broker(evidence.partitions)
    chosen: list[int] = []
    for node in order:
        if limit != ALL and len(chosen) >= limit:
            break
        if chosen and (node in alone or chosen[0] in alone):
            continue
        found = replace(evidence, partitions=held[node])
        if judge((*chosen, node), found, accept_unavailable).allowed:
            chosen.append(node)
    return tuple(chosen)


def planned(
    order: Sequence[int], alone: frozenset[int], evidence: Evidence, limit: int, accept_unavailable: bool
) -> tuple[tuple[int, ...], ...]:
    """All batches, each as if those before were back. Whom the guard does not let down now go by themselves, last."""
    left, batches = list(order), list[tuple[int, ...]]()
    while left:
        batch = following(left, alone, evidence, limit, accept_unavailable)
        if not batch:
            return (*batches, *((node,) for node in left))
        batches.append(batch)
        left = [node for node in left if node not in batch]
    return tuple(batches)


def _by_broker(partitions: Iterable[Partition]) -> defaultdict[int, list[Partition]]:
    held: defaultdict[int, list[Partition]] = defaultdict(list)
    for p in partitions:
        for node in p.replicas:
            held[node].append(p)
    return held
