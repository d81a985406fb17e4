"""May this broker be stopped now? If not, which partitions say no, and why. Pure.

Callers: the permit's protocol before each deliberate stop, and `safe-to-stop` for people. Nothing else decides this.

For every partition with a replica on a broker b that is to stop, with
    L = ISR - {b} - every broker that is being stopped or dead - every broker that has not itself answered,
    T = replicas - adding,  m = effective min.insync.replicas:

- |T| > m: |L| >= m is needed, and once more with the `removing` replicas taken out of L;
- |T| <= m (RF 1, or min ISR = RF): it cannot be kept available. Only where the operator accepts that, and even then
  |L| >= 1 is needed where |T| >= 2, so that no acknowledged record is at risk;
- repair exception: a partition whose ISR b has left already, or whose replica on b is offline, does not hold b back,
  unless another broker that is being stopped has a replica of it.

Unknown means no (invariant 7): the caller hands in only what it knows, and `Evidence` says what is missing.
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
    """`allowed`, or what says no. `accepted` are the partitions whose unavailability the operator has accepted."""

    brokers: tuple[int, ...]
    blocked: tuple[Blocked, ...]
    unknown: str | None = None  # what is not known, so that the answer is no
    accepted: int = 0

    @property
    def allowed(self) -> bool:
        return not self.blocked and self.unknown is None

    def sentence(self, most: int = 3) -> str:
        """The reason in one line, with at most `most` partitions named."""
        who = f"broker{'' if len(self.brokers) == 1 else 's'} {', '.join(map(str, self.brokers))}"
        if self.unknown is not None:
            return f"{who} may not be stopped: {self.unknown}"
        if not self.blocked:
            return f"{who} may be stopped"
        named = "; ".join(b.sentence() for b in self.blocked[:most])
        more = f"; and {len(self.blocked) - most} more partitions" if len(self.blocked) > most else ""
        return f"{who} may not be stopped: {named}{more}"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the guard rests on. All of it was begun after the permit was read."""

    partitions: Iterable[Partition]
    min_isr: Mapping[str, int]  # topic → effective min.insync.replicas
    down: frozenset[int]  # brokers in the permit, and dead ones
    permitted: frozenset[int]  # of those, the ones in the permit: they switch the repair exception off
    answered: frozenset[int]  # brokers that have themselves answered since the permit was read
    missing: str | None = None  # what could not be had: the answer is no


def judge(brokers: Iterable[int], evidence: Evidence, accept_unavailable: bool = False) -> Verdict:
    """The verdict on stopping all of `brokers` at once, beside what is down already.

    A topic that is not in `min_isr` is unknown, and unknown means no.
    """
    wanted = frozenset(brokers)
    order = tuple(sorted(wanted))
    if evidence.missing is not None:
        return Verdict(order, (), evidence.missing)
    gone = evidence.down | wanted
    others = (evidence.permitted | wanted) if len(wanted) > 1 else evidence.permitted - wanted
    blocked: list[Blocked] = []
    accepted = 0
    for p in evidence.partitions:
        mine = wanted.intersection(p.replicas)
        if not mine:
            continue
        needed = evidence.min_isr.get(p.topic)
        if needed is None:
            return Verdict(order, (), f"min.insync.replicas of topic {p.topic} is not known")
        found, waived = _objection(p, mine, gone, others, evidence.answered, needed, accept_unavailable)
        accepted += waived
        if found is not None:
            blocked.append(found)
    return Verdict(order, tuple(blocked), None, accepted)


def _objection(
    p: Partition,
    mine: frozenset[int],
    gone: frozenset[int],
    others: frozenset[int],
    answered: frozenset[int],
    needed: int,
    accept_unavailable: bool,
) -> tuple[Blocked | None, bool]:
    """Why this partition says no (None: it does not), and whether the operator's acceptance was needed."""
    holding = [b for b in mine if b in p.isr and b not in p.offline]
    if not holding and not (others - mine).intersection(p.replicas):
        return None, False
    left = tuple(b for b in p.isr if b not in gone and b in answered and b not in p.offline)
    if not holding and len(mine) == 1 and not others.intersection(p.replicas):
        return None, False
    target = len(p.replicas) - len(p.adding)
    if target <= needed:
        if not accept_unavailable:
            return Blocked(p.topic, p.partition, Objection.CANNOT_BE_AVAILABLE, left, needed), False
        if target >= 2 and not left:
            return Blocked(p.topic, p.partition, Objection.LAST_IN_SYNC, left, 1), True
        return None, True
    if len(left) < needed:
        return Blocked(p.topic, p.partition, Objection.BELOW_MIN_ISR, left, needed), False
    staying = tuple(b for b in left if b not in p.removing)
    if p.removing and len(staying) < needed:
        return Blocked(p.topic, p.partition, Objection.BELOW_MIN_ISR_WITHOUT_REMOVING, staying, needed), False
    return None, False
