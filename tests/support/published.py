"""Literal `Published` values: a healthy cluster of three brokers seen from broker 1, and ways to change one thing.

Callers: tests of all that reads a Published. Times are small round numbers: the cycle ended at monotonic `NOW` and wall
clock `EPOCH`; the state was entered 100 s before.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bubuku.core.model import (
    BrokerNode,
    BrokerState,
    Cluster,
    ClusterView,
    CoordinationView,
    Dated,
    JmxView,
    LogDir,
    LogView,
    Member,
    Mode,
    Partition,
    ProcessView,
    Record,
    Registration,
    RegistrationView,
)
from bubuku.core.observation import About, Decision, Event, Observation, Published
from bubuku.core.reasons import Reason
from bubuku.core.shared import ProcessId

NOW = 1_000.0
EPOCH = 1_700_000_000.0
INSTANCE = "0a1b2c3d-0000-4000-8000-000000000001"
CLUSTER_ID = "Zm9vYmFyYmF6cXV4MTIzNA"
GIB = 1024**3

MARKER = "marker-uuid"
ABOUT = About(
    host="kafka-1.example",
    mode=Mode.ZOOKEEPER,
    roles=("broker",),
    version="2.0.0",
    kafka_version="3.9.2",
    rack="a",
    started_epoch=EPOCH - 500,
)


def member(node_id: int, **changes: Any) -> Member:
    """A serving member `node_id` in rack a, b, c…"""
    rack = "abcdefgh"[(node_id - 1) % 8]
    usual = Member(
        node_id=node_id,
        host=f"kafka-{node_id}.example",
        instance=f"0a1b2c3d-0000-4000-8000-{node_id:012d}",
        roles=("broker",),
        version="2.0.0",
        api_url=f"http://kafka-{node_id}.example:8888",
        rack=rack,
        state="serving",
        sentence="the broker serves",
        since_epoch=EPOCH - 100,
        kafka_version="3.9.2",
        disk_used_bytes=20 * GIB,
        disk_total_bytes=100 * GIB,
        restarts=0,
        marker=MARKER,
    )
    return replace(usual, **changes)


def node(node_id: int) -> BrokerNode:
    return BrokerNode(node_id, f"kafka-{node_id}.example", 9092, "abcdefgh"[(node_id - 1) % 8])


def cluster(brokers: int = 3, partitions: int = 6, offline: int = 0, under: int = 0) -> Cluster:
    """RF 3 (or as many as there are brokers); the last `offline` have no leader, the first `under` miss a follower."""
    ids = list(range(1, brokers + 1))
    made = []
    for p in range(partitions):
        replicas = tuple(ids[(p + i) % brokers] for i in range(min(3, brokers)))
        isr = replicas[:-1] if p < under else replicas
        if p >= partitions - offline:
            made.append(Partition("orders", p, -1, replicas, (), replicas))
        else:
            made.append(Partition("orders", p, replicas[0], replicas, isr))
    return Cluster(CLUSTER_ID, 2, tuple(node(i) for i in ids), tuple(made), "kafka-2.example:9092")


def dated(value: Any, error: str | None = None) -> Dated[Any]:
    return Dated(NOW - 1, value, error)


def coordination(*members: Member, connected: bool = True) -> CoordinationView:
    return CoordinationView(
        connected=connected,
        session_id=0x1000,
        members=members or (member(1), member(2), member(3)),
        member_owner=INSTANCE,
        member_session=0x1000,
        desired_read=True,
        marker=MARKER,
        marker_cluster_id=CLUSTER_ID,
        marker_read=True,
    )


def observation(**changes: Any) -> Observation:
    """A serving broker 1. `changes` replace fields of the Observation; readings are given as `Dated`."""
    identity = ProcessId(4321, 555, "boot-id")
    own = Registration(1, ("kafka-1.example:9092",), czxid=77, owner=0x2000, content='{"port":9092}')
    usual = Observation(
        now=NOW,
        wall=0.0,
        record=Record(instance=INSTANCE, node_id=1, cluster_id=CLUSTER_ID, process=identity),
        process=ProcessView(identity=identity, started_at=NOW - 120),
        settings_digest="digest",
        settings_error=None,
        log_dirs=dated(
            (LogDir("/data/1", "dir-uuid", True, 1, CLUSTER_ID, total_bytes=100 * GIB, free_bytes=80 * GIB),)
        ),
        log=dated(LogView(lines_seen=10)),
        foreign=dated(None),
        registration=dated(RegistrationView(own, others=2, controller_id=2)),
        answers=dated(True),
        jmx=dated(JmxView(broker_state=3, remaining_logs=0)),
        cluster=dated(ClusterView.of(cluster())),
        coordination=dated(coordination()),
    )
    return replace(usual, **changes)


SERVING = Decision(BrokerState.SERVING, Reason.RUNNING, "the broker serves")
HELD = Decision(
    BrokerState.HELD, Reason.LOG_DIR_EMPTY, "log dir /data/1 came up empty; it held data of broker 1 on 3 partitions"
)
RECOVERING = Decision(
    BrokerState.RECOVERING,
    Reason.LOG_RECOVERY,
    "Kafka recovers its logs: 40 of 100 are done",
    progress=(40, 100),
    eta_seconds=12.5,
)
FAILED = Decision(
    BrokerState.FAILED,
    Reason.BACK_OFF,
    "Kafka ended 3 times while starting; the next start is in 8 s",
    last_lines=(
        "[2026-01-01] ERROR Exiting Kafka due to fatal exception",
        "java.lang.OutOfMemoryError: Java heap space",
    ),
)


def published(decision: Decision = SERVING, seen: Observation | None = None, **changes: Any) -> Published:
    """A Published of broker 1. `changes` replace its fields."""
    usual = Published(
        at=NOW,
        epoch=EPOCH,
        observation=observation() if seen is None else seen,
        decision=decision,
        since=NOW - 100,
        since_epoch=EPOCH - 100,
        node_id=1,
        events=(
            Event(EPOCH - 120, Reason.FIRST_START, BrokerState.STARTING, "nothing ran, so Kafka is started"),
            Event(EPOCH - 100, Reason.RUNNING, BrokerState.SERVING, "the broker serves"),
        ),
        starts={Reason.FIRST_START: 1, Reason.PROCESS_DIED: 2},
        fences={"done": 2, "refused": 1},
        seconds_in_state={BrokerState.STARTING: 20.0, BrokerState.SERVING: 100.0},
        loop_lag_seconds=0.002,
        cycle_seconds=0.004,
    )
    return replace(usual, **changes)
