"""The metrics: parsed back by Prometheus' own parser, named as Prometheus wants, and true to the Published."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from bubuku import metrics
from bubuku.core.change import KINDS
from bubuku.core.model import BrokerState
from bubuku.core.observation import Published, Tally
from bubuku.core.reasons import Reason
from bubuku.core.shared import Maintenance, Permit
from tests.support import published as make
from tests.support.operators import ENTRY

UNITS = ("seconds", "bytes", "total", "info", "ratio")
WITHOUT_UNIT = {
    "bubuku_broker_state",
    "bubuku_maintenance",
    "bubuku_permit_held",
    "bubuku_zookeeper_connected",
    "process_max_fds",
    "process_open_fds",
}


def scraped(published: Published | None) -> dict[str, Metric]:
    text = metrics.exposition(metrics.registry(lambda: published, make.ABOUT)).decode()
    return {family.name: family for family in text_string_to_metric_families(text)}


def values(family: Metric, label: str) -> dict[str, float]:
    return {sample.labels[label]: sample.value for sample in family.samples}


def test_every_state_is_there_and_one_of_them_is_1() -> None:
    states = values(scraped(make.published(make.RECOVERING))["bubuku_broker_state"], "state")
    assert set(states) == {str(state) for state in BrokerState}
    assert {state for state, value in states.items() if value == 1} == {"recovering"}
    assert sum(states.values()) == 1


def test_counters_are_the_supervisors_sums_and_start_at_zero() -> None:
    families = scraped(make.published())
    assert values(families["bubuku_broker_starts"], "reason") == {
        "first_start": 1,
        "process_died": 2,
        "stopped_outside": 0,
        "start_stalled": 0,
        "restarted": 0,
    }
    assert values(families["bubuku_fences"], "result") == {"done": 2, "refused": 1, "failed": 0, "unknown": 0}
    seconds = values(families["bubuku_broker_state_seconds"], "state")
    assert (seconds["serving"], seconds["starting"], seconds["held"]) == (100, 20, 0)


def test_a_reason_that_nobody_foresaw_is_counted_too() -> None:
    families = scraped(make.published(starts={Reason.FORMATTING: 4}, fences={"odd": 1}))
    assert values(families["bubuku_broker_starts"], "reason")["formatting"] == 4
    assert values(families["bubuku_fences"], "result")["odd"] == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("bubuku_loop_lag_seconds", 0.002),
        ("bubuku_cycle_seconds", 0.004),
        ("bubuku_last_tick_timestamp_seconds", make.EPOCH),
        ("bubuku_zookeeper_connected", 1.0),
    ],
)
def test_gauges(name: str, value: float) -> None:
    assert [sample.value for sample in scraped(make.published())[name].samples] == [value]


def test_log_dirs_by_path() -> None:
    families = scraped(make.published())
    assert values(families["bubuku_log_dir_free_bytes"], "path") == {"/data/1": 80 * make.GIB}
    assert values(families["bubuku_log_dir_total_bytes"], "path") == {"/data/1": 100 * make.GIB}


def test_zookeeper_is_not_connected_while_it_is_away_or_unread() -> None:
    for view in (make.coordination(connected=False), None):
        seen = make.observation(coordination=make.dated(view))
        assert scraped(make.published(seen=seen))["bubuku_zookeeper_connected"].samples[0].value == 0


def test_changes_by_kind_and_outcome() -> None:
    tally = Tally(changes={("restart", "done"): 3, ("roll", "failed"): 1})
    samples = scraped(make.published(tally=tally))["bubuku_changes"].samples
    found = {(s.labels["kind"], s.labels["outcome"]): s.value for s in samples}
    assert found["restart", "done"] == 3
    assert found["roll", "failed"] == 1  # of a newer kind
    assert set(found) >= {(kind, outcome) for kind in KINDS for outcome in ("done", "failed", "cancelled")}
    assert found["stop", "cancelled"] == 0


def test_refusals_are_those_of_stops_and_of_requests() -> None:
    published = make.published(tally=Tally(refusals={"below_min_isr": 2, "unknown": 1}))
    ours = metrics.registry(lambda: published, make.ABOUT, lambda: {"below_min_isr": 5})
    families = {f.name: f for f in text_string_to_metric_families(metrics.exposition(ours).decode())}
    found = values(families["bubuku_refusals"], "reason")
    assert (found["below_min_isr"], found["unknown"], found["last_in_sync"]) == (7, 1, 0)


def test_the_permit_and_since_when() -> None:
    other = make.observation(coordination=make.dated(replace(make.coordination(), permit=Permit(4, {3: ENTRY}))))
    families = scraped(make.published(seen=other))
    assert families["bubuku_permit_held"].samples[0].value == 0
    assert families["bubuku_permit_held_since_timestamp_seconds"].samples == []
    ours = make.observation(coordination=make.dated(replace(make.coordination(), permit=Permit(4, {1: ENTRY}))))
    families = scraped(make.published(seen=ours))
    assert families["bubuku_permit_held"].samples[0].value == 1
    assert families["bubuku_permit_held_since_timestamp_seconds"].samples[0].value == ENTRY.since_epoch


@pytest.mark.parametrize(
    ("maintenance", "value"),
    [
        (None, 0),
        (Maintenance(1), 0),
        (Maintenance(1, on=True), 1),
        (Maintenance(1, on=True, until_epoch=make.EPOCH), 0),
        (Maintenance(1, on=True, until_epoch=make.EPOCH + 1), 1),
    ],
)
def test_maintenance(maintenance: Maintenance | None, value: float) -> None:
    seen = make.observation(coordination=make.dated(replace(make.coordination(), maintenance=maintenance)))
    assert scraped(make.published(seen=seen))["bubuku_maintenance"].samples[0].value == value


def test_build_info_and_the_process_are_there_before_the_first_tick() -> None:
    families = scraped(None)
    assert families["bubuku_build_info"].samples[0].labels == {
        "version": "2.0.0",
        "kafka_version": "3.9.2",
        "mode": "zookeeper",
    }
    assert families["process_resident_memory_bytes"].samples[0].value > 0
    assert "bubuku_broker_state" not in families


def test_names_are_as_prometheus_wants_them() -> None:
    text = metrics.exposition(metrics.registry(lambda: make.published(), make.ABOUT)).decode()
    for family in text_string_to_metric_families(text):
        assert re.fullmatch(r"(bubuku|process)(_[a-z]+)+", family.name), family.name
        assert family.documentation, family.name
        for sample in family.samples:
            if family.type == "counter":
                assert sample.name.endswith("_total"), sample.name
            assert sample.name in WITHOUT_UNIT or sample.name.endswith(UNITS), sample.name
            assert all(re.fullmatch(r"[a-z][a-z_]*", label) for label in sample.labels)


def test_a_scrape_keeps_nothing_for_the_next() -> None:
    current = make.published()
    ours = metrics.registry(lambda: current, make.ABOUT)
    first = [line for line in metrics.exposition(ours).splitlines() if line.startswith(b"bubuku")]
    assert [line for line in metrics.exposition(ours).splitlines() if line.startswith(b"bubuku")] == first
