"""One seed: a cluster drawn from it, a phase of faults in which nothing bad may happen, one that must end well."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from functools import partial

from bubuku.core.model import Mode
from tests.sim.checkers import CHECKERS
from tests.sim.covered import Row
from tests.sim.events import RuleBrokenError
from tests.sim.faults import Faults
from tests.sim.host import Host
from tests.sim.operators import Operators
from tests.sim.world import Shape, World

END_SECONDS = 900.0  # the longest back-off, who is given up, two sessions, a slow recovery, a restart of each broker
ON_RECORD_SECONDS = 120.0
ASKED_SECONDS = 0.5  # so often it is asked whether all is well
SIZES = (1, 2, 3, 3, 4, 5, 5, 6, 7, 8, 9)  # clusters are drawn from


@dataclass(frozen=True)
class Run:
    """How one seed went. `broken`: the rule that was broken, None where all went well."""

    seed: int
    broken: str | None
    transcript: str
    events: int
    virtual_seconds: float
    covered: Counter[Row]


def draw_shape(rng: random.Random) -> Shape:
    return Shape(
        mode=rng.choice((Mode.ZOOKEEPER, Mode.KRAFT)),
        brokers=rng.choice(SIZES),
        dirs=rng.choice((1, 1, 2)),
        fresh=rng.random() < 0.3,
        ids_configured=rng.random() < 0.8,
        instant_failover=rng.random() < 0.85,
        readers_first=rng.random() < 0.3,
        addresses_settle=6.0,
    )


def run(seed: int) -> Run:
    rng = random.Random(seed)
    world = World(rng.randrange(1 << 60), draw_shape(rng))
    for checker in CHECKERS:
        checker(world)
    looks, share = random.Random(seed), rng.choice((0.0, 0.2, 0.5))
    world.zookeeper.torn = lambda: looks.random() < share
    world.engine.say("seed", str(seed))
    broken = None
    try:
        with world.covered.counting():
            _phases(world, rng, seed)
    except RuleBrokenError as error:
        broken = str(error)
        world.engine.say("broken", broken)
    except Exception as error:
        error.add_note(f"replay it: python -m tests.sim --seed {seed}")
        raise
    engine = world.engine
    return Run(seed, broken, engine.transcript(), engine.events_run, engine.now(), world.covered.taken)


def _phases(world: World, rng: random.Random, seed: int) -> None:
    seconds = rng.uniform(20.0, 120.0)
    if rng.random() < 0.2:
        _take_over(world, rng)
    else:
        world.start_all()
    faults = Faults(world, seconds)
    operators = Operators(world, faults, seed, seconds)
    world.engine.run_until(seconds)
    faults.mend()
    operators.mend()
    world.engine.run_until(world.engine.now() + END_SECONDS, lambda: not _owed(world), ASKED_SECONDS)
    if _owed(world):
        raise RuleBrokenError(f"{END_SECONDS:.0f} s after everything was mended: {_owed(world)}")
    world.engine.run_until(world.engine.now() + 20.0)
    if _owed(world):
        raise RuleBrokenError(f"after all was well: {_owed(world)}")
    world.engine.run_until(
        world.engine.now() + ON_RECORD_SECONDS,
        lambda: all(_is_on_record(world, host) for host in world.hosts),
        ASKED_SECONDS,
    )
    unknown = [host.name for host in world.hosts if not _is_on_record(world, host)]
    if unknown:
        raise RuleBrokenError(f"the log dirs of {', '.join(unknown)} are not on record: an empty one would pass")


def _owed(world: World) -> str:
    """What has not ended well yet: "" where all serve, the permit is empty and no change is open."""
    late = [host for host in world.hosts if not world.serves(host)]
    if late:
        return "; ".join(_why(world, host) for host in late)
    root = world.zookeeper.root
    if root.permit.entries:
        return f"the permit has entries of {', '.join(map(str, sorted(root.permit.entries)))}"
    for change in root.changes.values():
        return f"change {change.sequence}, a {change.kind} of {change.node_id}, is {change.phase}: {change.sentence}"
    outdated = [host.name for host in world.hosts if _is_outdated(world, host)]
    if outdated:
        return f"{', '.join(outdated)} would be restarted for ZooKeeper's new addresses"
    stops = [host.name for host in world.hosts if host.record is not None and host.record.stop is not None]
    return f"a stop is on record on {', '.join(stops)}" if stops else ""


def _is_outdated(world: World, host: Host) -> bool:
    """Its daemon has ZooKeeper's new addresses to follow, and, where it may ever stop it, its Kafka to restart."""
    wanted, record = host.settings.addresses, host.record
    if record is None or wanted is None or record.addresses is None:
        return wanted is not None
    behind = world.mode is Mode.ZOOKEEPER and len(world.hosts) > 1
    used = (record.addresses, record.started_with) if behind else (record.addresses,)
    return any(each is not None and set(each) != set(wanted) for each in used)


def _is_on_record(world: World, host: Host) -> bool:
    """The state file and ZooKeeper know of each log dir."""
    here = {volume.marker for volume in host.mounts.values()}
    desired = world.zookeeper.known_desired(host.node_id)
    return host.record is not None and desired is not None and here <= set(host.record.dirs) & set(desired.dirs)


def _why(world: World, host: Host) -> str:
    daemon = world.daemons[host]
    said = "has no daemon" if daemon is None or daemon.decision is None else daemon.decision.sentence
    return f"{host.name} does not serve: {said}"


def _take_over(world: World, rng: random.Random) -> None:
    """The cluster runs already, and daemons come to it host by host."""
    for host in world.hosts:
        if world.mode is Mode.ZOOKEEPER or all(v.holds_data for v in host.mounts.values()):
            world.start_kafka_by_hand(host)
        host.settings.adopt_running = rng.random() < 0.7
        world.engine.after(rng.uniform(3.0, 15.0), partial(world.start_daemon, host))
