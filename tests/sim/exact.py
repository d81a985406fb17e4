"""Faults exactly before and after a write, an act, or a request's execution: the moments of a daemon's life.

In some seeds any moment may be struck, now and then; in others a few kinds of them (drawn from the seed) are struck
again and again, so that each step of a stop is interrupted in each way.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from bubuku.core.errors import BubukuError

if TYPE_CHECKING:
    from tests.sim.daemon import SimDaemon
    from tests.sim.world import World

DEEPEST = 3  # freezes within freezes
AIMED = {"TakePermit executed": "maintenance"}  # hands off between entry and intent: there is no other moment for it


class Moments:
    """Strikes daemons of `world` at their moments until `until`. Made with the faults, ended by their mending."""

    def __init__(self, world: World, rng: random.Random, until: float) -> None:
        self._world, self._rng, self._until = world, rng, until
        self._often: dict[str, float] = {}  # kind of moment → how likely it is struck
        self._aims = rng.random() < 0.6
        self._everywhere = 0.0 if self._aims else rng.choice((0.0, 0.0, 0.01, 0.05))
        weights = {name: rng.choice((0, 1, 1, 4)) for name in sorted(STRIKES)}
        self._names = [name for name, weight in weights.items() if weight]
        self._weights = [weights[name] for name in self._names]
        self._depth = 0
        self.on = True
        world.moment = self.strike

    def strike(self, moment: str, daemon: SimDaemon, inside: bool) -> None:
        """`inside`: in the middle of the daemon's cycle, which goes on when this returns."""
        if not self.on or not self._names or self._world.engine.now() >= self._until or not daemon.alive:
            return
        if moment not in self._often:
            self._often[moment] = self._rng.choice((0.0, 0.0, 0.0, 0.15, 0.5)) if self._aims else self._everywhere
        if self._rng.random() >= self._often[moment]:
            return
        name = self._rng.choices(self._names, self._weights)[0]
        if moment in AIMED and self._rng.random() < 0.3:
            name = AIMED[moment]
        self._world.engine.say(daemon.host.name, f"{moment}: {name}")
        STRIKES[name](self._world, self._rng, daemon)
        if inside and daemon.alive and daemon.frozen and self._depth < DEEPEST:
            self._sit_out(daemon)

    def _sit_out(self, daemon: SimDaemon) -> None:
        """The world goes on while this daemon is frozen between two of its acts."""
        self._depth += 1
        until = daemon.frozen_until
        while daemon.alive and until is not None:
            self._world.engine.run_until(until)
            until = daemon.frozen_until
        self._depth -= 1


def crash(world: World, rng: random.Random, daemon: SimDaemon) -> None:
    daemon.die()


def freeze(world: World, rng: random.Random, daemon: SimDaemon) -> None:
    """For less than a verdict's age, for more, or until its session has ended."""
    daemon.freeze(rng.choice((1.0, 3.5, 14.0)) * rng.uniform(0.8, 1.2))


def freeze_both(world: World, rng: random.Random, daemon: SimDaemon) -> None:
    process = world.kafka(daemon.host)
    seconds = rng.choice((2.0, 14.0, 25.0)) * rng.uniform(0.8, 1.2)
    daemon.freeze(seconds)
    if process is not None:
        process.suspend()
        world.engine.after(seconds, process.resume)


def cut_off(world: World, rng: random.Random, daemon: SimDaemon) -> None:
    host = daemon.host
    world.cut_off(host)
    world.engine.after(rng.choice((1.0, 6.0, 25.0)) * rng.uniform(0.5, 1.5), lambda: world.reconnect(host))


def power_off(world: World, rng: random.Random, daemon: SimDaemon) -> None:
    host = daemon.host
    world.host_down(host)
    world.engine.after(rng.uniform(1.0, 25.0), lambda: world.host_up(host))


def kill_kafka(world: World, rng: random.Random, daemon: SimDaemon) -> None:
    for process in list(daemon.host.processes):
        process.kill()


def suspend_kafka(world: World, rng: random.Random, daemon: SimDaemon) -> None:
    process = world.kafka(daemon.host)
    if process is not None:
        process.suspend()
        world.engine.after(rng.choice((1.0, 6.0, 25.0)) * rng.uniform(0.5, 1.5), process.resume)


def kill_another(world: World, rng: random.Random, daemon: SimDaemon) -> None:
    others = [host for host in world.hosts if host is not daemon.host and host.processes]
    if others:
        rng.choice(others).processes[0].kill()


def spoil(world: World, rng: random.Random, daemon: SimDaemon) -> None:
    """Kafka ends, and its settings are broken by then."""
    host = daemon.host
    host.settings = replace(host.settings, template_broken=True, revision=host.settings.revision + 1)
    kill_kafka(world, rng, daemon)

    def mend() -> None:
        host.settings = replace(host.settings, template_broken=False, revision=host.settings.revision + 1)

    world.engine.after(rng.uniform(1.0, 30.0), mend)


def power_cut(world: World, rng: random.Random, daemon: SimDaemon) -> None:
    """The whole cluster, which starts from cold."""
    world.zookeeper.set_up(False)
    world.engine.after(rng.uniform(1.0, 20.0), lambda: world.zookeeper.set_up(True))
    for host in list(world.hosts):
        world.host_down(host)
        world.engine.after(rng.uniform(1.0, 20.0), partial(world.host_up, host))


def zookeeper_down(world: World, rng: random.Random, daemon: SimDaemon) -> None:
    world.zookeeper.set_up(False)
    world.engine.after(rng.choice((0.5, 5.0, 25.0)) * rng.uniform(0.5, 1.5), lambda: world.zookeeper.set_up(True))


def cancel(world: World, rng: random.Random, daemon: SimDaemon) -> None:
    """Somebody cancels the change of this very broker."""
    for change in list(world.zookeeper.root.changes.values()):
        if change.node_id == daemon.host.node_id:
            _ask(daemon, world, partial(daemon.operations.cancel, change.sequence))


def maintenance(world: World, rng: random.Random, daemon: SimDaemon) -> None:
    _ask(daemon, world, lambda: daemon.operations.set_maintenance(True, "op", None, rng.choice((1.0, 10.0, 40.0))))


def _ask(daemon: SimDaemon, world: World, ask: Callable[[], object]) -> None:
    try:
        if daemon.published is not None:
            ask()
    except BubukuError as error:
        world.engine.say("operator", f"refused: {error}")


STRIKES: dict[str, Callable[[World, random.Random, SimDaemon], None]] = {
    strike.__name__: strike
    for strike in (
        crash,
        freeze,
        freeze_both,
        cut_off,
        power_off,
        kill_kafka,
        suspend_kafka,
        kill_another,
        spoil,
        power_cut,
        zookeeper_down,
        cancel,
        maintenance,
    )
}
