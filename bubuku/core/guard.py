"""May these brokers be stopped now? If not, which partitions say no, and why. Pure.

Callers: the permit's protocol before each deliberate stop, and `safe-to-stop` for people. Nothing else decides this.

For every partition with a replica on a broker that is to stop, with
    L = the ISR without brokers that are to stop, are in the permit, are dead, or have not themselves answered,
    T = replicas - adding,  m = effective min.insync.replicas:

- |T| > m: |L| >= m is needed, and once more with the `removing` replicas taken out of L;
- |T| <= m (RF 1, or min ISR = RF): it cannot be kept available. Only where the operator accepts that, and even then
  |L| >= 1 is needed where |T| >= 2, so that no acknowledged record is at risk;
- repair exception: a partition whose ISR the broker has left already, or whose replica on it is offline, does not hold
  it back, unless another broker that is to stop, or is in the permit, has a replica of it, or the broker is as it is
  only since a moment: it may come into that ISR, or be listed again, before it is stopped.

A broker that answers, and whose daemon has not joined our ZooKeeper, may go down by another permit: the answer is no.

KRaft's controllers have a quorum, which is guarded too (`judge_quorum`).
Unknown means no: what could not be had is `Evidence.missing`, and the partitions that are known are judged all the
same, so that an operator sees what else says no.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from bubuku.core.model import Partition


class Objection(StrEnum):
    """Why a partition says no."""

    BELOW_MIN_ISR = "below_min_isr"
    BELOW_MIN_ISR_WITHOUT_REMOVING = "below_min_isr_without_removing"
    CANNOT_BE_AVAILABLE = "cannot_be_available"
    LAST_IN_SYNC = "last_in_sync"


@dataclass(frozen=True, slots=True)
class Blocked:
    """One partition that says no. `left` is who would still be in sync."""

    topic: str
    partition: int
    objection: Objection
    left: tuple[int, ...]
    needed: int

    def sentence(self) -> str:
        """One line for an operator.

        >>> Blocked("orders", 3, Objection.BELOW_MIN_ISR, (2,), 2).sentence()
        'orders-3: 1 in-sync replica would be left (2), min.insync.replicas is 2'
        """
        replicas = f"{len(self.left)} in-sync replica{'' if len(self.left) == 1 else 's'} would be left"
        who = f" ({', '.join(map(str, self.left))})" if self.left else ""
        match self.objection:
            case Objection.CANNOT_BE_AVAILABLE:
                why = f"it has too few replicas to stay available, min.insync.replicas is {self.needed}"
            case Objection.LAST_IN_SYNC:
                why = "no other in-sync replica is alive, so acknowledged records would be at risk"
            case Objection.BELOW_MIN_ISR_WITHOUT_REMOVING:
                why = f"once its reassignment is done, min.insync.replicas is {self.needed}"
            case _:
                why = f"min.insync.replicas is {self.needed}"
        return f"{self.topic}-{self.partition}: {replicas}{who}, {why}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """`allowed`, or what says no.

    `accepted` counts the partitions that say yes only because the operator accepts that they are unavailable.
    """

    brokers: tuple[int, ...]
    blocked: tuple[Blocked, ...]  # a partition at most once
    unknown: str | None = None  # what is not known, so that the answer is no
    quorum: str | None = None  # why the controllers' quorum says no
    warning: str | None = None  # what an operator should know although the answer may be yes
    accepted: int = 0
    moving: int = 0  # partitions with a replica on these brokers that a running reassignment moves

    @property
    def allowed(self) -> bool:
        return not self.blocked and self.unknown is None and self.quorum is None

    def sentence(self, most: int = 3) -> str:
        """The reason in one line, with at most `most` partitions named."""
        who = f"{named(self.brokers)} may"
        if self.allowed:
            return f"{who} be stopped" + (f"; {self.warning}" if self.warning is not None else "")
        reasons = [] if self.quorum is None else [self.quorum]
        reasons += [b.sentence() for b in self.blocked[:most]]
        more = len(self.blocked) - most
        if more > 0:
            reasons.append(f"and {more} more partition{'' if more == 1 else 's'}")
        if self.unknown is not None:
            reasons.append(self.unknown)
        return f"{who} not be stopped: {'; '.join(reasons)}"


def objections(verdict: Verdict) -> tuple[str, ...]:
    """What says no, each once: codes of `Objection`, "quorum", "unknown"; of nothing else. None where it is allowed."""
    found = {b.objection.value for b in verdict.blocked}
    if verdict.quorum is not None:
        found.add("quorum")
    if verdict.unknown is not None:
        found.add("unknown")
    return tuple(sorted(found))


def named(ids: Iterable[int]) -> str:
    """
    >>> named([2]), named([1, 3])
    ('broker 2', 'brokers 1, 3')
    """
    ordered = sorted(ids)
    return f"broker{'' if len(ordered) == 1 else 's'} {', '.join(map(str, ordered))}"


@dataclass(frozen=True, slots=True)
class Quorum:
    """KRaft's controllers. `caught_up`: within controller.quorum.fetch.timeout.ms, by the leader's clock."""

    voters: frozenset[int]
    caught_up: frozenset[int]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the guard rests on. All of it was begun after the permit was read.

    A partition may be there more than once where it was seen in more than one way: each of them has to say yes.
    """

    partitions: Iterable[Partition]
    min_isr: Mapping[str, int]  # topic → effective min.insync.replicas
    permitted: frozenset[int]  # brokers in the permit, whatever they look like
    answered: frozenset[int]  # brokers that have themselves answered since the permit was read
    dead: frozenset[int] = frozenset()  # known to be dead, whoever may have answered for them
    quorum: Quorum | None = None  # None: ZooKeeper mode, or no controller is to stop
    missing: str | None = None  # what could not be had: the answer is no
    alone: bool = False  # told by a broker that is to stop itself, for there is no other one
    known: frozenset[int] = frozenset()  # every node that the cluster has heard of; not judged
    begun: float = 0.0  # monotonic seconds: nothing in here is older
    joined: frozenset[int] | None = None  # whose daemons have joined our ZooKeeper; None: not looked at
    settled: bool = True  # the broker has been as it is for long: what it is out of sync for, it stays out of


