"""A broker is only started on the log dirs that it had: not on an empty mount point, not on another broker's disk."""

from __future__ import annotations

from tests.sim.events import Event, RuleBrokenError, Started
from tests.sim.host import Host, Volume
from tests.sim.world import World

SETTLED_SECONDS = 30.0  # what lives shorter, and loses disks and state file, may not be on record in ZooKeeper yet


def own_dirs(world: World) -> None:
    first: dict[int, float] = {}
    ran_on: dict[int, dict[str, Volume]] = {}  # node id → log dir → volume, as of the last process that wrote there

    def check(event: Event) -> None:
        if not isinstance(event, Started) or event.host.settings.accept_empty:
            return
        host = event.host
        before = ran_on.get(host.node_id)
        first.setdefault(host.node_id, world.engine.now())
        settled = world.engine.now() - first[host.node_id] > SETTLED_SECONDS
        if before is not None and event.by is not None and settled:
            _compare(host, before)
        if before is None:
            ran_on[host.node_id] = dict(host.mounts)

    def _compare(host: Host, before: dict[str, Volume]) -> None:
        desired = world.zookeeper.known_desired(host.node_id)
        on_record = {*(host.record.dirs if host.record is not None else ()), *(desired.dirs if desired else ())}
        missing = [v.name for v in before.values() if v.marker in on_record and v not in host.mounts.values()]
        if missing:
            raise RuleBrokenError(f"{host.name}: Kafka was started without {', '.join(missing)}, which it had before")

    world.listen(check)
