"""The worlds, one a module and implementation, and their state around each test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.contract import implementations
from tests.contract.implementations import Implementation


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A module names its implementations in `IMPLEMENTATIONS`; each of its tests runs on each of them."""
    chosen = getattr(metafunc.module, "IMPLEMENTATIONS", None)
    if chosen is not None and "shared_world" in metafunc.fixturenames:
        metafunc.parametrize("shared_world", implementations.parameters(chosen), indirect=True, scope="module")


@pytest.fixture(scope="module")
def shared_world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    implementation: Implementation = request.param
    with implementation.factory(tmp_path_factory.mktemp("world")) as world:
        yield world


@pytest.fixture
def world(shared_world: Any) -> Iterator[Any]:
    shared_world.reset()
    yield shared_world
    shared_world.end_test()