def judge(brokers: Iterable[int], evidence: Evidence, accept_unavailable: bool = False) -> Verdict:
    """The verdict on stopping all of `brokers` at once, beside what is in the permit or dead already."""
    wanted = frozenset(brokers)
    stopping = wanted | evidence.permitted
    alive = evidence.answered - stopping - evidence.dead
    blocked: dict[tuple[str, int], Blocked] = {}
    accepted: set[tuple[str, int]] = set()
    unknown = [] if evidence.missing is None else [evidence.missing]
    strangers = _strangers(evidence, stopping)
    if strangers:
        it, them = ("answers", "it") if len(strangers) == 1 else ("answer", "them")
        unknown.append(
            f"{named(strangers)} {it}, and no daemon beside {them} has joined this ZooKeeper: start bubuku there"
        )
    if evidence.alone and not accept_unavailable:
        unknown.append("there is no other broker to ask or to take over, so its unavailability has to be accepted")
    unconfigured: set[str] = set()
    moving: set[tuple[str, int]] = set()
    for p in evidence.partitions:
        if wanted.isdisjoint(p.replicas):
            continue
        if p.adding or p.removing:
            moving.add((p.topic, p.partition))
        if evidence.settled and _is_repair(p, stopping):
            continue
        needed = evidence.min_isr.get(p.topic)
        if needed is None:
            unconfigured.add(p.topic)
            continue
        key = (p.topic, p.partition)
        found, waived = _objection(p, alive, needed, accept_unavailable)
        if found is not None:
            blocked.setdefault(key, found)
        elif waived:
            accepted.add(key)
    if unconfigured:
        one, others = min(unconfigured), len(unconfigured) - 1
        more = f" and {others} more" if others else ""
        unknown.append(f"min.insync.replicas of topic {one}{more} is not known")
    quorum, warning = (None, None) if evidence.quorum is None else judge_quorum(stopping, wanted, evidence.quorum)
    return Verdict(
        brokers=tuple(sorted(wanted)),
        blocked=tuple(blocked.values()),
        unknown="; ".join(unknown) or None,
        quorum=quorum,
        warning=warning,
        accepted=len(accepted - blocked.keys()),
        moving=len(moving),
    )


def judge_quorum(stopping: frozenset[int], wanted: frozenset[int], quorum: Quorum) -> tuple[str | None, str | None]:
    """(why the controllers' quorum says no, a warning); both None where it does not care.

    `stopping` are the ids that are to stop and those in the permit, `wanted` the former alone. The voters that stay and
    have caught up must be a majority. A quorum of two has none without both, so the other one must have caught up, and
    one of one cannot be kept: it is allowed with a warning.
    """
    if wanted.isdisjoint(quorum.voters):
        return None, None
    size = len(quorum.voters)
    left = (quorum.voters & quorum.caught_up) - stopping
    if size == 1:
        return None, "the only controller stops, so nothing of the cluster's metadata changes until it is back"
    needed = 1 if size == 2 else size // 2 + 1
    if len(left) >= needed:
        warning = "until it is back the controllers have no majority" if size == 2 else None
        return None, warning
    who = f" ({', '.join(map(str, sorted(left)))})" if left else ""
    return f"of {size} controllers {len(left)} would be left that have caught up{who}, {needed} must be", None


def _strangers(evidence: Evidence, stopping: frozenset[int]) -> frozenset[int]:
    """Who lives and may be stopped by a permit that is not ours, or was by one that is lost: unknown, so no."""
    if evidence.joined is None:
        return frozenset()
    voters = frozenset[int]() if evidence.quorum is None else evidence.quorum.caught_up
    return (evidence.answered | voters) - evidence.dead - stopping - evidence.joined


def _is_repair(p: Partition, stopping: frozenset[int]) -> bool:
    """Whether one replica alone is on brokers that stop, and is out of the ISR, or offline, already."""
    mine = stopping.intersection(p.replicas)
    if len(mine) != 1:
        return False
    (broker,) = mine
    return broker not in p.isr or broker in p.offline


def _objection(
    p: Partition, alive: frozenset[int], needed: int, accept_unavailable: bool
) -> tuple[Blocked | None, bool]:
    """Why this partition says no (None: it does not), and whether it says yes only by the operator's acceptance."""
    left = tuple(b for b in p.isr if b in alive and b not in p.offline)
    target = sum(b not in p.adding for b in p.replicas)
    if target <= needed:
        if not accept_unavailable:
            return Blocked(p.topic, p.partition, Objection.CANNOT_BE_AVAILABLE, left, needed), False
        if target >= 2 and not left:
            return Blocked(p.topic, p.partition, Objection.LAST_IN_SYNC, left, 1), False
        return None, True
    if len(left) < needed:
        return Blocked(p.topic, p.partition, Objection.BELOW_MIN_ISR, left, needed), False
    staying = tuple(b for b in left if b not in p.removing)
    if len(staying) < needed:
        return Blocked(p.topic, p.partition, Objection.BELOW_MIN_ISR_WITHOUT_REMOVING, staying, needed), False
    return None, False
