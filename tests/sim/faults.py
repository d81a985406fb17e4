"""Random faults, the mix itself drawn from the seed, and how each of them is mended afterwards."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from bubuku.core.model import BrokerState, Mode
from tests.sim.daemon import SimDaemon
from tests.sim.exact import Moments
from tests.sim.host import Host, Volume
from tests.sim.kafka_process import KafkaProcess
from tests.sim.rare_faults import RARE
from tests.sim.readings import PACES
from tests.sim.versions import VERSIONS, finish
from tests.sim.world import World


class Faults:
    """Draws what goes wrong in `world` until it is told to stop; `mend` puts all right again."""

    def __init__(self, world: World, seconds: float) -> None:
        self._world, self._until = world, seconds
        self._rng = random.Random(world.engine.rng.random())
        rng = self._rng
        kinds = sorted(FAULTS)
        weights = {kind: rng.choice((0, 0, 1, 1, 3, 10)) for kind in kinds}
        if not any(weights.values()):
            weights["kill_kafka"] = 1
        self._kinds = [kind for kind in kinds if weights[kind]]
        self._weights = [weights[kind] for kind in self._kinds]
        self._pace = rng.choice((1.0, 4.0, 10.0, 20.0))
        self.on = True
        lossy = rng.choice((0.0, 0.05, 0.4, 0.9))

        def fates(draw: random.Random) -> str:
            if not self.on or draw.random() >= lossy:
                return "done"
            return draw.choice(("not sent", "late", "late", "reply lost"))

        world.fates = fates
        self._moments = Moments(world, random.Random(rng.random()), seconds)
        world.engine.after(rng.uniform(0.0, 15.0), self._next)

    def _next(self) -> None:
        world = self._world
        if not self.on or world.engine.now() >= self._until:
            return
        self.strike(self._rng)
        world.engine.after(self._rng.expovariate(1.0 / self._pace), self._next)

    def strike(self, rng: random.Random) -> None:
        """One fault of this seed's mix, now."""
        if self.on:
            kind = rng.choices(self._kinds, self._weights)[0]
            FAULTS[kind](self._world, rng, rng.choice(self._world.hosts))

    def mend(self) -> None:
        """From here on nothing goes wrong any more."""
        self.on = self._moments.on = False
        world = self._world
        world.engine.say("operator", "mends everything")
        if self._rng.random() < 0.5:
            world.zookeeper.restore()
        elif world.zookeeper.wiped:
            _begin_anew(world)
        finish(world)
        world.mended = True
        world.zookeeper.set_up(True)
        world.cluster.quorum.set_up(True)
        for host in list(world.hosts):
            _mend_host(world, host)


def _begin_anew(world: World) -> None:
    """docs/operations.md: where the data is really new, each daemon is made to forget the old marker."""
    world.zookeeper.accept_new()
    for host in world.hosts:
        daemon = world.daemons[host]
        if daemon is not None:
            daemon.die()
        if host.record is not None:
            host.record = replace(host.record, marker=None)


def _mend_host(world: World, host: Host) -> None:
    settings = host.settings
    if host.name.startswith("twin"):
        world.enabled.discard(host)
        daemon = world.daemons[host]
        if daemon is not None:
            daemon.die()
        world.hosts.remove(host)
        for process in list(host.processes):
            process.kill()
        return
    host.slow.clear()
    host.port_taken = host.port_held = False
    host.disk_full = host.state_disk_full = host.dirs_broken = host.cannot_execute = False
    host.start_hangs = host.stop_hangs = host.systemd_restarts_foreign = False
    world.reconnect(host)
    host.correct()
    settings = host.settings
    if settings.template_broken or settings.refused_by_kafka:
        host.settings = replace(settings, template_broken=False, refused_by_kafka=False, revision=settings.revision + 1)
    if host.mounts != host.fstab:
        for process in list(host.processes):
            process.kill()
        host.mounts = dict(host.fstab)
    world.host_up(host)
    daemon = world.daemons[host]
    for process in list(host.processes):
        process.resume()
        if process.hangs and (daemon is None or not _ends_it(daemon, process)):
            world.engine.say(host.name, "the operator ends the Kafka that hangs")
            process.kill()
        if process.instance is None and not settings.adopt_running:
            world.engine.say(host.name, "the operator stops the Kafka that bubuku did not start")
            process.kill()
    if daemon is not None:
        daemon.crash_in = None
    if daemon is None:
        world.start_daemon(host)


