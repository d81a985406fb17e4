"""Real clusters for the fault tests, one a mode, kept from test to test.

`cluster` is healthy when a test gets it. Most tests run in ZooKeeper mode in `make test`; `both_modes` adds KRaft in
`make test-full`.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from bubuku.sandbox.layout import Options
from tests.support.cluster import RealCluster
from tests.support.faults import KeptCluster

FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        item.stash[FAILED] = True
    return report


@pytest.fixture(scope="session")
def kept(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeptCluster]:
    """The cluster of a shape (`Options`), for as long as tests of that shape follow each other."""
    options: Options = request.param
    found = KeptCluster(tmp_path_factory.mktemp(str(options.mode)), options)
    yield found
    found.discard()


@pytest.fixture
def cluster(kept: KeptCluster, request: pytest.FixtureRequest) -> Iterator[RealCluster]:
    yield kept.healthy()
    if request.node.stash.get(FAILED, False):
        kept.discard()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """For a cluster of a test's own."""
    return tmp_path / "cluster"
