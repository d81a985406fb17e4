"""Settings of topics and brokers, as brokers tell them. Callers: `evidence`, `quorum`; any thread."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from kafka.protocol.admin import DescribeConfigsRequest

from bubuku.adapters.kafka.link import Link

_TOPIC, _BROKER = 2, 4  # resource types
_UNKNOWN_TOPIC = 3
_BATCH = 1000  # topics in one question
_MIN_ISR = "min.insync.replicas"


@dataclass(frozen=True, slots=True)
class MinIsr:
    """`values`: topic → effective min.insync.replicas; `deleted`: topics that are not there any more."""

    values: Mapping[str, int]
    deleted: frozenset[str]


def min_isr(link: Link, topics: Sequence[str], until: float) -> MinIsr:
    """What one broker says: the topic's own value, else its default. A topic that it may not tell of is in neither.

    Raises UnavailableError, TimedOutError.
    """
    values: dict[str, int] = {}
    deleted: set[str] = set()
    for first in range(0, len(topics), _BATCH):
        answer = link.ask(_request(_TOPIC, topics[first : first + _BATCH], _MIN_ISR), until)
        for result in answer.results:
            if result.error_code == _UNKNOWN_TOPIC:
                deleted.add(result.resource_name)
            for config in result.configs if result.error_code == 0 else ():
                if config.name == _MIN_ISR and config.value is not None and config.value.isdecimal():
                    values[result.resource_name] = int(config.value)
    return MinIsr(values, frozenset(deleted))


def highest(told: Sequence[MinIsr]) -> MinIsr:
    """Of what several brokers say the highest: the default is that of a partition's leader, whichever that is.

    A topic counts as deleted only where all say so.
    """
    values: dict[str, int] = {}
    for each in told:
        for topic, value in each.values.items():
            values[topic] = max(value, values.get(topic, value))
    deleted = frozenset.intersection(*(each.deleted for each in told)) if told else frozenset()
    return MinIsr(values, deleted)


def broker_setting(link: Link, broker: int, name: str, until: float) -> str | None:
    """A broker's own setting; None where it does not know it. Raises UnavailableError, TimedOutError."""
    answer = link.ask(_request(_BROKER, [str(broker)], name), until)
    values = [c.value for r in answer.results if r.error_code == 0 for c in r.configs if c.name == name]
    return values[0] if values else None


def _request(kind: int, names: Iterable[str], setting: str) -> DescribeConfigsRequest:
    resource = DescribeConfigsRequest.DescribeConfigsResource
    return DescribeConfigsRequest(
        resources=[resource(resource_type=kind, resource_name=name, configuration_keys=[setting]) for name in names],
        include_synonyms=False,
        include_documentation=False,
    )
