"""What the API answers, as JSON documents made from one `Published`.

Callers: `http.app`, in the HTTP thread. Pure: the same Published and the same `now` give the same document. The
`TypedDict`s are the API's schema: fields are added, never renamed or given another meaning. Units are in the names;
`*_epoch` is wall-clock time, for people. What is not known is null, never 0. Volatile fields, which change with
every look, are named in `VOLATILE`, so that who watches can leave them out of a comparison.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

from bubuku.core.model import BrokerLoad, BrokerState, ClusterView, Dated, Member, disk_use
from bubuku.core.observation import About, Published
from bubuku.core.reasons import EXPLANATIONS

LIVE_WITHIN_SECONDS = 10.0  # the loop ticks once a second: ten missed ticks mean that it hangs
MISSING = "missing"  # the state of a broker that no daemon answers for
UNKNOWN = "unknown"  # …and of one whose daemon could not be looked for

VOLATILE = frozenset(
    {"at_epoch", "age_seconds", "state_seconds", "uptime_seconds", "seconds_ago", "loop", "free_bytes"}
)


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


class Load(TypedDict):
    leaders: int
    replicas: int
    under_replicated: int
    offline: int


class BrokerDocument(TypedDict):
    """A broker: what Kafka's metadata and its daemon say of it, in one row.

    `registered` is None where Kafka's metadata is not known. `daemon` False: no daemon answers for it; its `state` is
    then "missing", and what only a daemon knows is None. `daemon` None, `state` "unknown": ZooKeeper was never read.
    """

    node_id: int
    host: str
    port: int | None
    rack: str | None
    roles: list[str]
    registered: bool | None
    daemon: bool | None
    state: str
    reason: str | None
    sentence: str
    since_epoch: float | None
    kafka_version: str | None
    daemon_version: str | None
    api_url: str | None
    load: Load | None
    disk_used_bytes: int | None
    disk_total_bytes: int | None
    restarts: int | None


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
    marker_cluster_id: str | None
    original_daemons: bool


class ClusterDocument(TypedDict):
    at_epoch: float | None
    asked: int | None  # the node id of the daemon that answers
    mode: str
    cluster_id: str | None
    controller_id: int | None
    answered_by: str | None
    metadata: Reading
    coordination: Coordination
    topics: int | None
    partitions: int | None
    offline_partitions: int | None
    under_replicated_partitions: int | None
    racks: dict[str, list[int]]
    brokers: list[BrokerDocument]
    members: list[MemberDocument]


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


# --- the cluster ------------------------------------------------------------------------------------------------------


def cluster_document(published: Published, about: About, now: float) -> ClusterDocument:
    """The cluster as this daemon sees it: Kafka's metadata joined with the members in ZooKeeper."""
    reading = published.observation.cluster
    view = reading.value
    brokers = broker_rows(published, about)
    racks: dict[str, list[int]] = {}
    for row in brokers:
        if row["rack"] is not None and "broker" in row["roles"]:
            racks.setdefault(row["rack"], []).append(row["node_id"])
    return {
        "at_epoch": published.epoch,
        "asked": published.node_id,
        "mode": str(about.mode),
        "cluster_id": cluster_id(published),
        "controller_id": controller_id(published),
        "answered_by": None if view is None else view.cluster.answered_by,
        "metadata": reading_of(reading, now),
        "coordination": coordination_of(published),
        "topics": None if view is None else len({p.topic for p in view.cluster.partitions}),
        "partitions": None if view is None else len(view.cluster.partitions),
        "offline_partitions": None if view is None else view.offline_partitions,
        "under_replicated_partitions": None if view is None else view.under_replicated,
        "racks": dict(sorted(racks.items())),
        "brokers": brokers,
        "members": [member_document(m) for m in members_of(published)],
    }


