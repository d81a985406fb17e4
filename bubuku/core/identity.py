"""Which broker the log dirs belong to, and whether they are the ones on record. Pure.

Called by `core.gates` before every start. Invariant 9: a broker is never started on log dirs other than those it had,
unless an operator said so.

The record is a set of marker UUIDs (one a dir, written by bubuku into the dir), so that a volume mounted at another
path is still itself, and an empty mount point is not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bubuku.core.model import CoordinationView, Dated, Exit, LogDir, Mode, Record
from bubuku.core.observation import Policy
from bubuku.core.reasons import Reason


@dataclass(frozen=True, slots=True)
class Finding:
    """Why the dirs must not be started on. `waits` says that it can resolve by itself within this start."""

    reason: Reason
    sentence: str
    waits: bool = False


def node_id(policy: Policy, record: Record, dirs: Sequence[LogDir]) -> int | None:
    """The broker's id: from meta.properties, else configuration, else what it had; None until Kafka generates one."""
    for found in dirs:
        if found.node_id is not None:
            return found.node_id
    return policy.node_id if policy.node_id is not None else record.node_id


def cluster_id(policy: Policy, record: Record, dirs: Sequence[LogDir]) -> str | None:
    for found in dirs:
        if found.cluster_id is not None:
            return found.cluster_id
    return policy.cluster_id if policy.cluster_id is not None else record.cluster_id


def ended_cleanly(ended: Exit, dirs: Dated[tuple[LogDir, ...]]) -> bool:
    """Whether Kafka finished its own shutdown, of one that had registered.

    Each dir that holds data then carries Kafka's clean-shutdown file, which Kafka writes last and removes while it
    loads the logs, before it serves; also where a signal ended what was left of it. Dirs that failed before have none.

    >>> from bubuku.core.shared import ProcessId
    >>> ended_cleanly(Exit(ProcessId(1, 1, "b"), 5.0), Dated(4.0, (LogDir("/a", None, True, clean=True),)))
    False
    >>> ended_cleanly(Exit(ProcessId(1, 1, "b"), 5.0), Dated(6.0, (LogDir("/a", None, True, clean=True),)))
    True
    """
    if dirs.value is None or dirs.begun < ended.at:
        return False
    with_data = [d for d in dirs.value if d.holds_data and d.usable]
    return bool(with_data) and all(d.clean for d in with_data)


def check_ids(
    policy: Policy, record: Record, dirs: Sequence[LogDir], meeting: CoordinationView | None
) -> Finding | None:
    """Node id and cluster id of the dirs against each other, the configuration, the record and the root's marker."""
    seen: dict[int, str] = {d.node_id: d.path for d in dirs if d.node_id is not None}
    if policy.node_id is not None:
        seen.setdefault(policy.node_id, "the configuration")
    if record.node_id is not None:
        seen.setdefault(record.node_id, "the state file")
    if len(seen) > 1:
        return Finding(Reason.NODE_ID_MISMATCH, "node ids differ: " + _told(seen))
    clusters: dict[str, str] = {d.cluster_id: d.path for d in dirs if d.cluster_id is not None}
    if policy.cluster_id is not None:
        clusters.setdefault(policy.cluster_id, "the configuration")
    if record.cluster_id is not None:
        clusters.setdefault(record.cluster_id, "the state file")
    if meeting is not None and meeting.marker_cluster_id is not None:
        clusters.setdefault(meeting.marker_cluster_id, "the marker in ZooKeeper")
    if len(clusters) > 1:
        return Finding(Reason.CLUSTER_ID_MISMATCH, "cluster ids differ: " + _told(clusters))
    return None


def check_dirs(
    policy: Policy, record: Record, dirs: Sequence[LogDir], meeting: CoordinationView | None
) -> Finding | None:
    """The log dirs against what is on record for this broker, here and in ZooKeeper."""
    if not dirs:
        return Finding(Reason.BAD_CONFIGURATION, "server.properties names no log.dirs")
    broken = [d for d in dirs if not d.usable]
    if len(broken) == len(dirs):
        told = "; ".join(f"{d.path}: {d.error}" for d in broken)
        return Finding(Reason.LOG_DIRS_FAILED, f"no log dir is usable: {told}")
    read = meeting is not None and meeting.desired_read
    if not record.dirs and not read and node_id(policy, record, dirs) is not None:
        sentence = "which log dirs this broker has is on record in ZooKeeper alone, and could not be read yet"
        return Finding(Reason.RECORD_UNREAD, sentence, waits=True)
    return _first([_missing(marker, path, dirs) for marker, path in on_record(record, meeting).items()])


def _missing(known: str, path: str, dirs: Sequence[LogDir]) -> Finding | None:
    """What became of the dir that carried the marker `known` and was last seen at `path`."""
    here = next((d for d in dirs if d.path == path), None)
    if any(d.marker == known for d in dirs) or (here is not None and not here.usable):
        return None
    if here is None:
        sentence = f"the log dir last seen at {path} is not among log.dirs any more: put it back into the template"
        return Finding(Reason.LOG_DIR_EMPTY, sentence)
    if here.marker is not None and here.holds_data:
        return Finding(Reason.LOG_DIR_FOREIGN, f"{path} carries marker {here.marker}, on record is {known}")
    return Finding(Reason.LOG_DIR_EMPTY, f"{path} held data (marker {known}), and now it does not")


def _first(findings: Sequence[Finding | None]) -> Finding | None:
    """A foreign dir before an empty one: that one cannot be accepted by an operator's word."""
    there = [finding for finding in findings if finding is not None]
    return min(there, key=lambda f: (f.reason is not Reason.LOG_DIR_FOREIGN, f.sentence), default=None)


def on_record(record: Record, meeting: CoordinationView | None) -> dict[str, str]:
    """Marker UUID → path, of all dirs that this broker is known to have had.

    What ZooKeeper has of a path is copied from here, so our own record of that path is the newer one: it may name a dir
    that was accepted as empty, and ZooKeeper not yet.
    """
    there = {} if meeting is None or meeting.desired is None else meeting.desired.dirs
    ours = set(record.dirs.values())
    return {marker: path for marker, path in there.items() if path not in ours} | dict(record.dirs)


def present(dirs: Sequence[LogDir]) -> dict[str, str]:
    """Marker UUID → path, of the dirs that carry one now."""
    return {d.marker: d.path for d in dirs if d.marker is not None}


def unmarked(dirs: Sequence[LogDir]) -> tuple[str, ...]:
    return tuple(d.path for d in dirs if d.usable and d.marker is None)


def unformatted(policy: Policy, dirs: Sequence[LogDir]) -> tuple[str, ...]:
    """KRaft: the dirs that never held data. ZooKeeper mode has no such step."""
    if policy.mode is not Mode.KRAFT:
        return ()
    return tuple(d.path for d in dirs if d.usable and not d.holds_data and d.node_id is None)


def _told(seen: Mapping[int, str] | Mapping[str, str]) -> str:
    return ", ".join(f"{value} by {source}" for value, source in sorted(seen.items(), key=lambda item: item[1]))
