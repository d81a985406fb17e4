"""Never two Kafka processes on the same log dirs.

Kafka's own lock is the last defence; bubuku may not rely on it, but for the seconds that its look at the host is old.
"""

from __future__ import annotations

from tests.sim.events import Event, RuleBrokenError, Started
from tests.sim.world import World

LOOK_SECONDS = 12.0


def one_kafka(world: World) -> None:
    def check(event: Event) -> None:
        if not isinstance(event, Started) or event.by is None:
            return
        daemon = world.daemons[event.host]
        looked = daemon.tick_began if daemon is not None else world.engine.now()  # it may have been frozen since
        for other in event.host.processes:
            if other is event.process:
                continue
            held = other.holds_lock_since
            if other.instance is not None or (held is not None and looked - held > LOOK_SECONDS):
                raise RuleBrokenError(
                    f"{event.host.name}: Kafka {event.process.identity.pid} was started beside {other.identity.pid},"
                    f" which runs since {other.started_at:.3f} and holds the log dirs since {held}"
                )

    world.listen(check)
