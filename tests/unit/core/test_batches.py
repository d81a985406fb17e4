"""Batches of a roll: literal cases, and against the guard's word on each whole batch."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bubuku.core.batches import ALL, following, planned
from bubuku.core.guard import Evidence, Quorum, judge
from bubuku.core.model import Partition

NOBODY = frozenset[int]()


def seen(*replicas: tuple[int, ...], min_isr: int = 1, brokers: int = 6, **more: object) -> Evidence:
    parts = tuple(Partition("t", n, each[0], each, each) for n, each in enumerate(replicas))
    return Evidence(parts, {"t": min_isr}, NOBODY, frozenset(range(1, brokers + 1)), **more)  # type: ignore[arg-type]


PAIRS = seen((1, 2), (3, 4), (5, 6))


def test_of_disjoint_pairs_one_each_goes() -> None:
    assert following((1, 2, 3, 4, 5, 6), NOBODY, PAIRS, ALL, False) == (1, 3, 5)
    assert planned((1, 2, 3, 4, 5, 6), NOBODY, PAIRS, ALL, False) == ((1, 3, 5), (2, 4, 6))


def test_no_more_than_the_limit_go() -> None:
    assert planned((1, 2, 3, 4, 5, 6), NOBODY, PAIRS, 2, False) == ((1, 3), (2, 4), (5,), (6,))


def test_rack_aware_with_three_replicas_a_rack_goes() -> None:
    racks = seen(*((a, b, c) for a in (1, 4) for b in (2, 5) for c in (3, 6)))
    assert planned((1, 4, 2, 5, 3, 6), NOBODY, racks, ALL, False) == ((1, 4, 2, 5), (3, 6))
    strict = seen(*((a, b, c) for a in (1, 4) for b in (2, 5) for c in (3, 6)), min_isr=2)
    assert planned((1, 4, 2, 5, 3, 6), NOBODY, strict, ALL, False) == ((1, 4), (2, 5), (3, 6))


def test_voters_and_the_controller_go_by_themselves() -> None:
    quorum = Quorum(frozenset({1, 3, 5}), frozenset({1, 3, 5}))
    found = seen((1, 2), (3, 4), (5, 6), quorum=quorum)
    assert following((2, 1, 3, 4), frozenset({1, 3, 5}), found, ALL, False) == (2, 4)
    assert planned((2, 4, 1, 3), frozenset({1, 3}), PAIRS, ALL, False) == ((2, 4), (1,), (3,))


def test_where_nobody_may_go_nobody_does_and_the_plan_says_one_by_one() -> None:
    single = seen((1,), (2,))
    assert following((1, 2), NOBODY, single, ALL, False) == ()
    assert planned((1, 2), NOBODY, single, ALL, False) == ((1,), (2,))
    assert planned((1, 2), NOBODY, single, ALL, True) == ((1, 2),)


@given(
    st.lists(st.lists(st.integers(1, 6), min_size=1, max_size=4, unique=True), min_size=1, max_size=12),
    st.permutations((1, 2, 3, 4, 5, 6)),
    st.integers(1, 3),
    st.integers(0, 3),
)
def test_each_batch_is_one_that_the_guard_allows_as_a_whole_and_everybody_goes_once(
    replicas: list[list[int]], order: list[int], min_isr: int, limit: int
) -> None:
    evidence = seen(*map(tuple, replicas), min_isr=min_isr)
    batches = planned(order, NOBODY, evidence, limit, False)
    assert sorted(node for batch in batches for node in batch) == [1, 2, 3, 4, 5, 6]
    for batch in batches:
        assert judge(batch, evidence).allowed or len(batch) == 1
        assert not limit or len(batch) <= limit
