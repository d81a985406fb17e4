"""The reader threads of the daemon, and what they read. Implements `supervisor.Readings`.

Paces, in seconds, are (at rest, busy): at rest is a serving broker, and a daemon of a broker with 10,000 partitions has
to stay under 1 % of a core; busy is everything else.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from bubuku.core.errors import RefusedError, TimedOutError, UnavailableError
from bubuku.core.model import ClusterView, CoordinationView, Dated, ForeignProcess, JmxView, Member
from bubuku.core.shared import ProcessId
from bubuku.ports import Addresses, BrokerFiles, Coordination, Jmx, Kafka, Registrations
from bubuku.readers import Reader
from bubuku.supervisor import Snapshots

PACES = {
    "log_dirs": (10.0, 0.5),
    "log": (2.0, 0.2),
    "foreign": (5.0, 0.5),  # costs nothing while our own Kafka runs
    "registration": (5.0, 0.2),
    "answers": (5.0, 0.25),
    "jmx": (5.0, 0.25),
    "cluster": (30.0, 0.15),
    "coordination": (5.0, 0.25),
    "addresses": (5.0, 1.0),
    "differing": (10.0, 5.0),
}
DEADLINE_SECONDS = 3.0
CLUSTER_DEADLINE_SECONDS = 10.0
STOPPING_SECONDS = 1.0  # how often it is read between a deliberate stop and the start, where nothing is in a hurry
UNSETTLED_SECONDS = 3.0  # how often the metadata is read while it is unknown, or replicas are missing
RETURNING_SECONDS, RETURNING_SHARE = 0.3, 0.1  # our own broker comes back: at least, and of the time since it answers


class ReaderThreads:
    """All readers. `member` makes what this daemon shows in ZooKeeper; None while the node id is unknown. `met` is told
    who else is there."""

    def __init__(
        self,
        *,
        files: BrokerFiles,
        registrations: Registrations | None,
        kafka: Kafka,
        jmx: Jmx | None,
        coordination: Coordination,
        addresses: Addresses,
        running: Callable[[], ProcessId | None],
        node_id: Callable[[], int | None],
        member: Callable[[], Member | None],
        met: Callable[[tuple[Member, ...]], None],
        wake: Callable[[], None],
    ) -> None:
        self._kafka, self._coordination = kafka, coordination
        self._node_id, self._member, self._running = node_id, member, running
        self._files, self._met = files, met

        def reader(name: str, read: Callable[[], Any]) -> Reader[Any]:
            rest, busy = PACES[name]
            return Reader(name, read, rest_seconds=rest, busy_seconds=busy, on_change=wake)

        self.log_dirs = reader("log_dirs", files.log_dirs)
        self.log = reader("log", files.log)
        self.foreign = reader("foreign", self._read_foreign)
        self.registration = reader(
            "registration",
            _never("a dedicated controller does not register")
            if registrations is None
            else lambda: registrations.view(DEADLINE_SECONDS),
        )
        self.answers = reader("answers", lambda: kafka.answers(DEADLINE_SECONDS))
        self.jmx = reader("jmx", JmxView if jmx is None else lambda: jmx.view(DEADLINE_SECONDS))
        self.cluster = reader("cluster", self._read_cluster)
        self.coordination = reader("coordination", self._read_coordination)
        self.addresses = reader("addresses", addresses.read)
        self.differing = reader("differing", files.differing)
        self._all: tuple[Reader[Any], ...] = (
            self.log_dirs,
            self.log,
            self.foreign,
            self.registration,
            self.answers,
            self.jmx,
            self.cluster,
            self.coordination,
            self.addresses,
            self.differing,
        )

        self._before_start = (self.log_dirs, self.foreign, self.cluster)
        self._was_busy = True
        self._back_since: float | None = None  # our own broker answers, and is not done yet with coming back
        self._states: frozenset[tuple[int, str]] = frozenset()  # of the members, when the metadata was last asked for

    def start(self) -> None:
        for reader in self._all:
            reader.start()

    def stop(self, deadline_seconds: float) -> None:
        until = time.monotonic() + deadline_seconds
        for reader in self._all:
            reader.stop(0.0)
        for reader in self._all:
            reader.stop(max(0.0, until - time.monotonic()))

    def snapshots(self) -> Snapshots:
        return Snapshots(
            log_dirs=self.log_dirs.latest,
            log=self.log.latest,
            foreign=self.foreign.latest,
            registration=self.registration.latest,
            answers=self.answers.latest,
            jmx=self.jmx.latest,
            cluster=self.cluster.latest,
            coordination=self.coordination.latest,
            addresses=self.addresses.latest,
            differing=self.differing.latest,
        )

    def broker_changed(self) -> None:
        for reader in self._all:
            reader.wake()

    def hurry(self, busy: bool, stopping: bool) -> None:
        """What only a decision to start rests on is not hurried any more once Kafka runs: its start needs the cores.

        Once Kafka answers, metadata is read often while replicas are out of sync: a restart is over when it is back.
        """
        running = self._running() is not None
        if not (busy and running and self.answers.latest.value):
            self._back_since = None
        elif self._back_since is None:
            self._back_since = time.monotonic()
        for reader in self._all:
            slowest = STOPPING_SECONDS if stopping and reader is self.cluster else 0.0
            reader.hurry(busy and not (running and reader in self._before_start), slowest)
        if self._was_busy and not busy:
            self.cluster.wake()  # it serves: what it leads has changed
            self.log_dirs.wake()  # and Kafka has written into fresh ones whose they are
        elif (
            (not busy or self.answers.latest.value)
            and unsettled(self.cluster.latest)
            and _age(self.cluster.latest) >= unsettled_pace(self._back_since, time.monotonic())
        ):
            self.cluster.wake()
        self._was_busy = busy

    def _read_foreign(self) -> ForeignProcess | None:
        if self._running() is not None:
            raise UnavailableError("not looked for while our own Kafka runs")  # unknown: it must not read as "nobody"
        return self._files.foreign(None)

    def _read_cluster(self) -> ClusterView:
        return ClusterView.of(self._kafka.cluster(self._node_id(), CLUSTER_DEADLINE_SECONDS))

    def _read_coordination(self) -> CoordinationView:
        member = self._member()
        if member is not None:
            try:
                self._coordination.publish(member, DEADLINE_SECONDS)
            except (RefusedError, UnavailableError, TimedOutError):
                pass  # the view says who owns the member, or that there is no connection
        view = self._coordination.view(self._node_id(), DEADLINE_SECONDS)
        self._met(view.members)
        states = frozenset((m.node_id, m.state) for m in view.members)
        if states != self._states:
            self._states = states
            self.cluster.wake()  # a broker came or went: leaders and in-sync replicas change
        return view


def unsettled(metadata: Dated[ClusterView]) -> bool:
    """Whether the next reading is likely to say something else: what it shows must not be half a minute old then."""
    view = metadata.value
    return view is None or view.under_replicated > 0 or view.offline_partitions > 0


def unsettled_pace(back_since: float | None, now: float) -> float:
    """How often the metadata is read while it is unsettled. `back_since`: our own broker answers since then, and is not
    done with coming back; others wait for that, so at first it is looked for often. A long way back costs no more.

    >>> [round(unsettled_pace(back_since, 1000.0), 1) for back_since in (None, 999.0, 990.0, 0.0)]
    [3.0, 0.3, 1.0, 3.0]
    """
    if back_since is None:
        return UNSETTLED_SECONDS
    return min(UNSETTLED_SECONDS, max(RETURNING_SECONDS, RETURNING_SHARE * (now - back_since)))


def _age(reading: Dated[Any]) -> float:
    return time.monotonic() - reading.begun


def _never(why: str) -> Callable[[], Any]:
    def read() -> Any:
        raise UnavailableError(why)

    return read
