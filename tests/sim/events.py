"""What the world tells the checkers, and how a checker says that a rule was broken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.sim.host import Host
    from tests.sim.kafka_process import KafkaProcess


class RuleBrokenError(AssertionError):
    """A checker's finding: one sentence that says which rule, where and how."""


@dataclass(frozen=True)
class Started:
    """bubuku (or an operator: `by` is None then) started a Kafka process on `host`."""

    host: Host
    process: KafkaProcess
    by: str | None


@dataclass(frozen=True)
class Ended:
    host: Host
    process: KafkaProcess
    cause: str  # "kill -9", "sigterm", "exit 1: …"


@dataclass(frozen=True)
class Signalled:
    """A daemon sent a signal to a Kafka."""

    host: Host
    process: KafkaProcess
    number: int
    terminating: bool
    permitted: bool = False  # a deliberate stop, by the helper


@dataclass(frozen=True)
class Fenced:
    """A fence removed the registration of `process`. `sent_by` is the host whose daemon asked for it."""

    process: KafkaProcess
    sent_by: Host


@dataclass(frozen=True)
class FenceAsked:
    """A daemon is about to tell the cluster that its broker is dead."""

    host: Host


@dataclass(frozen=True)
class Lost:
    """A partition got a leader that lacks acknowledged records."""

    partition: str
    leader: int
    has: int
    acked: int


@dataclass(frozen=True)
class Forced:
    """A daemon that ends, and takes Kafka with it, asks for its entry whatever the guard says."""

    host: Host
    token: str


Event = Started | Forced | Ended | Signalled | FenceAsked | Fenced | Lost
