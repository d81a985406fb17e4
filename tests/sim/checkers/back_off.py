"""A broker that fails in a row is started ever more slowly: 1 s doubling to 5 min, as long as its daemon lives."""

from __future__ import annotations

from tests.sim.daemon import SimDaemon
from tests.sim.events import Ended, Event, RuleBrokenError, Started
from tests.sim.host import Host
from tests.sim.world import World


def back_off(world: World) -> None:
    failed: dict[Host, tuple[int, float, SimDaemon]] = {}  # ends in a row without service: how many, the last, who saw

    def check(event: Event) -> None:
        daemon = world.daemons[event.host] if isinstance(event, Started | Ended) else None
        if isinstance(event, Ended):
            count, _, seen_by = failed.get(event.host, (0, 0.0, daemon))
            record = event.host.record
            known = record is not None and record.process == event.process.identity
            told = record is not None and record.stop_intent  # by its daemon, or by that one's predecessor: no failure
            same = (
                known and not told and daemon is not None and daemon is seen_by and event.process.instance is not None
            )
            if same and daemon is not None and not event.process.served_once and not daemon.terminating:
                failed[event.host] = (count + 1, world.engine.now(), daemon)
            else:
                failed.pop(event.host, None)
        elif isinstance(event, Started) and event.by is not None and event.host in failed:
            count, ended, seen_by = failed[event.host]
            least = min(300.0, 2.0 ** (count - 1))
            waited = world.engine.now() - ended
            if daemon is seen_by and waited < least - 0.01:
                raise RuleBrokenError(
                    f"{event.host.name}: started {waited:.2f} s after the {count}th failure in a row, not {least:.0f} s"
                )

    world.listen(check)
