"""ZooKeeper mode: no start over a root that was wiped, or is not the one that was joined: the broker is held.

KRaft brokers start without ZooKeeper. No broker is stopped either, in both modes.
"""

from __future__ import annotations

from bubuku.core.model import Mode
from tests.sim.events import Event, RuleBrokenError, Signalled, Started
from tests.sim.host import Host
from tests.sim.world import World

LOOK_SECONDS = 10.0  # a reading, and a cycle that goes on after it


def foreign_root(world: World) -> None:
    strange_since: dict[Host, float] = {}

    def look() -> None:
        for host in world.hosts:
            look_at(host)
        world.engine.after(1.0, look)

    def look_at(host: Host) -> None:
        marker, daemon = world.zookeeper.root.marker, world.daemons[host]
        joined = host.record.marker if host.record is not None else None
        sees = daemon is not None and not daemon.frozen and not host.slow and not host.cut and world.zookeeper.up
        if not sees or joined is None or (marker is not None and marker[0] == joined):
            strange_since.pop(host, None)
        else:
            strange_since.setdefault(host, world.engine.now())

    def check(event: Event) -> None:
        if isinstance(event, Started):
            what = "started" if event.by is not None and world.mode is Mode.ZOOKEEPER else None
        else:
            what = "stopped" if isinstance(event, Signalled) and event.permitted else None
        if what is None or not isinstance(event, Started | Signalled):
            return
        look_at(event.host)
        since = strange_since.get(event.host)
        if since is not None and world.engine.now() - since > LOOK_SECONDS and world.zookeeper.up:
            raise RuleBrokenError(f"{event.host.name}: Kafka was {what} over a root that this host never joined")

    world.listen(check)
    look()
