"""Each end of a supervised Kafka is seen, and counted once, before the next start, whoever died in between."""

from __future__ import annotations

from tests.sim.events import Ended, Event, RuleBrokenError, Started
from tests.sim.host import Host
from tests.sim.world import World

SERVICE_SECONDS = 600.0


def ends_accounted(world: World) -> None:
    ends: dict[Host, int] = {}
    extra: dict[Host, int] = {}  # ends of what was not on record: it was adopted just before, or never
    instances: dict[Host, str] = {}

    def check(event: Event) -> None:
        if not isinstance(event, Started | Ended):
            return
        record = event.host.record
        if record is not None and instances.get(event.host) != record.instance:
            instances[event.host] = record.instance  # the state file was lost, and the count with it
            ends.pop(event.host, None)
        if isinstance(event, Ended):
            recorded = record is not None and record.process == event.process.identity
            daemon = world.daemons[event.host]
            if recorded and daemon is not None and daemon.in_cycle:  # it may be about to write that it stops it
                extra[event.host] = extra.get(event.host, 0) + ends.pop(event.host, 0) + 1
            elif recorded and record is not None:
                ends[event.host] = 0 if record.stop_intent else ends.get(event.host, 0) + 1
                extra[event.host] = 0 if record.stop_intent else extra.get(event.host, 0)
            else:
                extra[event.host] = extra.get(event.host, 0) + 1
        elif event.by is not None:
            counted = record.failures if record is not None else 0
            known, most = ends.get(event.host, 0), ends.get(event.host, 0) + extra.get(event.host, 0)
            if not event.host.state_was_full and not known <= counted <= most:
                raise RuleBrokenError(
                    f"{event.host.name}: {known} to {most} ends since the last good service, {counted} counted"
                )

    world.listen(check)
