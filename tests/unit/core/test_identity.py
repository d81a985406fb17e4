"""Which broker the log dirs belong to: each row of check_ids and check_dirs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bubuku.core import identity
from bubuku.core.model import CoordinationView, Desired, Exit, LogDir, Record
from bubuku.core.observation import Policy
from bubuku.core.reasons import Reason
from tests.support.observations import (
    CLUSTER,
    ENDED,
    KRAFT_POLICY,
    POLICY,
    PROCESS,
    empty_dir,
    log_dir,
    meeting,
    read,
    record,
    unread,
)

FRESH = Record("instance-1")
NO_ID = replace(POLICY, node_id=None)
A, B = log_dir("/a"), log_dir("/b")
BOTH = {"marker/a": "/a", "marker/b": "/b"}


@pytest.mark.parametrize(
    ("policy", "known", "dirs", "expected"),
    [
        (POLICY, FRESH, [empty_dir()], 1),  # configured
        (POLICY, FRESH, [log_dir(node_id=7)], 7),  # the data says more than the configuration
        (NO_ID, record(node_id=5), [empty_dir()], 5),  # what it had
        (NO_ID, FRESH, [empty_dir()], None),  # Kafka will generate one
        (NO_ID, FRESH, [empty_dir("/a"), log_dir("/b", node_id=0)], 0),  # 0 is an id
        (replace(POLICY, node_id=0), record(node_id=5), [empty_dir()], 0),
    ],
)
def test_node_id(policy: Policy, known: Record, dirs: list[LogDir], expected: int | None) -> None:
    assert identity.node_id(policy, known, dirs) == expected


@pytest.mark.parametrize(
    ("policy", "known", "dirs", "expected"),
    [
        (POLICY, FRESH, [A], CLUSTER),
        (replace(POLICY, cluster_id="cluster-c"), FRESH, [empty_dir()], "cluster-c"),
        (POLICY, record(), [empty_dir()], CLUSTER),
        (POLICY, FRESH, [empty_dir()], None),
    ],
)
def test_cluster_id(policy: Policy, known: Record, dirs: list[LogDir], expected: str | None) -> None:
    assert identity.cluster_id(policy, known, dirs) == expected


@pytest.mark.parametrize(
    ("policy", "known", "dirs", "view", "reason", "said"),
    [
        (POLICY, record(), [A, B], meeting(), None, ""),
        (POLICY, FRESH, [empty_dir()], None, None, ""),
        (NO_ID, FRESH, [A], None, None, ""),
        (POLICY, FRESH, [log_dir(node_id=2)], None, Reason.NODE_ID_MISMATCH, "2 by /a, 1 by the configuration"),
        (NO_ID, record(), [log_dir(node_id=2)], None, Reason.NODE_ID_MISMATCH, "2 by /a, 1 by the state file"),
        (POLICY, record(node_id=3), [empty_dir()], None, Reason.NODE_ID_MISMATCH, "3 by the state file"),
        (NO_ID, FRESH, [A, log_dir("/b", node_id=0)], None, Reason.NODE_ID_MISMATCH, "1 by /a, 0 by /b"),
        (POLICY, record(), [log_dir(cluster_id="x")], None, Reason.CLUSTER_ID_MISMATCH, "x by /a"),
        (POLICY, FRESH, [A], meeting(marker_cluster_id="x"), Reason.CLUSTER_ID_MISMATCH, "the marker in ZooKeeper"),
        (replace(POLICY, cluster_id="x"), FRESH, [A], None, Reason.CLUSTER_ID_MISMATCH, "x by the configuration"),
        (POLICY, FRESH, [A, log_dir("/b", cluster_id="x")], None, Reason.CLUSTER_ID_MISMATCH, "x by /b"),
    ],
)
def test_ids(
    policy: Policy,
    known: Record,
    dirs: list[LogDir],
    view: CoordinationView | None,
    reason: Reason | None,
    said: str,
) -> None:
    finding = identity.check_ids(policy, known, dirs, view)
    assert (finding.reason if finding else None) is reason
    assert said in (finding.sentence if finding else "")


@pytest.mark.parametrize(
    ("known", "dirs", "view", "reason", "said"),
    [
        # all there
        (record(), [A], meeting(), None, ""),
        (record(), [A], None, None, ""),  # it has its record: not even ZooKeeper is needed
        (record(dirs=BOTH), [A, B], meeting(), None, ""),
        # moved mounts: the marker counts, not the path
        (record(dirs=BOTH), [replace(A, path="/b"), replace(B, path="/a")], None, None, ""),
        (record(), [replace(A, path="/new")], meeting(), None, ""),
        # an added dir
        (record(), [A, empty_dir("/b")], meeting(), None, ""),
        # held data, and now it does not
        (record(), [empty_dir()], meeting(), Reason.LOG_DIR_EMPTY, "/a held data (marker marker/a)"),
        (record(dirs=BOTH), [A, empty_dir("/b")], None, Reason.LOG_DIR_EMPTY, "/b held data"),
        (record(), [log_dir(marker=None)], None, Reason.LOG_DIR_EMPTY, "/a held data"),  # a restored copy of it
        (record(dirs=BOTH), [A], None, Reason.LOG_DIR_EMPTY, "/b is not among log.dirs any more"),
        # the state file is lost: ZooKeeper knows
        (FRESH, [empty_dir()], meeting(), Reason.LOG_DIR_EMPTY, "/a held data"),
        (FRESH, [A, empty_dir("/b")], meeting(desired=Desired(BOTH)), Reason.LOG_DIR_EMPTY, "/b held data"),
        (FRESH, [A], meeting(), None, ""),
        # ZooKeeper knows of more than an old copy of the state file
        (record(), [A, empty_dir("/b")], meeting(desired=Desired(BOTH)), Reason.LOG_DIR_EMPTY, "/b held data"),
        # a dir that was marked, and has held nothing since, is an empty one: it was accepted, or we died right then
        (record(), [empty_dir(marker="new")], None, Reason.LOG_DIR_EMPTY, "/a held data"),
        # it was accepted, and ZooKeeper does not know of it yet
        (record(dirs={"new": "/a"}), [log_dir(marker="new")], meeting(), None, ""),
        # no record is unknown
        (FRESH, [empty_dir()], None, Reason.RECORD_UNREAD, "could not be read yet"),
        (FRESH, [A], None, Reason.RECORD_UNREAD, "could not be read yet"),
        (FRESH, [A], meeting(desired=None, desired_read=False), Reason.RECORD_UNREAD, "could not be read yet"),
        (FRESH, [empty_dir()], meeting(desired=None), None, ""),  # read, and there is none: a first start
        (FRESH, [A], meeting(desired=None), None, ""),
        # somebody else's
        (record(), [log_dir(marker="x")], None, Reason.LOG_DIR_FOREIGN, "/a carries marker x, on record is marker/a"),
        (FRESH, [log_dir(marker="x")], meeting(), Reason.LOG_DIR_FOREIGN, "/a carries marker x"),
        (record(dirs=BOTH), [A, replace(A, path="/b")], None, Reason.LOG_DIR_FOREIGN, "/b carries marker marker/a"),
        # a foreign one is said first: an operator's word does not do for it
        (record(dirs=BOTH), [empty_dir("/a"), log_dir("/b", marker="x")], None, Reason.LOG_DIR_FOREIGN, "/b carries"),
        # failed disks
        (record(dirs=BOTH), [A, empty_dir("/b", usable=False, error="EIO")], None, None, ""),  # Kafka bears with one
        (record(), [empty_dir(usable=False, error="EIO")], None, Reason.LOG_DIRS_FAILED, "/a: EIO"),
        (record(), [], None, Reason.BAD_CONFIGURATION, "no log.dirs"),
    ],
)
def test_dirs(
    known: Record, dirs: list[LogDir], view: CoordinationView | None, reason: Reason | None, said: str
) -> None:
    finding = identity.check_dirs(POLICY, known, dirs, view)
    assert (finding.reason if finding else None) is reason
    assert said in (finding.sentence if finding else "")
    if finding is not None:
        assert finding.waits is (reason is Reason.RECORD_UNREAD)


def test_an_id_in_the_data_is_enough_to_ask_for_the_record() -> None:
    finding = identity.check_dirs(NO_ID, FRESH, [A, empty_dir("/b")], None)
    assert finding is not None
    assert finding.reason is Reason.RECORD_UNREAD


def test_a_broker_without_any_id_has_no_record_to_wait_for() -> None:
    assert identity.check_dirs(NO_ID, FRESH, [empty_dir()], None) is None


KILLED = Exit(PROCESS, ENDED, signal=9)
EXITED = Exit(PROCESS, ENDED, code=143)
ADOPTED = Exit(PROCESS, ENDED)
CLEAN = log_dir(clean=True)


@pytest.mark.parametrize(
    ("end", "dirs", "clean"),
    [
        (EXITED, read((CLEAN,)), True),
        (ADOPTED, read((CLEAN,)), True),  # an adopted one has no exit code
        (EXITED, read((A,)), False),
        (EXITED, read((CLEAN, B)), False),  # killed while it wrote the last
        (EXITED, read((CLEAN, empty_dir("/b"))), True),
        (EXITED, read((CLEAN, log_dir("/b", usable=False))), True),  # a dir that failed before cannot carry it
        (EXITED, read((empty_dir(),)), False),
        (KILLED, read((CLEAN,)), True),  # it had finished when what was left of it was killed
        (KILLED, read((A,)), False),
        (EXITED, read((CLEAN,), begun=ENDED - 1), False),  # of before the end: unknown, so not clean
        (EXITED, unread(), False),
    ],
)
def test_ended_cleanly(end: Exit, dirs: object, clean: bool) -> None:
    assert identity.ended_cleanly(end, dirs) is clean  # type: ignore[arg-type]


def test_unmarked_and_present() -> None:
    dirs = [A, log_dir("/b", marker=None), empty_dir("/c"), empty_dir("/d", usable=False)]
    assert identity.unmarked(dirs) == ("/b", "/c")
    assert identity.present(dirs) == {"marker/a": "/a"}


@pytest.mark.parametrize(
    ("policy", "dirs", "paths"),
    [
        (KRAFT_POLICY, [A, empty_dir("/b")], ("/b",)),
        (KRAFT_POLICY, [empty_dir("/b", usable=False)], ()),
        (KRAFT_POLICY, [log_dir("/b", node_id=None)], ()),  # holds data, if no meta.properties: not touched
        (POLICY, [empty_dir()], ()),
    ],
)
def test_unformatted(policy: Policy, dirs: list[LogDir], paths: tuple[str, ...]) -> None:
    assert identity.unformatted(policy, dirs) == paths


def test_on_record_joins_both() -> None:
    view = meeting(desired=Desired({"x": "/x"}))
    assert identity.on_record(record(), view) == {"marker/a": "/a", "x": "/x"}
