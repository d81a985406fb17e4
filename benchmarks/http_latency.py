"""`/livez` and `/readyz` with 50 connections: at rest, while Kafka starts, while ZooKeeper is away.

Two paces: each connection asks twenty times a second (1,000 requests a second in all, far beyond what probes do), which
is what is judged; and each asks again as soon as it has its answer, which measures how many answers a second there are
at most (the latency is then 50 times that of one answer) and is printed.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks.cluster import Supervised, Tell
from benchmarks.figures import percentile
from benchmarks.report import Row, seconds
from benchmarks.view import View
from benchmarks.workload import REPOSITORY, Workload
from bubuku.core.errors import UnavailableError
from bubuku.core.model import Mode
from bubuku.sandbox.layout import HOST, Node, Options
from bubuku.sandbox.processes import send

CONNECTIONS = 50
TARGET_SECONDS = 0.020
EVERY_SECONDS = 0.05
PATHS = ("/livez", "/readyz")
REST_SECONDS = 10.0
AWAY_SECONDS = 8.0  # shorter than the brokers' session, so that only ZooKeeper is away
FULL_SPEED_SECONDS = 5.0
BEFORE_SECONDS = 1.0
STARTS = 3  # as many as are not held back
WARM_UP_SECONDS = 15.0
CLIENT_DEADLINE_SECONDS = 30.0
SETTLE_DEADLINE_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Answers:
    """What the clients saw between two moments: latencies by path, and how many answers of each status."""

    latencies: dict[str, list[float]]
    statuses: dict[str, int]
    errors: list[str]
    seconds: float


@dataclass(slots=True)
class Asking:
    """A client process at work on one daemon. `answers` waits for its end."""

    child: subprocess.Popen[str]

    def answers(self, begin: float, end: float) -> Answers:
        output, _ = self.child.communicate(timeout=CLIENT_DEADLINE_SECONDS)
        if self.child.returncode != 0:
            raise UnavailableError(f"the HTTP client ended with code {self.child.returncode}")
        document = json.loads(output)
        samples = [sample for sample in document["samples"] if begin <= sample[0] < end]
        by_path = {path: [s[1] for s in samples if s[2] == index] for index, path in enumerate(PATHS)}
        statuses = Counter(f"{PATHS[sample[2]]} {sample[3]}" for sample in samples)
        return Answers(by_path, dict(statuses), document["errors"], end - begin)


@contextmanager
def asking(node: Node, run_seconds: float, every_seconds: float) -> Iterator[Asking]:
    settings = {
        "host": HOST,
        "port": node.api_port,
        "paths": PATHS,
        "connections": CONNECTIONS,
        "seconds": run_seconds,
        "every_seconds": every_seconds,
    }
    child = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.http_client", json.dumps(settings)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
        start_new_session=True,
    )
    try:
        yield Asking(child)
    finally:
        if child.poll() is None:
            child.kill()
            child.communicate()


def run(tell: Tell) -> list[Row]:
    with Supervised("HTTP", Options(mode=Mode.ZOOKEEPER), tell) as cluster:
        node = cluster.layout.brokers[0]
        view = View(cluster.layout)
        with Workload(cluster.layout.bootstrap_servers, cluster.folder / "workload.log"):
            view.settle(SETTLE_DEADLINE_SECONDS)
            time.sleep(WARM_UP_SECONDS)
            measured = {
                "at rest": at_rest(node, REST_SECONDS, EVERY_SECONDS),
                "while Kafka starts": while_kafka_starts(cluster, node, view),
            }
            view.settle(SETTLE_DEADLINE_SECONDS)
            measured["while ZooKeeper is away"] = while_zookeeper_is_away(cluster, node)
            time.sleep(BEFORE_SECONDS)
            full = at_rest(node, FULL_SPEED_SECONDS, 0.0)
    for name, answers in measured.items():
        tell(f"HTTP, {name}: {_words(answers)}; {answers.statuses}; errors {answers.errors[:3]}")
    return [_row(name, answers) for name, answers in measured.items()] + [_full_speed_row(full)]


def at_rest(node: Node, run_seconds: float, every_seconds: float) -> Answers:
    with asking(node, run_seconds + BEFORE_SECONDS, every_seconds) as client:
        begin = time.monotonic() + BEFORE_SECONDS  # the client's own start is not part of it
        time.sleep(run_seconds + BEFORE_SECONDS)
        return client.answers(begin, begin + run_seconds)


def while_kafka_starts(cluster: Supervised, node: Node, view: View) -> Answers:
    """From the kill of the daemon's broker until it serves again, `STARTS` times."""
    rounds = []
    for _ in range(STARTS):
        view.settle(SETTLE_DEADLINE_SECONDS)
        with asking(node, 20.0, EVERY_SECONDS) as client:
            time.sleep(BEFORE_SECONDS)
            begin = cluster.kill(node)
            end = cluster.wait_running(node, SETTLE_DEADLINE_SECONDS)
            rounds.append(client.answers(begin, end))
    return _together(rounds)


def _together(rounds: list[Answers]) -> Answers:
    latencies = {path: [each for answers in rounds for each in answers.latencies[path]] for path in PATHS}
    statuses = sum((Counter(answers.statuses) for answers in rounds), Counter())
    errors = [error for answers in rounds for error in answers.errors]
    return Answers(latencies, dict(statuses), errors, sum(answers.seconds for answers in rounds))


def while_zookeeper_is_away(cluster: Supervised, node: Node) -> Answers:
    server = cluster.zookeeper()
    if server is None:
        raise UnavailableError("the sandbox's ZooKeeper does not run")
    with asking(node, AWAY_SECONDS + 2 * BEFORE_SECONDS, EVERY_SECONDS) as client:
        time.sleep(BEFORE_SECONDS)
        begin = time.monotonic()
        send(server, signal.SIGSTOP)
        try:
            time.sleep(AWAY_SECONDS)
        finally:
            send(server, signal.SIGCONT)
        return client.answers(begin, time.monotonic())


def _row(name: str, answers: Answers) -> Row:
    worst = max((percentile(of, 99) or 0.0) for of in answers.latencies.values())
    asked = all(answers.latencies.values())
    return Row(
        "HTTP",
        f"/livez, /readyz p99, {CONNECTIONS} connections, {name}",
        f"<= {seconds(TARGET_SECONDS)}",
        _words(answers),
        asked and not answers.errors and worst <= TARGET_SECONDS,
        samples={"statuses": answers.statuses, "errors": answers.errors, "percentiles": _percentiles(answers)},
    )


def _full_speed_row(answers: Answers) -> Row:
    count = sum(map(len, answers.latencies.values()))
    return Row(
        "HTTP",
        f"{CONNECTIONS} connections without a pause, at rest",
        "",
        f"{count / answers.seconds:.0f} answers/s, {_words(answers)}",
        None,
        samples={"statuses": answers.statuses, "errors": answers.errors, "percentiles": _percentiles(answers)},
    )


def _percentiles(answers: Answers) -> dict[str, dict[str, float | None]]:
    return {
        path: {"count": len(of), "p50": percentile(of, 50), "p99": percentile(of, 99), "worst": max(of, default=None)}
        for path, of in answers.latencies.items()
    }


def _words(answers: Answers) -> str:
    return ", ".join(f"{path} {seconds(percentile(of, 99))}" for path, of in answers.latencies.items())
