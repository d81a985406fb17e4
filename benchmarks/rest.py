"""What a daemon costs at rest beside a cluster of 10,000 partitions: memory and processor time over a minute."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass

import psutil

from benchmarks.cluster import Supervised, Tell, cpu_seconds, get_json, loopback
from benchmarks.report import Row
from benchmarks.view import View, admin_client
from benchmarks.workload import Workload
from bubuku.core.errors import UnavailableError
from bubuku.core.model import Mode
from bubuku.core.shared import ProcessId
from bubuku.sandbox.layout import Node, Options
from bubuku.sandbox.waiting import wait_until

PARTITIONS, TOPICS = 10_000, 50
REPLICATION = 2  # 6,667 replicas a broker: as many as three brokers of 512 MB carry on two cores
RSS_TARGET_BYTES = 80 * 1000 * 1000
CPU_TARGET = 0.01
CREATE_DEADLINE_SECONDS = 600.0
SETTLE_DEADLINE_SECONDS = 300.0
QUIET_SECONDS = 30.0
MEASURE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Cost:
    """One daemon over `MEASURE_SECONDS`. `cpu`: of one core."""

    node_id: int
    rss_bytes: int  # the highest of a sample a second
    cpu: float
    threads: int
    replicas_seen: int  # of its own broker, by its own status: it did look at the cluster


def run(mode: Mode, tell: Tell) -> list[Row]:
    with Supervised("rest", Options(mode=mode), tell) as cluster:
        view = View(cluster.layout)
        begun = time.monotonic()
        create(cluster, view, tell)
        view.wait_in_sync(SETTLE_DEADLINE_SECONDS)
        tell(f"rest: {PARTITIONS} partitions are in sync after {time.monotonic() - begun:.0f} s")
        with Workload(cluster.layout.bootstrap_servers, cluster.folder / "workload.log"):
            time.sleep(QUIET_SECONDS)
            costs = measure(cluster)
        partitions = len(view.partitions())
    if sum(cost.replicas_seen for cost in costs) < PARTITIONS * REPLICATION:
        raise UnavailableError(f"the daemons did not see all partitions: {costs}")
    for cost in costs:
        tell(f"rest: {cost}")
    rss, cpu = max(c.rss_bytes for c in costs), max(c.cpu for c in costs)
    samples = {"daemons": [asdict(c) for c in costs], "partitions": partitions, "replication": REPLICATION}
    return [
        Row(
            "daemon",
            f"memory at rest, {partitions} partitions",
            "<= 80 MB RSS",
            f"{rss / 1e6:.1f} MB",
            rss <= RSS_TARGET_BYTES,
            samples=samples,
        ),
        Row(
            "daemon",
            f"processor at rest, {partitions} partitions",
            "<= 1 % of a core",
            f"{cpu:.2%}",
            cpu <= CPU_TARGET,
        ),
    ]


def create(cluster: Supervised, view: View, tell: Tell) -> None:
    """Topics with small indexes: Kafka reserves 10 MB for each of them otherwise."""
    options = {
        "num_partitions": PARTITIONS // TOPICS,
        "replication_factor": REPLICATION,
        "configs": {"segment.index.bytes": "4096", "segment.bytes": "1048576"},
    }
    for number in range(TOPICS):
        with admin_client(cluster.layout, request_seconds=60.0) as admin:
            admin.create_topics({f"many-{number}": options}, timeout_ms=60_000)
        if number % 10 == 9:
            tell(f"rest: {(number + 1) * PARTITIONS // TOPICS} partitions were asked for")
    wait_until(lambda: len(view.partitions()) >= PARTITIONS, CREATE_DEADLINE_SECONDS, "the partitions to be made", 1.0)


def measure(cluster: Supervised) -> list[Cost]:
    """All daemons at once."""
    daemons: dict[int, psutil.Process] = {}
    for node in cluster.layout.nodes:
        identity: ProcessId | None = cluster.daemon(node)
        if identity is None:
            raise UnavailableError(f"the daemon of {node.name} does not run")
        daemons[node.node_id] = psutil.Process(identity.pid)
    begun = time.monotonic()
    before = {node_id: cpu_seconds(process) for node_id, process in daemons.items()}
    rss = dict.fromkeys(daemons, 0)
    while time.monotonic() - begun < MEASURE_SECONDS:
        time.sleep(1.0)
        for node_id, process in daemons.items():
            rss[node_id] = max(rss[node_id], process.memory_info().rss)
    took = time.monotonic() - begun
    return [
        Cost(
            node_id,
            rss[node_id],
            (cpu_seconds(process) - before[node_id]) / took,
            process.num_threads(),
            replicas_seen(cluster.layout.node(node_id)),
        )
        for node_id, process in daemons.items()
    ]


def replicas_seen(node: Node) -> int:
    """As the daemon's status counts them. Raises UnavailableError where it does not know, and its cost says nothing."""
    with loopback() as session:
        status = get_json(f"{node.api_url}/v1/status", session)
    load = None if status is None else status["load"]
    if load is None:
        raise UnavailableError(f"the daemon of {node.name} does not see the cluster")
    return int(load["replicas"])
