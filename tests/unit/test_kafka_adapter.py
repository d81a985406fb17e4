"""bubuku.adapters.kafka without Kafka: messages against kafka-python's own, servers that are silent, secrets."""

from __future__ import annotations

import gc
import logging
import os
import socket
import struct
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kafka.protocol.metadata import MetadataResponse

from bubuku.adapters.kafka import ClientSettings, KafkaAdmin, KraftRegistrations
from bubuku.adapters.kafka.messages import (
    METADATA_VERSION,
    UnregisterBrokerRequest,
    UnregisterBrokerResponse,
    decode_metadata,
    decode_partitions,
    metadata_request,
)
from bubuku.adapters.kafka.servers import Servers
from bubuku.core.actions import Result
from bubuku.core.errors import UnavailableError, UsageError
from bubuku.core.model import BrokerNode, Partition, Registration

Topic = MetadataResponse.MetadataResponseTopic
TopicPartition = Topic.MetadataResponsePartition
Broker = MetadataResponse.MetadataResponseBroker

ids = st.lists(st.integers(0, 2**31 - 1), max_size=5)
text = st.text(max_size=300)
partitions = st.tuples(st.integers(0, 10_000), st.integers(-1, 2**31 - 1), ids, ids, ids)
topics = st.lists(st.tuples(text, st.lists(partitions, max_size=4)), max_size=4)
brokers = st.lists(
    st.tuples(st.integers(0, 2**31 - 1), text, st.integers(0, 65535), st.none() | text),
    max_size=4,
    unique_by=lambda b: b[0],
)


def encoded(brokers: list[Any], topics: list[Any], cluster_id: str | None, controller: int) -> bytes:
    """As a broker would send it, by kafka-python's encoder."""
    made = [
        Topic(
            error_code=0,
            name=name,
            topic_id=uuid.uuid4(),
            is_internal=False,
            partitions=[
                TopicPartition(
                    error_code=0,
                    partition_index=index,
                    leader_id=leader,
                    leader_epoch=3,
                    replica_nodes=replicas,
                    isr_nodes=isr,
                    offline_replicas=offline,
                    version=METADATA_VERSION,
                )
                for index, leader, replicas, isr, offline in parts
            ],
            version=METADATA_VERSION,
        )
        for name, parts in topics
    ]
    listed = [Broker(node_id=n, host=h, port=p, rack=r, version=METADATA_VERSION) for n, h, p, r in brokers]
    answer = MetadataResponse(
        throttle_time_ms=0,
        brokers=listed,
        cluster_id=cluster_id,
        controller_id=controller,
        topics=made,
        version=METADATA_VERSION,
    )
    return bytes(answer.encode(version=METADATA_VERSION))


class TestMetadata:
    @settings(max_examples=200, deadline=None)
    @given(brokers, topics, st.none() | text, st.integers(-1, 100))
    def test_it_is_read_as_kafka_python_wrote_it(
        self, brokers: list[Any], topics: list[Any], cluster_id: str | None, controller: int
    ) -> None:
        found = decode_metadata(encoded(brokers, topics, cluster_id, controller))
        assert found.brokers == tuple(BrokerNode(*b) for b in sorted(brokers, key=lambda b: b[0]))
        assert found.cluster_id == cluster_id
        assert found.controller_id == (None if controller < 0 else controller)
        expected = [
            Partition(name, index, leader, tuple(replicas), tuple(isr), tuple(offline))
            for name, parts in topics
            for index, leader, replicas, isr, offline in parts
        ]
        read = decode_partitions(found.topics)
        assert sorted(read, key=repr) == sorted(expected, key=repr)
        assert [(p.topic, p.partition) for p in read] == sorted((p.topic, p.partition) for p in expected)

    @settings(max_examples=50, deadline=None)
    @given(brokers, topics, st.integers(1, 40))
    def test_a_broken_answer_is_an_error_and_no_nonsense_loop(
        self, brokers: list[Any], topics: list[Any], cut: int
    ) -> None:
        data = encoded(brokers, topics, "cluster", 1)[:-cut]
        try:
            decode_partitions(decode_metadata(data).topics)
        except (ValueError, struct.error):
            pass

    def test_equal_replica_lists_are_one_object(self) -> None:
        parts = [(n, 1, [1, 2, 3], [1, 2, 3], []) for n in range(3)]
        read = decode_partitions(decode_metadata(encoded([], [("t", parts)], "c", 1)).topics)
        assert len({id(p.replicas) for p in read} | {id(p.isr) for p in read}) == 1

    def test_the_request_asks_for_one_version(self) -> None:
        assert metadata_request(True).API_VERSION == METADATA_VERSION
        assert metadata_request(True).topics is None
        assert metadata_request(False).topics == []


class TestUnregister:
    def test_the_bytes_of_kafkas_protocol(self) -> None:
        """Flexible header v2 (api key 64, version 0), body: int32 broker id, empty tag buffer."""
        request = UnregisterBrokerRequest(broker_id=7, version=0)
        request.with_header(correlation_id=5, client_id="b")
        assert request.encode(header=True) == b"\x00\x40\x00\x00\x00\x00\x00\x05\x00\x01b\x00" + b"\x00\x00\x00\x07\x00"

    def test_its_answer(self) -> None:
        answer = UnregisterBrokerResponse.decode(b"\x00\x00\x00\x00\x00\x66\x03no\x00", version=0)
        assert (answer.error_code, answer.error_message) == (102, "no")


