"""What is read out of Kafka's log. Those in kafka_logs/ were printed by Kafka 3.9.2 and 4.3.0 (shortened)."""

from __future__ import annotations

from pathlib import Path

import pytest

from bubuku.core.kafka_log import KEPT_CHARACTERS, KEPT_LINES, KafkaLog
from bubuku.core.model import LogView
from bubuku.core.reasons import Reason

LOGS = Path(__file__).parent / "kafka_logs"


def read(name: str, upto: str | None = None) -> LogView:
    log = KafkaLog()
    for number, line in enumerate((LOGS / f"{name}.log").read_text().splitlines(keepends=True)):
        log.feed(line, 100.0 + number)
        if upto is not None and upto in line:
            break
    return log.view()


CAUSES = [
    ("3.9.2-zookeeper-invalid-value", Reason.BAD_CONFIGURATION, "Invalid value zero for configuration num.io.threads"),
    ("4.3.0-kraft-missing-node-id", Reason.BAD_CONFIGURATION, 'Missing required configuration "node.id"'),
    ("4.3.0-kraft-unknown-listener", Reason.BAD_CONFIGURATION, "Listener with name FOO"),
    ("3.9.2-zookeeper-other-node-id", Reason.NODE_ID_MISMATCH, "doesn't match previous node id 7"),
    ("4.3.0-kraft-other-node-id", Reason.NODE_ID_MISMATCH, "doesn't match previous node id 7"),
    ("3.9.2-zookeeper-other-cluster-id", Reason.CLUSTER_ID_MISMATCH, "Invalid cluster.id in"),
    ("4.3.0-kraft-other-cluster-id", Reason.CLUSTER_ID_MISMATCH, "Invalid cluster.id in"),
    ("3.9.2-zookeeper-no-log-dir", Reason.LOG_DIRS_FAILED, "none of the specified log dirs"),
    ("3.9.2-zookeeper-disk-full", Reason.DISK_FULL, "No space left on device"),
    ("4.3.0-kraft-disk-full", Reason.DISK_FULL, "No space left on device"),
    ("4.3.0-kraft-disk-full-at-start", Reason.DISK_FULL, "No space left on device"),
    ("3.9.2-zookeeper-port-taken", Reason.PORT_TAKEN, "127.0.0.1:19092: Address already in use"),
    ("3.9.2-kraft-port-taken", Reason.PORT_TAKEN, "127.0.0.1:19092: Address already in use"),
    ("4.3.0-kraft-port-taken", Reason.PORT_TAKEN, "127.0.0.1:19092: Address already in use"),
    ("4.3.0-kraft-controller-port-taken", Reason.PORT_TAKEN, "127.0.0.1:19093: Address already in use"),
]


@pytest.mark.parametrize(("name", "reason", "words"), CAUSES, ids=[name for name, _, _ in CAUSES])
def test_a_failure_that_a_restart_cannot_mend_is_named(name: str, reason: Reason, words: str) -> None:
    view = read(name)
    assert view.fatal == reason.value
    assert view.fatal_line is not None
    assert words in view.fatal_line


@pytest.mark.parametrize(
    "name",
    [
        "3.9.2-zookeeper-clean-start",
        "3.9.2-zookeeper-recovery",
        "4.3.0-kraft-recovery",
        "3.9.2-zookeeper-dir-locked",  # the other process may end
        "3.9.2-zookeeper-away",  # it may come back
        "4.3.0-kraft-key-store",  # a file beside the configuration may be put there
    ],
)
def test_what_may_mend_by_itself_is_not_fatal(name: str) -> None:
    assert read(name).fatal is None


@pytest.mark.parametrize("name", ["3.9.2-zookeeper-recovery", "4.3.0-kraft-recovery"])
def test_recovery_progress_is_summed_over_the_dirs(name: str) -> None:
    begun = read(name, upto="Recovering 20 logs from /data/d2")
    assert (begun.recovered, begun.recover_total) == (0, 40)
    assert begun.recover_started_at == 103.0
    one_dir_at_seven = read(name, upto="(7/20 completed")
    assert one_dir_at_seven.recovered is not None
    assert 7 <= one_dir_at_seven.recovered < 40
    done = read(name)
    assert (done.recovered, done.recover_total, done.recover_started_at) == (40, 40, 103.0)


def test_a_clean_start_recovers_nothing() -> None:
    view = read("3.9.2-zookeeper-clean-start")
    assert (view.recovered, view.recover_total, view.recover_started_at) == (None, None, None)


@pytest.mark.parametrize("name", [name for name, _, _ in CAUSES] + ["3.9.2-zookeeper-recovery"])
@pytest.mark.parametrize("next_run", ["3.9.2-zookeeper-clean-start", "4.3.0-kraft-recovery"])
def test_the_next_run_makes_the_one_before_forgotten(name: str, next_run: str) -> None:
    log = KafkaLog()
    for each in (name, next_run):
        for line in (LOGS / f"{each}.log").read_text().splitlines():
            log.feed(line, 1.0)
    alone = read(next_run)
    assert (log.view().fatal, log.view().recover_total) == (None, alone.recover_total)
    assert log.view().lines_seen == read(name).lines_seen + alone.lines_seen


HARMLESS = [
    "[2026-11-22 13:12:37,743] ERROR [Admin Manager on Broker 1]: Error processing alter configs (kafka.server)",
    "org.apache.kafka.common.config.ConfigException: Invalid value x for configuration retention.ms: Not a number",
    "[2026-11-22 13:12:37,743] ERROR Error while appending records to t-0 in dir /data/d2 (kafka.LogDirFailureChannel)",
    "java.io.IOException: No space left on device",
    "[2026-11-22 13:12:37,744] WARN Stopping serving logs in dir /data/d2 (kafka.log.LogManager)",
]


def test_the_same_words_in_a_broker_that_goes_on_mean_nothing() -> None:
    log = KafkaLog()
    for line in HARMLESS:
        log.feed(line, 1.0)
    assert log.view().fatal is None


def test_an_exception_belongs_to_the_line_above_it_alone() -> None:
    log = KafkaLog()
    log.feed("[2026-11-22 13:00:00,000] ERROR Exiting Kafka due to fatal exception (kafka.Kafka$)", 1.0)
    log.feed("[2026-11-22 13:00:00,001] INFO something else (x)", 1.0)
    log.feed("org.apache.kafka.common.config.ConfigException: Invalid value", 1.0)
    assert log.view().fatal is None


def test_the_last_lines_are_bounded_and_without_stack_frames() -> None:
    log = KafkaLog()
    for number in range(50):
        log.feed(f"[2026-11-22 13:00:00,000] INFO line {number} {'x' * 2000} (x)", 1.0)
        log.feed("\tat java.base/java.lang.Thread.run(Thread.java:1583)", 1.0)
        log.feed("\t... 3 more", 1.0)
        log.feed("", 1.0)
    view = log.view()
    assert len(view.last_lines) == KEPT_LINES
    assert all(len(line) == KEPT_CHARACTERS for line in view.last_lines)
    assert view.last_lines[-1].startswith("[2026-11-22 13:00:00,000] INFO line 49")
    assert view.lines_seen == 150
