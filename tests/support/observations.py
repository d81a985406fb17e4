"""Literal observations for tests of the core: broker 1 of a ZooKeeper-mode cluster, at rest, nothing wrong.

Callers: tests/unit/core. `observe()` is a host whose Kafka is not running and may be started at once; `running()` one
whose Kafka serves. Both take the fields to change by name. All readings were begun at `NOW`, ends were at `ENDED`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

from bubuku.core.actions import Outcome, RaiseFence, Result
from bubuku.core.case import Case
from bubuku.core.memory import Memory
from bubuku.core.model import (
    BrokerNode,
    BrokerState,
    Cluster,
    ClusterView,
    CoordinationView,
    Dated,
    Desired,
    Exit,
    ForeignProcess,
    JmxView,
    LogDir,
    LogView,
    Mode,
    Partition,
    ProcessView,
    Record,
    Registration,
    RegistrationView,
    Role,
)
from bubuku.core.observation import Observation, Policy
from bubuku.core.shared import ProcessId

T = TypeVar("T")
NOW = 1000.0
ENDED = 999.0
STARTED = 900.0
INSTANCE = "instance-1"
CLUSTER = "cluster-a"
ENDPOINT = "host-1:9092"
MARKER = "root-1"
PROCESS = ProcessId(41, 4100, "boot-1")
OTHER = ProcessId(42, 4200, "boot-1")
REGISTRATION = Registration(1, (ENDPOINT,), czxid=7, owner=0x10, content="{}")
KRAFT_REGISTRATION = Registration(1, (ENDPOINT,))

POLICY = Policy(mode=Mode.ZOOKEEPER, roles=frozenset({Role.BROKER}), node_id=1, host="host-1", endpoints=(ENDPOINT,))
KRAFT_POLICY = replace(POLICY, mode=Mode.KRAFT, cluster_id=CLUSTER, session_timeout=9.0)


def read(value: T, begun: float = NOW) -> Dated[T]:
    return Dated(begun, value)


def unread(error: str = "no answer", begun: float = NOW) -> Dated[Any]:
    return Dated(begun, None, error)


def log_dir(path: str = "/a", **changes: Any) -> LogDir:
    """A dir of broker 1 with data, marked; named after its path."""
    usual = LogDir(path, f"marker{path}", True, node_id=1, cluster_id=CLUSTER, total_bytes=1 << 40, free_bytes=1 << 39)
    return replace(usual, **changes)


def empty_dir(path: str = "/a", **changes: Any) -> LogDir:
    return replace(log_dir(path, marker=None, holds_data=False, node_id=None, cluster_id=None), **changes)


def record(**changes: Any) -> Record:
    """As it is when broker 1 has run on /a and is on record everywhere."""
    usual = Record(
        INSTANCE, node_id=1, cluster_id=CLUSTER, marker=MARKER, dirs={"marker/a": "/a"}, settings_digest="d1"
    )
    return replace(usual, **changes)


def ran(**changes: Any) -> Record:
    """The record of a process that had registered."""
    return replace(record(process=PROCESS, registration=REGISTRATION), **changes)


def meeting(**changes: Any) -> CoordinationView:
    usual = CoordinationView(
        connected=True,
        session_id=1,
        member_owner=INSTANCE,
        member_session=1,
        desired=Desired({"marker/a": "/a"}, CLUSTER),
        desired_read=True,
        marker=MARKER,
        marker_cluster_id=CLUSTER,
        marker_read=True,
    )
    return replace(usual, **changes)


def cluster(*partitions: Partition, brokers: tuple[int, ...] = (2, 3), cluster_id: str | None = CLUSTER) -> ClusterView:
    nodes = tuple(BrokerNode(n, f"host-{n}", 9092) for n in brokers)
    return ClusterView.of(Cluster(cluster_id, 2, nodes, partitions, "host-2:9092"))


def partition(leader: int, isr: tuple[int, ...], replicas: tuple[int, ...] = (1, 2, 3)) -> Partition:
    return Partition("t", 0, leader, replicas, isr)


def foreign(**changes: Any) -> ForeignProcess:
    usual = ForeignProcess(OTHER, "holds the lock of /a", is_kafka=True, holds_log_dir=True)
    return replace(usual, **changes)


def ended(**changes: Any) -> Exit:
    return replace(Exit(PROCESS, ENDED, code=1), **changes)


def observe(**changes: Any) -> Observation:
    """Nothing runs, nothing ever did in this daemon's life, and nothing stands in the way but the fence's raise."""
    usual = Observation(
        now=NOW,
        wall=0.0,
        record=record(),
        process=ProcessView(),
        settings_digest="d1",
        settings_error=None,
        log_dirs=read((log_dir(),)),
        log=read(LogView()),
        foreign=read(None),
        registration=read(RegistrationView(None, 2, asked_for=1)),
        answers=read(False),
        jmx=read(JmxView()),
        cluster=read(cluster()),
        coordination=read(meeting()),
    )
    return replace(usual, **changes)


def after_end(end: Exit | None = None, **changes: Any) -> Observation:
    """The registered process of `ran()` has ended, by default with exit code 1 and no clean-shutdown file."""
    usual = observe(process=ProcessView(exit=end if end is not None else ended()), record=ran())
    return replace(usual, **changes)


def running(**changes: Any) -> Observation:
    """Kafka serves since long."""
    usual = observe(
        process=ProcessView(PROCESS, STARTED, activity=5 << 20),
        record=ran(),
        registration=read(RegistrationView(REGISTRATION, 2, asked_for=1)),
        answers=read(True),
    )
    return replace(usual, **changes)


def case(obs: Observation, policy: Policy = POLICY, memory: Memory | None = None) -> Case:
    return Case(policy, memory if memory is not None else counted(obs), obs)


def counted(obs: Observation, **changes: Any) -> Memory:
    """The memory of a daemon that has accounted for the end in `obs`."""
    last = obs.process.exit
    usual = Memory(ended=last.identity if last is not None else None)
    return replace(usual, **changes)


def watching(**changes: Any) -> Memory:
    """The memory of a daemon that watches the process of `running()` since its start."""
    usual = Memory(
        state=BrokerState.SERVING,
        since=STARTED + 5,
        process=PROCESS,
        watched_since=STARTED,
        served_since=STARTED + 5,
        registered_once=True,
        answered_at=NOW - 1,
        progress_at=STARTED + 5,
    )
    return replace(usual, **changes)


def raised(begun: float = NOW - 0.5) -> dict[type, Outcome]:
    """The fence was raised: the last thing that stands before a start in ZooKeeper mode."""
    return {RaiseFence: Outcome(Result.DONE, begun, begun + 0.01)}