class TestSettings:
    def test_secrets_do_not_show(self) -> None:
        made = ClientSettings(
            "SASL_SSL", sasl_mechanism="PLAIN", sasl_username="u", sasl_password="hush", key_password="hush"
        )
        assert "hush" not in repr(made)
        assert made.options()["sasl_plain_password"] == "hush"

    @pytest.mark.parametrize(
        ("settings", "named"),
        [
            ({"security_protocol": "TLS"}, "TLS"),
            ({"security_protocol": "SASL_SSL", "sasl_mechanism": "GSSAPI"}, "GSSAPI"),
            ({"security_protocol": "SASL_SSL", "sasl_mechanism": "PLAIN", "sasl_username": "u"}, "password"),
        ],
    )
    def test_what_cannot_work_is_one_line(self, settings: dict[str, str], named: str) -> None:
        with pytest.raises(UsageError, match=named):
            ClientSettings(**settings)  # type: ignore[arg-type]

    def test_a_server_that_is_no_address(self) -> None:
        with pytest.raises(UsageError, match="kafka-1"):
            KafkaAdmin(["kafka-1"])

    def test_kafka_python_never_logs_what_it_sends(self) -> None:
        """At debug level it would log SASL tokens."""
        for name in ("kafka.protocol.parser", "kafka.net.connection"):
            assert not logging.getLogger(name).isEnabledFor(logging.ERROR)


class TestCandidates:
    def test_the_excluded_come_last_and_the_unknown_before_them(self) -> None:
        servers = Servers(["a:1", "b:2", "c:3"], ClientSettings())
        servers.learn([BrokerNode(1, "a", 1), BrokerNode(2, "b", 2)])
        assert servers.candidates(1) == ["b:2", "c:3", "a:1"]
        assert not servers.is_other("a:1", 1)
        assert not servers.is_other("c:3", 1), "an alias of broker 1, for all that is known"
        assert servers.is_other("b:2", 1)
        assert servers.is_other("a:1", None)

    def test_who_answered_last_is_asked_first(self) -> None:
        servers = Servers(["a:1", "b:2"], ClientSettings())
        servers.learn([BrokerNode(1, "a", 1), BrokerNode(2, "b", 2), BrokerNode(3, "c", 3)])
        servers.prefer("c:3")
        assert servers.candidates(None)[0] == "c:3"
        servers.learn([])
        assert servers.candidates(3)[-1] == "c:3", "an empty answer teaches nothing"


class TestSilence:
    """A server that accepts and says nothing, as a frozen broker does, and one that is not there."""

    def test_a_silent_server_costs_the_deadline_and_no_more(self) -> None:
        with _silent() as address:
            port = KafkaAdmin([address], own_endpoint=address)
            begun = time.monotonic()
            with pytest.raises(UnavailableError, match=address):
                port.cluster(None, 0.5)
            assert not port.answers(0.5)
            assert time.monotonic() - begun < 1.5
            port.close()

    def test_a_fence_that_reaches_nobody_was_not_sent(self) -> None:
        with _silent() as address:
            port = KraftRegistrations([address], lambda: 3)
            begun = time.monotonic()
            assert port.fence(Registration(3, ("kafka-3:9092",)), 0.5).result is Result.FAILED
            assert time.monotonic() - begun < 1.0
            with pytest.raises(UnavailableError):
                port.view(0.5)
            port.close()

    def test_nothing_is_left_open(self) -> None:
        before = len(os.listdir("/proc/self/fd"))
        with _silent() as address:
            port = KafkaAdmin([address, _closed()], own_endpoint=address)
            for _ in range(10):
                with pytest.raises(UnavailableError):
                    port.cluster(None, 0.05)
                port.answers(0.05)
            port.close()
            with pytest.raises(UnavailableError, match="closed"):
                port.cluster(None, 0.1)
        gc.collect()  # kafka-python leaves the sockets of failed connections to it
        assert len(os.listdir("/proc/self/fd")) <= before

    def test_no_server_is_configured(self) -> None:
        with pytest.raises(UnavailableError, match="none is configured"):
            KafkaAdmin([]).cluster(None, 0.1)


@contextmanager
def _silent() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0), backlog=50) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def _closed() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


def test_what_other_daemons_suggest_is_asked_after_all_else() -> None:
    servers = Servers(["own:9092"], ClientSettings())
    servers.suggest(["peer:9092", "own:9092", "no address", ":1", "x:y"])
    assert servers.candidates(1) == ["own:9092", "peer:9092"]
    servers.learn([BrokerNode(1, "own", 9092), BrokerNode(2, "other", 9092)])
    assert servers.candidates(1) == ["other:9092", "peer:9092", "own:9092"]


def test_a_listener_that_moved_is_asked_where_it_is_now() -> None:
    with socket.create_server(("127.0.0.1", 0)) as before, socket.create_server(("127.0.0.1", 0)) as now:
        admin = KafkaAdmin([], own_endpoint=f"127.0.0.1:{before.getsockname()[1]}")
        try:
            assert not admin.answers(0.2)
            admin.listen_at(f"127.0.0.1:{now.getsockname()[1]}")
            assert not admin.answers(0.2)
            now.settimeout(5)
            now.accept()[0].close()
            admin.listen_at(None)
            with pytest.raises(UnavailableError, match="no Kafka listener"):
                admin.answers(0.2)
        finally:
            admin.close()
