"""The guard: tables of cases, and thousands of random clusters against a slow model that follows its rules' words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bubuku.core.evidence import combine, not_shown
from bubuku.core.guard import Evidence, Objection, Quorum, Verdict, judge
from bubuku.core.model import Partition

ALL = frozenset(range(1, 10))


def partition(replicas: Iterable[int], isr: Iterable[int] | None = None, **more: Any) -> Partition:
    replicas = tuple(replicas)
    return Partition("orders", 0, replicas[0], replicas, replicas if isr is None else tuple(isr), **more)


def verdict(
    stop: Iterable[int],
    *partitions: Partition,
    min_isr: int = 2,
    accept: bool = False,
    **changes: Any,
) -> Verdict:
    usual = Evidence(partitions, {"orders": min_isr}, permitted=frozenset(), answered=ALL)
    return judge(stop, replace(usual, **changes), accept)


# --- one partition ----------------------------------------------------------------------------------------------------

CASES: list[tuple[str, Partition, int, dict[str, Any], Objection | None]] = [
    ("RF 3, all in sync", partition([1, 2, 3]), 2, {}, None),
    ("not on it", partition([2, 3, 4], [2]), 2, {}, None),
    ("a follower is out", partition([1, 2, 3], [1, 2]), 2, {}, Objection.BELOW_MIN_ISR),
    ("it is out itself", partition([1, 2, 3], [2, 3]), 2, {}, None),
    ("it is out itself, and one more", partition([1, 2, 3], [2]), 2, {}, None),
    ("its replica is offline", partition([1, 2, 3], [1, 2], offline=(1,)), 2, {}, None),
    (
        "out, but a replica is in the permit",
        partition([1, 2, 3], [2, 3]),
        2,
        {"permitted": {2}},
        Objection.BELOW_MIN_ISR,
    ),
    ("out, and the permit has others", partition([1, 2, 3], [2, 3]), 2, {"permitted": {4}}, None),
    ("out, and dead ones are no permit", partition([1, 2, 3], [2]), 2, {"dead": {3}}, None),
    ("another is in the permit", partition([1, 2, 3]), 2, {"permitted": {2}}, Objection.BELOW_MIN_ISR),
    ("its own entry is in the permit", partition([1, 2, 3]), 2, {"permitted": {1}}, None),
    ("out, its own entry is in the permit", partition([1, 2, 3], [2]), 2, {"permitted": {1}}, None),
    ("another is dead", partition([1, 2, 3]), 2, {"dead": {3}}, Objection.BELOW_MIN_ISR),
    ("another does not answer", partition([1, 2, 3]), 2, {"answered": {1, 2}}, Objection.BELOW_MIN_ISR),
    ("another's replica is offline", partition([1, 2, 3], offline=(3,)), 2, {}, Objection.BELOW_MIN_ISR),
    ("RF 1", partition([1]), 1, {}, Objection.CANNOT_BE_AVAILABLE),
    ("RF 1, accepted", partition([1]), 1, {"accept": True}, None),
    ("RF 1, offline already", partition([1], [1], offline=(1,)), 1, {}, None),
    ("min ISR = RF", partition([1, 2]), 2, {}, Objection.CANNOT_BE_AVAILABLE),
    ("min ISR = RF, accepted", partition([1, 2]), 2, {"accept": True}, None),
    ("min ISR = RF, accepted, last in sync", partition([1, 2], [1]), 2, {"accept": True}, Objection.LAST_IN_SYNC),
    ("min ISR above RF, last in sync", partition([1, 2], [1]), 9, {"accept": True}, Objection.LAST_IN_SYNC),
    ("RF 2, min ISR 1", partition([1, 2]), 1, {}, None),
    ("RF 2, min ISR 1, last in sync", partition([1, 2], [1]), 1, {}, Objection.BELOW_MIN_ISR),
    (
        "acceptance is not for what could be kept",
        partition([1, 2, 3], [1]),
        2,
        {"accept": True},
        Objection.BELOW_MIN_ISR,
    ),
    ("grows from RF 2", partition([1, 2, 3], adding=(3,)), 2, {}, Objection.CANNOT_BE_AVAILABLE),
    ("grows from RF 3", partition([1, 2, 3, 4], adding=(4,)), 2, {}, None),
    ("it is what is added, and not in sync", partition([2, 3, 4, 1], [2, 3, 4], adding=(1,)), 2, {}, None),
    (
        "all replicas move",
        partition([4, 5, 6, 1, 2, 3], [1, 2, 3], adding=(4, 5, 6), removing=(1, 2, 3)),
        2,
        {},
        Objection.BELOW_MIN_ISR_WITHOUT_REMOVING,
    ),
    (
        "all replicas moved",
        partition([4, 5, 6, 1, 2, 3], [1, 2, 3, 4, 5, 6], adding=(4, 5, 6), removing=(1, 2, 3)),
        2,
        {},
        None,
    ),
    ("shrinks to RF 2", partition([1, 2, 3], removing=(3,)), 2, {}, Objection.BELOW_MIN_ISR_WITHOUT_REMOVING),
    ("a reassignment that has ended", partition([1, 2, 3], adding=(7,), removing=(8,)), 2, {}, None),
]


@pytest.mark.parametrize(("p", "m", "more", "objection"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_one_partition(p: Partition, m: int, more: dict[str, Any], objection: Objection | None) -> None:
    found = verdict([1], p, min_isr=m, **more)
    assert [b.objection for b in found.blocked] == ([] if objection is None else [objection])
    assert found.allowed is (objection is None)


@pytest.mark.parametrize(
    ("p", "allowed"),
    [
        (partition([1, 2, 3], [2]), False),  # it may come in, make two, and go again
        (partition([1, 2, 3], [1], offline=(1,)), False),  # the last one in sync is not listed just now
        (partition([1, 2, 3], [2, 3]), True),  # it is not needed
        (partition([1, 2, 3]), True),
    ],
)
def test_a_broker_that_has_not_settled_repairs_nothing_by_its_stop(p: Partition, allowed: bool) -> None:
    assert verdict([1], p, settled=False).allowed is allowed
    assert verdict([1], p).allowed, "a broker that stays out of it is mended by a restart"


@pytest.mark.parametrize(
    ("changes", "strangers"),
    [
        ({"joined": None}, ""),
        ({"joined": {2, 3}}, ""),
        ({"joined": {1, 2, 3}}, ""),
        ({"joined": {2}}, "broker 3 answers"),
        ({"joined": {1}}, "brokers 2, 3 answer,"),
        ({"joined": set(), "answered": {1, 2}, "permitted": {2}}, ""),  # it counts as down
        (
            {"joined": set(), "answered": {1}, "quorum": Quorum(frozenset({1, 5, 6}), frozenset({5}))},
            "broker 5 answers",
        ),
    ],
)
def test_a_broker_that_lives_and_whose_daemon_has_not_joined_says_no(changes: dict[str, Any], strangers: str) -> None:
    found = verdict([1], **{"answered": {1, 2, 3}, **changes})
    assert (found.unknown or "").startswith(strangers)
    assert (found.unknown is None) is (strangers == "")


@pytest.mark.parametrize(
    ("p", "allowed"),
    [
        (partition([1, 2, 3, 4]), True),
        (partition([1, 2, 3]), False),
        (partition([1, 3, 4]), True),
        (partition([1, 2, 3], [3]), False),  # both are out: the two are each other's reason for no exception
        (partition([1, 3, 4], [3]), True),  # one alone is out
        (partition([3, 4, 5], [3]), True),
    ],
)
def test_two_brokers_at_once(p: Partition, allowed: bool) -> None:
    assert verdict([1, 2], p).allowed is allowed


def test_what_says_no_is_named_with_who_would_be_left() -> None:
    found = verdict([1], *(replace(partition([1, 2, 3], [1, 2]), partition=n) for n in range(5)))
    assert found.blocked[0].left == (2,)
    assert found.blocked[0].needed == 2
    assert found.sentence() == (
        "broker 1 may not be stopped: orders-0: 1 in-sync replica would be left (2), min.insync.replicas is 2; "
        "orders-1: 1 in-sync replica would be left (2), min.insync.replicas is 2; "
        "orders-2: 1 in-sync replica would be left (2), min.insync.replicas is 2; and 2 more partitions"
    )
    assert verdict([3, 2]).sentence() == "brokers 2, 3 may be stopped"


def test_a_partition_seen_in_two_ways_has_to_say_yes_in_both_and_is_named_once() -> None:
    good, bad = partition([1, 2, 3]), partition([1, 2, 3], [1, 2])
    assert len(verdict([1], good, bad).blocked) == 1
    assert len(verdict([1], bad, bad).blocked) == 1
    single = partition([1])
    assert verdict([1], single, single, min_isr=1, accept=True).accepted == 1


def test_unknown_means_no_and_what_is_known_is_judged_all_the_same() -> None:
    missing = verdict([1], partition([1, 2, 3], [1, 2]), missing="the controller does not answer")
    assert not missing.allowed
    assert len(missing.blocked) == 1
    assert missing.sentence().endswith("; the controller does not answer")
    assert not verdict([1], missing="nothing is known").allowed
    unconfigured = verdict([1], partition([1, 2, 3]), replace(partition([1, 2]), topic="bills"), min_isr=2)
    assert unconfigured.unknown == "min.insync.replicas of topic bills is not known"
    assert verdict([1], replace(partition([2, 3]), topic="bills")).allowed  # none of its business


# --- the controllers' quorum ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("voters", "caught_up", "stop", "permitted", "allowed", "warned"),
    [
        ({1, 2, 3}, {1, 2, 3}, {1}, set(), True, False),
        ({1, 2, 3}, {1, 2}, {1}, set(), False, False),
        ({1, 2, 3}, {1, 2}, {3}, set(), True, False),
        ({1, 2, 3}, {1, 2, 3}, {1}, {2}, False, False),
        ({1, 2, 3}, {1, 2, 3}, {1, 2}, set(), False, False),
        ({1, 2, 3, 4, 5}, {1, 2, 3, 4, 5}, {1, 2}, set(), True, False),
        ({1, 2, 3, 4}, {1, 2, 3, 4}, {1}, set(), True, False),
        ({1, 2, 3, 4}, {1, 2, 3}, {1}, set(), False, False),
        ({1, 2}, {1, 2}, {1}, set(), True, True),
        ({1, 2}, {1}, {1}, set(), False, False),
        ({1, 2}, {1, 2}, {1, 2}, set(), False, False),
        ({1}, {1}, {1}, set(), True, True),
        ({1}, {1}, {4}, set(), True, False),
        ({1, 2, 3}, set(), {4}, {1}, True, False),
    ],
)
def test_quorum(
    voters: set[int], caught_up: set[int], stop: set[int], permitted: set[int], allowed: bool, warned: bool
) -> None:
    quorum = Quorum(frozenset(voters), frozenset(caught_up))
    found = verdict(stop, quorum=quorum, permitted=frozenset(permitted))
    assert found.allowed is allowed
    assert (found.warning is not None) is warned


# --- against the slow model -------------------------------------------------------------------------------------------


def model_says_no(p: Partition, stop: set[int], e: Evidence, m: int, accept: bool) -> bool:
    """The rules of the guard, word for word, for one partition."""
    replicas, isr, offline = set(p.replicas), set(p.isr), set(p.offline)
    if not replicas & stop:
        return False
    others_at_risk = stop | set(e.permitted)
    held_back = False
    for b in replicas & stop:
        has_left = b not in isr or b in offline
        another_stops = any(c in replicas for c in others_at_risk if c != b)
        if not has_left or another_stops:
            held_back = True
    if not held_back:
        return False
    left = set()
    for b in isr:
        if b in stop or b in e.permitted or b in e.dead or b in offline or b not in e.answered:
            continue
        left.add(b)
    target = replicas - set(p.adding)
    if len(target) > m:
        return len(left) < m or len(left - set(p.removing)) < m
    if not accept:
        return True
    return len(target) >= 2 and len(left) < 1


IDS = range(1, 7)
SETS = st.frozensets(st.sampled_from(IDS))


@st.composite
def partitions(draw: st.DrawFn) -> Partition:
    replicas = draw(st.lists(st.sampled_from(IDS), unique=True, min_size=1, max_size=5))
    some = st.lists(st.sampled_from(replicas), unique=True)
    number = draw(st.integers(0, 3))
    isr, offline, adding, removing = (tuple(draw(some)) for _ in range(4))
    return Partition("orders", number, isr[0] if isr else -1, tuple(replicas), isr, offline, adding, removing)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[set[int], Evidence, int, bool]:
    m = draw(st.integers(1, 4))
    evidence = Evidence(
        draw(st.lists(partitions(), max_size=5)),
        {"orders": m},
        permitted=draw(SETS),
        answered=draw(st.one_of(st.just(ALL), SETS)),
        dead=draw(st.one_of(st.just(frozenset()), SETS)),
    )
    stop = draw(st.sets(st.sampled_from(IDS), min_size=1, max_size=3))
    return stop, evidence, m, draw(st.booleans())


@given(worlds())
@settings(max_examples=600, deadline=None)
def test_the_guard_is_the_slow_model(world: tuple[set[int], Evidence, int, bool]) -> None:
    stop, evidence, m, accept = world
    expected = {(p.topic, p.partition) for p in evidence.partitions if model_says_no(p, stop, evidence, m, accept)}
    found = judge(stop, evidence, accept)
    assert {(b.topic, b.partition) for b in found.blocked} == expected
    assert found.allowed is not bool(expected)


@given(worlds(), st.integers(1, 6))
@settings(max_examples=300, deadline=None)
def test_knowing_of_more_trouble_never_turns_a_no_into_a_yes(
    world: tuple[set[int], Evidence, int, bool], broker: int
) -> None:
    stop, evidence, _, accept = world
    if judge(stop, evidence, accept).allowed:
        return
    worse = [
        replace(evidence, permitted=evidence.permitted | {broker}),
        replace(evidence, dead=evidence.dead | {broker}),
        replace(evidence, answered=evidence.answered - {broker}),
        replace(evidence, missing="something"),
    ]
    assert not any(judge(stop, each, accept).allowed for each in worse)
    assert not judge(stop | {broker}, evidence, accept).allowed


# --- what two brokers say ---------------------------------------------------------------------------------------------

STOP = frozenset({1})


def test_one_view_without_reassignments_is_taken_as_it_is() -> None:
    mine, other = partition([1, 2, 3]), replace(partition([2, 3]), partition=1)
    view = (mine, other)
    assert combine([view], [{}], STOP) == (mine,)
    assert combine([view, view], [{}, {}], STOP) == (mine,)
    assert combine([view, tuple(view)], [], STOP) == (mine,)


def test_the_isr_of_those_that_stay_is_what_both_show() -> None:
    views = [(partition([1, 2, 3]),), (partition([1, 2, 3], [1, 2]),)]
    (found,) = combine(views, [], STOP)
    assert found.isr == (1, 2)
    assert not verdict(STOP, found).allowed


def test_the_repair_exception_needs_both() -> None:
    both = combine([(partition([1, 2, 3], [2]),), (partition([1, 2, 3], [2]),)], [], STOP)
    assert verdict(STOP, *both).allowed
    one = combine([(partition([1, 2, 3], [2]),), (partition([1, 2, 3], [1, 2]),)], [], STOP)
    assert not verdict(STOP, *one).allowed
    offline = combine([(partition([1, 2, 3], [1, 2], offline=(1,)),), (partition([1, 2, 3], [1, 2]),)], [], STOP)
    assert not verdict(STOP, *offline).allowed


def test_different_replicas_and_reassignments_are_judged_in_each_shape() -> None:
    moved = partition([2, 3, 4])
    assert {p.replicas for p in combine([(partition([1, 2]),), (moved,)], [], STOP)} == {(1, 2), (2, 3, 4)}
    growing = {("orders", 0): ((3,), ())}
    for moves in ([growing, {}], [{}, growing]):
        shapes = combine([(partition([1, 2, 3]),)], moves, STOP)
        assert {p.adding for p in shapes} == {(), (3,)}
        assert not verdict(STOP, *shapes).allowed  # as long as it grows it has two replicas, and min ISR is 2


def test_a_partition_that_one_alone_shows_counts() -> None:
    lonely = replace(partition([1]), topic="new")
    assert lonely in combine([(partition([1, 2, 3]),), (partition([1, 2, 3]), lonely)], [], STOP)


def test_what_is_on_disk_must_be_shown() -> None:
    view = (partition([1, 2, 3]),)
    assert not_shown([("orders", 0)], [view]) == []
    assert not_shown([("orders", 0), ("orders", 1)], [view, ()]) == [("orders", 1)]
    assert not_shown([("orders", 0)], [()]) == [("orders", 0)]


@given(st.lists(partitions(), max_size=3), st.lists(partitions(), max_size=3), worlds())
@settings(max_examples=400, deadline=None)
def test_both_together_allow_only_what_each_allows(
    one: list[Partition], two: list[Partition], world: tuple[set[int], Evidence, int, bool]
) -> None:
    stop, evidence, _, accept = world
    views = [tuple({p.partition: replace(p, adding=(), removing=()) for p in view}.values()) for view in (one, two)]
    moves = [{("orders", p.partition): (p.adding, p.removing) for p in one + two}]
    together = judge(stop, replace(evidence, partitions=combine(views, moves, frozenset(stop))), accept)
    if together.allowed:
        for view in views:
            alone = combine([view], moves, frozenset(stop))
            assert judge(stop, replace(evidence, partitions=alone), accept).allowed


@given(st.lists(partitions(), max_size=4), st.lists(partitions(), max_size=4), st.frozensets(st.sampled_from(IDS)))
@settings(max_examples=300, deadline=None)
def test_the_short_way_for_equal_partitions_gives_what_the_long_way_gives(
    one: list[Partition], two: list[Partition], stop: frozenset[int]
) -> None:
    first = {p.partition: p for p in one}
    second = {p.partition: p for p in two}
    shared = sorted(first.keys() & second.keys())
    views = [[first[n] for n in shared], [second[n] for n in shared]]
    short, long = combine(views, [], stop), combine([*views, list(views[0])], [], stop)  # of three it goes the long way

    def judged(shapes: Iterable[Partition]) -> set[tuple[Any, ...]]:
        return {(p.partition, p.replicas, frozenset(p.isr), frozenset(p.offline)) for p in shapes}

    assert judged(short) == judged(long)
