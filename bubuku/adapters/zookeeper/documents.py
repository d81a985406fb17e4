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

from bubuku.core.model import Desired, Member

SCHEMA = 1


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
        kafka_server=_optional_text(found, "kafka_server"),
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
