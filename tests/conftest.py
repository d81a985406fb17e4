"""Marks by folder, a leak check around each test, and the logs of real clusters with each failure."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator

import pytest

from tests.support import leaks
from tests.support.cluster import ACTIVE

JVM_FOLDERS = frozenset({"integration", "faults"})

os.environ.setdefault(leaks.RUN_VARIABLE, uuid.uuid4().hex)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if JVM_FOLDERS & set(item.path.relative_to(item.config.rootpath).parts):
            item.add_marker(pytest.mark.jvm)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report: pytest.TestReport = yield
    if report.failed and call.when == "call":
        for cluster in ACTIVE:
            report.sections.append((f"cluster in {cluster.layout.folder}", cluster.report()))
        report.sections.append(("run it alone", f"make test T='{item.nodeid}'"))
    return report


@pytest.fixture(autouse=True)
def _leaves_nothing_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    orphans = request.node.get_closest_marker("jvm") is not None
    before = leaks.take(orphans)
    yield
    left = leaks.since(before, orphans)
    if left:
        pytest.fail("left behind: " + "; ".join(left), pytrace=False)
