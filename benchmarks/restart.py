"""Three restarts asked at once, under load: how long they take, beside a bare loop that does the same without bubuku.

The bare loop: for each broker SIGTERM, the end of its process, its start again by the script, and then every replica of
the cluster in sync. bubuku's time is from the request until all three changes are done, less the stability windows,
which an operator chooses. Where it goes is told by phases: when a daemon stopped its broker is in Kafka's own log, when
it knew what in the changes and in the permit.
"""

from __future__ import annotations

import re
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from statistics import median
from typing import Any

from benchmarks.cluster import Cluster, Plain, Supervised, Tell, get_json, loopback, process_started
from benchmarks.failover import (
    BACK_DEADLINE_SECONDS,
    GONE_DEADLINE_SECONDS,
    QUIET_SECONDS,
    SETTLE_DEADLINE_SECONDS,
    WARM_UP_SECONDS,
)
from benchmarks.report import Row, seconds
from benchmarks.view import View
from benchmarks.workload import Result, Window, Workload
from bubuku.core.errors import RefusedError, UnavailableError
from bubuku.core.model import Mode
from bubuku.core.shared import ProcessId
from bubuku.sandbox.layout import Node, Options
from bubuku.sandbox.processes import send, wait_gone
from bubuku.sandbox.waiting import wait_until

