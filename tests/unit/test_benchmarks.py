"""The benchmarks' arithmetic: percentiles, windows of a workload, what counts as missing, the table."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from benchmarks.figures import median, percentile
from benchmarks.load import FAILED, PENDING, Load
from benchmarks.report import Row, seconds, table
from benchmarks.restart import Marks, last_sigterm, look


class NoProducer:
    """`Load` is filled by hand here: nothing may be sent."""

    def send(self, *_: Any, **__: Any) -> None:
        raise AssertionError("nothing is sent in this test")


def load_of(records: list[tuple[float, float]]) -> Load:
    """A load whose records were sent and done at these times."""
    load = Load(NoProducer(), "t", partitions=3, rate=100.0, size=50)
    for sent, done in records:
        load.sent.append(sent)
        load.done.append(done)
    load.acks.extend(sorted(done for _, done in records if done >= 0))
    return load


@pytest.mark.parametrize(
    ("samples", "percent", "expected"),
    [
        ([], 99, None),
        ([5.0], 99, 5.0),
        ([float(n) for n in range(1, 101)], 99, 99.0),
        ([float(n) for n in range(1, 101)], 50, 50.0),
        ([3.0, 1.0, 2.0], 100, 3.0),
        ([3.0, 1.0, 2.0], 0, 1.0),
    ],
)
def test_percentile_is_the_nearest_rank(samples: list[float], percent: float, expected: float | None) -> None:
    assert percentile(samples, percent) == expected


def test_a_median_leaves_out_what_is_unknown() -> None:
    assert median([None, 3.0, 1.0, None, 2.0]) == 2.0
    assert median([None]) is None


def test_the_longest_gap_reaches_over_the_edges_of_the_window() -> None:
    """The last acknowledgement before the window and the first one after it belong to the gap."""
    load = load_of([(1.0, 1.1), (2.0, 7.0), (3.0, 7.1), (4.0, 7.2)])
    window = load.window(2.0, 5.0)
    assert window["longest_gap_seconds"] == pytest.approx(5.9)
    assert window["gap_began_after_seconds"] == pytest.approx(-0.9)


def test_records_in_flight_at_the_edges_count() -> None:
    load = load_of([(1.0, 1.1), (1.9, 4.0), (3.0, 3.2), (4.9, 9.0), (6.0, 6.1)])
    window = load.window(2.0, 5.0)
    assert window["acknowledged"] == 3
    assert window["worst_seconds"] == pytest.approx(4.1)


def test_silence_to_the_end_of_the_window_is_a_gap() -> None:
    assert load_of([(1.0, 2.0), (2.0, 3.0)]).window(1.5, 9.0)["longest_gap_seconds"] == 6.0
    assert load_of([(5.0, 6.0), (7.0, 7.5)]).window(1.0, 7.0)["longest_gap_seconds"] == 5.0


def test_a_window_without_acknowledgements_is_one_gap() -> None:
    window = load_of([(2.5, FAILED)]).window(2.0, 12.0)
    assert window["longest_gap_seconds"] == 10.0
    assert (window["failed"], window["acknowledged"], window["p99_seconds"]) == (1, 0, None)


def test_only_acknowledged_records_can_be_missing() -> None:
    load = load_of([(1.0, 1.1), (1.0, FAILED), (1.0, PENDING), (1.0, 1.2), (1.0, 1.3)])
    verdict = load.verdict({0: 1, 1: 1, 4: 3})
    assert (verdict["sent"], verdict["acknowledged"], verdict["failed"]) == (5, 3, 2)
    assert (verdict["missing"], verdict["first_missing"], verdict["duplicates"]) == (1, [3], 2)


def test_the_table_has_a_verdict_for_each_target() -> None:
    rows = [
        Row("g", "gap", "<= 0.6 s", "0.3 s", True, "17 s"),
        Row("g", "back", "<= 1.3 x", "2 x", False),
        Row("g", "bare start", "", "4 s", None),
    ]
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in table(rows).splitlines()]
    assert lines[0] == ["what", "to reach", "measured", "verdict", "without bubuku"]
    assert [line[3] for line in lines[2:]] == ["reached", "MISSED", "–"]
    assert lines[2] == ["g: gap", "<= 0.6 s", "0.3 s", "reached", "17 s"]


@pytest.mark.parametrize(
    ("value", "expected"), [(None, "–"), (0.0051, "5.1 ms"), (0.6, "0.60 s"), (4.256, "4.26 s"), (17.31, "17.3 s")]
)
def test_durations_for_people(value: float | None, expected: str) -> None:
    assert seconds(value) == expected


def test_the_marks_of_a_restart_are_those_seen_first() -> None:
    marks = Marks()
    story = [
        (["serving"], "checking", []),
        (["serving"], "stopping", [1]),  # as it was published last: it has not ended yet
        (["starting"], "starting", [1]),
        (["serving"], "catching_up", [1]),
        (["serving"], "settling", [1]),
        (["serving"], "settling", [1]),
        (["serving"], "settling", []),
        (["serving"], None, []),
    ]
    for now, (states, phase, permit) in enumerate(story):
        document = {
            "brokers": [{"node_id": n, "state": state} for n, state in enumerate(states, 1)],
            "changes": [] if phase is None else [{"broker": 1, "phase": phase}],
            "permit": [{"broker": n} for n in permit],
        }
        look(document, marks, float(now))
    assert (marks.serving, marks.in_sync, marks.released) == ({1: 3.0}, {1: 4.0}, {1: 6.0})


def test_the_newest_sigterm_of_a_log_counts() -> None:
    line = "[2026-11-22 19:16:{},328] INFO Terminating process due to signal SIGTERM (org.apache.kafka.common)\n"
    at = last_sigterm(line.format(10) + "[2026-11-22 19:16:20,000] INFO something\n" + line.format(33))
    assert at == pytest.approx(datetime(2026, 11, 22, 19, 16, 33, 328_000).astimezone().timestamp())
    assert last_sigterm("nothing of it\n") is None
