"""Each end of a supervised Kafka is seen, and counted once, before the next start, whoever died in between."""

from __future__ import annotations

from tests.sim.events import Ended, Event, RuleBrokenError, Started
from tests.sim.host import Host
from tests.sim.kafka_process import KafkaProcess
from tests.sim.world import World

SERVICE_SECONDS = 600.0


def ends_accounted(world: World) -> None:
    ends: dict[Host, int] = {}
    known: dict[KafkaProcess, bool] = {}  # whether it was on record when it ended

    def check(event: Event) -> None:
        if isinstance(event, Ended):
            record = event.host.record
            recorded = record is not None and record.process == event.process.identity
            known[event.process] = recorded
            if recorded and record is not None:
                ends[event.host] = 0 if record.stop_intent else ends.get(event.host, 0) + 1
        elif isinstance(event, Started) and event.by is not None:
            record = event.host.record
            counted = record.failures if record is not None else 0
            if counted != ends.get(event.host, 0):
                raise RuleBrokenError(
                    f"{event.host.name}: {ends.get(event.host, 0)} ends since the last good service, {counted} counted"
                )

    world.listen(check)
