"""In which modes a fault test runs: marks for the `cluster` fixture."""

from __future__ import annotations

import pytest

from bubuku.core.model import Mode
from bubuku.sandbox.layout import Options

ZOOKEEPER = Options()
KRAFT = Options(mode=Mode.KRAFT)
COMBINED = Options(mode=Mode.KRAFT, combined=True)

zookeeper_mode = pytest.mark.parametrize("kept", [pytest.param(ZOOKEEPER, id="zookeeper")], indirect=True)
kraft_mode = pytest.mark.parametrize("kept", [pytest.param(KRAFT, id="kraft")], indirect=True)
combined_mode = pytest.mark.parametrize("kept", [pytest.param(COMBINED, id="combined")], indirect=True)
both_modes = pytest.mark.parametrize(
    "kept",
    [pytest.param(ZOOKEEPER, id="zookeeper"), pytest.param(KRAFT, id="kraft", marks=pytest.mark.full)],
    indirect=True,
)

both_modes_of_two = pytest.mark.parametrize(
    "kept",
    [
        pytest.param(Options(brokers=2), id="zookeeper-2"),
        pytest.param(Options(brokers=2, mode=Mode.KRAFT), id="kraft-2"),
    ],
    indirect=True,
)
both_modes_of_one = pytest.mark.parametrize(
    "kept",
    [
        pytest.param(Options(brokers=1), id="zookeeper-1"),
        pytest.param(Options(brokers=1, mode=Mode.KRAFT), id="kraft-1"),
    ],
    indirect=True,
)
brokers_that_control = pytest.mark.parametrize(
    "kept", [pytest.param(ZOOKEEPER, id="zookeeper"), pytest.param(COMBINED, id="combined")], indirect=True
)
