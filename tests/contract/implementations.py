"""Who is put to the contract: name → a context manager that yields a world, and whether it needs a JVM.

The simulator's in-memory ports belong here beside the real ones, so that the simulator cannot lie.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.contract import real_kafka, real_zookeeper, simulated


class Factory(Protocol):
    def __call__(self, folder: Path) -> AbstractContextManager[Any]:
        """A world that lives for all tests of a module, with `folder` for its files."""


@dataclass(frozen=True)
class Implementation:
    name: str
    factory: Factory
    jvm: bool = True


MEETING = [
    Implementation("simulated", simulated.meeting, jvm=False),
    Implementation("zookeeper", real_zookeeper.meeting),
]
ZNODES = [Implementation("simulated", simulated.znodes, jvm=False), Implementation("zookeeper", real_zookeeper.znodes)]
KRAFT = [
    Implementation("simulated-kraft", simulated.kraft, jvm=False),
    Implementation("kraft", real_kafka.kraft_registrations),
]
KAFKA = [Implementation("kafka-3.9", real_kafka.zookeeper_mode), Implementation("kafka-4", real_kafka.kraft_mode)]
JMX = [Implementation("kafka-4", real_kafka.jmx)]


def parameters(implementations: list[Implementation]) -> list[Any]:
    return [pytest.param(i, id=i.name, marks=[pytest.mark.jvm] if i.jvm else []) for i in implementations]
