"""Snapshots as the reader threads would publish them: taken when a reading begins, shown when it has ended.

So each snapshot is as old as it may be in the real daemon. A host's `slow` says how long a source takes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bubuku.core.errors import BubukuError
from bubuku.core.model import ClusterView, CoordinationView, Dated, ForeignProcess, JmxView, Member
from bubuku.core.stop_facts import acknowledged
from bubuku.supervisor import Snapshots
from tests.sim.host import Settings

if TYPE_CHECKING:
    from tests.sim.daemon import SimDaemon

LATENCY = 0.02
PACES = {  # seconds at rest, busy
    "log_dirs": (10.0, 0.9),
    "log": (2.0, 0.9),
    "foreign": (5.0, 0.9),
    "registration": (5.0, 0.9),
    "answers": (5.0, 0.9),
    "cluster": (30.0, 0.9),
    "coordination": (5.0, 0.9),
}
ADDRESSES_PACE = 2.0  # a file: nobody waits for it
NOT_YET: Dated[Any] = Dated(float("-inf"), None, "not read yet")
NO_JMX: Dated[JmxView] = Dated(0.0, JmxView())


class Source:
    """One reader: at most one reading under way."""

    def __init__(self, name: str, read: Callable[[], Any]) -> None:
        self.name, self.read = name, read
        self.latest: Dated[Any] = NOT_YET
        self.pending: tuple[float, Dated[Any]] | None = None
        self.begun = float("-inf")
        self.wanted = True
        self.awaited = False  # the reading under way tells something new, or was asked for

    def advance(self, now: float, pace: float, latency: float) -> float | None:
        """Publish what has ended, begin what is due. When a reading will be there that wakes the loop; None: none."""
        if self.pending is not None and self.pending[0] <= now:
            self.latest, self.pending = self.pending[1], None
        if self.pending is not None:
            return self.pending[0] if self.awaited else None
        if not (self.wanted or now - self.begun >= pace):
            return None
        woken, self.wanted = self.wanted, False
        self.begun = now
        try:
            reading: Dated[Any] = Dated(now, self.read())
        except BubukuError as error:
            reading = Dated(now, None, str(error))
        if not latency:
            self.latest = reading
            return None
        self.pending = (now + latency, reading)
        changed = reading.value != self.latest.value or reading.error != self.latest.error
        self.awaited = woken or changed
        return now + latency if self.awaited else None


class MemoryReadings:
    """Implements `supervisor.Readings`."""

    def __init__(self, daemon: SimDaemon) -> None:
        self._daemon = daemon
        self._busy = True
        self._settings: Settings | None = None  # as they were when the list of addresses was read
        self._listed: Dated[tuple[str, ...]] = NOT_YET
        readers: dict[str, Callable[[], Any]] = {
            "log_dirs": daemon.files.log_dirs,
            "log": daemon.files.log,
            "foreign": self._foreign,
            "registration": lambda: daemon.registrations.view(3.0),
            "answers": lambda: daemon.kafka.answers(3.0),
            "cluster": lambda: ClusterView.of(daemon.kafka.cluster(daemon.node_id(), 10.0)),
            "coordination": self._coordination,
        }
        self._sources = {name: Source(name, read) for name, read in readers.items()}

    def snapshots(self) -> Snapshots:
        now = self._daemon.engine.now()
        slow = self._daemon.host.slow
        usual = 0.0 if self._daemon.world.readers_first else LATENCY
        for name, source in self._sources.items():
            latency = slow.get(name, usual) if slow else usual
            due = source.advance(now, PACES[name][1 if self._busy else 0], latency)
            if due is not None:
                self._daemon.wake_at(due)
        latest = {name: source.latest for name, source in self._sources.items()}
        settings = self._daemon.host.settings
        if settings is not self._settings or now - self._listed.begun >= ADDRESSES_PACE:
            value = settings.addresses if settings.addresses_error is None else None
            self._settings, self._listed = settings, Dated(now, value, settings.addresses_error)
        return Snapshots(jmx=NO_JMX, addresses=self._listed, **latest)

    def broker_changed(self) -> None:
        for source in self._sources.values():
            source.wanted = True
        self._daemon.wake()

    def wake(self, *names: str) -> None:
        for name in names:
            self._sources[name].wanted = True

    def hurry(self, busy: bool, stopping: bool) -> None:
        self._busy = busy

    def _foreign(self) -> ForeignProcess | None:
        return None if self._daemon.supervisor.running is not None else self._daemon.files.foreign(None)

    def _coordination(self) -> CoordinationView:
        daemon = self._daemon
        node_id = daemon.node_id()
        if node_id is not None:
            state = "starting" if daemon.published is None else daemon.published.decision.state.value
            marker, name = acknowledged(daemon.supervisor.record), daemon.host.name
            member = Member(node_id, name, daemon.instance, ("broker",), "2", None, None, state, "", 0.0, marker=marker)
            try:
                daemon.coordination.publish(member, 3.0)
            except BubukuError:
                pass  # the view says who owns the member, or that there is no connection
        return daemon.coordination.view(node_id, 3.0)
