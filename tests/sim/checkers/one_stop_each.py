"""A change is done once: SIGTERM goes to one process for it, however often its daemon dies; and it is never lost.

A host whose state file was lost finishes a stop of which it finds the entry, whichever process runs by then.
"""

from __future__ import annotations

from bubuku.core.shared import Change
from tests.sim.events import Event, RuleBrokenError, Signalled
from tests.sim.kafka_process import KafkaProcess
from tests.sim.world import World

LOOK_SECONDS = 5.0


def one_stop_each(world: World) -> None:
    stopped: dict[tuple[str, str], KafkaProcess] = {}  # by (instance, change)
    ended: dict[str, Change] = {}
    seen: set[str] = set()
    roots = [world.zookeeper.roots]

    def check(event: Event) -> None:
        if not isinstance(event, Signalled) or not event.permitted:
            return
        record = event.host.record
        uuid = record.stop.change if record is not None and record.stop is not None else None
        if record is None or uuid is None:
            return
        before = stopped.setdefault((record.instance, uuid), event.process)
        if before is not event.process:
            pids = f"{before.identity.pid} and then {event.process.identity.pid}"
            raise RuleBrokenError(f"{event.host.name}: for one change Kafka {pids} were stopped")
        if uuid in ended:
            which = f"Kafka {event.process.identity.pid} for a change that is {ended[uuid].state}"
            raise RuleBrokenError(f"{event.host.name}: SIGTERM to {which}")

    def look() -> None:
        world.engine.after(LOOK_SECONDS, look)
        if world.zookeeper.wiped:
            return
        if roots[0] != world.zookeeper.roots:  # they were lost with their ZooKeeper
            roots[0] = world.zookeeper.roots
            seen.clear()
        root = world.zookeeper.root
        standing = {change.uuid for change in (*root.changes.values(), *root.history.values())}
        if seen - standing:
            raise RuleBrokenError(f"{len(seen - standing)} changes were lost")
        seen.update(standing)
        for change in root.history.values():
            if ended.setdefault(change.uuid, change) != change:
                raise RuleBrokenError(f"change {change.sequence} ended twice")

    world.listen(check)
    look()
