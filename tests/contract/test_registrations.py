"""What every `ports.Registrations` does, in either mode."""

from __future__ import annotations

from dataclasses import replace

from bubuku.core.actions import Result
from bubuku.core.model import Registration, RegistrationView
from bubuku.ports import Registrations
from tests.contract import implementations
from tests.contract.worlds import RegistrationWorld

IMPLEMENTATIONS = implementations.ZNODES + implementations.KRAFT


def own_of(world: RegistrationWorld, port: Registrations) -> Registration:
    view = world.wait(lambda: _with_own(port.view(3.0)), 15, "our registration")
    assert view is not None
    assert view.own is not None
    return view.own


def _with_own(view: RegistrationView) -> RegistrationView | None:
    return None if view.own is None else view


def test_own_and_others(world: RegistrationWorld) -> None:
    world.register(2)
    world.register(3)
    ours, never_registered = world.port(3), world.port(77)
    own = own_of(world, ours)
    assert own.node_id == 3
    assert len(own.endpoints) == 1
    assert own.endpoints[0].startswith("127.0.0.1:")
    view = world.wait(lambda: never_registered.view(3.0), 5, "a view")
    assert view.own is None
    assert ours.view(3.0).others == view.others - 1


def test_nobody_knows_yet_who_we_are(world: RegistrationWorld) -> None:
    world.register(2)
    port = world.port(None)
    view = world.wait(lambda: port.view(3.0), 5, "a view")
    assert view.own is None
    assert view.others >= 1


def test_a_dead_broker_is_fenced(world: RegistrationWorld) -> None:
    world.register(2)
    world.register(3)
    port = world.port(3)
    own = own_of(world, port)
    world.kill(3)
    outcome = port.fence(own, 3.0)
    assert outcome.result is Result.DONE, outcome
    assert outcome.ended is not None
    assert outcome.ended >= outcome.begun
    world.wait(lambda: not world.registered(3), 2, "the registration to be gone at once, long before its session")
    world.wait(lambda: port.view(3.0).own is None, 5, "the port to see it")
    assert world.registered(2)


def test_what_is_gone_already_is_done(world: RegistrationWorld) -> None:
    world.register(2)
    world.register(3)
    port = world.port(3)
    own = own_of(world, port)
    world.kill(3)
    assert port.fence(own, 3.0).result is Result.DONE
    world.wait(lambda: not world.registered(3), 5, "the registration to be gone")
    assert port.fence(own, 3.0).result is Result.DONE


def test_a_broker_on_other_endpoints_is_refused(world: RegistrationWorld) -> None:
    world.register(2)
    world.register(3)
    port = world.port(3)
    own = own_of(world, port)
    elsewhere = replace(own, endpoints=("kafka-9:9092",), content="{}" if own.content is not None else None)
    assert port.fence(elsewhere, 3.0).result is Result.REFUSED
    assert world.registered(3)


def test_it_can_register_again_after_a_fence(world: RegistrationWorld) -> None:
    world.register(2)
    world.register(3)
    port = world.port(3)
    own = own_of(world, port)
    world.kill(3)
    assert port.fence(own, 3.0).result is Result.DONE
    assert port.raise_fence(3, 3.0).result is Result.DONE
    world.register(3)
    assert own_of(world, port).endpoints == own.endpoints
    assert world.registered(3)


def test_without_an_answer_it_is_bounded_and_nothing_is_claimed(world: RegistrationWorld) -> None:
    world.register(2)
    world.register(3)
    port = world.port(3)
    own = own_of(world, port)
    world.cut()
    begun = world.now()
    outcome = port.fence(own, 1.0)
    assert outcome.result in (Result.FAILED, Result.UNKNOWN)
    assert world.now() - begun < 2.0
    world.restore()
    world.wait(lambda: world.registered(3), 10, "the registration, which still stands")
