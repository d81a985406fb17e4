"""A roll's order, and what holds it up: literal members and partitions."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bubuku.core import roll
from bubuku.core.model import BrokerNode, Cluster, ClusterView, Member, Partition


def member(node_id: int, rack: str | None = None, state: str = "serving", *roles: str) -> Member:
    return Member(node_id, f"host-{node_id}", f"i-{node_id}", roles or ("broker",), "1", None, rack, state, "", 0.0)


def view(*partitions: Partition, controller: int | None = 3, racks: dict[int, str] | None = None) -> ClusterView:
    nodes = tuple(BrokerNode(n, f"host-{n}", 9092, (racks or {}).get(n)) for n in (1, 2, 3, 4))
    return ClusterView.of(Cluster("c", controller, nodes, partitions, "host-1:9092"))


def turns(members: list[Member], *nodes: int, seen: ClusterView | None = None) -> list[int]:
    return [turn.node_id for turn in roll.order(nodes, members, seen if seen is not None else view())]


ALL = [member(n) for n in (1, 2, 3, 4)]
FINE = Partition("t", 0, 1, (1, 2), (1, 2))


def test_the_controller_is_last_and_who_does_not_serve_first() -> None:
    assert turns(ALL, 4, 3, 2, 1) == [1, 2, 4, 3]
    assert turns([member(4, None, "failed"), *ALL[:3]], 1, 2, 3, 4) == [4, 1, 2, 3]
    assert turns(ALL[:3], 1, 2, 3, 4) == [4, 1, 2, 3]


def test_a_controller_that_is_down_is_last_all_the_same_for_it_is_only_said_to_be_one() -> None:
    assert turns([*ALL[:2], member(3, None, "failed"), ALL[3]], 3, 1) == [1, 3]


def test_rack_by_rack() -> None:
    racks = {1: "b", 2: "a", 3: "b", 4: "a"}
    assert turns(ALL, 1, 2, 3, 4, seen=view(controller=None, racks=racks)) == [2, 4, 1, 3]
    assert turns([member(n, racks[n]) for n in racks], 1, 2, 3, 4, seen=view(controller=None)) == [2, 4, 1, 3]


def test_voters_go_after_brokers_and_the_active_one_last() -> None:
    voters = [member(n, None, "serving", "broker", "controller") for n in (1, 2, 3)]
    assert turns([*voters, member(4)], 1, 2, 3, 4, seen=view(controller=1)) == [4, 2, 3, 1]


def test_each_turn_says_why() -> None:
    found = roll.order([1, 2, 3], [member(1, "a"), member(2, "a", "failed"), member(3, "b")], view())
    assert [turn.why for turn in found] == [
        "is failed, so it goes first",
        "rack a",
        "the active controller goes last",
    ]
    assert roll.order([1], [], None)[0].why == "has no daemon, so it goes first"


def test_all_well_it_goes_on() -> None:
    assert roll.held_up([1], [], ALL, view(FINE)) is None


LACKS_2 = replace(FINE, isr=(1,))
LEADERLESS = Partition("t", 0, -1, (2,), (2,))


@pytest.mark.parametrize(
    ("left", "members", "partition", "said"),
    [
        ([1], ALL, LACKS_2, "t-0 is not in sync on broker 2, which restarting would not mend"),
        ([2], ALL, LACKS_2, "t-0 is not in sync on broker 2, which restarting would not mend"),
        ([1], ALL, LEADERLESS, "t-0 has no leader, which restarting would not mend"),
        ([1, 5], ALL, FINE, "no daemon answers for broker 5"),
        ([1], [*ALL[:3], member(4, None, "held")], FINE, "broker 4, which is not to be restarted, is held"),
        (
            [1],
            [ALL[0], *(member(n, None, "held") for n in (2, 4))],
            FINE,
            "brokers 2, 4, which are not to be restarted, are down",
        ),
    ],
)
def test_what_holds_it_up(left: list[int], members: list[Member], partition: Partition, said: str) -> None:
    assert roll.held_up(left, [], members, view(partition)) == said


def test_what_the_roll_mends_does_not_hold_it_up() -> None:
    down = [ALL[0], member(2, None, "failed"), *ALL[2:]]
    assert roll.held_up([1, 2], [], down, view(LACKS_2)) is None
    assert roll.held_up([1, 2], [], down, view(LEADERLESS)) is None
    assert roll.held_up([1], [2], ALL, view(LACKS_2)) is None  # it has just come back


def test_a_daemon_of_an_id_that_kafka_does_not_know_holds_nobody_up() -> None:
    assert roll.held_up([1], [], [*ALL, member(72, None, "held")], view(FINE)) is None


def test_without_metadata_nothing_goes_on() -> None:
    assert roll.held_up([1], [], ALL, None) == "Kafka's metadata is not known"


def test_a_dedicated_controller_that_is_down_is_not_a_broker_that_is() -> None:
    assert roll.held_up([1], [], [*ALL, member(9, None, "failed", "controller")], view(FINE)) is None


def test_a_broker_that_is_stopped_on_purpose_holds_up_nobody() -> None:
    stopped = replace(member(2, None, "not_running"), reason="stopped_on_purpose")
    assert roll.held_up([1], [], [ALL[0], stopped, *ALL[2:]], view(LACKS_2)) is None
    died = replace(stopped, reason="process_died")
    said = "broker 2, which is not to be restarted, is not_running"
    assert roll.held_up([1], [], [ALL[0], died, *ALL[2:]], view(LACKS_2)) == said
    also = replace(FINE, replicas=(1, 2, 3), isr=(1,))
    said = "t-0 is not in sync on brokers 2, 3, which restarting would not mend"
    assert roll.held_up([1], [], [ALL[0], stopped, *ALL[2:]], view(also)) == said
