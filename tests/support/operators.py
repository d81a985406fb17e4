"""What operators' requests meet, in memory: changes, permit and maintenance as in ZooKeeper, and a Kafka to judge on.

Callers: tests of `bubuku.operations`, of the paths that change something and of the commands that use them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from bubuku.core.actions import Outcome, Result, TakePermit
from bubuku.core.errors import BubukuError, UnavailableError, UsageError
from bubuku.core.guard import Evidence
from bubuku.core.model import Cluster, ClusterView, CoordinationView, Dated, Partition
from bubuku.core.shared import Change, ChangeState, Entry, Maintenance, Permit
from bubuku.http.server import HttpServer
from bubuku.operations import Operations
from bubuku.verdicts import Verdicts
from tests.support import published as make

LOOPBACK = "127.0.0.1"
ENTRY = Entry("token", "kafka-3.example", make.EPOCH, why="restarted", change="uuid")
IN_SYNC = Partition("orders", 0, 1, (1, 2, 3), (1, 2, 3))
SHORT = Partition("orders", 1, 1, (1, 2, 3), (1, 2))
HEALTHY = Evidence([IN_SYNC], {"orders": 2}, frozenset(), frozenset({1, 2, 3}), known=frozenset({1, 2, 3}))
BLOCKED = replace(HEALTHY, partitions=[SHORT])


def change(sequence: int, **changes: Any) -> Change:
    """A restart of broker 1 that is queued."""
    usual = Change(
        sequence=sequence,
        uuid=f"uuid-{sequence}",
        kind="restart",
        node_id=1,
        state=ChangeState.QUEUED,
        asked_by="anna@desk",
        asked_epoch=make.EPOCH,
        sentence="broker 1 is to be restarted",
    )
    return replace(usual, **changes)


@dataclass
class Kafka:
    """`ports.Kafka`, as far as a verdict asks it."""

    found: Evidence | UnavailableError = field(default_factory=lambda: HEALTHY)
    asked: list[frozenset[int]] = field(default_factory=list)

    def evidence(
        self,
        stopping: frozenset[int],
        permitted: frozenset[int],
        cluster_id: str | None,
        deadline_seconds: float,
        planning: bool = False,
    ) -> Evidence:
        self.asked.append(stopping)
        if isinstance(self.found, UnavailableError):
            raise self.found
        return self.found

    def cluster(self, exclude: int | None, deadline_seconds: float) -> Cluster:
        raise AssertionError("not asked")

    def answers(self, deadline_seconds: float) -> bool:
        raise AssertionError("not asked")

    def elect_preferred(self, partitions: Sequence[tuple[str, int]], deadline_seconds: float) -> None:
        raise AssertionError("not asked")

    def close(self) -> None:
        pass


@dataclass
class Meeting:
    """`ports.Changes` and `ports.Permits`. `steps`: one is taken before each look at a single change."""

    view: CoordinationView | None = field(
        default_factory=lambda: replace(make.coordination(), permit=Permit(3), maintenance=Maintenance(0))
    )
    cluster: ClusterView | None = field(default_factory=lambda: ClusterView.of(make.cluster()))
    history: list[Change] = field(default_factory=list)
    trouble: BubukuError | None = None  # raised by every request
    dropping: Outcome | None = None  # what becomes of a release, instead of its being done
    writing: Outcome | None = None  # …and of the end of a change
    steps: list[Callable[[], None]] = field(default_factory=list)
    lost: bool = False  # the next answer to `create` is lost: it was done
    created: int = 0
    following: int = 100
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def known(self) -> CoordinationView:
        assert self.view is not None
        return self.view

    def shows(self, **changes: Any) -> None:
        self.view = replace(self.known, **changes)

    def becomes(self, sequence: int, state: ChangeState, phase: str, sentence: str) -> None:
        """What a broker's own daemon would write."""
        (old,) = [c for c in self.known.changes if c.sequence == sequence]
        new = replace(old, state=state, phase=phase, sentence=sentence)
        rest = tuple(c for c in self.known.changes if c.sequence != sequence)
        if state.is_open:
            self.shows(changes=(*rest, new))
        else:
            self.shows(changes=rest)
            self.history.append(replace(new, ended_epoch=make.EPOCH))

    # --- ports.Changes

    def write(
        self,
        change: Change,
        deadline_seconds: float,
        created: Sequence[Change] = (),
        children: Sequence[Change] = (),
    ) -> Outcome:
        self._fails()
        if self.writing is not None:
            return self.writing
        assert not change.state.is_open, "no operator writes a change's progress"
        self.becomes(change.sequence, change.state, change.phase, change.sentence)
        return Outcome(Result.DONE, 0.0, 0.0)

    def standing(self, deadline_seconds: float) -> tuple[Change, ...]:
        if not self.lost:
            self._fails()
        return self.known.changes

    def create(self, changes: Sequence[Change], deadline_seconds: float) -> tuple[Change, ...]:
        with self.lock:
            if self.trouble is not None and not self.lost:
                raise self.trouble
            made = tuple(replace(c, sequence=self.following + n) for n, c in enumerate(changes))
            self.following += len(made)
            self.created += len(made)
            self.shows(changes=(*self.known.changes, *made))
            if self.lost and self.trouble is not None:
                raise self.trouble
            return made

    def cancel(self, sequence: int, deadline_seconds: float) -> Change:
        self._fails()
        for each in self.known.changes:
            if each.sequence == sequence:
                asked = replace(each, cancel=True)
                self.shows(changes=tuple(asked if c.sequence == sequence else c for c in self.known.changes))
                return asked
        raise UsageError(f"there is no open change {sequence}")

    def pause(self, sequence: int, paused: bool, deadline_seconds: float) -> Change:
        self._fails()
        (found,) = [each for each in self.known.changes if each.sequence == sequence]
        asked = replace(found, paused=paused)
        self.shows(changes=tuple(asked if c.sequence == sequence else c for c in self.known.changes))
        return asked

    def find(self, sequence: int, deadline_seconds: float) -> Change | None:
        with self.lock:
            if self.steps:
                self.steps.pop(0)()
            self._fails()
            return next((c for c in (*self.known.changes, *self.history) if c.sequence == sequence), None)

    def ended(self, most: int, deadline_seconds: float) -> tuple[Change, ...]:
        self._fails()
        return tuple(sorted(self.history, key=lambda c: -c.sequence)[:most])

    def set_maintenance(
        self, on: bool, by: str, text: str | None, for_seconds: float | None, deadline_seconds: float
    ) -> None:
        self._fails()
        now = time.time()
        until = None if for_seconds is None else now + for_seconds
        self.shows(maintenance=Maintenance(1, on, by, text, now, until))

    # --- ports.Permits

    def take(self, action: TakePermit, deadline_seconds: float) -> Outcome:
        raise AssertionError("no operator takes the permit")

    def rest(self, node_id: int, token: str, deadline_seconds: float) -> Outcome:
        raise AssertionError("no operator rests an entry")

    def settle(self, deadline_seconds: float) -> Outcome:
        raise AssertionError("no operator settles the permit")

    def drop(self, node_id: int, token: str | None, deadline_seconds: float) -> Outcome:
        assert token is None
        if self.dropping is not None:
            return self.dropping
        found = self.known.permit
        assert found is not None
        left = {node: entry for node, entry in found.entries.items() if node != node_id}
        self.shows(permit=Permit(found.version + 1, left))
        return Outcome(Result.DONE, 0.0, 0.0, data={"version": found.version + 1})

    def _fails(self) -> None:
        if self.trouble is not None:
            raise self.trouble


