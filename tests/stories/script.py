"""What a story is written with: a cluster on the simulator without chance, its checkers on, and its transcript.

Each line of a transcript is something that happened, or a decision of a daemon that differs from the one before:
virtual time, who, state · reason · sentence → actions.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from bubuku.core.errors import BubukuError
from bubuku.operations import Operations, Request
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

    def addresses(self, *listed: str) -> None:
        """Of ZooKeeper, as every host reads them from now on."""
        self.engine.say("operator", f"writes {','.join(listed)} into each file of ZooKeeper's addresses")
        for host in self.world.hosts:
            host.settings = replace(host.settings, addresses=listed)

    def kill_kafka(self, number: int) -> None:
        process = self.world.kafka(self.host(number))
        assert process is not None, f"no Kafka runs on host {number}\n{self.transcript()}"
        process.kill()

    def asks(self, kind: str, *nodes: int, accept_unavailable: bool = False) -> None:
        """An operator asks the first host's daemon for a change; a refusal is told."""
        request = Request(kind, nodes, "operator", None, accept_unavailable)
        self._told(f"asks for a {kind} of {', '.join(map(str, nodes))}", lambda o: o.submit(request))

    def cancels(self, sequence: int) -> None:
        self._told(f"cancels change {sequence}", lambda o: o.cancel(sequence))

    def maintenance(self, on: bool) -> None:
        what = f"switches maintenance {'on' if on else 'off'}"
        self._told(what, lambda o: o.set_maintenance(on, "operator", None, None))

    def _told(self, what: str, ask: Callable[[Operations], object]) -> None:
        daemon = self.world.daemons[self.host(1)]
        assert daemon is not None
        self.engine.say("operator", what)
        try:
            ask(daemon.operations)
        except BubukuError as error:
            self.engine.say("operator", f"is told: {error}")

    def passes_until_down(self, number: int) -> None:
        host = self.host(number)
        self.engine.run_until(self.engine.now() + 60.0, lambda: not host.processes)
        assert not host.processes, f"Kafka on host {number} still runs\n{self.transcript()}"

    def until_changes_end(self, deadline_seconds: float = 400.0) -> None:
        root = self.world.zookeeper.root
        self.engine.run_until(self.engine.now() + deadline_seconds, lambda: not root.changes)
        assert not root.changes, f"a change is open after {deadline_seconds:.0f} s\n{self.transcript()}"
        self.passes(3.0)

    def transcript(self) -> str:
        return self.engine.transcript()
