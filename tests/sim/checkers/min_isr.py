"""No SIGTERM of ours takes a partition below its min ISR that could stay above, whoever else may be down on purpose.

Ground truth at the moment of the signal, but for what no guard could have known: who died, froze, or fell out of the
ISR within the age of a verdict is still counted, and a broker that came into it meanwhile is taken as one outside, once
it had settled. A forced end whose entry came after ours asked nobody, and is not our doing.
"""

from __future__ import annotations

from bubuku.core.permit import VERDICT_SECONDS
from bubuku.core.shared import Entry
from tests.sim.daemon import STABILITY
from tests.sim.events import Ended, Event, Forced, RuleBrokenError, Signalled
from tests.sim.kafka_cluster import Part
from tests.sim.world import World


def min_isr(world: World) -> None:
    cluster = world.cluster
    forced: set[str] = set()  # tokens of those whose patience was over
    order: dict[str, int] = {}  # token → which of all entries it was
    gone: dict[int, float] = {}  # broker → when it last ended

    def works(node_id: int, now: float) -> bool:
        """Now, or when the guard may have looked."""
        process = cluster.process_of(node_id)
        if process is not None and process.answers:
            return True
        frozen = process.suspended_at if process is not None and process.suspended else None
        stopping = process.stopping_at if process is not None else None
        cut = process.host.cut_at if process is not None and process.host.cut else None
        lately = (gone.get(node_id), cluster.removed.get(node_id), frozen, stopping, cut)
        return any(at is not None and now - at <= VERDICT_SECONDS for at in lately)

    def left(part: Part, stopping: set[int], now: float) -> list[int]:
        lately = [n for n, when in part.left.items() if n not in part.isr and now - when <= VERDICT_SECONDS]
        return [n for n in (*part.isr, *lately) if n not in stopping and works(n, now)]

    def check(event: Event) -> None:
        now = world.engine.now()
        if isinstance(event, Forced):
            forced.add(event.token)
        if isinstance(event, Ended):
            gone[event.process.node_id] = now
        if not isinstance(event, Signalled) or not event.permitted:
            return
        node_id, record = event.process.node_id, event.host.record
        listed = (cluster.removed.get(node_id), cluster.added.get(node_id))
        lately = any(at is not None and now - at <= VERDICT_SECONDS for at in listed)
        if lately or not cluster.is_registered(event.process):
            return  # to the cluster it is gone already, or was when the guard looked
        entries = world.zookeeper.true_permit().entries
        ours = entries.get(node_id)
        ours_at = len(order) if ours is None else order.get(ours.token, len(order))
        permitted = {n for n, e in entries.items() if e.token not in forced or order.get(e.token, 0) <= ours_at}
        accepted = record is not None and record.stop is not None and record.stop.accept_unavailable
        for part in cluster.parts:
            lately = now - part.joined.get(node_id, -1e9) <= VERDICT_SECONDS
            if node_id not in part.isr or (lately and now - event.process.serving_since >= STABILITY):
                continue  # a repair: nothing falls by it
            staying = left(part, permitted | {node_id}, now)
            cannot = len(part.replicas) <= cluster.min_isr
            least = (min(1, len(part.replicas) - 1) if accepted else len(part.replicas)) if cannot else cluster.min_isr
            if len(staying) < least:
                raise RuleBrokenError(
                    f"{event.host.name}: SIGTERM to Kafka {event.process.identity.pid} leaves {part.name} with"
                    f" {staying} of ISR {part.isr}, in the permit: {sorted(permitted)}, needed: {least}"
                )

    def taken(_node_id: int, _before: Entry | None, entry: Entry | None) -> None:
        if entry is not None:
            order.setdefault(entry.token, len(order))

    world.listen(check)
    world.zookeeper.permit_listeners.append(taken)
