"""A changed list of ZooKeeper's addresses, from the reading to the restart: the whole loop of three simulated brokers.

The ports are the simulator's, without faults; time moves when a test says so.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bubuku.core.model import Mode, Record
from bubuku.core.reasons import Reason
from bubuku.core.shared import Maintenance
from tests.sim.daemon import SimDaemon
from tests.sim.host import Host
from tests.sim.world import Shape, World

A, B = ("a:1", "b:1"), ("a:1", "c:1")
SETTLE = 180.0


@pytest.fixture
def world() -> World:
    return serving(Mode.ZOOKEEPER)


def serving(mode: Mode) -> World:
    """Three brokers that serve, started with A."""
    world = World(1, Shape(brokers=3, mode=mode))
    write(world, A)
    world.start_all()
    until(world, lambda: all(map(world.serves, world.hosts)), "all to serve")
    passes(world, 10)
    return world


def write(world: World, listed: tuple[str, ...] | None) -> None:
    for host in world.hosts:
        host.settings.addresses = listed


def passes(world: World, seconds: float) -> None:
    world.engine.run_until(world.engine.now() + seconds)


def until(world: World, condition: Callable[[], bool], what: str, seconds: float = 300) -> None:
    world.engine.run_until(world.engine.now() + seconds, condition)
    assert condition(), f"{what}\n{world.engine.transcript()}"


def record(host: Host) -> Record:
    assert host.record is not None
    return host.record


def daemon(world: World, host: Host) -> SimDaemon:
    found = world.daemons[host]
    assert found is not None
    return found


def starts(world: World) -> list[dict[Reason, int]]:
    found = []
    for host in world.hosts:
        published = daemon(world, host).published
        assert published is not None
        found.append(dict(published.starts))
    return found


FIRST, BOTH = {Reason.FIRST_START: 1}, {Reason.FIRST_START: 1, Reason.ADDRESSES_CHANGED: 1}


def test_each_broker_is_restarted_once_and_one_at_a_time_through_the_permit(world: World) -> None:
    write(world, B)
    passes(world, SETTLE - 5)
    assert starts(world) == [FIRST] * 3
    working: set[int] = set()
    down: set[frozenset[str]] = set()

    def done() -> bool:
        entries = world.zookeeper.root.permit.entries
        working.update(n for n, e in entries.items() if e.why == Reason.ADDRESSES_CHANGED)
        assert len(entries) <= 1
        down.add(frozenset(host.name for host in world.hosts if not host.processes))
        return starts(world) == [BOTH] * 3 and not entries

    until(world, done, "all to be restarted", 400)
    assert working == {1, 2, 3}
    assert max(map(len, down)) == 1
    passes(world, 2 * SETTLE)
    assert starts(world) == [BOTH] * 3
    for host in world.hosts:
        assert frozenset(record(host).addresses or ()) == frozenset(record(host).started_with or ()) == frozenset(B)
        assert daemon(world, host).files.addresses == B


@pytest.mark.parametrize("listed", [A[::-1], None], ids=["reordered", "not readable"])
def test_nothing_happens_for_no_other_list(world: World, listed: tuple[str, ...] | None) -> None:
    write(world, listed)
    passes(world, 3 * SETTLE)
    assert starts(world) == [FIRST] * 3


def test_nothing_happens_for_a_list_that_went_back_in_time(world: World) -> None:
    write(world, B)
    passes(world, SETTLE - 10)
    write(world, A)
    passes(world, 3 * SETTLE)
    assert starts(world) == [FIRST] * 3


def test_in_kraft_only_the_daemons_meet_elsewhere() -> None:
    world = serving(Mode.KRAFT)
    write(world, B)
    passes(world, 3 * SETTLE)
    assert starts(world) == [FIRST] * 3
    assert [record(host).addresses for host in world.hosts] == [B] * 3


def test_in_maintenance_nothing_is_stopped(world: World) -> None:
    root = world.zookeeper.root
    daemon(world, world.hosts[0]).operations.set_maintenance(True, "ann", None, None)
    write(world, B)
    passes(world, 2 * SETTLE)
    assert starts(world) == [FIRST] * 3
    assert isinstance(root.maintenance, Maintenance)
    note = daemon(world, world.hosts[1]).published
    assert note is not None
    assert note.decision.note is not None
    assert "is to be restarted" in note.decision.note.sentence
    daemon(world, world.hosts[0]).operations.set_maintenance(False, "ann", None, None)
    until(world, lambda: starts(world) == [BOTH] * 3, "all to be restarted", 400)


def test_the_next_daemon_counts_anew_and_forgets_nothing(world: World) -> None:
    host = world.hosts[1]
    write(world, B)
    passes(world, SETTLE - 20)
    daemon(world, host).die()
    passes(world, 60)
    assert record(host).addresses == A
    assert daemon(world, host).files.addresses is None  # it begins with the list on record
    until(world, lambda: record(host).started_with == B, "it to be restarted", 400)


def test_a_kafka_that_dies_meanwhile_is_started_with_the_list_in_force(world: World) -> None:
    host = world.hosts[1]
    write(world, B)
    passes(world, 20)
    process = world.kafka(host)
    assert process is not None
    process.kill()
    until(world, lambda: world.kafka(host) not in (None, process), "it to be started")
    assert record(host).started_with == A


def test_a_list_is_told_once(world: World, caplog: pytest.LogCaptureFixture) -> None:
    write(world, B)
    passes(world, 30)
    published = daemon(world, world.hosts[0]).published
    assert published is not None
    assert [each.reason for each in published.events].count(Reason.ADDRESSES_CHANGED) == 1
    told = [each for each in caplog.records if "come in force" in each.getMessage()]
    assert len(told) == len(world.hosts)
