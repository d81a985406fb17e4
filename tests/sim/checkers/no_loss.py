"""No acknowledged record is lost: each leader has all that was acknowledged."""

from __future__ import annotations

from tests.sim.events import Event, Lost, RuleBrokenError
from tests.sim.world import World


def no_loss(world: World) -> None:
    def check(event: Event) -> None:
        if isinstance(event, Lost):
            raise RuleBrokenError(
                f"partition {event.partition} lost records: broker {event.leader} leads it with {event.has} of"
                f" {event.acked} acknowledged ones"
            )

    world.listen(check)
