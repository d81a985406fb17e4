"""What every `ports.Kafka` does. Names of topics are unique: brokers are kept from test to test."""

from __future__ import annotations

import pytest

from bubuku.core.errors import UnavailableError
from bubuku.core.model import Cluster, Partition
from tests.contract import implementations
from tests.contract.worlds import KafkaWorld

IMPLEMENTATIONS = implementations.KAFKA


def partitions_of(cluster: Cluster, topic: str) -> list[Partition]:
    return [p for p in cluster.partitions if p.topic == topic]


class TestCluster:
    def test_brokers_and_identity(self, world: KafkaWorld) -> None:
        port = world.port(servers=(1,))
        world.wait(lambda: port.cluster(None, 5.0).live() == {1, 2, 3}, 10, "three brokers")
        cluster = port.cluster(None, 5.0)
        assert [b.node_id for b in cluster.brokers] == [1, 2, 3]
        assert [f"{b.host}:{b.port}" for b in cluster.brokers] == [world.address(n) for n in (1, 2, 3)]
        assert cluster.cluster_id
        assert cluster.cluster_id == port.cluster(2, 5.0).cluster_id

    def test_the_controller_is_the_true_one(self, world: KafkaWorld) -> None:
        """In KRaft metadata names a random broker; that is not what operators want to see."""
        port = world.port()
        assert {port.cluster(None, 5.0).controller_id for _ in range(5)} == {world.true_controller()}

    def test_partitions_as_they_are(self, world: KafkaWorld) -> None:
        port = world.port()
        world.create_topic("as-they-are", {0: [1, 2], 1: [2, 3], 2: [3, 1]})
        found = world.wait(lambda: _led(partitions_of(port.cluster(None, 5.0), "as-they-are"), 3), 15, "its partitions")
        assert [p.partition for p in found] == [0, 1, 2]
        assert [p.replicas for p in found] == [(1, 2), (2, 3), (3, 1)]
        assert [p.leader for p in found] == [1, 2, 3]
        assert [set(p.isr) for p in found] == [{1, 2}, {2, 3}, {3, 1}]
        assert [p.offline for p in found] == [(), (), ()]

    def test_nothing_changed_so_nothing_differs(self, world: KafkaWorld) -> None:
        port = world.port()
        world.create_topic("unchanged", {0: [1, 2, 3]})
        world.wait(lambda: _led(partitions_of(port.cluster(None, 5.0), "unchanged"), 1), 15, "its partition")
        assert port.cluster(None, 5.0).partitions == port.cluster(None, 5.0).partitions

    @pytest.mark.parametrize("excluded", [1, 2, 3])
    def test_another_broker_than_the_excluded_answers(self, world: KafkaWorld, excluded: int) -> None:
        knows_all, knows_that_one = world.port(), world.port(servers=(excluded,))
        for port in (knows_all, knows_that_one):
            assert port.cluster(excluded, 5.0).answered_by != world.address(excluded)

    def test_the_excluded_one_answers_where_no_other_does(self, world: KafkaWorld) -> None:
        port = world.port()
        port.cluster(1, 5.0)
        world.freeze(2)
        world.freeze(3)
        begun = world.now()
        assert port.cluster(1, 6.0).answered_by == world.address(1)
        assert world.now() - begun < 6.5


class TestTrouble:
    def test_a_frozen_broker_costs_a_part_of_the_deadline(self, world: KafkaWorld) -> None:
        port = world.port()
        answered_by = port.cluster(1, 5.0).answered_by
        frozen = next(n for n in (2, 3) if world.address(n) == answered_by)
        world.freeze(frozen)
        begun = world.now()
        cluster = port.cluster(1, 6.0)
        assert cluster.answered_by == world.address(5 - frozen)
        assert world.now() - begun < 6.5

    def test_nobody_answers(self, world: KafkaWorld) -> None:
        port, fresh = world.port(own=1), world.port()
        port.cluster(None, 5.0)
        for node_id in (1, 2, 3):
            world.freeze(node_id)
        for one in (port, fresh):
            begun = world.now()
            with pytest.raises(UnavailableError):
                one.cluster(None, 2.0)
            assert world.now() - begun < 2.5

    def test_a_killed_broker_and_its_return(self, world: KafkaWorld) -> None:
        port = world.port()
        world.create_topic("moves", {0: [3, 2, 1]})
        world.create_topic("stays", {0: [3]})

        def the_two(excluded: int | None = None) -> list[Partition]:
            cluster = port.cluster(excluded, 5.0)
            return partitions_of(cluster, "moves") + partitions_of(cluster, "stays")

        world.wait(lambda: _led(the_two(), 2), 15, "its partitions")
        world.kill(3)

        def moved() -> bool:
            moving, staying = the_two(3)
            led = moving.leader in (1, 2) and set(moving.isr) == {1, 2} and staying.leader == -1
            # the brokers learn of the leaders first, and of who is offline a moment later
            return led and 3 in moving.offline and staying.offline == (3,)

        world.wait(moved, 40, "leaders to move away, and its replicas to be offline")
        assert 3 not in port.cluster(3, 5.0).live()
        world.start(3)

        def back() -> bool:
            moving, staying = the_two()
            return set(moving.isr) == {1, 2, 3} and staying.leader == 3

        world.wait(back, 30, "broker 3 to be in its ISRs again, as the same port sees it")
        world.wait(lambda: port.cluster(1, 5.0).live() == {1, 2, 3}, 10, "all brokers")


class TestAnswers:
    def test_a_serving_broker_answers(self, world: KafkaWorld) -> None:
        assert world.port(own=2).answers(3.0)

    def test_a_frozen_one_does_not_and_then_does_again(self, world: KafkaWorld) -> None:
        port = world.port(own=2)
        assert port.answers(3.0)
        world.freeze(2)
        begun = world.now()
        assert not port.answers(1.0)
        assert not port.answers(1.0)
        assert world.now() - begun < 3.0
        world.thaw(2)
        world.wait(lambda: port.answers(1.0), 10, "the broker to answer again")

    def test_without_a_listener_of_its_own_it_is_not_known(self, world: KafkaWorld) -> None:
        with pytest.raises(UnavailableError):
            world.port().answers(1.0)


def _led(partitions: list[Partition], count: int) -> list[Partition]:
    complete = len(partitions) == count and all(p.leader >= 0 and set(p.isr) == set(p.replicas) for p in partitions)
    return partitions if complete else []
