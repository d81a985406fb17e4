"""A fence is asked for, and takes, the registration of a dead process of its own host, after an unclean end.

Never that of a live one, of another host's, or (in KRaft, where it can keep leaders away) after a clean stop.
"""

from __future__ import annotations

from bubuku.core.model import Mode
from tests.sim.checkers.one_kafka import LOOK_SECONDS
from tests.sim.events import Ended, Event, FenceAsked, Fenced, RuleBrokenError
from tests.sim.host import Host
from tests.sim.kafka_process import KafkaProcess
from tests.sim.world import World


def fences(world: World) -> None:
    last: dict[Host, KafkaProcess] = {}  # the one that registered, and ended

    def asked(host: Host) -> None:
        alive = [p for p in host.processes if p.registered_once and (p.instance is not None or _long_there(p))]
        if alive:
            raise RuleBrokenError(f"{host.name} asks for a fence, and its Kafka {alive[0].identity.pid} lives")
        ended = last.get(host)
        if ended is not None and ended.ended_clean and world.mode is Mode.KRAFT:
            raise RuleBrokenError(f"{host.name} asks for a fence, and its Kafka {ended.identity.pid} stopped cleanly")

    def _long_there(process: KafkaProcess) -> bool:
        """Started by hand, and so long ago that our look at the host must have shown it."""
        held, daemon = process.holds_lock_since, world.daemons[process.host]
        looked = daemon.tick_began if daemon is not None else world.engine.now()  # it may have been frozen since
        return held is not None and looked - held > LOOK_SECONDS

    def done(event: Fenced) -> None:
        process = event.process
        whose = f"Kafka {process.identity.pid} of {process.host.name}"
        if process.alive and process.instance is not None:  # an operator's own start in between cannot be ruled out
            raise RuleBrokenError(f"a fence of {event.sent_by.name} removed the registration of {whose}, which lives")
        if process.host is not event.sent_by:
            raise RuleBrokenError(f"{event.sent_by.name} fenced {whose}: another host's broker")

    def check(event: Event) -> None:
        if isinstance(event, Ended) and event.process.registered_once:
            last[event.host] = event.process
        elif isinstance(event, FenceAsked):
            asked(event.host)
        elif isinstance(event, Fenced):
            done(event)

    world.listen(check)
