"""Faults that reach what the usual ones do not: hosts cut off or frozen, hanging Kafkas, wrong ids, broken disks."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

from tests.sim.host import Host
from tests.sim.world import World

WRONG_ID, WRONG_CLUSTER = 70, "cluster-x"


def _later(world: World, rng: random.Random, shortest: float, longest: float, act: Callable[[], None]) -> None:
    world.engine.after(rng.uniform(shortest, longest), act)


def cut_off(world: World, rng: random.Random, host: Host) -> None:
    """The host's network is gone, for less or for longer than its sessions last."""
    world.cut_off(host)
    _later(world, rng, 0.5, rng.choice((5.0, 25.0, 60.0)), lambda: world.reconnect(host))


def freeze_daemon(world: World, rng: random.Random, host: Host) -> None:
    daemon = world.daemons[host]
    if daemon is not None:
        daemon.freeze(rng.choice((1.0, 4.0, 15.0, 30.0)) * rng.uniform(0.7, 1.3))


def freeze_host(world: World, rng: random.Random, host: Host) -> None:
    """As a virtual machine that is moved: nobody on it notices."""
    seconds = rng.choice((4.0, 15.0, 30.0)) * rng.uniform(0.7, 1.3)
    daemon, process = world.daemons[host], world.kafka(host)
    if daemon is not None:
        daemon.freeze(seconds)
    if process is not None:
        process.suspend()
        world.engine.after(seconds, process.resume)


def hang_at_start(world: World, rng: random.Random, host: Host) -> None:
    """The next Kafka of this host makes no progress."""
    host.start_hangs = True
    if rng.random() < 0.5:
        for process in list(host.processes):
            process.kill()


def hang_at_stop(world: World, rng: random.Random, host: Host) -> None:
    """On each host the next Kafka that is stopped on purpose never ends."""
    for each in world.hosts:
        each.stop_hangs = True


def forgotten(world: World, rng: random.Random, host: Host) -> None:
    """Its registration is removed under a broker, which never registers again (seen on real ones)."""
    process = world.kafka(host)
    if process is None or not world.cluster.is_registered(process) or not world.serves(host):
        return  # (whom its daemon never saw listed may be so where it does not look, and is left alone)
    deaf = any(each.deaf for other in world.hosts for each in other.processes)
    if world.cluster.controller == process.node_id or deaf or len(world.hosts) < 2:
        return  # nobody could be asked any more, and unknown means no: that takes people
    if host.record is None:
        return
    world.engine.say(host.name, f"the registration of Kafka {process.identity.pid} is removed")
    process.deaf = True
    world.cluster.remove(world.cluster.entries[process.node_id])


def wrong_ids(world: World, rng: random.Random, host: Host) -> None:
    """The host gets another broker's, or another cluster's, configuration."""
    mounted = host.mounts == host.fstab and all(volume.holds_data for volume in host.mounts.values())
    if host.name.startswith("twin") or not mounted or host.record is None or not host.record.dirs:
        return  # nothing tells it from a new broker
    settings = host.settings
    if rng.random() < 0.5 and settings.node_id is not None:
        wrong = replace(settings, node_id=WRONG_ID + host.number)
    else:
        wrong = replace(settings, cluster_id=WRONG_CLUSTER)
    host.settings = replace(wrong, revision=settings.revision + 1)
    _end_it(world, rng, host)
    _later(world, rng, 5.0, 60.0, host.correct)


def disks_broken(world: World, rng: random.Random, host: Host) -> None:
    """No log dir can be read or written: a Kafka that runs on them ends."""
    host.dirs_broken = True
    for process in list(host.processes):
        process.kill()

    def mend() -> None:
        host.dirs_broken = False

    _later(world, rng, 1.0, 60.0, mend)


def port_taken(world: World, rng: random.Random, host: Host) -> None:
    host.port_taken = host.port_held = True
    _end_it(world, rng, host)

    def free() -> None:
        host.port_taken = host.port_held = False

    _later(world, rng, 1.0, 60.0, free)


def cannot_execute(world: World, rng: random.Random, host: Host) -> None:
    host.cannot_execute = True
    _end_it(world, rng, host)

    def mend() -> None:
        host.cannot_execute = False

    _later(world, rng, 1.0, 60.0, mend)


def kafka_of_systemd(world: World, rng: random.Random, host: Host) -> None:
    """A Kafka that bubuku may take over, and that systemd would start again."""
    if not host.up or host.mounts != host.fstab or host.name.startswith("twin"):
        return
    host.settings = replace(host.settings, adopt_running=True)
    host.systemd_restarts_foreign = True
    if not host.processes:
        world.start_kafka_by_hand(host)

    def hand_over() -> None:
        host.systemd_restarts_foreign = False

    _later(world, rng, 5.0, 60.0, hand_over)


def _end_it(world: World, rng: random.Random, host: Host) -> None:
    """What is wrong shows at the next start, which comes soon at times."""
    process = world.kafka(host)
    if process is not None and rng.random() < 0.5:
        _later(world, rng, 0.0, 3.0, lambda: None if world.mended else process.kill())


RARE: dict[str, Callable[[World, random.Random, Host], None]] = {
    fault.__name__: fault
    for fault in (
        cut_off,
        freeze_daemon,
        freeze_host,
        hang_at_start,
        hang_at_stop,
        forgotten,
        wrong_ids,
        disks_broken,
        port_taken,
        cannot_execute,
        kafka_of_systemd,
    )
}
