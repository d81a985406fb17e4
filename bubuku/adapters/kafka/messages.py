"""Kafka messages that kafka-python does not bring, or decodes too dearly for what is asked every few seconds.

Purpose: `UnregisterBroker` (from JSON schemas beside this file, as kafka-python builds its own), and the metadata of
all topics in a form that is compared before it is decoded: while nothing changed in the cluster, nothing is decoded.
Callers: `admin` and `kraft_registrations`, any thread. Pure.
Metadata is always asked in version 11, which Kafka 2.8 to 4.x all speak, so that there is one layout to read.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from struct import Struct
from typing import Any

from kafka.protocol.admin import DescribeQuorumRequest, ElectLeadersRequest
from kafka.protocol.api_header import RequestHeader
from kafka.protocol.api_message import ApiMessage
from kafka.protocol.metadata import MetadataRequest, MetadataResponse

from bubuku.core.model import BrokerNode, Partition

METADATA_VERSION = 11
DESCRIBE_QUORUM = 55  # api key; only KRaft brokers offer it

_INT32 = Struct(">i")
_TOPIC_HEAD = Struct(">h")  # error code
_PARTITION_HEAD = Struct(">hiii")  # error code, index, leader, leader epoch
_TOPIC_ID_AND_INTERNAL = 17
_BLANK: tuple[int, ...] = ()


class UnregisterBrokerRequest(ApiMessage, load_json=__package__):  # type: ignore[misc, call-arg]
    """Remove a broker's registration from a KRaft cluster (api key 64)."""


class UnregisterBrokerResponse(ApiMessage, load_json=__package__):  # type: ignore[misc, call-arg]
    """Error code 0, or 102 for a broker that is not registered."""


@dataclass(frozen=True, slots=True)
class Metadata:
    """A metadata answer with its topics still encoded."""

    brokers: tuple[BrokerNode, ...]
    cluster_id: str | None
    controller_id: int | None
    topics: bytes


class _Decoder:
    """Stands where kafka-python expects a response class."""

    @staticmethod
    def parse_header(buffer: Any) -> Any:
        return MetadataResponse[METADATA_VERSION].parse_header(buffer)

    @staticmethod
    def decode(buffer: Any) -> Metadata:
        return decode_metadata(buffer.read())


class _Header(RequestHeader, init=False):  # type: ignore[misc, call-arg]
    def get_response_class(self) -> type[_Decoder]:
        return _Decoder


class CompactMetadataRequest(MetadataRequest, init=False):  # type: ignore[misc, call-arg]
    """A MetadataRequest whose answer is a `Metadata`."""

    header_class = _Header


def metadata_request(all_topics: bool) -> CompactMetadataRequest:
    return CompactMetadataRequest(
        topics=None if all_topics else [],
        allow_auto_topic_creation=False,
        include_topic_authorized_operations=False,
        min_version=METADATA_VERSION,
        max_version=METADATA_VERSION,
        version=METADATA_VERSION,
    )


def decode_metadata(data: bytes) -> Metadata:
    """Everything but the topics. Raises ValueError where the answer is not a metadata answer."""
    try:
        count, at = _varint(data, 4)
        brokers = []
        for _ in range(count - 1):
            node_id = _INT32.unpack_from(data, at)[0]
            host, at = _text(data, at + 4)
            port = _INT32.unpack_from(data, at)[0]
            rack, at = _text(data, at + 4)
            at = _skip_tags(data, at)
            brokers.append(BrokerNode(node_id, host or "", port, rack))
        cluster_id, at = _text(data, at)
        controller_id = _INT32.unpack_from(data, at)[0]
    except (IndexError, UnicodeDecodeError) as error:
        raise ValueError(f"not a metadata answer of version {METADATA_VERSION}: {error}") from error
    brokers.sort(key=lambda b: b.node_id)
    return Metadata(tuple(brokers), cluster_id, None if controller_id < 0 else controller_id, data[at + 4 :])


def decode_partitions(topics: bytes) -> tuple[Partition, ...]:
    """The partitions of `Metadata.topics`, sorted. Equal replica lists share one tuple. Raises ValueError."""
    shared: dict[bytes, tuple[int, ...]] = {}
    found: list[Partition] = []
    try:
        count, at = _varint(topics, 0)
        for _ in range(count - 1):
            name, at = _text(topics, at + _TOPIC_HEAD.size)
            partitions, at = _varint(topics, at + _TOPIC_ID_AND_INTERNAL)
            for _ in range(partitions - 1):
                _, index, leader, _ = _PARTITION_HEAD.unpack_from(topics, at)
                replicas, at = _ids(topics, at + _PARTITION_HEAD.size, shared)
                isr, at = _ids(topics, at, shared)
                offline, at = _ids(topics, at, shared)
                at = _skip_tags(topics, at)
                found.append(Partition(name or "", index, leader, replicas, isr, offline))
            at = _skip_tags(topics, at + _INT32.size)
    except (IndexError, UnicodeDecodeError) as error:
        raise ValueError(f"not the topics of a metadata answer of version {METADATA_VERSION}: {error}") from error
    found.sort(key=lambda p: (p.topic, p.partition))
    return tuple(found)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = data[at]
    at += 1
    if value < 0x80:
        return value, at
    value &= 0x7F
    shift = 7
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _text(data: bytes, at: int) -> tuple[str | None, int]:
    length, at = _varint(data, at)
    if length == 0:
        return None, at
    end = at + length - 1
    return data[at:end].decode("utf-8"), end


def _ids(data: bytes, at: int, shared: dict[bytes, tuple[int, ...]]) -> tuple[tuple[int, ...], int]:
    length, at = _varint(data, at)
    if length <= 1:
        return _BLANK, at
    end = at + 4 * (length - 1)
    raw = data[at:end]
    known = shared.get(raw)
    if known is None:
        known = shared[raw] = Struct(f">{length - 1}i").unpack(raw)
    return known, end


def _skip_tags(data: bytes, at: int) -> int:
    count, at = _varint(data, at)
    for _ in range(count):
        _, at = _varint(data, at)
        size, at = _varint(data, at)
        at += size
    return at


def quorum_request() -> Any:
    """DescribeQuorum of the metadata partition. A broker forwards it to the quorum's leader."""
    topic = DescribeQuorumRequest.TopicData(
        topic_name="__cluster_metadata",
        partitions=[DescribeQuorumRequest.TopicData.PartitionData(partition_index=0)],
    )
    return DescribeQuorumRequest(topics=[topic])


def elect_request(partitions: Iterable[tuple[str, int]], timeout_seconds: float) -> Any:
    """ElectLeaders of the preferred replicas of ("topic", number)s."""
    by_topic: dict[str, list[int]] = {}
    for topic, partition in partitions:
        by_topic.setdefault(topic, []).append(partition)
    rows = [ElectLeadersRequest.TopicPartitions(topic=t, partitions=numbers) for t, numbers in by_topic.items()]
    return ElectLeadersRequest(election_type=0, topic_partitions=rows, timeout_ms=int(timeout_seconds * 1000))
