"""`/v1/cluster`: the cluster as this daemon sees it, made from one `Published`.

Caller: `http.app`, in the HTTP thread. Pure. Kafka's metadata is joined with the members in ZooKeeper, so that any
daemon answers for all. The rules of `http.documents` (names, units, null) hold here too.
"""

from __future__ import annotations

from typing import TypedDict

from bubuku.core.model import Member, disk_use
from bubuku.core.observation import About, Published
from bubuku.core.reasons import EXPLANATIONS, Reason
from bubuku.http import documents
from bubuku.http.change_documents import (
    ChangeDocument,
    EntryDocument,
    MaintenanceDocument,
    maintenance_of,
    open_changes_of,
    permit_of,
)

MISSING = "missing"  # the state of a broker that no daemon answers for
UNKNOWN = "unknown"  # …and of one whose daemon could not be looked for


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
    remedy: str | None  # what an operator can do about it
    since_epoch: float | None
    kafka_version: str | None
    daemon_version: str | None
    api_url: str | None
    load: documents.Load | None
    disk_used_bytes: int | None
    disk_total_bytes: int | None
    restarts: int | None
    restart_pending: list[str]  # in what its running Kafka differs from what a start would make now
    note: str | None  # something else that an operator should know…
    note_due_epoch: float | None  # …and when it takes effect


class ClusterDocument(TypedDict):
    at_epoch: float | None
    asked: int | None  # the node id of the daemon that answers
    mode: str
    cluster_id: str | None
    controller_id: int | None
    answered_by: str | None
    metadata: documents.Reading
    coordination: documents.Coordination
    topics: int | None
    partitions: int | None
    offline_partitions: int | None
    under_replicated_partitions: int | None
    racks: dict[str, list[int]]
    brokers: list[BrokerDocument]
    members: list[documents.MemberDocument]
    maintenance: MaintenanceDocument | None
    permit: list[EntryDocument] | None
    changes: list[ChangeDocument]  # the open ones


def cluster_document(published: Published, about: About, now: float) -> ClusterDocument:
    """The cluster as this daemon sees it: Kafka's metadata joined with the members in ZooKeeper."""
    reading, meeting = published.observation.cluster, published.observation.coordination.value
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
        "cluster_id": documents.cluster_id(published),
        "controller_id": documents.controller_id(published),
        "answered_by": None if view is None else view.cluster.answered_by,
        "metadata": documents.reading_of(reading, now),
        "coordination": documents.coordination_of(published),
        "topics": None if view is None else len({p.topic for p in view.cluster.partitions}),
        "partitions": None if view is None else len(view.cluster.partitions),
        "offline_partitions": None if view is None else view.offline_partitions,
        "under_replicated_partitions": None if view is None else view.under_replicated,
        "racks": dict(sorted(racks.items())),
        "brokers": brokers,
        "members": [documents.member_document(m) for m in documents.members_of(published)],
        "maintenance": maintenance_of(meeting, published.epoch),
        "permit": permit_of(meeting),
        "changes": open_changes_of(meeting),
    }


def broker_rows(published: Published, about: About) -> list[BrokerDocument]:
    """One row for every node that Kafka, a partition's replicas or ZooKeeper name, ours included, by node id.

    Our own row comes from this daemon's last decision, which is newer than what it published in ZooKeeper.
    """
    view = published.observation.cluster.value
    members = {m.node_id: m for m in documents.members_of(published)}
    nodes = {} if view is None else {b.node_id: b for b in view.cluster.brokers}
    ids = set(members) | set(nodes) | (set() if view is None else set(view.loads))
    if published.node_id is not None:
        ids.add(published.node_id)
    rows = []
    for node_id in sorted(ids):
        row = bare_row(node_id, listed=node_id in nodes, met=members_known(published))
        if view is not None:
            row["registered"] = node_id in nodes
            row["load"] = documents.load_of(view, node_id)
        if node_id in nodes:
            node = nodes[node_id]
            row |= {"host": node.host, "port": node.port, "rack": node.rack}
        if node_id in members:
            overlay_member(row, members[node_id])
        if node_id == published.node_id:
            overlay_own(row, published, about)
        rows.append(row)
    return rows


def bare_row(node_id: int, listed: bool, met: bool) -> BrokerDocument:
    """A broker that no daemon has told of. `listed`: Kafka's metadata has it. `met`: ZooKeeper was read, so a daemon
    that it lacks is missing."""
    missing = "no bubuku daemon answers for it; " + (
        "Kafka itself is up" if listed else "Kafka does not list it either, though partitions have replicas on it"
    )
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
        "remedy": None,
        "since_epoch": None,
        "kafka_version": None,
        "daemon_version": None,
        "api_url": None,
        "load": None,
        "disk_used_bytes": None,
        "disk_total_bytes": None,
        "restarts": None,
        "restart_pending": [],
        "note": None,
        "note_due_epoch": None,
    }


def overlay_member(row: BrokerDocument, member: Member) -> None:
    row |= {
        "host": member.host,
        "rack": row["rack"] if member.rack is None else member.rack,
        "roles": list(member.roles),
        "daemon": True,
        "state": member.state,
        "reason": member.reason,
        "sentence": member.sentence,
        "remedy": remedy(member.reason),
        "since_epoch": member.since_epoch,
        "kafka_version": member.kafka_version,
        "daemon_version": member.version,
        "api_url": member.api_url,
        "disk_used_bytes": member.disk_used_bytes,
        "disk_total_bytes": member.disk_total_bytes,
        "restarts": member.restarts,
        "restart_pending": list(member.pending),
        "note": member.note,
        "note_due_epoch": member.note_due_epoch,
    }


def overlay_own(row: BrokerDocument, published: Published, about: About) -> None:
    note = published.decision.note
    row |= {
        "host": about.host,
        "rack": row["rack"] if about.rack is None else about.rack,
        "roles": list(about.roles),
        "daemon": True,
        "state": str(published.decision.state),
        "reason": str(published.decision.reason),
        "sentence": published.decision.sentence,
        "remedy": remedy(published.decision.reason),
        "since_epoch": published.since_epoch,
        "kafka_version": row["kafka_version"] if about.kafka_version is None else about.kafka_version,
        "daemon_version": about.version,
        "restarts": sum(published.starts.values()),
        "restart_pending": list(published.decision.pending),
        "note": None if note is None else note.sentence,
        "note_due_epoch": None if note is None else note.due_epoch,
    }
    dirs = published.observation.log_dirs.value
    if dirs is not None:
        row["disk_used_bytes"], row["disk_total_bytes"] = disk_use(dirs)


def remedy(reason: str | None) -> str | None:
    """What to do about it; None where there is nothing to do, or a newer daemon's reason is not known here."""
    return EXPLANATIONS[Reason(reason)].remedy if reason in set(Reason) else None


def members_known(published: Published) -> bool:
    view = published.observation.coordination.value
    return view is not None and (view.connected or len(view.members) > 0)
