"""kill -9 of a daemon: how soon its successor has adopted the running Kafka, and that Kafka was not touched.

The clock runs from the kill until the new daemon's `/v1/status` shows the same Kafka process, adopted and serving. The
sandbox's keeper starts the successor, as systemd would; its pause before that is part of the figure and printed too.
"""

from __future__ import annotations

import signal
import time
from dataclasses import asdict, dataclass

import requests

from benchmarks.cluster import Supervised, Tell, get_json, loopback, process_started
from benchmarks.figures import median
from benchmarks.report import Row, seconds
from benchmarks.view import View
from benchmarks.workload import Workload
from bubuku.core.errors import UnavailableError
from bubuku.core.model import BrokerState, Mode
from bubuku.core.shared import ProcessId
from bubuku.sandbox.layout import Node, Options
from bubuku.sandbox.processes import alive, send, wait_gone
from bubuku.sandbox.waiting import wait_until

TARGET_SECONDS = 2.0
ADOPTED_DEADLINE_SECONDS = 30.0
SETTLE_DEADLINE_SECONDS = 120.0
WARM_UP_SECONDS = 10.0
QUIET_SECONDS = 3.0
PROBE_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Adoption:
    """Seconds from the kill until the successor's process was started, and until it had adopted."""

    node_id: int
    started: float | None
    adopted: float
    kafka_untouched: bool
    longest_gap_seconds: float


def run(rounds: int, tell: Tell) -> list[Row]:
    done = []
    with Supervised("adoption", Options(mode=Mode.ZOOKEEPER), tell) as cluster:
        view = View(cluster.layout)
        with Workload(cluster.layout.bootstrap_servers, cluster.folder / "workload.log") as load:
            view.settle(SETTLE_DEADLINE_SECONDS)
            time.sleep(WARM_UP_SECONDS)
            for number in range(rounds):
                node = cluster.layout.brokers[number % len(cluster.layout.brokers)]
                done.append(kill_daemon(cluster, node, load))
                tell(f"adoption: {done[-1]}")
    adopted, started = median(d.adopted for d in done), median(d.started for d in done)
    untouched = all(d.kafka_untouched for d in done)
    return [
        Row(
            "daemon",
            "killed -9, Kafka adopted and untouched",
            f"<= {seconds(TARGET_SECONDS)}",
            f"{seconds(adopted)} ({seconds(started)} of it until its successor was started)"
            + ("" if untouched else ", KAFKA WAS RESTARTED"),
            untouched and adopted is not None and adopted <= TARGET_SECONDS,
            samples={"adoptions": [asdict(d) for d in done]},
        )
    ]


def kill_daemon(cluster: Supervised, node: Node, load: Workload) -> Adoption:
    kafka, daemon = cluster.kafka(node), cluster.daemon(node)
    if kafka is None or daemon is None:
        raise UnavailableError(f"{node.name} or its daemon does not run")
    at = time.monotonic()
    send(daemon, signal.SIGKILL)
    wait_gone([daemon], ADOPTED_DEADLINE_SECONDS)
    with loopback() as session:
        wait_until(
            lambda: _has_adopted(node, kafka, session),
            ADOPTED_DEADLINE_SECONDS,
            f"a successor to adopt {node.name}'s Kafka",
            PROBE_SECONDS,
        )
    adopted = time.monotonic() - at
    successor = cluster.daemon(node)
    started = None if successor is None else process_started(successor)
    time.sleep(QUIET_SECONDS)
    window = load.window(at, time.monotonic())
    return Adoption(
        node.node_id,
        None if started is None else started - at,
        adopted,
        alive(kafka) and cluster.kafka(node) == kafka,
        window.longest_gap_seconds,
    )


def _has_adopted(node: Node, kafka: ProcessId, session: requests.Session) -> bool:
    status = get_json(f"{node.api_url}/v1/status", session)
    process = None if status is None else status.get("process")
    return (
        status is not None
        and process is not None
        and process["pid"] == kafka.pid
        and process["adopted"]
        and status["state"] == BrokerState.SERVING
    )
