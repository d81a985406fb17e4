"""Random operators: they ask for restarts, stops and starts, cancel them, switch maintenance, and move ZooKeeper.

They ask a daemon, as its HTTP server would. What they ask for is drawn from the seed, apart from the faults.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from bubuku.core.errors import BubukuError
from bubuku.core.shared import Change
from bubuku.operations import Operations, Request
from tests.sim.faults import Faults
from tests.sim.host import Host
from tests.sim.world import World

LOOK_SECONDS = 5.0  # how often they look at it while all has to end well
HANDS_OFF_SECONDS = 110.0  # so long maintenance stays on at the end, at times
PATIENCE_SECONDS = 60.0  # so long they wait for what is refused before they cancel it


class Operators:
    """Draws what is asked of `world` until `mend`; from then on they see to it that all serve.

    What goes wrong goes wrong while they work, too: a fault may follow a request within seconds.
    """

    def __init__(self, world: World, faults: Faults, seed: int, until: float) -> None:
        self._world, self._faults, self._until = world, faults, until
        self._rng = rng = random.Random(seed)
        weights = {name: rng.choice((0, 1, 1, 3)) for name in sorted(REQUESTS)}
        if rng.random() < 0.2:  # little but rolls, which need a cluster that is well
            weights |= dict.fromkeys(REQUESTS, 0) | {"roll": 8, "pause": 1, "cancel": 1}
        self._names = [name for name, weight in weights.items() if weight]
        self._weights = [weights[name] for name in self._names]
        self._pace = rng.choice((2.0, 6.0, 20.0))
        self._unlucky = rng.choice((0.0, 0.3, 0.6))
        self._mending = False
        self._hands_off_until = 0.0
        self._refused_since: dict[str, float] = {}
        if "new_addresses" in self._names:
            for host in world.hosts:
                host.settings = replace(host.settings, addresses=("zk-0:2181",))
        if self._names and rng.random() < 0.75:
            world.engine.after(rng.uniform(10.0, 30.0), self._next)

    def _next(self) -> None:
        world = self._world
        if self._mending or world.engine.now() >= self._until:
            return
        name = self._rng.choices(self._names, self._weights)[0]
        REQUESTS[name](world, self._rng)
        if self._rng.random() < self._unlucky:
            world.engine.after(self._rng.uniform(0.0, 4.0), lambda: self._faults.strike(self._rng))
        world.engine.after(self._rng.expovariate(1.0 / self._pace), self._next)

    def mend(self) -> None:
        """Maintenance off; what was stopped is started, and what the guard refuses for long is cancelled.

        Some leave maintenance on for a while first: what we stopped has to come back all the same.
        """
        self._mending = True
        world = self._world
        if self._rng.random() < 0.1:
            self._hands_off_until = world.engine.now() + HANDS_OFF_SECONDS
            _ask(world, self._rng, "switches maintenance on", lambda o: o.set_maintenance(True, "op", None, None))
        self._look()

    def _look(self) -> None:
        world, root = self._world, self._world.zookeeper.root
        if root.maintenance.holds(world.engine.wall()) and world.engine.now() >= self._hands_off_until:
            _ask(world, self._rng, "switches maintenance off", lambda o: o.set_maintenance(False, "op", None, None))
        for host in world.hosts:
            asked = any(c.node_id == host.node_id and c.kind == "start" for c in root.changes.values())
            stop = host.record.stop if host.record is not None else None
            if stop is not None and stop.stay_down and not asked:
                _submit(world, self._rng, "start", (host.node_id,))
        for change in list(root.changes.values()):
            self._lose_patience(change)
            if change.paused:
                _ask(world, self._rng, f"resumes change {change.sequence}", partial(_resume, change.sequence))
        world.engine.after(LOOK_SECONDS, self._look)

    def _lose_patience(self, change: Change) -> None:
        now = self._world.engine.now()
        if change.phase != "refused":
            self._refused_since.pop(change.uuid, None)
        elif now - self._refused_since.setdefault(change.uuid, now) >= PATIENCE_SECONDS and not change.cancel:
            _ask(self._world, self._rng, f"cancels change {change.sequence}", lambda o: o.cancel(change.sequence))


def _ask(world: World, rng: random.Random, what: str, ask: Callable[[Operations], object]) -> None:
    """Through any daemon. What is refused, or does not come through, is forgotten."""
    daemons = [d for d in world.daemons.values() if d is not None and d.published is not None]
    if not daemons:
        return
    try:
        operations = rng.choice(daemons).operations
        try:
            ask(operations)
        finally:
            world.covered.refused(operations.refusals)
    except BubukuError as error:
        world.engine.say("operator", f"{what}: {error}")
    else:
        world.engine.say("operator", what)


def _resume(sequence: int, operations: Operations) -> Change:
    return operations.pause(sequence, False)


def _submit(world: World, rng: random.Random, kind: str, nodes: tuple[int, ...], accept: bool = False) -> None:
    what = f"asks for a {kind} of {', '.join(map(str, nodes))}{', unavailability accepted' if accept else ''}"
    _ask(world, rng, what, lambda o: o.submit(Request(kind, nodes, "operator", None, accept)))


def _some(world: World, rng: random.Random) -> Host:
    return rng.choice([host for host in world.hosts if not host.name.startswith("twin")])


def restart(world: World, rng: random.Random) -> None:
    _submit(world, rng, "restart", (_some(world, rng).node_id,), rng.random() < 0.4)


def restart_several(world: World, rng: random.Random) -> None:
    ids = sorted({host.node_id for host in world.hosts})
    nodes = tuple(rng.sample(ids, min(len(ids), rng.choice((2, 3)))))
    _submit(world, rng, "restart", nodes, rng.random() < 0.2)


def roll(world: World, rng: random.Random) -> None:
    ids = sorted({host.node_id for host in world.hosts})
    nodes = tuple(rng.sample(ids, rng.randint(1, len(ids))))
    wanted = Request(
        "roll",
        nodes,
        "operator",
        accept_unavailable=rng.random() < 0.2,
        parallel=rng.choice((1, 1, 0, 2)),
        cool_down=rng.choice((0.0, 0.0, 5.0)),
    )
    what = f"asks for a roll of {', '.join(map(str, nodes))}, {wanted.parallel or 'any number'} at a time"
    _ask(world, rng, what, lambda o: o.submit(wanted))


def stop(world: World, rng: random.Random) -> None:
    _submit(world, rng, "stop", (_some(world, rng).node_id,), rng.random() < 0.4)


def start(world: World, rng: random.Random) -> None:
    down = [host for host in world.hosts if host.record is not None and host.record.stop is not None]
    _submit(world, rng, "start", ((rng.choice(down) if down else _some(world, rng)).node_id,))


def cancel(world: World, rng: random.Random) -> None:
    standing = sorted(world.zookeeper.root.changes)
    if standing:
        sequence = rng.choice(standing)
        _ask(world, rng, f"cancels change {sequence}", lambda o: o.cancel(sequence))


def pause(world: World, rng: random.Random) -> None:
    standing = [change.sequence for change in world.zookeeper.root.changes.values() if change.node_id is None]
    if standing:
        sequence = rng.choice(standing)
        _ask(world, rng, f"pauses change {sequence}", lambda o: o.pause(sequence, True))
        resume = partial(_ask, world, rng, f"resumes change {sequence}", lambda o: o.pause(sequence, False))
        world.engine.after(rng.choice((5.0, 40.0)), resume)


def maintenance(world: World, rng: random.Random) -> None:
    lasts = rng.choice((None, 5.0, 30.0))
    _ask(world, rng, "switches maintenance on", lambda o: o.set_maintenance(True, "op", None, lasts))

    def off() -> None:
        _ask(world, rng, "switches maintenance off", lambda o: o.set_maintenance(False, "op", None, None))

    if rng.random() < 0.9:
        world.engine.after(rng.choice((1.0, 10.0, 40.0)) * rng.uniform(0.5, 1.5), off)


def release(world: World, rng: random.Random) -> None:
    """Of a broker that is down: `bubuku-cli permit release`."""
    down = {host.node_id for host in world.hosts if not host.processes and not host.name.startswith("twin")}
    nodes = sorted(down.intersection(world.zookeeper.root.permit.entries))
    if nodes:
        node = rng.choice(nodes)
        _ask(world, rng, f"releases {node} from the permit", lambda o: o.release(node))


def new_addresses(world: World, rng: random.Random) -> None:
    """ZooKeeper's list changes: each host reads it at another time, and some cannot for a while."""
    listed = tuple(f"zk-{number}:2181" for number in rng.sample(range(4), 2))
    world.engine.say("operator", f"ZooKeeper's addresses are {', '.join(listed)}")

    def write(host: Host, error: str | None) -> None:
        host.settings = replace(host.settings, addresses=listed, addresses_error=error)

    for host in world.hosts:
        delay = rng.uniform(0.0, 3.0)
        if rng.random() < 0.1:
            world.engine.after(delay, partial(write, host, "addresses: No such file or directory"))
            delay += rng.uniform(1.0, 15.0)
        world.engine.after(delay, partial(write, host, None))


# a further kind of request: a function as those above, and its name here
REQUESTS: dict[str, Callable[[World, random.Random], None]] = {
    ask.__name__: ask
    for ask in (restart, restart_several, roll, stop, start, cancel, pause, maintenance, release, new_addresses)
}
