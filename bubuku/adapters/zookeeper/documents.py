"""The JSON documents that bubuku keeps in ZooKeeper, written strictly and read tolerantly.

Purpose: members of different versions read each other's documents: unknown fields are dropped, a field of a wrong type
takes its default, and what cannot be read at all is None; nothing here raises on foreign data.
Callers: `coordination` and `registrations`, any thread. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from bubuku.core.change import SCHEMA
from bubuku.core.model import Desired, Member
from bubuku.core.shared import Change, ChangeState, Entry, Maintenance, Permit

LONGEST_SECONDS = 1e12  # of maintenance; what is longer, or no number at all, has no end


def encode(fields: Mapping[str, Any]) -> bytes:
    """A document of this version's schema."""
    return json.dumps({**fields, "schema": SCHEMA}, sort_keys=True, separators=(",", ":")).encode("utf-8")


def decode(data: bytes) -> dict[str, Any] | None:
    """The document as a dict; None where it is not a JSON object."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def member_document(member: Member) -> bytes:
    return encode(asdict(member))


def parse_member(node_id: int, data: bytes) -> Member | None:
    """None where it is not a member's document. `node_id` is the node's name, which counts."""
    found = decode(data)
    if found is None:
        return None
    instance = found.get("instance")
    if not isinstance(instance, str) or not instance:
        return None
    return Member(
        node_id=node_id,
        host=_text(found, "host", "?"),
        instance=instance,
        roles=tuple(role for role in _list(found, "roles") if isinstance(role, str)),
        version=_text(found, "version", "?"),
        api_url=_optional_text(found, "api_url"),
        rack=_optional_text(found, "rack"),
        state=_text(found, "state", "unknown"),
        sentence=_text(found, "sentence", ""),
        since_epoch=_number(found, "since_epoch"),
        reason=_optional_text(found, "reason"),
        kafka_version=_optional_text(found, "kafka_version"),
        schemas=tuple(s for s in _list(found, "schemas") if _is_int(s)) or (SCHEMA,),
        disk_used_bytes=_optional_int(found, "disk_used_bytes"),
        disk_total_bytes=_optional_int(found, "disk_total_bytes"),
        restarts=_optional_int(found, "restarts") or 0,
        pending=tuple(name for name in _list(found, "pending") if isinstance(name, str)),
        note=_optional_text(found, "note"),
        note_due_epoch=_number(found, "note_due_epoch") or None,
        kafka_server=_optional_text(found, "kafka_server"),
        marker=_optional_text(found, "marker"),
    )


def worth_writing(old: Member, new: Member) -> bool:
    """Whether `new` says something that `old` did not: a disk that moved by less than 1 % does not count."""
    if replace(old, disk_used_bytes=None) != replace(new, disk_used_bytes=None):
        return True
    if old.disk_used_bytes is None or new.disk_used_bytes is None:
        return old.disk_used_bytes != new.disk_used_bytes
    return abs(new.disk_used_bytes - old.disk_used_bytes) * 100 >= (new.disk_total_bytes or 0)


def desired_document(desired: Desired, before: Mapping[str, Any]) -> bytes:
    """`before` is what stands: fields that this version does not know are kept."""
    return encode({**before, "dirs": dict(desired.dirs), "cluster_id": desired.cluster_id})


def parse_desired(data: bytes) -> Desired | None:
    """None where the document, or its list of log dirs, cannot be read: then nothing is known."""
    found = decode(data)
    if found is None:
        return None
    dirs = found.get("dirs", {})
    if not isinstance(dirs, dict) or not all(isinstance(path, str) for path in dirs.values()):
        return None
    return Desired(dirs=dirs, cluster_id=_optional_text(found, "cluster_id"))


def parse_marker(data: bytes) -> tuple[str, str | None] | None:
    """(UUID, Kafka's cluster id or None); None where it cannot be read."""
    found = decode(data)
    if found is None or not isinstance(found.get("uuid"), str) or not found["uuid"]:
        return None
    return found["uuid"], _optional_text(found, "cluster_id")


def permit_document(before: Mapping[str, Any], node_id: int, entry: Entry | None) -> bytes:
    """The permit with one entry set, or taken out; what stands in it of others is kept as it is, whoever wrote it."""
    entries = dict(before.get("entries") or {})
    if entry is None:
        entries.pop(str(node_id), None)
    else:
        entries[str(node_id)] = asdict(entry)
    return encode({**before, "entries": entries})


def parse_permit(data: bytes, version: int) -> Permit | None:
    """None where it cannot be read whole: an entry that was overlooked would be a broker stopped beside another."""
    found = decode(data)
    entries = {} if found is None else found.get("entries", {})
    if found is None or not isinstance(entries, dict):
        return None
    parsed: dict[int, Entry] = {}
    for name, entry in entries.items():
        if not name.isdecimal() or not isinstance(entry, dict):
            return None
        parsed[int(name)] = Entry(
            token=_text(entry, "token", "?"),
            host=_text(entry, "host", "?"),
            since_epoch=_number(entry, "since_epoch"),
            working=entry.get("working") is not False,
            change=_optional_text(entry, "change"),
            why=_text(entry, "why", ""),
        )
    return Permit(version, parsed)


def maintenance_document(on: bool, by: str, text: str | None, for_seconds: float | None) -> bytes:
    return encode({"on": on, "by": by, "text": text, "for_seconds": for_seconds})


def parse_maintenance(data: bytes, version: int, modified_epoch: float) -> Maintenance:
    """What cannot be read counts as hands off."""
    found = decode(data)
    if found is None:
        return Maintenance(version, on=True, text="its document cannot be read", since_epoch=modified_epoch)
    seconds = found.get("for_seconds")
    lasts = isinstance(seconds, int | float) and not isinstance(seconds, bool) and 0 <= seconds <= LONGEST_SECONDS
    return Maintenance(
        version=version,
        on=found.get("on") is not False,
        by=_text(found, "by", "?"),
        text=_optional_text(found, "text"),
        since_epoch=modified_epoch,
        until_epoch=modified_epoch + _number(found, "for_seconds") if lasts else None,
    )


def change_document(change: Change) -> bytes:
    fields = asdict(change)
    for name in ("sequence", "version", "schema"):  # the node's own name and version, and what `encode` adds
        fields.pop(name)
    return encode(fields)


def marked_document(data: bytes, **wishes: bool) -> bytes | None:
    """The change's document with an operator's wish; all else stays as it is, also what this version does not know."""
    found = decode(data)
    return None if found is None else json.dumps(found | wishes, sort_keys=True).encode("utf-8")


def parse_change(sequence: int, data: bytes, version: int) -> Change | None:
    """None where it is not a change's document."""
    found = decode(data)
    if found is None or not isinstance(found.get("uuid"), str):
        return None
    nodes, node_id = tuple(n for n in _list(found, "nodes") if _is_int(n)), _optional_int(found, "node_id")
    if node_id is None and not nodes:
        return None
    try:
        state = ChangeState(_text(found, "state", ""))
    except ValueError:
        return None
    ended = found.get("ended_epoch")
    return Change(
        sequence=sequence,
        uuid=found["uuid"],
        kind=_text(found, "kind", "?"),
        node_id=node_id,
        state=state,
        asked_by=_text(found, "asked_by", "?"),
        asked_epoch=_number(found, "asked_epoch"),
        nodes=nodes,
        parent=_optional_text(found, "parent"),
        parallel=1 if (parallel := _optional_int(found, "parallel")) is None else parallel,
        cool_down=_number(found, "cool_down"),
        paused=found.get("paused") is True,
        begun_epoch=_number(found, "begun_epoch") if found.get("begun_epoch") is not None else None,
        text=_optional_text(found, "text"),
        accept_unavailable=found.get("accept_unavailable") is True,
        owner=_optional_text(found, "owner"),
        epoch=_optional_int(found, "epoch") or 0,
        phase=_text(found, "phase", ""),
        sentence=_text(found, "sentence", ""),
        cancel=found.get("cancel") is True,
        ended_epoch=_number(found, "ended_epoch") if ended is not None else None,
        schema=_optional_int(found, "schema") or SCHEMA,
        version=version,
    )


def parse_endpoints(content: str) -> tuple[str, ...]:
    """The "host:port" of a Kafka registration's listeners, sorted; empty where the JSON cannot be read."""
    found = decode(content.encode("utf-8"))
    if found is None:
        return ()
    listeners = {e.partition("://")[2] for e in _list(found, "endpoints") if isinstance(e, str) and "://" in e}
    if not listeners and isinstance(found.get("host"), str) and _is_int(found.get("port")):
        listeners = {f"{found['host']}:{found['port']}"}
    return tuple(sorted(listeners))


def parse_controller(data: bytes) -> int | None:
    """The broker id in Kafka's `/controller`."""
    found = decode(data)
    return None if found is None else _optional_int(found, "brokerid")


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _list(found: Mapping[str, Any], key: str) -> list[Any]:
    value = found.get(key)
    return value if isinstance(value, list) else []


def _text(found: Mapping[str, Any], key: str, default: str) -> str:
    value = found.get(key)
    return value if isinstance(value, str) else default


def _optional_text(found: Mapping[str, Any], key: str) -> str | None:
    value = found.get(key)
    return value if isinstance(value, str) else None


def _optional_int(found: Mapping[str, Any], key: str) -> int | None:
    value = found.get(key)
    return value if _is_int(value) else None


def _number(found: Mapping[str, Any], key: str) -> float:
    value = found.get(key)
    if isinstance(value, float):
        return value
    return float(value) if isinstance(value, int) and abs(value) < 2**53 else 0.0