RATIO = 1.15
STABILITY_SECONDS = 2.0  # what a sandbox's daemons are configured with
DONE_DEADLINE_SECONDS = 300.0
RATE = 100.0  # records a second for each of the two clusters
LOOK_SECONDS = 0.25  # each costs a daemon a few milliseconds, of what Kafka needs to start
SCENARIOS = {
    "zookeeper": ("ZooKeeper mode, 3.9.2", Options(mode=Mode.ZOOKEEPER)),
    "kraft": ("KRaft, 4.3.0, own controller", Options(mode=Mode.KRAFT)),
}
TOLD = re.compile(r"^\[([\d-]+ [\d:,]+)\] INFO Terminating process due to signal SIGTERM", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Phases:
    """Seconds of one broker's restart, one after the other."""

    to_sigterm: float  # from the request, or from the release of the one before
    to_end: float
    to_start: float
    to_serving: float  # as its daemon says; without bubuku BrokerState 3
    to_in_sync: float  # as its daemon knows it
    to_released: float  # less the stability window


WORDS = {
    "to_sigterm": "asked, or the one before released, until SIGTERM",
    "to_end": "SIGTERM until its end",
    "to_start": "its end until it is started",
    "to_serving": "started until it serves",
    "to_in_sync": "serving until it is known to be in sync",
    "to_released": "in sync until it is released, less the stability window",
}


@dataclass(frozen=True, slots=True)
class Round:
    """`total`: of all three, less the stability windows. `phases`: in the order of their stops."""

    total: float
    phases: tuple[Phases, ...]
    window: Window
    daemons_cpu_seconds: float | None  # processor time of all daemons


@dataclass(slots=True)
class Marks:
    """When something of each broker was seen first (monotonic), and what was seen at all."""

    taken: set[int] = field(default_factory=set)  # who was in the permit
    down: set[int] = field(default_factory=set)  # who did not serve since
    ended: dict[int, float] = field(default_factory=dict)
    serving: dict[int, float] = field(default_factory=dict)
    in_sync: dict[int, float] = field(default_factory=dict)
    released: dict[int, float] = field(default_factory=dict)


def run(mode: str, rounds: int, tell: Tell) -> list[Row]:
    """Both clusters are up all the time, with a producer each, and take turns: so what else the machine does
    is the same for both."""
    name, options = SCENARIOS[mode]
    plain = Plain(f"{name}, bare loop of restarts", options, tell)
    supervised = Supervised(f"{name}, bubuku, three restarts", options, tell)
    with plain, supervised, _load(plain) as plain_load, _load(supervised) as load:
        beside, ours = Side(plain, plain_load, bare_loop), Side(supervised, load, asked_at_once)
        time.sleep(WARM_UP_SECONDS)
        for number in range(rounds + 1):
            for side in (beside, ours):
                side.play(counts=number > 0)  # the first one warms the JVMs up
        results = [side.load.finish() for side in (ours, beside)]
        tell(f"{name}: bubuku {results[0]}, bare loop {results[1]}")
    return rows(name, ours.rounds, beside.rounds, *results)


def _load(cluster: Cluster) -> Workload:
    return Workload(cluster.layout.bootstrap_servers, cluster.folder / "workload.log", rate=RATE)


@dataclass(slots=True)
class Side:
    """One of the two clusters, and its rounds."""

    cluster: Cluster
    load: Workload
    restart: Callable[[Cluster, View], tuple[float, tuple[Phases, ...]]]
    rounds: list[Round] = field(default_factory=list)

    def play(self, counts: bool) -> None:
        cluster, view = self.cluster, View(self.cluster.layout)
        view.settle(SETTLE_DEADLINE_SECONDS)
        time.sleep(QUIET_SECONDS)
        begin, cpu = time.monotonic(), cluster.daemons_cpu_seconds()
        total, phases = self.restart(cluster, view)
        cpu_done = cluster.daemons_cpu_seconds()
        time.sleep(QUIET_SECONDS)
        spent = None if cpu is None or cpu_done is None else cpu_done - cpu
        done = Round(total, phases, self.load.window(begin, time.monotonic()), spent)
        cluster.tell(f"{cluster.name}: {words(done)}{'' if counts else ' (to warm up)'}")
        self.rounds += [done] if counts else []


def bare_loop(cluster: Cluster, view: View) -> tuple[float, tuple[Phases, ...]]:
    begin = before = time.monotonic()
    phases = []
    for node in cluster.layout.brokers:
        process = _running(cluster, node)
        at = time.monotonic()
        send(process, signal.SIGTERM)
        if wait_gone([process], GONE_DEADLINE_SECONDS):
            raise UnavailableError(f"{node.name} does not end")
        ended = time.monotonic()
        serving = cluster.wait_running(node, BACK_DEADLINE_SECONDS)
        started = _started(cluster, node)
        view.wait_in_sync(SETTLE_DEADLINE_SECONDS)
        in_sync = time.monotonic()
        phases.append(Phases(at - before, ended - at, started - ended, serving - started, in_sync - serving, 0.0))
        before = in_sync
    return before - begin, tuple(phases)


def asked_at_once(cluster: Cluster, view: View) -> tuple[float, tuple[Phases, ...]]:
    nodes = cluster.layout.brokers
    processes = {node.node_id: _running(cluster, node) for node in nodes}
    marks = Marks()
    threads = [threading.Thread(target=_wait_ended, args=(n, p, marks.ended)) for n, p in processes.items()]
    for thread in threads:
        thread.start()
    begin = time.monotonic()
    sequences = _ask(nodes)
    _follow(nodes[0].api_url, frozenset(processes), marks)
    total = max(marks.released.values()) - begin - STABILITY_SECONDS * len(nodes)
    for thread in threads:
        thread.join(GONE_DEADLINE_SECONDS)
    _check_done(nodes[0], sequences)
    if view.under_replicated():
        raise UnavailableError(f"{cluster.name}: all are done, and replicas are not in sync")
    phases, before = [], begin
    for node in sorted(nodes, key=lambda each: marks.ended[each.node_id]):
        n = node.node_id
        at, started = _told_to_stop(node), _started(cluster, node)
        phases.append(
            Phases(
                to_sigterm=at - before,
                to_end=marks.ended[n] - at,
                to_start=started - marks.ended[n],
                to_serving=marks.serving[n] - started,
                to_in_sync=marks.in_sync[n] - marks.serving[n],
                to_released=marks.released[n] - marks.in_sync[n] - STABILITY_SECONDS,
            )
        )
        before = marks.released[n]
    return total, tuple(phases)


def _ask(nodes: Sequence[Node]) -> list[int]:
    wanted = {"kind": "restart", "brokers": [node.node_id for node in nodes], "by": "the benchmark"}
    with loopback() as session:
        answer = session.post(nodes[0].api_url + "/v1/changes", json=wanted, timeout=45)
    if answer.status_code != 201:
        raise RefusedError(f"the restarts were not taken: {answer.text}")
    return [change["sequence"] for change in answer.json()["changes"]]


def _follow(url: str, wanted: frozenset[int], marks: Marks) -> None:
    """What one daemon shows of all, until none of them has a change that is open. Raises TimedOutError."""
    with loopback() as session:

        def done() -> bool:
            document = get_json(url + "/v1/cluster", session)
            if document is None or document.get("changes") is None:
                return False
            look(document, marks, time.monotonic())
            return not document["changes"] and marks.taken == wanted and not document["permit"]

        wait_until(done, DONE_DEADLINE_SECONDS, "all three restarts to be done", LOOK_SECONDS)


def look(document: Mapping[str, Any], marks: Marks, now: float) -> None:
    """Note what is seen for the first time."""
    held = {entry["broker"] for entry in document["permit"]}
    marks.taken |= held
    for broker in marks.taken - held:
        marks.released.setdefault(broker, now)
    for change in document["changes"]:
        if change["phase"] == "settling":
            marks.in_sync.setdefault(change["broker"], now)
    for row in document["brokers"]:
        broker = row["node_id"]
        if broker in marks.down and row["state"] == "serving":
            marks.serving.setdefault(broker, now)
        elif broker in marks.taken and row["state"] != "serving":
            marks.down.add(broker)


def _check_done(node: Node, sequences: Sequence[int]) -> None:
    with loopback() as session:
        for sequence in sequences:
            document = get_json(f"{node.api_url}/v1/changes/{sequence}", session) or {}
            if document.get("state") != "done":
                raise UnavailableError(f"change {sequence} is not done: {document}")


def _wait_ended(node_id: int, process: ProcessId, ended: dict[int, float]) -> None:
    if not wait_gone([process], DONE_DEADLINE_SECONDS):
        ended[node_id] = time.monotonic()


def _running(cluster: Cluster, node: Node) -> ProcessId:
    process = cluster.kafka(node)
    if process is None:
        raise UnavailableError(f"{cluster.name}: the Kafka of {node.name} does not run")
    return process


def _started(cluster: Cluster, node: Node) -> float:
    at = process_started(_running(cluster, node))
    if at is None:
        raise UnavailableError(f"{cluster.name}: the Kafka of {node.name} has ended again")
    return at


def _told_to_stop(node: Node) -> float:
    """When its Kafka last noted SIGTERM (monotonic)."""
    at = last_sigterm(node.kafka_log.read_text(encoding="utf-8", errors="replace"))
    if at is None:
        raise UnavailableError(f"{node.kafka_log} says nothing of a SIGTERM")
    return at - time.time() + time.monotonic()


def last_sigterm(log: str) -> float | None:
    """Seconds since the epoch; None where the log tells of none."""
    found = TOLD.findall(log)
    return datetime.strptime(found[-1], "%Y-%m-%d %H:%M:%S,%f").astimezone().timestamp() if found else None


def rows(name: str, ours: Sequence[Round], beside: Sequence[Round], result: Result, plain: Result) -> list[Row]:
    group = f"{name}, restarts of all three brokers"
    total, bare = median(r.total for r in ours), median(r.total for r in beside)
    gap, plain_gap = (median(r.window.longest_gap_seconds for r in each) for each in (ours, beside))
    lost, plain_lost = result.failed + result.missing, plain.failed + plain.missing
    found = [
        Row(
            group,
            "all in sync again, less the stability windows",
            f"<= {RATIO:g} x the bare loop",
            f"{total / bare:.2f} x ({seconds(total)})",
            total / bare <= RATIO,
            seconds(bare),
            {"bubuku": [asdict(r) for r in ours], "plain": [asdict(r) for r in beside]},
        ),
        Row(group, "longest gap between acks", "", seconds(gap), None, seconds(plain_gap)),
        Row(
            group,
            "records failed or acknowledged and missing",
            "0",
            f"{lost} of {result.sent}",
            lost == 0,
            f"{plain_lost} of {plain.sent}",
            {"bubuku": asdict(result), "plain": asdict(plain)},
        ),
    ]
    return found + [
        Row(group, f"each: {WORDS[f.name]}", "", seconds(phase(ours, f.name)), None, seconds(phase(beside, f.name)))
        for f in fields(Phases)
    ]


def phase(rounds: Sequence[Round], name: str) -> float:
    """The median over brokers and rounds."""
    return median(float(getattr(each, name)) for r in rounds for each in r.phases)


def words(done: Round) -> str:
    each = "; ".join("/".join(f"{value:.2f}" for value in asdict(p).values()) for p in done.phases)
    cpu = "" if done.daemons_cpu_seconds is None else f", daemons' CPU {done.daemons_cpu_seconds:.2f} s"
    return f"{seconds(done.total)}, gap {seconds(done.window.longest_gap_seconds)}{cpu}, phases {each}"