class Clock:
    def __init__(self) -> None:
        self.ahead = 0.0

    def now(self) -> float:
        return time.monotonic() + self.ahead

    def wall(self) -> float:
        return time.time()


def operations(
    meeting: Meeting, kafka: Kafka, clock: Clock | None = None, marker: str | None = make.MARKER
) -> Operations:
    def permitted() -> frozenset[int]:
        permit = meeting.known.permit
        if permit is None:
            raise UnavailableError("who is in the permit is not known")
        return frozenset(permit.entries)

    def members() -> frozenset[int]:
        return frozenset(m.node_id for m in meeting.known.members)

    verdicts = Verdicts(kafka, lambda: make.CLUSTER_ID, permitted, members, lambda: meeting.known.joined)
    return Operations(
        meeting,
        meeting,
        verdicts,
        view=lambda: Dated(0.0, meeting.view),
        cluster=lambda: Dated(0.0, meeting.cluster),
        clock=clock or Clock(),
        marker=lambda: marker,
    )


@contextmanager
def serving(
    asked: Operations, token: str | None = None, health_port: int | None = None, port: int = 0
) -> Iterator[str]:
    """The URL of a daemon's API that takes these requests."""
    server = HttpServer(
        LOOPBACK,
        port,
        lambda: None,
        time.monotonic,
        make.ABOUT,
        health_port,
        health_host=LOOPBACK,
        operations=asked,
        token=token,
    )
    server.start()
    assert server.api_address is not None
    try:
        yield f"http://{LOOPBACK}:{server.api_address[1]}"
    finally:
        server.stop()
