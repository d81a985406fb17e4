"""kill -9 of a broker under load: how soon it serves again, and how long clients wait. With and without bubuku.

What is compared: "back" is from the kill to BrokerState 3, which a broker has once it is registered and serves, asked
from the outside. "Bare start" is how long the same Kafka takes from its process's start to BrokerState 3 after the same
kill under the same load, when nothing else hinders it: the script's Kafka, started once its old registration has ended.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.cluster import Cluster, Plain, Supervised, Tell, process_started
from benchmarks.figures import median
from benchmarks.report import Row, seconds
from benchmarks.view import View
from benchmarks.workload import Result, Window, Workload
from bubuku.core.model import Mode
from bubuku.sandbox.layout import Node, Options
from bubuku.sandbox.waiting import wait_until

BACK_DEADLINE_SECONDS = 120.0
SETTLE_DEADLINE_SECONDS = 120.0
GONE_DEADLINE_SECONDS = 60.0
QUIET_SECONDS = 3.0  # between rounds, and after a return to full sync: what comes late is to be seen too
WARM_UP_SECONDS = 40.0  # JVMs that have just started compile, at the cost of the one that starts after a kill
REST_SECONDS = 10.0

Choose = Callable[[View, Sequence[int]], Node]  # of a cluster, where these were killed before


@dataclass(frozen=True, slots=True)
class Victim:
    """Which node is killed, and what it has to reach: `ratio` of the bare start, `gap_seconds` for clients."""

    what: str
    choose: Choose
    ratio: float
    gap_seconds: float


@dataclass(frozen=True, slots=True)
class Scenario:
    name: str
    options: Options
    victims: tuple[Victim, ...]


@dataclass(frozen=True, slots=True)
class Kill:
    """One round: seconds from the kill until…"""

    node_id: int
    gone: float  # …the process was gone
    started: float | None  # …the process that now serves was started
    back: float  # …it served
    in_sync: float  # …all replicas were in sync again
    daemons_cpu_seconds: float | None  # processor time of all daemons, until it served
    window: Window


@dataclass(slots=True)
class Measured:
    """All rounds of one cluster, by victim."""

    rest: Window
    kills: dict[str, list[Kill]]
    bare: list[float]
    result: Result


def another_broker(view: View, killed: Sequence[int]) -> Node:
    """A broker that does not control the cluster, and leads a third of the partitions: the one killed least often."""
    controller = view.controller().node_id
    others = [node for node in view.brokers() if node.node_id != controller]
    return min(others, key=lambda node: killed.count(node.node_id))


def the_controller(view: View, _killed: Sequence[int]) -> Node:
    return view.controller()


SCENARIOS = {
    "zookeeper": Scenario(
        "ZooKeeper mode, 3.9.2",
        Options(mode=Mode.ZOOKEEPER),
        (
            Victim("a broker", another_broker, 1.3, 0.6),
            Victim("the controller", the_controller, 1.7, 2.0),
        ),
    ),
    "kraft": Scenario(
        "KRaft, 4.3.0, own controller",
        Options(mode=Mode.KRAFT),
        (Victim("a broker", another_broker, 1.3, 0.6),),
    ),
    "combined": Scenario(
        "KRaft, 4.3.0, combined nodes",
        Options(mode=Mode.KRAFT, combined=True),
        (
            Victim("not the active controller", another_broker, 1.3, 0.6),
            Victim("the active controller", the_controller, 2.6, 2.5),
        ),
    ),
}


def run(scenario: Scenario, rounds: int, plain_rounds: int, tell: Tell) -> list[Row]:
    """First without bubuku, with as many bare starts as there are kills later on; then with it.

    Each kind of victim gets a fresh cluster of bubuku's, and brokers are killed in turn: one that dies again within ten
    minutes is started after a pause (1 s, 2 s, …), which is meant so and is not what is measured here.
    """
    with Plain(f"{scenario.name}, restart-always script", scenario.options, tell) as plain:
        beside = measure(plain, scenario.victims, plain_rounds, rounds, tell)
    ours = []
    for victim in scenario.victims:
        with Supervised(f"{scenario.name}, bubuku, {victim.what}", scenario.options, tell) as supervised:
            ours.append(measure(supervised, (victim,), rounds, 0, tell))
    return rows(scenario, ours, beside)


def measure(cluster: Cluster, victims: Sequence[Victim], rounds: int, bare_rounds: int, tell: Tell) -> Measured:
    view = View(cluster.layout)
    with Workload(cluster.layout.bootstrap_servers, cluster.folder / "workload.log") as load:
        view.settle(SETTLE_DEADLINE_SECONDS)
        time.sleep(WARM_UP_SECONDS)
        begin = time.monotonic()
        time.sleep(REST_SECONDS)
        rest = load.window(begin, time.monotonic())
        tell(f"{cluster.name}: at rest {_words(rest)}")
        bare = []
        if isinstance(cluster, Plain):
            for counts in _rounds(bare_rounds):
                took = bare_start(cluster, view)
                bare += [took] if counts else []
                tell(f"{cluster.name}: bare start {seconds(took)}{'' if counts else ' (to warm up)'}")
        kills: dict[str, list[Kill]] = {victim.what: [] for victim in victims}
        killed: list[int] = []
        for counts in _rounds(rounds):
            for victim in victims:
                done = kill(cluster, view, load, victim, killed)
                killed.append(done.node_id)
                kills[victim.what] += [done] if counts else []
                tell(
                    f"{cluster.name}: {victim.what} ({done.node_id}) killed: started after {seconds(done.started)}, "
                    f"back after {seconds(done.back)}, in sync after {seconds(done.in_sync)}, {_words(done.window)}"
                    + ("" if done.daemons_cpu_seconds is None else f", daemons' CPU {done.daemons_cpu_seconds:.2f} s")
                    + ("" if counts else " (to warm up)")
                )
        result = load.finish()
        tell(f"{cluster.name}: {result}")
    return Measured(rest, kills, bare, result)


def _rounds(count: int) -> list[bool]:
    """Whether each round counts. The first does not: in a JVM's life the first failover costs the others, which compile
    what they never did before, twice the processor time of a later one, and all share the machine's cores."""
    return [False] + [True] * count if count > 0 else []


