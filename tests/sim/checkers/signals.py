"""The daemon's end is never Kafka's end: whom signals may go to.

To a Kafka that registered: only a graceful terminate, a permitted SIGTERM, and SIGKILL long after that one.
"""

from __future__ import annotations

from signal import SIGKILL

from tests.sim.daemon import STOP_DEADLINE
from tests.sim.events import Event, RuleBrokenError, Signalled
from tests.sim.kafka_process import KafkaProcess
from tests.sim.world import World


def no_signals(world: World) -> None:
    told: dict[KafkaProcess, float] = {}  # when it was told to stop, under the permit

    def check(event: Event) -> None:
        if not isinstance(event, Signalled) or event.terminating:
            return
        process = event.process
        if process.phase.value == "recovering" or (process.suspended and not event.permitted):
            which = f"Kafka {process.identity.pid}, which is {process.phase}"
            raise RuleBrokenError(f"{event.host.name}: signal {event.number} to {which}")
        if event.permitted:
            told[process] = world.engine.now()
            return
        long_ago = process in told and world.engine.now() - told[process] >= STOP_DEADLINE
        if process.registered_once and not (event.number == SIGKILL and long_ago):
            raise RuleBrokenError(
                f"{event.host.name}: signal {event.number} to Kafka {process.identity.pid}, which had registered"
            )

    world.listen(check)
