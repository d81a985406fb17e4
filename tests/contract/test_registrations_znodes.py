"""What `ports.Registrations` does in ZooKeeper mode alone: sessions, the controller, fences that come late."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bubuku.core.actions import Result
from bubuku.core.errors import UnavailableError
from tests.contract import implementations
from tests.contract.test_registrations import own_of
from tests.contract.worlds import ZnodeWorld

IMPLEMENTATIONS = implementations.ZNODES


def test_the_controller_is_seen(world: ZnodeWorld) -> None:
    world.register(1)
    port = world.port(1)
    assert port.view(3.0).controller_id is None
    world.become_controller(1)
    world.wait(lambda: port.view(3.0).controller_id == 1, 5, "the controller")


def test_a_dead_controller_loses_both_at_once(world: ZnodeWorld) -> None:
    world.register(1)
    world.become_controller(1)
    port = world.port(1)
    assert port.fence(own_of(world, port), 3.0).result is Result.DONE
    assert not world.registered(1)
    assert world.controller() is None


def test_a_fence_takes_milliseconds(world: ZnodeWorld) -> None:
    world.register(1)
    world.become_controller(1)
    port = world.port(1)
    own = own_of(world, port)
    assert port.raise_fence(1, 3.0).result is Result.DONE
    begun = world.now()
    assert port.fence(own, 3.0).result is Result.DONE
    assert world.now() - begun < 0.1


def test_a_controller_of_another_broker_stays(world: ZnodeWorld) -> None:
    world.register(1)
    world.register(2)
    world.become_controller(2)
    port = world.port(1)
    assert port.fence(own_of(world, port), 3.0).result is Result.DONE
    assert world.controller() == 2


def test_the_controller_goes_although_the_registration_is_gone(world: ZnodeWorld) -> None:
    """Whatever removed the registration alone, the dead controller must not stay."""
    world.register(1)
    port = world.port(1)
    own = own_of(world, port)
    assert port.fence(own, 3.0).result is Result.DONE
    world.become_controller(1)  # the same session
    assert port.fence(own, 3.0).result is Result.DONE
    assert world.controller() is None


def test_a_new_incarnation_is_left_alone(world: ZnodeWorld) -> None:
    world.register(1)
    port = world.port(1)
    old = own_of(world, port)
    world.expire(1)
    world.wait(lambda: not world.registered(1), 5, "the old registration to go")
    world.register(1)
    world.become_controller(1)
    outcome = port.fence(old, 3.0)
    assert outcome.result is Result.REFUSED, outcome
    assert world.registered(1)
    assert world.controller() == 1


@pytest.mark.parametrize("field", ["czxid", "owner", "content"])
def test_each_part_of_the_identity_counts(world: ZnodeWorld, field: str) -> None:
    world.register(1)
    port = world.port(1)
    own = own_of(world, port)
    other = {
        "czxid": replace(own, czxid=(own.czxid or 0) + 1),
        "owner": replace(own, owner=(own.owner or 0) + 1),
        "content": replace(own, content=(own.content or "") + " "),
    }[field]
    assert port.fence(other, 3.0).result is Result.REFUSED
    unknown = {
        "czxid": replace(own, czxid=None),
        "owner": replace(own, owner=None),
        "content": replace(own, content=None),
    }[field]
    assert port.fence(unknown, 3.0).result is Result.REFUSED
    assert world.registered(1)


def test_another_hosts_broker_is_left_alone(world: ZnodeWorld) -> None:
    world.register(1)
    port = world.port(1)
    old = own_of(world, port)
    world.expire(1)
    world.wait(lambda: not world.registered(1), 5, "the old registration to go")
    world.another_registers_as(1, "kafka-9")
    assert port.fence(old, 3.0).result is Result.REFUSED
    assert world.registered(1)


def test_a_fence_from_before_a_raise_is_refused(world: ZnodeWorld) -> None:
    """The daemon that raised for the next start has a successor that raised again: its fence is of the past."""
    world.register(1)
    first, second = world.port(1), world.port(1)
    own = own_of(world, first)
    assert first.raise_fence(1, 3.0).result is Result.DONE
    assert second.raise_fence(1, 3.0).result is Result.DONE
    outcome = first.fence(own, 3.0)
    assert outcome.result is Result.REFUSED, outcome
    assert world.registered(1)
    assert second.fence(own, 3.0).result is Result.DONE


def test_a_late_fence_does_not_hit_the_next_incarnation(world: ZnodeWorld) -> None:
    world.register(1)
    world.become_controller(1)
    port = world.port(1)
    own = own_of(world, port)

    def next_start() -> None:
        assert port.raise_fence(1, 3.0).result is Result.DONE
        world.expire(1)
        world.wait(lambda: not world.registered(1), 5, "the old session to end")
        world.register(1)
        world.become_controller(1)

    outcome = world.late_fence(port, own, next_start)
    assert outcome.result is Result.UNKNOWN, outcome
    assert world.registered(1), "the new incarnation"
    assert world.controller() == 1


def test_a_late_fence_does_not_hit_a_new_controller(world: ZnodeWorld) -> None:
    """Without a raise: another broker has won the election while the fence was on its way."""
    world.register(1)
    world.register(2)
    world.become_controller(1)
    port = world.port(1)
    own = own_of(world, port)

    def election() -> None:
        world.expire(1)
        world.wait(lambda: world.controller() is None, 5, "the dead controller to go")
        world.become_controller(2)

    world.late_fence(port, own, election)
    assert world.controller() == 2


def test_a_late_fence_that_nothing_overtook_is_executed(world: ZnodeWorld) -> None:
    """This is why UNKNOWN means waiting: it happens after its deadline."""
    world.register(1)
    port = world.port(1)
    outcome = world.late_fence(port, own_of(world, port), lambda: None)
    assert outcome.result is Result.UNKNOWN, outcome
    world.wait(lambda: not world.registered(1), 5, "the late fence to have been executed")


def test_frozen_zookeeper_leaves_a_raise_unknown_and_it_can_be_raised_again(world: ZnodeWorld) -> None:
    world.register(1)
    port = world.port(1)
    own = own_of(world, port)
    assert port.raise_fence(1, 3.0).result is Result.DONE
    world.cut()
    begun = world.now()
    assert port.raise_fence(1, 0.5).result is Result.UNKNOWN
    assert world.now() - begun < 1.5
    world.restore()
    world.wait(lambda: port.raise_fence(1, 2.0).result is Result.DONE, 15, "ZooKeeper to answer again")
    assert port.fence(own, 3.0).result is Result.DONE


def test_views_fail_once_the_connection_is_known_to_be_lost(world: ZnodeWorld) -> None:
    world.register(1)
    port = world.port(1)
    own_of(world, port)
    world.cut()

    def fails() -> bool:
        try:
            port.view(0.5)
        except UnavailableError:
            return True
        return False

    world.wait(fails, 20, "a view to fail")
    world.restore()
    world.wait(lambda: not fails(), 20, "views to come back")
