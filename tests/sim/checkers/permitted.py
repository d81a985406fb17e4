"""Each SIGTERM of ours has its entry in the permit, from before it until its process is gone.

In maintenance no entry is taken, and none is used that was taken after maintenance was on; but for a daemon that ends
and takes Kafka with it, whose patience is over: its entry warns the others, and asks nobody. That may be the entry of a
stop that was asked for before, and the daemon's successor finishes it. So does one that is entered when it was begun
already, where ZooKeeper did not answer, or under another one: it says no more than what may happen anyway.
"""

from __future__ import annotations

from bubuku.core.shared import Entry
from tests.sim.events import Event, Forced, RuleBrokenError, Signalled
from tests.sim.host import Host
from tests.sim.kafka_process import KafkaProcess
from tests.sim.world import World


def _has_begun(host: Host, entry: Entry) -> bool:
    stop = host.record.stop if host.record is not None else None
    return stop is not None and stop.intended and stop.token == entry.token


def permitted(world: World) -> None:
    told: dict[int, KafkaProcess] = {}
    taken: dict[str, float] = {}  # token → when, by the wall clock
    forced: set[str] = set()  # tokens of those whose patience was over, or who had begun

    def hands_off(at: float) -> bool:
        found = world.zookeeper.root.maintenance
        return found.holds(at) and found.since_epoch <= at

    def permit(node_id: int, before: Entry | None, now: Entry | None) -> None:
        wall = world.engine.wall()
        if now is not None and (before is None or before.token != now.token):
            taken[now.token] = wall
            if any(_has_begun(host, now) for host in world.hosts):
                forced.add(now.token)
            if hands_off(wall) and now.token not in forced:
                raise RuleBrokenError(f"broker {node_id} was entered into the permit in maintenance")
            if before is not None:
                raise RuleBrokenError(f"the entry of broker {node_id} was replaced by another one")
        process = told.get(node_id)
        if now is None and process is not None and process.alive:
            raise RuleBrokenError(f"broker {node_id} left the permit while Kafka {process.identity.pid} stops")

    def check(event: Event) -> None:
        if isinstance(event, Forced):
            forced.add(event.token)
        if not isinstance(event, Signalled) or not event.permitted:
            return
        node_id, pid = event.process.node_id, event.process.identity.pid
        told[node_id] = event.process
        entry, record = world.zookeeper.true_permit().entries.get(node_id), event.host.record
        if entry is None:
            raise RuleBrokenError(f"{event.host.name}: SIGTERM to Kafka {pid} without an entry in the permit")
        if record is None or record.stop is None or record.stop.token != entry.token or not record.stop.intended:
            raise RuleBrokenError(f"{event.host.name}: SIGTERM to Kafka {pid} without an intent on disk")
        found = world.zookeeper.root.maintenance
        late = found.holds(world.engine.wall()) and taken.get(entry.token, 0.0) > found.since_epoch
        if late and entry.token not in forced:
            raise RuleBrokenError(f"{event.host.name}: SIGTERM to Kafka {pid}, permitted in maintenance")

    world.listen(check)
    world.zookeeper.permit_listeners.append(permit)