def kill(cluster: Cluster, view: View, load: Workload, victim: Victim, killed: Sequence[int]) -> Kill:
    view.settle(SETTLE_DEADLINE_SECONDS)
    time.sleep(QUIET_SECONDS)
    node = victim.choose(view, killed)
    cpu = cluster.daemons_cpu_seconds()
    at = cluster.kill(node)
    gone = time.monotonic()
    back = cluster.wait_running(node, BACK_DEADLINE_SECONDS)
    cpu_back = cluster.daemons_cpu_seconds()
    process = cluster.kafka(node)
    started = None if process is None else process_started(process)
    view.wait_in_sync(SETTLE_DEADLINE_SECONDS)
    in_sync = time.monotonic()
    time.sleep(QUIET_SECONDS)
    window = load.window(at, time.monotonic())
    return Kill(
        node_id=node.node_id,
        gone=gone - at,
        started=None if started is None else started - at,
        back=back - at,
        in_sync=in_sync - at,
        daemons_cpu_seconds=None if cpu is None or cpu_back is None else cpu_back - cpu,
        window=window,
    )


def bare_start(cluster: Plain, view: View) -> float:
    """Seconds from the start of a killed broker's process, its old registration gone, to BrokerState 3."""
    view.settle(SETTLE_DEADLINE_SECONDS)
    time.sleep(QUIET_SECONDS)
    node = another_broker(view, ())
    cluster.pause_script(node)
    try:
        cluster.kill(node)
        wait_until(
            lambda: node.node_id not in view.registered(), GONE_DEADLINE_SECONDS, f"{node.name}'s registration to end"
        )
    finally:
        at = cluster.continue_script(node)
    return cluster.wait_running(node, BACK_DEADLINE_SECONDS) - at


def rows(scenario: Scenario, ours: Sequence[Measured], beside: Measured) -> list[Row]:
    bare = median(beside.bare)
    lost, sent = _lost(*ours)
    plain_lost, plain_sent = _lost(beside)
    result = [
        Row(
            scenario.name,
            "bare start (kill -9, then started)",
            "",
            seconds(bare),
            None,
            seconds(bare),
            {"bare_start_seconds": beside.bare},
        )
    ]
    for victim, measured in zip(scenario.victims, ours, strict=True):
        result += _victim_rows(scenario, victim, measured.kills[victim.what], beside.kills[victim.what], bare)
    result.append(
        Row(
            scenario.name,
            "records failed or acknowledged and missing",
            "0",
            f"{lost} of {sent}",
            lost == 0,
            f"{plain_lost} of {plain_sent}",
            {"bubuku": [asdict(m.result) for m in ours], "plain": asdict(beside.result)},
        )
    )
    return result


def _lost(*measured: Measured) -> tuple[int, int]:
    """Records that failed or are missing, and all that were sent."""
    return sum(m.result.failed + m.result.missing for m in measured), sum(m.result.sent for m in measured)


def _victim_rows(
    scenario: Scenario, victim: Victim, ours: list[Kill], beside: list[Kill], bare: float | None
) -> list[Row]:
    samples: dict[str, Any] = {"bubuku": [asdict(k) for k in ours], "plain": [asdict(k) for k in beside]}
    back, plain_back = median(k.back for k in ours), median(k.back for k in beside)
    started = median(k.started for k in ours)
    gap, plain_gap = (median(k.window.longest_gap_seconds for k in kills) for kills in (ours, beside))
    p99, plain_p99 = (median(k.window.p99_seconds for k in kills) for kills in (ours, beside))
    ratio = None if back is None or bare is None else back / bare
    plain_ratio = None if plain_back is None or bare is None else plain_back / bare
    return [
        Row(
            scenario.name,
            f"{victim.what} killed, back and serving",
            f"<= {victim.ratio:g} x bare start",
            f"{_times(back, ratio)}, started after {seconds(started)}",
            ratio is not None and ratio <= victim.ratio,
            _times(plain_back, plain_ratio),
            samples,
        ),
        Row(
            scenario.name,
            f"{victim.what} killed, longest gap between acks",
            f"<= {seconds(victim.gap_seconds)}",
            f"{seconds(gap)} (p99 {seconds(p99)})",
            gap is not None and gap <= victim.gap_seconds,
            f"{seconds(plain_gap)} (p99 {seconds(plain_p99)})",
        ),
    ]


def _times(value: float | None, ratio: float | None) -> str:
    return seconds(value) if ratio is None else f"{ratio:.2f} x ({seconds(value)})"


def _words(window: Window) -> str:
    return (
        f"gap {seconds(window.longest_gap_seconds)} (begun {seconds(max(0.0, window.gap_began_after_seconds))} in), "
        f"p50 {seconds(window.p50_seconds)}, p99 {seconds(window.p99_seconds)}, failed {window.failed}"
    )
