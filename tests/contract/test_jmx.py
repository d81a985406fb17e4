"""What every `ports.Jmx` does."""

from __future__ import annotations

import pytest

from bubuku.core.errors import UnavailableError
from bubuku.core.model import JmxView, Mode
from bubuku.ports import Jmx
from tests.contract import implementations
from tests.contract.worlds import JmxWorld

IMPLEMENTATIONS = implementations.JMX
RUNNING = 3
RECOVERY = 2


def view_of(port: Jmx) -> JmxView | None:
    try:
        return port.view(1.0)
    except UnavailableError:
        return None


def serving(port: Jmx) -> JmxView | None:
    view = view_of(port)
    return view if view is not None and view.broker_state == RUNNING else None


def test_without_the_process_it_is_unavailable(world: JmxWorld) -> None:
    begun = world.now()
    with pytest.raises(UnavailableError):
        world.port().view(1.0)
    assert world.now() - begun < 1.5


def test_a_serving_broker(world: JmxWorld) -> None:
    port = world.port()
    world.start()
    world.wait(lambda: serving(port), 60, "the broker to serve")
    view = port.view(1.0)
    assert view.remaining_logs in (None, 0)
    assert view.raft_state == ("leader" if world.mode is Mode.KRAFT else None)
    assert view.process_uptime_ms is not None
    assert 0 < view.process_uptime_ms < 60_000


@pytest.mark.full
def test_states_while_starting_and_recovering(world: JmxWorld) -> None:
    port = world.port()
    world.start()
    world.wait(lambda: serving(port), 60, "the broker to serve")
    world.fill(300)
    world.kill()
    with pytest.raises(UnavailableError):
        port.view(1.0)
    world.start()
    seen: list[JmxView] = []

    def until_serving() -> bool:
        view = view_of(port)
        if view is not None:
            seen.append(view)
        return view is not None and view.broker_state == RUNNING

    world.wait(until_serving, 60, "the broker to serve after its recovery")
    remaining = [v.remaining_logs for v in seen if v.remaining_logs]
    assert remaining, f"no recovery was seen; the last of {len(seen)} views: {seen[-1]}"
    assert remaining == sorted(remaining, reverse=True), "it counts down"
    assert all(v.broker_state in (1, RECOVERY) for v in seen if v.remaining_logs)
    assert seen[-1].process_uptime_ms is not None


@pytest.mark.full
def test_a_frozen_process_is_unavailable_within_the_deadline(world: JmxWorld) -> None:
    port = world.port()
    world.start()
    world.wait(lambda: serving(port), 60, "the broker to serve")
    world.freeze()
    begun = world.now()
    with pytest.raises(UnavailableError):
        port.view(1.0)
    assert world.now() - begun < 1.5
    world.thaw()
    world.wait(lambda: serving(port), 10, "it to answer again")
