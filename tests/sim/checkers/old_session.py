"""ZooKeeper mode: no start while the registration of this host's dead predecessor stands; Kafka would exit on it."""

from __future__ import annotations

from bubuku.core.model import Mode
from tests.sim.events import Event, RuleBrokenError, Started
from tests.sim.world import World


def old_session(world: World) -> None:
    def check(event: Event) -> None:
        if not isinstance(event, Started) or event.by is None or world.mode is not Mode.ZOOKEEPER:
            return
        standing = world.cluster.entries.get(event.host.node_id)
        if standing is not None and standing.process.host is event.host and not standing.process.alive:
            raise RuleBrokenError(
                f"{event.host.name}: Kafka was started while the registration of {standing.process.identity.pid} stands"
            )

    world.listen(check)
