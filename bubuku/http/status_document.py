"""`/v1/status`: all that this daemon knows of its own broker, made from one `Published`.

Caller: `http.app`, in the HTTP thread. Pure. The rules of `http.documents` (names, units, null) hold here too.
"""

from __future__ import annotations

from typing import TypedDict

from bubuku.core.model import LogDir
from bubuku.core.observation import About, Event, Published
from bubuku.http import documents
from bubuku.http.change_documents import (
    ChangeDocument,
    EntryDocument,
    MaintenanceDocument,
    maintenance_of,
    open_changes_of,
    permit_of,
)


class Progress(TypedDict):
    done: int
    total: int


class Stop(TypedDict):
    """Where the deliberate stop is that is wanted, or under way."""

    phase: str
    sentence: str


class Note(TypedDict):
    """Something beside the broker's state that an operator should know. `due_epoch`: when it takes effect."""

    reason: str
    sentence: str
    due_epoch: float | None


class Addresses(TypedDict):
    """Of ZooKeeper. `in_force`: null before any was read. `started_with`: what Kafka runs with; null: not known."""

    in_force: list[str] | None
    started_with: list[str] | None


class Process(TypedDict):
    pid: int
    started_epoch: float | None
    uptime_seconds: float | None
    adopted: bool
    suspended: bool


class LastExit(TypedDict):
    pid: int
    seconds_ago: float
    code: int | None
    signal: int | None


class RegistrationDocument(TypedDict):
    registered: bool | None
    endpoints: list[str]
    others: int | None
    reading: documents.Reading


class Versions(TypedDict):
    daemon: str
    kafka: str | None


class Disk(TypedDict):
    path: str
    usable: bool
    error: str | None
    total_bytes: int
    free_bytes: int


class EventDocument(TypedDict):
    epoch: float
    state: str
    reason: str
    sentence: str


class Loop(TypedDict):
    """`seconds_ago`: the last tick. `lag_seconds`: how late it was. `cycle_seconds`: how long it took."""

    seconds_ago: float
    lag_seconds: float
    cycle_seconds: float


class StatusDocument(TypedDict):
    at_epoch: float
    node_id: int | None
    cluster_id: str | None
    host: str
    rack: str | None
    roles: list[str]
    mode: str
    state: str
    since_epoch: float
    state_seconds: float
    reason: str
    meaning: str | None
    sentence: str
    remedy: str | None
    progress: Progress | None
    eta_seconds: float | None
    process: Process | None
    last_exit: LastExit | None
    registration: RegistrationDocument
    versions: Versions
    load: documents.Load | None
    disks: list[Disk] | None
    coordination: documents.Coordination
    members: list[documents.MemberDocument]
    stop: Stop | None
    restart_pending: list[str]
    note: Note | None
    addresses: Addresses
    maintenance: MaintenanceDocument | None
    permit: EntryDocument | None  # this broker's entry
    changes: list[ChangeDocument]  # the open ones of this broker
    events: list[EventDocument]
    last_lines: list[str]
    starts: dict[str, int]
    fences: dict[str, int]
    daemon_started_epoch: float
    loop: Loop


def status_document(published: Published, about: About, now: float) -> StatusDocument:
    """This broker, its process, its disks and its daemon. `now` is monotonic."""
    decision, seen = published.decision, published.observation
    meaning, remedy = documents.remedy(published)
    view, meeting, stop = seen.cluster.value, seen.coordination.value, decision.progress_of_stop
    load = None if view is None or published.node_id is None else documents.load_of(view, published.node_id)
    return {
        "at_epoch": published.epoch,
        "node_id": published.node_id,
        "cluster_id": documents.cluster_id(published),
        "host": about.host,
        "rack": about.rack,
        "roles": list(about.roles),
        "mode": str(about.mode),
        "state": str(decision.state),
        "since_epoch": published.since_epoch,
        "state_seconds": round(max(0.0, now - published.since), 1),
        "reason": str(decision.reason),
        "meaning": meaning,
        "sentence": decision.sentence,
        "remedy": remedy,
        "progress": None if decision.progress is None else progress(decision.progress),
        "eta_seconds": decision.eta_seconds,
        "process": process(published, now),
        "last_exit": last_exit(published, now),
        "registration": registration(published, now),
        "versions": {"daemon": about.version, "kafka": about.kafka_version},
        "load": load,
        "disks": None if seen.log_dirs.value is None else [disk(d) for d in seen.log_dirs.value],
        "coordination": documents.coordination_of(published),
        "members": [documents.member_document(m) for m in documents.members_of(published)],
        "stop": None if stop is None else {"phase": stop.phase, "sentence": stop.sentence},
        "restart_pending": list(decision.pending),
        "note": note(published),
        "addresses": addresses(published),
        "maintenance": maintenance_of(meeting, published.epoch),
        "permit": next((e for e in permit_of(meeting) or [] if e["broker"] == published.node_id), None),
        "changes": [c for c in open_changes_of(meeting) if c["broker"] == published.node_id],
        "events": [event(e) for e in published.events],
        "last_lines": list(decision.last_lines),
        "starts": documents.counts(published.starts),
        "fences": documents.counts(published.fences),
        "daemon_started_epoch": about.started_epoch,
        "loop": {
            "seconds_ago": round(max(0.0, now - published.at), 3),
            "lag_seconds": round(published.loop_lag_seconds, 6),
            "cycle_seconds": round(published.cycle_seconds, 6),
        },
    }


def note(published: Published) -> Note | None:
    found = published.decision.note
    if found is None:
        return None
    return {"reason": str(found.reason), "sentence": found.sentence, "due_epoch": found.due_epoch}


def addresses(published: Published) -> Addresses:
    record = published.observation.record
    runs = published.observation.process.identity is not None
    return {
        "in_force": None if record.addresses is None else list(record.addresses),
        "started_with": list(record.started_with) if runs and record.started_with is not None else None,
    }


def progress(done_total: tuple[int, int]) -> Progress:
    return {"done": done_total[0], "total": done_total[1]}


def process(published: Published, now: float) -> Process | None:
    view = published.observation.process
    if view.identity is None:
        return None
    started = view.started_at
    return {
        "pid": view.identity.pid,
        "started_epoch": None if started is None else round(published.epoch - (published.at - started), 3),
        "uptime_seconds": None if started is None else round(max(0.0, now - started), 1),
        "adopted": view.adopted,
        "suspended": view.suspended,
    }


def last_exit(published: Published, now: float) -> LastExit | None:
    end = published.observation.process.exit
    if end is None:
        return None
    return {
        "pid": end.identity.pid,
        "seconds_ago": round(max(0.0, now - end.at), 1),
        "code": end.code,
        "signal": end.signal,
    }


def registration(published: Published, now: float) -> RegistrationDocument:
    reading = published.observation.registration
    view = reading.value
    return {
        "registered": None if view is None else view.own is not None,
        "endpoints": [] if view is None or view.own is None else list(view.own.endpoints),
        "others": None if view is None else view.others,
        "reading": documents.reading_of(reading, now),
    }


def disk(log_dir: LogDir) -> Disk:
    return {
        "path": log_dir.path,
        "usable": log_dir.usable,
        "error": log_dir.error,
        "total_bytes": log_dir.total_bytes,
        "free_bytes": log_dir.free_bytes,
    }


def event(happened: Event) -> EventDocument:
    return {
        "epoch": happened.epoch,
        "state": str(happened.state),
        "reason": str(happened.reason),
        "sentence": happened.sentence,
    }
