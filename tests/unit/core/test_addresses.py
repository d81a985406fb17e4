"""ZooKeeper's addresses: what a list is, when another one comes in force, and which Kafka is restarted for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bubuku.core import addresses
from bubuku.core.actions import Remember, StartBroker, UseAddresses
from bubuku.core.decide import decide
from bubuku.core.memory import Memory, SeenAddresses
from bubuku.core.model import Dated, ProcessView, Record
from bubuku.core.observation import Observation
from bubuku.core.reasons import Reason
from tests.support.observations import (
    KRAFT_POLICY,
    NOW,
    OTHER,
    POLICY,
    STARTED,
    after_end,
    observe,
    raised,
    ran,
    read,
    record,
    running,
    unread,
    watching,
)
from tests.support.stops import intended

A, B, C = ("a:1", "b:1"), ("a:1", "c:1"), ("d:1",)
SETTLE = POLICY.addresses_settle
OUTDATED = running(record=ran(addresses=B, started_with=A))
UNREAD: Dated[Any] = unread("/zk: No such file or directory")


@pytest.mark.parametrize(
    ("text", "listed"),
    [
        ("a:1\nb:2\n", ("a:1", "b:2")),
        ("a:1,b:2", ("a:1", "b:2")),
        ("# ours\n\n a , b:2 # the other\r\n,\n[::1]:3", ("a:2181", "b:2", "[::1]:3")),
    ],
)
def test_a_list(text: str, listed: tuple[str, ...]) -> None:
    assert addresses.parse(text) == listed


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "at least one"),
        ("# a:1\n,\n", "at least one"),
        ("a:1\nb:x", '"b:x" is not host:port'),
        ("a:0", "not host:port"),
        ("a:65536", "not host:port"),
        ("a b", "not host:port"),
        ("a:1/kafka", "has a path"),
    ],
)
def test_no_list(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        addresses.parse(text)


# when another list comes in force: (seconds, what is read), and the list in force afterwards; A is in force before


@pytest.mark.parametrize(
    ("readings", "in_force"),
    [
        ([(0, A), (1000, A)], A),
        ([(0, A), (1000, A[::-1])], A),
        ([(0, B)], A),
        ([(0, B), (SETTLE - 1, B)], A),
        ([(0, B), (SETTLE, B)], B),
        ([(0, B), (SETTLE / 2, B[::-1]), (SETTLE, B)], B),
        ([(0, B), (100, C), (SETTLE, C)], A),
        ([(0, B), (100, C), (100 + SETTLE, C)], C),
        ([(0, B), (100, C), (110, B), (SETTLE, B)], A),
        ([(0, B), (100, A), (SETTLE, A), (1000, A)], A),
        ([(0, B), (100, A), (110, B), (SETTLE + 10, B)], A),
        ([(0, B), (100, A), (110, B), (SETTLE + 110, B)], B),
        ([(0, B), (SETTLE, None), (1000, None)], A),
        ([(0, B), (100, None), (SETTLE, B)], B),
        ([(0, None), (1000, None), (1001, B)], A),
    ],
    ids=str,
)
def test_when_a_list_comes_in_force(readings: list[tuple[float, tuple[str, ...] | None]], in_force: Any) -> None:
    memory, known = Memory(), record(addresses=A)
    for after, listed in readings:
        now = NOW + after
        obs = observe(now=now, record=known, addresses=Dated(now, listed, None if listed else "unread"))
        memory, actions = addresses.step(POLICY, memory, obs)
        used = [each.addresses for each in actions if isinstance(each, UseAddresses)]
        before, known = known, next((each.record for each in actions if isinstance(each, Remember)), known)
        assert used == ([known.addresses] if known != before else [])
    assert frozenset(known.addresses or ()) == frozenset(in_force)


def test_what_counts_is_when_it_was_read_and_not_when_it_is_looked_at() -> None:
    """A reading that hangs says nothing of the time that passes."""
    memory, _ = addresses.step(POLICY, Memory(), observe(record=record(addresses=A), addresses=read(B)))
    later = observe(now=NOW + 1000, record=record(addresses=A), addresses=read(B))
    assert addresses.step(POLICY, memory, later) == (memory, ())


GIVEN = replace(POLICY, addresses_given=True)


@pytest.mark.parametrize(
    ("policy", "known", "listed", "in_force"),
    [
        (POLICY, record(), B, B),  # a first start, or a state file of before
        (POLICY, record(addresses=A), B, A),
        (GIVEN, record(addresses=A), B, B),
        (GIVEN, record(addresses=A), A[::-1], A),
    ],
    ids=["nothing known", "known", "configured", "configured, reordered"],
)
def test_what_a_daemon_begins_with(
    policy: Any, known: Record, listed: tuple[str, ...], in_force: tuple[str, ...]
) -> None:
    _, actions = addresses.step(policy, Memory(), observe(record=known, addresses=read(listed)))
    assert next((each.record.addresses for each in actions if isinstance(each, Remember)), A) == in_force


@pytest.mark.parametrize(
    ("known", "started_with"),
    [
        (ran(), B),  # the state file of a daemon that wrote none down: it is not restarted for it
        (ran(addresses=A), A),  # taken over while it ran
        (ran(addresses=A, started_with=C), C),
    ],
    ids=["no list known", "adopted", "known"],
)
def test_what_a_running_kafka_is_taken_to_be_started_with(known: Record, started_with: tuple[str, ...]) -> None:
    _, actions = addresses.step(POLICY, Memory(), running(record=known, addresses=read(B)))
    assert next((each.record.started_with for each in actions if isinstance(each, Remember)), C) == started_with


# which Kafka is restarted


def saw(listed: tuple[str, ...], seconds: float = SETTLE) -> Memory:
    """The memory of a daemon that has read this for so long."""
    seen = SeenAddresses(frozenset(listed), NOW - seconds, NOW, -seconds)
    return watching(addresses=seen)


@pytest.mark.parametrize(
    ("obs", "policy", "memory", "wanted"),
    [
        (OUTDATED, POLICY, saw(B), True),
        (OUTDATED, POLICY, saw(B, SETTLE - 1), False),
        (OUTDATED, POLICY, saw(C), False),
        (OUTDATED, POLICY, watching(), False),
        (OUTDATED, KRAFT_POLICY, saw(B), False),
        (running(record=ran(addresses=B, started_with=B)), POLICY, saw(B), False),
        (running(record=ran(addresses=B, started_with=B[::-1])), POLICY, saw(B), False),
        (running(record=ran(addresses=B)), POLICY, saw(B), False),
        (running(record=ran(started_with=A)), POLICY, saw(B), False),
        (after_end(record=ran(addresses=B, started_with=A)), POLICY, saw(B), False),
    ],
    ids=[
        "other",
        "not settled",
        "a third one is coming",
        "a daemon that has read none",
        "KRaft",
        "the same",
        "reordered",
        "not known",
        "none in force",
        "down",
    ],
)
def test_who_is_restarted(obs: Observation, policy: Any, memory: Memory, wanted: bool) -> None:
    found = addresses.want(policy, memory, obs)
    assert (found is not None) is wanted
    if found is not None:
        assert (found.why, found.change, found.stay_down) == (Reason.ADDRESSES_CHANGED, None, False)
        assert found == addresses.want(policy, memory, replace(obs, now=NOW + 100))


def test_two_processes_are_two_stops() -> None:
    known = ran(addresses=B, started_with=A)
    first = addresses.want(POLICY, saw(B), running(record=known))
    second = addresses.want(POLICY, saw(B), running(record=known, process=ProcessView(OTHER, STARTED)))
    assert first is not None
    assert second is not None
    assert first.token != second.token


def test_an_adopted_kafka_has_not_what_another_one_was_started_with() -> None:
    obs = running(record=ran(addresses=B, started_with=A), process=ProcessView(OTHER, STARTED), addresses=read(B))
    _, decision = decide(POLICY, Memory(), obs)
    saved = next(each.record for each in decision.actions if isinstance(each, Remember))
    assert (saved.process, saved.started_with) == (OTHER, None)


# in the whole decision


def test_a_list_is_on_disk_and_in_use_before_kafka_is_started_with_it() -> None:
    obs = observe(record=record(), outcomes=raised(), addresses=read(B))
    _, decision = decide(POLICY, Memory(raise_sent_at=NOW - 0.5), obs)
    kinds = [type(each) for each in decision.actions if isinstance(each, Remember | UseAddresses | StartBroker)]
    assert list(dict.fromkeys(kinds)) == [Remember, UseAddresses, StartBroker]


def test_why_it_is_started_again() -> None:
    stop = intended(why=Reason.ADDRESSES_CHANGED.value, change=None)
    obs = after_end(record=ran(stop=stop, stop_intent=True, addresses=B, started_with=A))
    memory, _ = decide(POLICY, watching(), obs)
    assert memory.cause is Reason.ADDRESSES_CHANGED


# what an operator is told


@pytest.mark.parametrize(
    ("known", "reading", "reason", "says", "due"),
    [
        (ran(addresses=A, started_with=A), read(A), None, "", None),
        (ran(addresses=A, started_with=A), UNREAD, Reason.ADDRESSES_UNREAD, "stay a:1,b:1: /zk: No such", None),
        (ran(addresses=A, started_with=A), read(B), Reason.ADDRESSES_CHANGED, "a:1,c:1 come in force", SETTLE),
        (ran(addresses=B, started_with=A), read(B), Reason.ADDRESSES_CHANGED, "if they stay the same", SETTLE),
        (ran(), UNREAD, None, "", None),
    ],
    ids=["nothing", "unread", "seen", "restart", "nothing known"],
)
def test_the_note(known: Record, reading: Dated[Any], reason: Reason | None, says: str, due: float | None) -> None:
    obs = running(record=known, addresses=reading)
    memory, decision = decide(POLICY, watching(), obs)
    note = decision.note
    assert (None if note is None else note.reason) is reason
    if note is not None:
        assert says in note.sentence
        assert note.due_epoch == due
        later = replace(obs, now=NOW + 5, wall=5.0, addresses=replace(reading, begun=NOW + 5))
        assert decide(POLICY, memory, later)[1].note == note  # a member that says it anew each second would be written


def test_the_note_of_a_restart_that_waits_for_its_turn_alone() -> None:
    note = decide(POLICY, saw(B), replace(OUTDATED, addresses=read(B)))[1].note
    assert note is not None
    assert note.sentence.endswith("a:1,c:1, when the permit and the guard allow it")
    assert note.due_epoch is None


def test_nothing_is_said_before_the_first_reading() -> None:
    assert decide(POLICY, watching(), running(record=ran(addresses=A, started_with=A)))[1].note is None
