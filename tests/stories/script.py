"""What a story is written with: a cluster on the simulator without chance, its checkers on, and its transcript.

Each line of a transcript is something that happened, or a decision of a daemon that differs from the one before:
virtual time, who, state · reason · sentence → actions.
"""

from __future__ import annotations

import random
from typing import Any

from tests.sim.checkers import CHECKERS
from tests.sim.host import Host
from tests.sim.world import Shape, World


class Steady(random.Random):
    """No chance: the middle of each range, the first of each choice."""

    def uniform(self, a: float, b: float) -> float:
        return (a + b) / 2

    def choice(self, seq: Any) -> Any:
        return seq[0]


class Story:
    """A cluster whose time moves when the story says so."""

    def __init__(self, **shape: Any) -> None:
        self.world = World(0, Shape(**shape))
        self.engine = self.world.engine
        self.engine.rng = Steady()
        for checker in CHECKERS:
            checker(self.world)

    def host(self, number: int) -> Host:
        return self.world.hosts[number - 1]

    def settled(self) -> Story:
        """All brokers serve, since a while. What it took is not part of the story."""
        self.world.start_all()
        self.until_all_serve()
        self.passes(30 - self.engine.now())
        self.engine.lines.clear()
        return self

    def passes(self, seconds: float) -> None:
        self.engine.run_until(self.engine.now() + max(0.0, seconds))

    def until_all_serve(self, deadline_seconds: float = 400.0) -> None:
        hosts = self.world.hosts
        self.engine.run_until(
            self.engine.now() + deadline_seconds, lambda: all(self.world.serves(host) for host in hosts)
        )
        late = [host.name for host in hosts if not self.world.serves(host)]
        assert not late, f"{', '.join(late)} did not serve within {deadline_seconds:.0f} s\n{self.transcript()}"
        self.passes(3.0)

    def kill_kafka(self, number: int) -> None:
        process = self.world.kafka(self.host(number))
        assert process is not None, f"no Kafka runs on host {number}\n{self.transcript()}"
        process.kill()

    def transcript(self) -> str:
        return self.engine.transcript()
