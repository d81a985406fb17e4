"""Changes, the permit and maintenance as JSON documents: in answers of their own, and in those of the whole cluster.

Callers: the handlers and `http.cluster_document`, `http.status_document`, in the HTTP thread. Pure. The rules of
`http.documents` (names, units, null) hold here too.
"""

from __future__ import annotations

from typing import TypedDict

from bubuku.core.model import CoordinationView
from bubuku.core.shared import Change, Entry, Maintenance
from bubuku.operations import Shown
from bubuku.submission import Plan


class ChangeDocument(TypedDict):
    """`sequence` None: it was not asked for, this is a dry run. `broker` None: a parent, of `brokers`, which asks for a
    change of each; theirs has its `uuid` as `parent`. `reason`: the operator's words. `state`: queued, running, done,
    failed or cancelled; `phase` and `sentence`: how far it is."""

    sequence: int | None
    uuid: str
    kind: str
    broker: int | None
    brokers: list[int]
    parent: str | None
    state: str
    phase: str
    sentence: str
    asked_by: str
    asked_epoch: float
    reason: str | None
    accept_unavailable: bool
    parallel: int
    cool_down_seconds: float
    paused: bool
    cancel_asked: bool
    begun_epoch: float | None
    ended_epoch: float | None


class ShownDocument(ChangeDocument):
    """One change, with what it has asked for so far. `worker`: the broker whose daemon works on it."""

    worker: int | None
    children: list[ChangeDocument]


class TurnDocument(TypedDict):
    broker: int
    why: str


class PlanDocument(TypedDict):
    """A roll's order as things are now, and who goes together. `seconds` None: none has ended yet by which to tell."""

    turns: list[TurnDocument]
    batches: list[list[int]]
    seconds: float | None


class EntryDocument(TypedDict):
    """A broker in the permit. `working` False: it is stopped on purpose, and nobody waits for it."""

    broker: int
    host: str
    since_epoch: float
    working: bool
    why: str
    change: str | None


class MaintenanceDocument(TypedDict):
    """All but `on` is None while it is off. `until_epoch` None: until somebody switches it off."""

    on: bool
    by: str | None
    text: str | None
    since_epoch: float | None
    until_epoch: float | None


def change_document(change: Change) -> ChangeDocument:
    return {
        "sequence": change.sequence if change.sequence >= 0 else None,
        "uuid": change.uuid,
        "kind": change.kind,
        "broker": change.node_id,
        "brokers": list(change.nodes) if change.node_id is None else [change.node_id],
        "parent": change.parent,
        "state": change.state.value,
        "phase": change.phase,
        "sentence": change.sentence,
        "asked_by": change.asked_by,
        "asked_epoch": change.asked_epoch,
        "reason": change.text,
        "accept_unavailable": change.accept_unavailable,
        "parallel": change.parallel,
        "cool_down_seconds": change.cool_down,
        "paused": change.paused,
        "cancel_asked": change.cancel,
        "begun_epoch": change.begun_epoch,
        "ended_epoch": change.ended_epoch,
    }


def plan_document(plan: Plan) -> PlanDocument:
    turns: list[TurnDocument] = [{"broker": turn.node_id, "why": turn.why} for turn in plan.turns]
    return {"turns": turns, "batches": [list(batch) for batch in plan.batches], "seconds": plan.seconds}


def entry_document(node: int, entry: Entry) -> EntryDocument:
    return {
        "broker": node,
        "host": entry.host,
        "since_epoch": entry.since_epoch,
        "working": entry.working,
        "why": entry.why,
        "change": entry.change,
    }


def maintenance_document(found: Maintenance, wall: float) -> MaintenanceDocument:
    """`wall`: now, seconds since the epoch."""
    on = found.holds(wall)
    return {
        "on": on,
        "by": found.by if on else None,
        "text": found.text if on else None,
        "since_epoch": found.since_epoch if on else None,
        "until_epoch": found.until_epoch if on else None,
    }


def maintenance_of(view: CoordinationView | None, wall: float) -> MaintenanceDocument | None:
    """None where it was never read."""
    return None if view is None or view.maintenance is None else maintenance_document(view.maintenance, wall)


def permit_of(view: CoordinationView | None) -> list[EntryDocument] | None:
    """By broker; None where it could not be read."""
    if view is None or view.permit is None:
        return None
    return [entry_document(node, view.permit.entries[node]) for node in sorted(view.permit.entries)]


def open_changes_of(view: CoordinationView | None) -> list[ChangeDocument]:
    return [] if view is None else [change_document(change) for change in view.changes if change.state.is_open]


def shown_document(found: Shown) -> ShownDocument:
    children = [change_document(child) for child in found.children]
    return {**change_document(found.change), "worker": found.worker, "children": children}
