"""The daemon's end is never Kafka's end; no signal goes to a Kafka that has registered, save a graceful terminate."""

from __future__ import annotations

from tests.sim.events import Event, RuleBrokenError, Signalled
from tests.sim.world import World


def no_signals(world: World) -> None:
    def check(event: Event) -> None:
        if isinstance(event, Signalled) and not event.terminating:
            process = event.process
            if process.registered_once:
                raise RuleBrokenError(
                    f"{event.host.name}: signal {event.number} to Kafka {process.identity.pid}, which had registered"
                )
            if process.phase.value == "recovering" or process.suspended:
                which = f"Kafka {process.identity.pid}, which is {process.phase}"
                raise RuleBrokenError(f"{event.host.name}: signal {event.number} to {which}")

    world.listen(check)
