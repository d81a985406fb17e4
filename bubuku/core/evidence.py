"""From what several brokers say to what the guard rests on. Pure.

Caller: the Kafka adapter that gathers evidence, and tests. Metadata is asked of two brokers, because one may lag behind
for as long as a session lasts; where they differ, the worse holds:

- the ISR is what both show, for a broker that is to stay; one that is to stop is in it where either shows it, so that
  the repair exception needs both;
- a replica of a broker that is to stay is offline where either says so, of one that is to stop where both do;
- where they show different replicas of a partition, or a reassignment was there before the metadata and not after it
  (or the other way round), the partition is judged in each of these shapes;
- a partition that only one of them shows counts as that one shows it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from bubuku.core.model import Partition

Key = tuple[str, int]  # topic, partition
Moves = Mapping[Key, tuple[tuple[int, ...], tuple[int, ...]]]  # running reassignments: (adding, removing)
_STILL: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())


def combine(
    views: Sequence[Sequence[Partition]], moves: Sequence[Moves], stopping: frozenset[int]
) -> tuple[Partition, ...]:
    """The partitions that have a replica on `stopping`, in every shape that they may have.

    `views`: the partitions by each broker that was asked; `moves`: the reassignments by each time that they were asked.
    """
    found: list[Partition] = []
    for shapes in _grouped(views, stopping):
        one = shapes[0]
        merged = [one] if len(shapes) == 1 else _merged(shapes, stopping)
        ways = {m.get((one.topic, one.partition), _STILL) for m in moves} or {_STILL}
        if ways == {_STILL}:
            found += merged
        else:
            found += [_moving(p, adding, removing) for p in merged for adding, removing in sorted(ways)]
    return tuple(found)


def not_shown(hosted: Iterable[Key], views: Sequence[Sequence[Partition]]) -> list[Key]:
    """Of partitions that are on a broker's disks, those that none of the views shows: that metadata is not whole."""
    absent = set(hosted)
    for view in views:
        if not absent:
            break
        absent.difference_update((p.topic, p.partition) for p in view)
    return sorted(absent)


def _grouped(views: Sequence[Sequence[Partition]], stopping: frozenset[int]) -> Iterable[list[Partition]]:
    """All shapes of each partition that concerns `stopping` in one of the views."""
    distinct = list({id(view): view for view in views}.values())
    if len(distinct) == 1:
        return ([p] for p in distinct[0] if not stopping.isdisjoint(p.replicas))
    if len(distinct) == 2 and _aligned(*distinct):  # as good as always: brokers differ in ISRs, seldom in partitions
        pairs = zip(*distinct, strict=True)
        return ([p] if _same(p, q) else [p, q] for p, q in pairs if _concerned(p, q, stopping))
    concerned = {(p.topic, p.partition) for view in distinct for p in view if not stopping.isdisjoint(p.replicas)}
    groups: dict[Key, list[Partition]] = {}
    for view in distinct:
        for p in view:
            if (key := (p.topic, p.partition)) in concerned:
                groups.setdefault(key, []).append(p)
    return groups.values()


def _aligned(one: Sequence[Partition], two: Sequence[Partition]) -> bool:
    """Whether both show the same partitions in the same order."""
    if len(one) != len(two):
        return False
    return all(p.partition == q.partition and p.topic == q.topic for p, q in zip(one, two, strict=True))


def _same(p: Partition, q: Partition) -> bool:
    """In all that is judged."""
    return p.isr == q.isr and p.replicas == q.replicas and p.offline == q.offline


def _concerned(p: Partition, q: Partition, stopping: frozenset[int]) -> bool:
    return not (stopping.isdisjoint(p.replicas) and stopping.isdisjoint(q.replicas))


def _merged(shapes: list[Partition], stopping: frozenset[int]) -> list[Partition]:
    """One partition for each of the different replica lists, with what is worse of ISR and offline replicas."""
    isrs, offlines = [set(p.isr) for p in shapes], [set(p.offline) for p in shapes]
    isr = (set.intersection(*isrs) - stopping) | (set.union(*isrs) & stopping)
    offline = (set.union(*offlines) - stopping) | (set.intersection(*offlines) & stopping)
    one = shapes[0]
    ordered = dict.fromkeys(b for p in shapes for b in p.isr if b in isr)
    return [
        Partition(one.topic, one.partition, one.leader, replicas, tuple(ordered), tuple(sorted(offline)))
        for replicas in dict.fromkeys(p.replicas for p in shapes)
    ]


def _moving(p: Partition, adding: tuple[int, ...], removing: tuple[int, ...]) -> Partition:
    return Partition(p.topic, p.partition, p.leader, p.replicas, p.isr, p.offline, adding, removing)
