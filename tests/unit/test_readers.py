"""Reader threads: dated snapshots, errors as snapshots, pace and wake-up. Tests wait for conditions, never for time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, cast

import pytest

from bubuku.adapters.addresses import ConfiguredAddresses
from bubuku.core.errors import UnavailableError
from bubuku.core.model import Cluster, CoordinationView, LogView, Member
from bubuku.core.shared import ProcessId
from bubuku.daemon.readings import PACES, RETURNING_SECONDS, ReaderThreads, unsettled
from bubuku.readers import Reader
from tests.support import published as make
from tests.support.wait import wait_for

NEVER_BY_ITSELF = 3600.0


class Source:
    """What a reader reads: counts the readings; `does` says what comes of each."""

    def __init__(self) -> None:
        self.readings = threading.Semaphore(0)
        self.changes = threading.Semaphore(0)
        self.does: Callable[[], int] = lambda: 1

    def read(self) -> int:
        try:
            return self.does()
        finally:
            self.readings.release()

    def read_again(self) -> None:
        assert self.readings.acquire(timeout=10.0), "no reading was made"

    def changed(self) -> None:
        assert self.changes.acquire(timeout=10.0), "no change was told"


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def reader(source: Source) -> Iterator[Reader[int]]:
    made = Reader(
        "test",
        source.read,
        rest_seconds=NEVER_BY_ITSELF,
        busy_seconds=NEVER_BY_ITSELF + 1,
        on_change=source.changes.release,
    )
    yield made
    made.stop(10.0)


def test_before_the_first_reading_nothing_is_known(reader: Reader[int]) -> None:
    assert not reader.latest.known
    assert reader.latest.begun == float("-inf")
    reader.start()


def test_a_reading_is_dated_by_its_beginning(source: Source, reader: Reader[int]) -> None:
    began, go_on = threading.Event(), threading.Event()

    def slowly() -> int:
        began.set()
        assert go_on.wait(10.0)
        return 7

    source.does = slowly
    reader.start()
    assert began.wait(10.0)
    noticed = time.monotonic()
    go_on.set()
    source.changed()
    assert reader.latest.value == 7
    assert reader.latest.begun <= noticed


@pytest.mark.parametrize(("error", "said"), [(UnavailableError("away"), "away"), (KeyError("x"), "KeyError: 'x'")])
def test_a_failed_reading_says_why_and_the_next_is_made(
    source: Source, reader: Reader[int], error: Exception, said: str
) -> None:
    def fail() -> int:
        raise error

    source.does = fail
    reader.start()
    source.changed()
    assert (reader.latest.value, reader.latest.error) == (None, said)
    source.does = lambda: 2
    reader.wake()
    source.changed()
    assert reader.latest.value == 2


def test_wake_reads_now(source: Source, reader: Reader[int]) -> None:
    reader.start()
    source.read_again()
    reader.wake()
    source.read_again()


def test_a_wake_during_a_reading_is_not_lost(source: Source, reader: Reader[int]) -> None:
    began, go_on = threading.Event(), threading.Event()

    def slowly() -> int:
        began.set()
        assert go_on.wait(10.0)
        return 1

    source.does = slowly
    reader.start()
    assert began.wait(10.0)
    reader.wake()
    go_on.set()
    source.read_again()
    source.read_again()


def test_a_new_pace_ends_the_sleep(source: Source, reader: Reader[int]) -> None:
    reader.start()
    source.read_again()
    reader.hurry(False)
    source.read_again()


def test_a_change_is_told_and_at_rest_nothing_else_is(source: Source, reader: Reader[int]) -> None:
    reader.hurry(False)
    reader.start()
    source.changed()
    source.read_again()
    reader.wake()
    source.read_again()  # the same again: not told
    source.does = lambda: 2
    reader.wake()
    source.changed()
    assert reader.latest.value == 2
    assert not source.changes.acquire(blocking=False)


def test_stop_ends_the_thread(source: Source, reader: Reader[int]) -> None:
    reader.start()
    source.read_again()
    reader.stop(10.0)
    assert not any(thread.name == "read-test" for thread in threading.enumerate())


def test_other_processes_are_unknown_not_absent_while_our_own_kafka_runs() -> None:
    """Dated after an end that the loop is just noticing, "nobody" would let a second Kafka start."""
    running: list[ProcessId | None] = [ProcessId(1, 1, "b")]
    told = threading.Event()
    nothing = SimpleNamespace(
        log_dirs=tuple,
        log=LogView,
        differing=tuple,
        foreign=lambda _: None,
        answers=lambda _: True,
        cluster=None,
        publish=None,
    )
    coordination = SimpleNamespace(view=lambda *_: CoordinationView(connected=False))
    threads = ReaderThreads(
        files=cast(Any, nothing),
        registrations=None,
        kafka=cast(Any, nothing),
        jmx=None,
        coordination=cast(Any, coordination),
        addresses=ConfiguredAddresses(("h:1",)),
        running=lambda: running[0],
        node_id=lambda: None,
        member=lambda: None,
        met=lambda _: None,
        wake=told.set,
    )
    threads.foreign.start()
    try:
        wait_for(lambda: threads.foreign.latest.error == "not looked for while our own Kafka runs", 5, "a reading")
        running[0] = None
        threads.foreign.wake()
        wait_for(lambda: threads.foreign.latest.known, 5, "a reading")
    finally:
        threads.foreign.stop(5)


def test_between_a_deliberate_stop_and_the_start_metadata_is_read_once_a_second() -> None:
    nothing = cast(Any, SimpleNamespace())
    threads = ReaderThreads(
        files=cast(Any, SimpleNamespace(log_dirs=tuple, log=LogView, differing=tuple)),
        registrations=None,
        kafka=cast(Any, SimpleNamespace(answers=lambda _: True)),
        jmx=None,
        addresses=ConfiguredAddresses(("h:1",)),
        coordination=nothing,
        running=lambda: None,
        node_id=lambda: 1,
        member=lambda: None,
        met=lambda _: None,
        wake=lambda: None,
    )
    threads.hurry(True, True)
    assert (threads.cluster.pace, threads.foreign.pace) == (1.0, PACES["foreign"][1])
    threads.hurry(True, False)
    assert threads.cluster.pace == PACES["cluster"][1]


@pytest.mark.parametrize("busy", [False, True], ids=["at rest", "while its broker is on its way back"])
def test_the_metadata_is_read_again_when_a_broker_came_or_went_and_until_all_replicas_are_in_sync(busy: bool) -> None:
    """At rest it is read rarely; an operator who waits for the cluster must not be shown what was before."""
    seen: list[tuple[Member, ...]] = [(make.member(1), make.member(2))]

    def metadata(_exclude: int | None, _deadline_seconds: float) -> Cluster:
        return make.cluster(under=2) if len(seen[0]) == 2 else make.cluster()

    threads = ReaderThreads(
        files=cast(Any, SimpleNamespace(log_dirs=tuple, log=LogView, differing=tuple, foreign=lambda _: None)),
        registrations=None,
        kafka=cast(Any, SimpleNamespace(cluster=metadata, answers=lambda _: True)),
        jmx=None,
        coordination=cast(Any, SimpleNamespace(view=lambda *_: CoordinationView(connected=True, members=seen[0]))),
        addresses=ConfiguredAddresses(("h:1",)),
        running=lambda: ProcessId(1, 1, "b"),
        node_id=lambda: 1,
        member=lambda: None,
        met=lambda _: None,
        wake=lambda: None,
    )
    threads.start()
    try:
        threads.hurry(busy, False)
        wait_for(lambda: unsettled(threads.cluster.latest) and threads.cluster.latest.known, 5, "the metadata")
        begun = threads.cluster.latest.begun
        wait_for(lambda: threads.hurry(busy, False) or threads.cluster.latest.begun > begun, 10, "another reading")
        seen[0] = (*seen[0], make.member(3))
        threads.coordination.wake()
        wait_for(lambda: not unsettled(threads.cluster.latest), 5, "a reading after a broker came")
    finally:
        threads.stop(5)


def test_while_its_broker_comes_back_the_metadata_is_read_often() -> None:
    """The brokers that are to be restarted next wait for this: three seconds of it were a third of a restart."""
    begun: list[float] = []

    def metadata(_exclude: int | None, _deadline_seconds: float) -> Cluster:
        begun.append(time.monotonic())
        return make.cluster(under=2)

    threads = ReaderThreads(
        files=cast(Any, SimpleNamespace(log_dirs=tuple, log=LogView, differing=tuple, foreign=lambda _: None)),
        registrations=None,
        kafka=cast(Any, SimpleNamespace(cluster=metadata, answers=lambda _: True)),
        jmx=None,
        addresses=ConfiguredAddresses(("h:1",)),
        coordination=cast(Any, SimpleNamespace(view=lambda *_: CoordinationView(connected=True))),
        running=lambda: ProcessId(1, 1, "b"),
        node_id=lambda: 1,
        member=lambda: None,
        met=lambda _: None,
        wake=lambda: None,
    )
    threads.start()
    try:
        wait_for(lambda: threads.answers.latest.value, 5, "an answer")
        begun.clear()
        wait_for(lambda: threads.hurry(True, False) or len(begun) >= 4, 5, "four readings")
    finally:
        threads.stop(5)
    pauses = [later - earlier for earlier, later in pairwise(begun[:4])]
    assert min(pauses) >= RETURNING_SECONDS
