"""A roll: in which order its brokers go, and what keeps it from going on to the next. Pure.

Callers: `core.parents` before each step; `operations` for the plan that is shown first, and to refuse what cannot go.
Whether a broker may be stopped is not decided here, but by the guard, for its own daemon, when its turn has come.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from bubuku.core.guard import named
from bubuku.core.model import BrokerState, ClusterView, Member, Partition, Role
from bubuku.core.reasons import Reason

HELD_UP_SECONDS = 1800.0  # what does not heal for so long ends the roll


@dataclass(frozen=True, slots=True)
class Turn:
    node_id: int
    why: str  # that it comes where it does


def order(nodes: Iterable[int], members: Collection[Member], view: ClusterView | None) -> tuple[Turn, ...]:
    """Who does not serve first, for there is nothing to lose; then rack by rack, so that the others hold all
    replicas; KRaft's voters after those, and the active controller last, so that it moves once."""
    known = {member.node_id: member for member in members}
    racks = {} if view is None else {broker.node_id: broker.rack for broker in view.cluster.brokers}
    controller = None if view is None else view.cluster.controller_id

    def turn(node: int) -> tuple[tuple[int, str, int], Turn]:
        member = known.get(node)
        rack = (member.rack if member is not None else None) or racks.get(node) or ""
        if node == controller:
            return (3, rack, node), Turn(node, "the active controller goes last")
        if member is None or member.state != BrokerState.SERVING.value:
            state = "has no daemon" if member is None else f"is {member.state}"
            return (0, rack, node), Turn(node, f"{state}, so it goes first")
        if Role.CONTROLLER.value in member.roles:
            return (2, rack, node), Turn(node, "a voter of the controllers' quorum goes after the brokers")
        return (1, rack, node), Turn(node, f"rack {rack}" if rack else "by its id")

    return tuple(each for _, each in sorted((turn(node) for node in nodes), key=lambda pair: pair[0]))


def alone(members: Iterable[Member], view: ClusterView | None) -> frozenset[int]:
    """KRaft's voters and the active controller: each goes by itself."""
    voters = {member.node_id for member in members if Role.CONTROLLER.value in member.roles}
    controller = None if view is None else view.cluster.controller_id
    return frozenset(voters if controller is None else voters | {controller})


def held_up(
    left: Collection[int], excused: Collection[int], members: Collection[Member], view: ClusterView | None
) -> str | None:
    """Why the roll does not go on to the next of `left` now; None: it may.

    What is wrong with brokers that are yet to be restarted may be mended by that, and keeps nobody waiting; nor do
    replicas that `excused` lack, which have just been seen in sync by their own daemons; nor who is stopped on purpose,
    for that is no surprise, and the guard counts it.
    """
    known = {member.node_id: member for member in members}
    stopped = stopped_on_purpose(members)
    missing = [node for node in left if node not in known]
    if missing:
        return f"no daemon answers for {named(missing)}"
    if view is None:
        return "Kafka's metadata is not known"
    others = view.loads.keys() - {*left, *stopped}  # a daemon whose id Kafka has never heard of is nobody's loss
    down = [m.node_id for m in members if _is_down(m) and m.node_id in others]
    if down:
        state = known[down[0]].state if len(down) == 1 else "down"
        return f"{named(down)}, which {'is' if len(down) == 1 else 'are'} not to be restarted, " + (
            f"{'is' if len(down) == 1 else 'are'} {state}"
        )
    mended = {node for node in left if _is_down(known[node])} | set(excused) | stopped
    wrong = [p for p in view.unwell if not _is_mended(p, mended)]
    if wrong:
        more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        return f"{_said(wrong[0])}{more}, which restarting would not mend"
    return None


def stopped_on_purpose(members: Iterable[Member]) -> frozenset[int]:
    """Those that stay down until an operator starts them: no roll does."""
    return frozenset(m.node_id for m in members if m.reason == Reason.STOPPED_ON_PURPOSE)


def _is_down(member: Member) -> bool:
    return Role.BROKER.value in member.roles and member.state != BrokerState.SERVING.value


def _is_mended(p: Partition, mended: Collection[int]) -> bool:
    lacking = [node for node in p.replicas if node not in p.isr]
    is_led = p.leader >= 0 or any(node in mended for node in p.replicas)
    return is_led and all(node in mended for node in lacking)


def _said(p: Partition) -> str:
    lacking = [node for node in p.replicas if node not in p.isr]
    return f"{p.topic}-{p.partition} " + (f"is not in sync on {named(lacking)}" if lacking else "has no leader")
