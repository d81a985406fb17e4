"""`make bench`: measures, prints the table, leaves the figures in out/bench-<time>.json.

Runs in the foreground for minutes; Ctrl-C or SIGTERM ends it with all that it started. Exit codes: 0 all targets
reached, 1 one was missed or could not be measured.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from functools import partial

import click
from kafka.errors import KafkaError

from benchmarks import adoption, failover, guard, http_latency, rest, restart
from benchmarks.report import Row, save, table
from bubuku.core.errors import BubukuError
from bubuku.core.model import Mode

PARTS = ("failover", "restart", "adoption", "rest", "http", "guard")
QUICK_ROUNDS, ROUNDS = 1, 3


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--only", default=",".join(PARTS), show_default=True, help="What to measure, separated by commas.")
@click.option(
    "--mode",
    "modes",
    default="zookeeper,kraft,combined",
    show_default=True,
    help="Which clusters failover and restarts are measured on: combined is KRaft with broker and controller in one "
    "node, failover alone.",
)
@click.option("--rounds", type=click.IntRange(1), help=f"Kills of each kind, restarts of all; {ROUNDS} unless given.")
@click.option(
    "--baseline-rounds", type=click.IntRange(1), default=1, show_default=True, help="The same without bubuku."
)
@click.option("--quick", is_flag=True, help="One round of each.")
def main(only: str, modes: str, rounds: int | None, baseline_rounds: int, quick: bool) -> None:
    """Measure bubuku on real Kafka under load, beside brokers that only a restart-always script looks after."""
    parts, chosen = _names("--only", only, PARTS), _names("--mode", modes, tuple(failover.SCENARIOS))
    count = rounds if rounds is not None else QUICK_ROUNDS if quick else ROUNDS
    signal.signal(signal.SIGTERM, lambda *_: _interrupt())
    results: list[Row] = []
    problems: list[str] = []
    for part in parts:
        _measure(part, chosen, count, baseline_rounds, results, problems)
    settings = {"only": parts, "modes": chosen, "rounds": count, "baseline_rounds": baseline_rounds}
    path = save(results, settings)
    click.echo(table(results))
    for problem in problems:
        click.echo(f"not measured: {problem}", err=True)
    click.echo(f"all figures: {path}", err=True)
    sys.exit(1 if problems or any(row.reached is False for row in results) else 0)


def _measure(
    part: str, modes: list[str], rounds: int, baseline_rounds: int, results: list[Row], problems: list[str]
) -> None:
    """One part; what fails is noted, so that the figures of the others are not lost."""
    runs: dict[str, Callable[[], list[Row]]] = {
        "adoption": lambda: adoption.run(rounds, _tell),
        "rest": lambda: rest.run(Mode.ZOOKEEPER, _tell),
        "http": lambda: http_latency.run(_tell),
        "guard": lambda: guard.run(rounds, _tell),
    }
    for mode in modes:
        scenario = failover.SCENARIOS[mode]
        runs[f"failover {mode}"] = partial(failover.run, scenario, rounds, baseline_rounds, _tell)
        if mode in restart.SCENARIOS:
            runs[f"restart {mode}"] = partial(restart.run, mode, rounds, _tell)
    for name, run in runs.items():
        if name.split()[0] != part:
            continue
        try:
            results += run()
        except (BubukuError, KafkaError) as error:
            problems.append(f"{name}: {error}")


def _names(option: str, given: str, known: tuple[str, ...]) -> list[str]:
    names = [name.strip() for name in given.split(",") if name.strip()]
    for name in names:
        if name not in known:
            raise click.BadParameter(f"{option} {name}: there are {', '.join(known)}")
    return names


def _tell(line: str) -> None:
    load = os.getloadavg()[0]
    click.echo(f"[load {load:.1f}] {line}", err=True)


def _interrupt() -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