def _ends_it(daemon: SimDaemon, process: KafkaProcess) -> bool:
    """It ends a Kafka that hangs by itself: a start that is its own, or a stop under the permit."""
    record = daemon.supervisor.record
    tokens = {entry.token for entry in daemon.world.zookeeper.root.permit.entries.values()}
    stops = record.stop is not None and record.stop.intended and record.stop.token in tokens
    stops = stops and record.stop is not None and record.stop.process == process.identity
    known = record.process == process.identity
    if daemon.world.mode is Mode.KRAFT and not any(e.process.answers for e in daemon.world.cluster.entries.values()):
        return False  # nobody can say that it is not registered, and unknown means no
    return known and not daemon.terminating and (stops or record.started_by_us)


def _later(world: World, rng: random.Random, shortest: float, longest: float, act: Callable[[], None]) -> None:
    world.engine.after(rng.uniform(shortest, longest), act)


def kill_kafka(world: World, rng: random.Random, host: Host) -> None:
    process = world.kafka(host)
    if process is not None:
        process.kill()


def stop_kafka_outside(world: World, rng: random.Random, host: Host) -> None:
    process = world.kafka(host)
    if process is not None:
        world.engine.say(host.name, f"somebody sends SIGTERM to Kafka {process.identity.pid}")
        process.sigterm()


def kill_daemon(world: World, rng: random.Random, host: Host) -> None:
    """Now, or at one of its next writes."""
    daemon = world.daemons[host]
    if daemon is None:
        return
    if rng.random() < 0.3:
        daemon.die()
    else:
        daemon.crash_in = rng.randrange(8)


def kill_both(world: World, rng: random.Random, host: Host) -> None:
    kill_kafka(world, rng, host)
    kill_daemon(world, rng, host)


def reboot(world: World, rng: random.Random, host: Host) -> None:
    world.host_down(host)
    _later(world, rng, 1.0, 40.0, lambda: world.host_up(host))


def power_cut(world: World, rng: random.Random, host: Host) -> None:
    for each in world.hosts:
        world.host_down(each)
    world.zookeeper.set_up(False)
    _later(world, rng, 1.0, 20.0, lambda: world.zookeeper.set_up(True))
    for each in world.hosts:
        _later(world, rng, 1.0, 20.0, partial(world.host_up, each))


def suspend(world: World, rng: random.Random, host: Host) -> None:
    process = world.kafka(host)
    if process is not None:
        process.suspend()
        _later(world, rng, 0.5, rng.choice((5.0, 30.0, 120.0)), process.resume)


def zookeeper_down(world: World, rng: random.Random, host: Host) -> None:
    world.zookeeper.set_up(False)
    _later(world, rng, 0.5, rng.choice((3.0, 30.0, 90.0)), lambda: world.zookeeper.set_up(True))


def expire_session(world: World, rng: random.Random, host: Host) -> None:
    process = world.kafka(host)
    if rng.random() < 0.5 and process is not None and process.session is not None:
        world.cluster.sessions.end(process.session)
        return
    daemon = world.daemons[host]
    if daemon is not None and daemon.coordination.session is not None:
        world.zookeeper.sessions.end(daemon.coordination.session)


def dirs_come_up_empty(world: World, rng: random.Random, host: Host) -> None:
    """A reboot after which a volume is not mounted. What is on record nowhere yet is left alone: nobody could know."""
    here = {volume.marker for volume in host.fstab.values()}
    kept = set(host.record.dirs) if host.record is not None else set()
    desired = world.zookeeper.known_desired(host.node_id)
    published = set(desired.dirs) if desired is not None else set()
    if host.mounts != host.fstab or not here <= kept:
        return
    world.host_down(host)
    path = rng.choice(sorted(host.mounts))
    host.mounts = {**host.mounts, path: Volume(f"{host.mounts[path].name}-mount-point")}
    id_known = host.settings.node_id == host.node_id or (host.settings.node_id is None and len(host.mounts) > 1)
    if rng.random() < 0.3 and id_known and here <= published and not world.zookeeper.wiped:
        host.record = None  # the state file was on that host's root disk, and is gone too
    _later(world, rng, 1.0, 10.0, lambda: world.host_up(host))

    def mount() -> None:
        if not host.processes:
            host.mounts = dict(host.fstab)

    if rng.random() < 0.5:
        _later(world, rng, 10.0, 60.0, mount)


