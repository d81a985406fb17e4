"""The fence removes the registration of a process that is dead, of its own host, after an unclean end. Nothing else."""

from __future__ import annotations

from bubuku.core.model import Mode
from tests.sim.events import Event, Fenced, RuleBrokenError
from tests.sim.world import World


def fences(world: World) -> None:
    def check(event: Event) -> None:
        if not isinstance(event, Fenced):
            return
        process = event.process
        whose = f"Kafka {process.identity.pid} of {process.host.name}"
        if process.alive:
            raise RuleBrokenError(f"a fence of {event.sent_by.name} removed the registration of {whose}, which lives")
        if process.host is not event.sent_by:
            raise RuleBrokenError(f"{event.sent_by.name} fenced {whose}: another host's broker")
        if process.ended_clean and world.mode is Mode.KRAFT:
            raise RuleBrokenError(f"{whose} had stopped cleanly and was fenced")

    world.listen(check)
