"""Two versions of the daemon side by side: hosts are upgraded and downgraded one by one, in the middle of all else.

The newer one is this one with more in its documents: changes of schema 2 (where every member reads them, or where its
operators insist), kinds that only it knows, and unknown fields in the permit. The older one leaves those changes
alone, keeps those fields, and supervises its broker as ever.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial

from tests.sim.agreed import NEWER_SCHEMA
from tests.sim.host import Host
from tests.sim.world import World


def set_version(world: World, host: Host, newer: bool) -> None:
    """The package is replaced and the daemon restarted; Kafka is not."""
    if host.newer is newer or world.mended:
        return
    world.engine.say(host.name, f"the daemon is {'upgraded' if newer else 'downgraded'}")
    host.newer = newer
    daemon = world.daemons[host]
    if daemon is not None:
        daemon.die()


def change_version(world: World, rng: random.Random, host: Host) -> None:
    set_version(world, host, not host.newer)


def roll_versions(world: World, rng: random.Random, host: Host) -> None:
    """All hosts, one after the other."""
    newer, when = not host.newer, 0.0
    for each in list(world.hosts):
        when += rng.uniform(0.5, 8.0)
        world.engine.after(when, partial(set_version, world, each, newer))


def finish(world: World) -> None:
    """In the end all are of one version, and of the newer one where documents of it are open."""
    hosts = [host for host in world.hosts if not host.name.startswith("twin")]
    newer = any(change.schema >= NEWER_SCHEMA for change in world.zookeeper.root.changes.values())
    newer = newer or sum(host.newer for host in hosts) * 2 >= len(hosts)
    for host in hosts:
        set_version(world, host, newer)


VERSIONS: dict[str, Callable[[World, random.Random, Host], None]] = {
    fault.__name__: fault for fault in (change_version, roll_versions)
}
