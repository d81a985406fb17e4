"""A broker that we stopped, and that is not to stay down, is started again as soon as its host can.

Maintenance, a cancelled change, or ZooKeeper's absence in between do not prevent that (but for what a start itself
needs ZooKeeper for).
"""

from __future__ import annotations

from tests.sim.events import Ended, Event, RuleBrokenError, Signalled, Started
from tests.sim.host import Host
from tests.sim.kafka_process import KafkaProcess
from tests.sim.world import World

QUIET_SECONDS = 90.0  # nothing hinders it for so long: the longest outcome that is waited for, and one back-off


def started_again(world: World) -> None:
    told: dict[Host, KafkaProcess] = {}
    down: dict[Host, float] = {}  # since when, or since when it is not hindered any more

    def check(event: Event) -> None:
        if isinstance(event, Signalled) and event.permitted:
            told[event.host] = event.process
        elif isinstance(event, Ended) and told.get(event.host) is event.process:
            down[event.host] = world.engine.now()
        elif isinstance(event, Started):
            down.pop(event.host, None)
            told.pop(event.host, None)

    def hindered(host: Host) -> bool:
        stop = host.record.stop if host.record is not None else None
        daemon = world.daemons[host]
        if stop is None or stop.stay_down or daemon is None or daemon.terminating:
            return True  # a stop that was for good, or what it was is not known any more
        return host.troubled or daemon.frozen or not host.up or not world.zookeeper.up or world.zookeeper.wiped

    def look() -> None:
        now = world.engine.now()
        for host, since in list(down.items()):
            if hindered(host):
                down[host] = now
            elif now - since > QUIET_SECONDS:
                daemon = world.daemons[host]
                said = daemon.decision.sentence if daemon is not None and daemon.decision is not None else "nothing"
                raise RuleBrokenError(f"{host.name}: stopped by us, and not started for {now - since:.0f} s: {said}")
        world.engine.after(5.0, look)

    world.listen(check)
    look()