def volumes_swapped(world: World, rng: random.Random, host: Host) -> None:
    """The same disks at other paths: that is harmless."""
    if not host.processes and len(host.mounts) > 1 and host.mounts == host.fstab:
        paths, volumes = list(host.mounts), list(host.mounts.values())
        host.mounts = dict(zip(paths, reversed(volumes), strict=True))
        host.fstab = dict(host.mounts)


def foreign_kafka(world: World, rng: random.Random, host: Host) -> None:
    if host.up and not host.processes and host.mounts == host.fstab and not host.name.startswith("twin"):
        host.settings = replace(host.settings, adopt_running=rng.random() < 0.5)
        world.start_kafka_by_hand(host)


def second_daemon(world: World, rng: random.Random, host: Host) -> None:
    daemon = world.daemons[host]
    record = host.record
    if len(world.hosts) > 5 or host.name.startswith("twin") or daemon is None or daemon.decision is None:
        return
    known = world.zookeeper.root.desired.get(host.node_id)
    if known is not None and record is not None and known.dirs and daemon.decision.state is BrokerState.SERVING:
        world.start_daemon(world.add_twin(host))


def wipe_zookeeper(world: World, rng: random.Random, host: Host) -> None:
    # one who is known in ZooKeeper alone, or whom only that keeps from starting, is not left without it
    if all(_knows_itself(h) and not h.name.startswith("twin") for h in world.hosts):
        world.zookeeper.wipe()
        if rng.random() < 0.7:
            _later(world, rng, 1.0, 60.0, world.zookeeper.restore)


def _knows_itself(host: Host) -> bool:
    record = host.record
    return record is not None and record.marker is not None and bool(record.dirs) and host.mounts == host.fstab


def slow_reader(world: World, rng: random.Random, host: Host) -> None:
    source = rng.choice(sorted(PACES))
    host.slow[source] = rng.choice((0.5, 3.0, 20.0))

    def hasten() -> None:
        host.slow.pop(source, None)

    _later(world, rng, 1.0, 60.0, hasten)


def bad_settings(world: World, rng: random.Random, host: Host) -> None:
    broken = rng.random() < 0.5
    host.settings = replace(
        host.settings, template_broken=broken, refused_by_kafka=not broken, revision=host.settings.revision + 1
    )

    if rng.random() < 0.4:
        for process in list(host.processes):
            process.kill()

    def mend() -> None:
        revision = host.settings.revision + 1
        host.settings = replace(host.settings, template_broken=False, refused_by_kafka=False, revision=revision)

    _later(world, rng, 1.0, 60.0, mend)


def disk_full(world: World, rng: random.Random, host: Host) -> None:
    host.disk_full = True
    host.state_disk_full = rng.random() < 0.4

    def free() -> None:
        host.disk_full = host.state_disk_full = False

    _later(world, rng, 1.0, 60.0, free)


def state_disk_full(world: World, rng: random.Random, host: Host) -> None:
    host.state_disk_full = True

    def free() -> None:
        host.state_disk_full = False

    _later(world, rng, 0.5, 20.0, free)


def terminate(world: World, rng: random.Random, host: Host) -> None:
    """systemctl restart of a daemon with graceful_terminate."""
    daemon = world.daemons[host]
    if daemon is not None and not daemon.terminating:
        daemon.terminate()


FAULTS: dict[str, Callable[[World, random.Random, Host], None]] = (
    {
        fault.__name__: fault
        for fault in (
            kill_kafka,
            stop_kafka_outside,
            kill_daemon,
            kill_both,
            reboot,
            power_cut,
            suspend,
            zookeeper_down,
            expire_session,
            dirs_come_up_empty,
            volumes_swapped,
            foreign_kafka,
            second_daemon,
            wipe_zookeeper,
            slow_reader,
            bad_settings,
            disk_full,
            state_disk_full,
            terminate,
        )
    }
    | RARE
    | VERSIONS
)