def broker_rows(published: Published, about: About) -> list[BrokerDocument]:
    """One row for every node that Kafka or ZooKeeper knows, ours included, by node id.

    Our own row comes from this daemon's last decision, which is newer than what it published in ZooKeeper.
    """
    view = published.observation.cluster.value
    members = {m.node_id: m for m in members_of(published)}
    nodes = {} if view is None else {b.node_id: b for b in view.cluster.brokers}
    ids = set(members) | set(nodes)
    if published.node_id is not None:
        ids.add(published.node_id)
    rows = []
    for node_id in sorted(ids):
        row = bare_row(node_id, met=members_known(published))
        if view is not None:
            row["registered"] = node_id in nodes
            row["load"] = load_of(view, node_id)
        if node_id in nodes:
            node = nodes[node_id]
            row |= {"host": node.host, "port": node.port, "rack": node.rack}
        if node_id in members:
            overlay_member(row, members[node_id])
        if node_id == published.node_id:
            overlay_own(row, published, about)
        rows.append(row)
    return rows


def bare_row(node_id: int, met: bool) -> BrokerDocument:
    """A broker of which nothing is known yet. `met`: ZooKeeper was read, so a daemon that it lacks is missing."""
    missing = f"Kafka lists broker {node_id}, but no bubuku daemon answers for it"
    unknown = "ZooKeeper could not be read yet, so whether a daemon answers for this broker is not known"
    return {
        "node_id": node_id,
        "host": "",
        "port": None,
        "rack": None,
        "roles": ["broker"],
        "registered": None,
        "daemon": False if met else None,
        "state": MISSING if met else UNKNOWN,
        "reason": None,
        "sentence": missing if met else unknown,
        "since_epoch": None,
        "kafka_version": None,
        "daemon_version": None,
        "api_url": None,
        "load": None,
        "disk_used_bytes": None,
        "disk_total_bytes": None,
        "restarts": None,
    }


def overlay_member(row: BrokerDocument, member: Member) -> None:
    row |= {
        "host": member.host,
        "rack": row["rack"] if member.rack is None else member.rack,
        "roles": list(member.roles),
        "daemon": True,
        "state": member.state,
        "sentence": member.sentence,
        "since_epoch": member.since_epoch,
        "kafka_version": member.kafka_version,
        "daemon_version": member.version,
        "api_url": member.api_url,
        "disk_used_bytes": member.disk_used_bytes,
        "disk_total_bytes": member.disk_total_bytes,
        "restarts": member.restarts,
    }


def overlay_own(row: BrokerDocument, published: Published, about: About) -> None:
    row |= {
        "host": about.host,
        "rack": row["rack"] if about.rack is None else about.rack,
        "roles": list(about.roles),
        "daemon": True,
        "state": str(published.decision.state),
        "reason": str(published.decision.reason),
        "sentence": published.decision.sentence,
        "since_epoch": published.since_epoch,
        "kafka_version": row["kafka_version"] if about.kafka_version is None else about.kafka_version,
        "daemon_version": about.version,
        "restarts": sum(published.starts.values()),
    }
    dirs = published.observation.log_dirs.value
    if dirs is not None:
        row["disk_used_bytes"], row["disk_total_bytes"] = disk_use(dirs)


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
    }


# --- what both documents read -----------------------------------------------------------------------------------------


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
            "marker_cluster_id": None,
            "original_daemons": False,
        }
    owner = view.member_owner
    return {
        "connected": view.connected,
        "error": reading.error,
        "member_ours": None if owner is None else owner == published.observation.record.instance,
        "marker": view.marker,
        "marker_cluster_id": view.marker_cluster_id,
        "original_daemons": view.predecessor_v1,
    }


def members_of(published: Published) -> list[Member]:
    view = published.observation.coordination.value
    return [] if view is None else sorted(view.members, key=lambda m: m.node_id)


def members_known(published: Published) -> bool:
    view = published.observation.coordination.value
    return view is not None and (view.connected or len(view.members) > 0)


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
