"""What the API answers, as JSON documents made from one `Published`.

Callers: `http.app`, in the HTTP thread. Pure: the same Published and the same `now` give the same document. The
`TypedDict`s are the API's schema: fields are added, never renamed or given another meaning. Units are in the names;
`*_epoch` is wall-clock time, for people. What is not known is null, never 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

from bubuku.core.model import BrokerLoad, BrokerState, ClusterView, Dated, Member
from bubuku.core.observation import Published
from bubuku.core.reasons import EXPLANATIONS

LIVE_WITHIN_SECONDS = 10.0  # the loop ticks once a second: ten missed ticks mean that it hangs


class Problem(TypedDict, total=False):
    """An error, after RFC 9457. `state` and `reason` are there where the broker's state is the cause."""

    title: str
    status: int
    detail: str
    state: str
    reason: str


class MemberDocument(TypedDict):
    """A daemon as ZooKeeper shows it to its peers. `state` is what it last published."""

    node_id: int
    host: str
    rack: str | None
    roles: list[str]
    state: str
    sentence: str
    since_epoch: float
    daemon_version: str
    kafka_version: str | None
    api_url: str | None
    disk_used_bytes: int | None
    disk_total_bytes: int | None
    restarts: int
    restart_pending: list[str]
    note: str | None
    note_due_epoch: float | None


class Load(TypedDict):
    leaders: int
    replicas: int
    under_replicated: int
    offline: int


class Reading(TypedDict):
    """How far a source can be believed: when it was asked, and its error where it did not answer."""

    known: bool
    age_seconds: float
    error: str | None


class Coordination(TypedDict):
    connected: bool
    error: str | None
    member_ours: bool | None
    marker: str | None
    marker_ours: bool | None  # None: not read, or none was joined yet
    marker_cluster_id: str | None
    original_daemons: bool


class HealthDocument(TypedDict):
    live: bool
    ready: bool
    node_id: int | None
    state: str
    reason: str | None
    sentence: str
    since_epoch: float | None
    coordination_connected: bool
    offline_partitions: int | None


def problem(status: int, title: str, detail: str) -> Problem:
    return {"title": title, "status": status, "detail": detail}


# --- probes -----------------------------------------------------------------------------------------------------------


def silence(published: Published | None, now: float, started: float) -> float:
    """Seconds since the loop last ticked; before the first tick, since `started` (both monotonic)."""
    return now - (started if published is None else published.at)


def live(published: Published | None, now: float, started: float) -> Problem | None:
    """None: the loop moves. Else why not."""
    quiet = silence(published, now, started)
    if quiet < LIVE_WITHIN_SECONDS:
        return None
    return problem(503, "the daemon's loop hangs", f"its last tick was {quiet:.0f} s ago; read the daemon's log")


def ready(published: Published | None, now: float, started: float) -> Problem | None:
    """None: this broker serves, as of a tick that is no older than `LIVE_WITHIN_SECONDS`. Else why not."""
    stuck = live(published, now, started)
    if stuck is not None:
        return stuck
    if published is None:
        return problem(503, "the broker does not serve", "the daemon has just started and knows nothing yet")
    decision = published.decision
    if decision.state is BrokerState.SERVING:
        return None
    return {
        "title": "the broker does not serve",
        "status": 503,
        "detail": decision.sentence,
        "state": str(decision.state),
        "reason": str(decision.reason),
    }


def health(published: Published | None, now: float, started: float) -> HealthDocument:
    """The summary for people and load balancers; the status beside it is that of `ready`."""
    is_live = live(published, now, started) is None
    if published is None:
        return {
            "live": is_live,
            "ready": False,
            "node_id": None,
            "state": "unknown",
            "reason": None,
            "sentence": "the daemon has just started and knows nothing yet",
            "since_epoch": None,
            "coordination_connected": False,
            "offline_partitions": None,
        }
    cluster = published.observation.cluster.value
    return {
        "live": is_live,
        "ready": ready(published, now, started) is None,
        "node_id": published.node_id,
        "state": str(published.decision.state),
        "reason": str(published.decision.reason),
        "sentence": published.decision.sentence,
        "since_epoch": published.since_epoch,
        "coordination_connected": connected(published),
        "offline_partitions": None if cluster is None else cluster.offline_partitions,
    }


def load_of(view: ClusterView, node_id: int) -> Load:
    load = view.loads.get(node_id, BrokerLoad())
    return {
        "leaders": load.leaders,
        "replicas": load.replicas,
        "under_replicated": load.under_replicated,
        "offline": load.offline,
    }


def member_document(member: Member) -> MemberDocument:
    return {
        "node_id": member.node_id,
        "host": member.host,
        "rack": member.rack,
        "roles": list(member.roles),
        "state": member.state,
        "sentence": member.sentence,
        "since_epoch": member.since_epoch,
        "daemon_version": member.version,
        "kafka_version": member.kafka_version,
        "api_url": member.api_url,
        "disk_used_bytes": member.disk_used_bytes,
        "disk_total_bytes": member.disk_total_bytes,
        "restarts": member.restarts,
        "restart_pending": list(member.pending),
        "note": member.note,
        "note_due_epoch": member.note_due_epoch,
    }


# --- shared by the documents ------------------------------------------------------------------------------------------


def reading_of(reading: Dated[Any], now: float) -> Reading:
    return {
        "known": reading.value is not None,
        "age_seconds": round(max(0.0, now - reading.begun), 1),
        "error": reading.error,
    }


def connected(published: Published) -> bool:
    view = published.observation.coordination.value
    return view is not None and view.connected


def coordination_of(published: Published) -> Coordination:
    reading = published.observation.coordination
    view = reading.value
    if view is None:
        return {
            "connected": False,
            "error": reading.error,
            "member_ours": None,
            "marker": None,
            "marker_ours": None,
            "marker_cluster_id": None,
            "original_daemons": False,
        }
    owner, joined = view.member_owner, published.observation.record.marker
    return {
        "connected": view.connected,
        "error": reading.error,
        "member_ours": None if owner is None else owner == published.observation.record.instance,
        "marker": view.marker,
        "marker_ours": view.marker == joined if view.marker_read and joined is not None else None,
        "marker_cluster_id": view.marker_cluster_id,
        "original_daemons": view.predecessor_v1,
    }


def members_of(published: Published) -> list[Member]:
    view = published.observation.coordination.value
    return [] if view is None else sorted(view.members, key=lambda m: m.node_id)


def cluster_id(published: Published) -> str | None:
    view = published.observation.cluster.value
    if view is not None and view.cluster.cluster_id is not None:
        return view.cluster.cluster_id
    return published.observation.record.cluster_id


def controller_id(published: Published) -> int | None:
    view = published.observation.cluster.value
    if view is not None and view.cluster.controller_id is not None:
        return view.cluster.controller_id
    registration = published.observation.registration.value
    return None if registration is None else registration.controller_id


def remedy(published: Published) -> tuple[str | None, str | None]:
    """The reason's meaning, and what the operator can do about it (None: nothing)."""
    explanation = EXPLANATIONS.get(published.decision.reason)
    return (None, None) if explanation is None else (explanation.meaning, explanation.remedy)


def counts(by: Mapping[Any, int]) -> dict[str, int]:
    return {str(key): by[key] for key in sorted(by)}
