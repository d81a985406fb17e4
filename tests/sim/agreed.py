"""In-memory `Permits` and `Changes` over the `ZooKeeper` model: compare-and-set as the real adapters do it.

A write is two halves, as over a network: `prepare` reads and makes the new document, and gives the request as it goes
on the wire; that is executed later, perhaps much later, and changes nothing where another version stands by then.
Called at once (as the ports are, by requests and the contract suite) both halves take no time. `tests.sim.slow` puts
time and mishaps between them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace

from bubuku.adapters.zookeeper import documents
from bubuku.core.actions import DropPermit, Outcome, RestPermit, Result, SettlePermit, TakePermit, WriteChange
from bubuku.core.change import HISTORY, SCHEMA
from bubuku.core.errors import RefusedError, UnavailableError, UsageError
from bubuku.core.shared import Change, Entry, Maintenance, Permit
from tests.sim.events import RuleBrokenError
from tests.sim.zookeeper import Session, ZooKeeper

Request = Callable[[], Outcome | None]  # None: another version stands, so that the writer starts over
Connected = Callable[[], Session | None]
PermitWrite = TakePermit | DropPermit | RestPermit | SettlePermit
TRIES = 5
NEWER_SCHEMA = 2
_AWAY = "ZooKeeper does not answer"
_SPOILT = "the permit is not JSON: mend it"


class MemoryPermits:
    """Implements `ports.Permits`."""

    def __init__(self, zookeeper: ZooKeeper, connected: Connected, newer: bool = False) -> None:
        self._zookeeper, self._connected, self._newer = zookeeper, connected, newer

    def read(self) -> Permit | None:
        return None if ("permit",) in self._zookeeper.spoilt else self._zookeeper.root.permit

    def take(self, action: TakePermit, deadline_seconds: float) -> Outcome:
        return self._at_once(lambda: self.prepare(action))

    def drop(self, node_id: int, token: str | None, deadline_seconds: float) -> Outcome:
        return self._at_once(lambda: self._edit(lambda entries: _without(entries, node_id, token)))

    def rest(self, node_id: int, token: str, deadline_seconds: float) -> Outcome:
        return self._at_once(lambda: self.prepare(RestPermit(node_id, token)))

    def settle(self, deadline_seconds: float) -> Outcome:
        return self._at_once(lambda: self.prepare(SettlePermit()))

    def prepare(self, action: PermitWrite) -> Outcome | Request:
        """First half: read. Then either the outcome, or the request as it goes on the wire."""
        match action:
            case TakePermit():
                return self._prepare_take(action)
            case DropPermit(node_id, token):
                return self._edit(lambda entries: _without(entries, node_id, token))
            case RestPermit(node_id, token):
                return self._edit(lambda entries: _resting(entries, node_id, token))
            case SettlePermit():
                return self._edit(lambda entries: entries)

    def _prepare_take(self, action: TakePermit) -> Outcome | Request:
        found = self.read()
        if self._connected() is None:
            return self._ended(Result.FAILED, _AWAY)
        if found is None:
            return self._ended(Result.FAILED, _SPOILT)
        if found.version != action.version:
            return self._ended(Result.REFUSED, "the permit has changed")
        entries = {**found.entries, action.node_id: action.entry}

        def commit() -> Outcome:
            root = self._zookeeper.root
            if (root.permit.version, root.maintenance.version) != (action.version, action.maintenance_version):
                return self._ended(Result.REFUSED, "the permit, or maintenance, has changed meanwhile")
            if action.maintenance_version < 0:
                root.maintenance = Maintenance(0, since_epoch=self._zookeeper.engine.wall())
            return self._write(entries)

        return commit

    def _edit(self, edit: Callable[[dict[int, Entry]], dict[int, Entry] | None]) -> Outcome | Request:
        """`edit` makes the new entries of those that stand; None leaves them."""
        if self._connected() is None:
            return self._ended(Result.FAILED, _AWAY)
        found = self.read()
        if found is None:
            return self._ended(Result.FAILED, _SPOILT)
        entries = edit(dict(found.entries))
        if entries is None:
            return self._ended(Result.DONE, version=found.version)

        def commit() -> Outcome | None:
            return self._write(entries) if self._zookeeper.root.permit.version == found.version else None

        return commit

    def _write(self, entries: dict[int, Entry]) -> Outcome:
        version = self._zookeeper.root.permit.version + 1
        self._zookeeper.writes += 1
        text = self._text(entries)
        permit = documents.parse_permit(text, version)
        assert permit is not None, "what was written can be read"
        self._zookeeper.write_permit(permit, text)
        return self._ended(Result.DONE, version=version)

    def _text(self, entries: dict[int, Entry]) -> bytes:
        """The document as the real writer makes it of the one that stands, with what only a newer one writes."""
        root = self._zookeeper.root
        before, text = root.permit.entries, root.permit_text
        for node_id in before.keys() | entries.keys():
            entry, old = entries.get(node_id), documents.decode(text) or {}
            if entry == before.get(node_id):
                continue
            if entry is not None and node_id in before:  # only `working` changes
                raw = old["entries"][str(node_id)] | {"working": entry.working}
                text = documents.encode({**old, "entries": {**old["entries"], str(node_id): raw}})
            else:
                text = documents.permit_document(old, node_id, entry)
            if self._newer and entry is not None:
                new = documents.decode(text) or {}
                new["entries"][str(node_id)] |= {"wave": node_id, "window": {"until": 7}}
                text = json.dumps(new | {"waves": len(entries)}).encode()
        return text if text != b"{}" else documents.encode({"entries": {}})

    def _at_once(self, prepare: Callable[[], Outcome | Request]) -> Outcome:
        for _ in range(TRIES):
            request = prepare()
            outcome = request if isinstance(request, Outcome) else request()
            if outcome is not None:
                return outcome
        raise AssertionError("nobody writes in between")

    def _ended(self, result: Result, detail: str = "", version: int | None = None) -> Outcome:
        now = self._zookeeper.engine.now()
        return Outcome(result, now, now, detail, None if version is None else {"version": version})


def _without(entries: dict[int, Entry], node_id: int, token: str | None) -> dict[int, Entry] | None:
    found = entries.pop(node_id, None)
    return None if found is None or token not in (None, found.token) else entries


def _resting(entries: dict[int, Entry], node_id: int, token: str) -> dict[int, Entry] | None:
    found = entries.get(node_id)
    if found is None or found.token != token or not found.working:
        return None
    return {**entries, node_id: replace(found, working=False)}


class MemoryChanges:
    """Implements `ports.Changes`."""

    def __init__(self, zookeeper: ZooKeeper, connected: Connected, newer: bool = False) -> None:
        self._zookeeper, self._connected, self._newer = zookeeper, connected, newer
        self._listed: set[str] = set()

    def maintenance(self) -> Maintenance:
        return self._zookeeper.root.maintenance

    def open(self) -> tuple[Change, ...]:
        return tuple(self._as_read(change) for _, change in sorted(self._zookeeper.root.changes.items()))

    def seen(self) -> tuple[Change, ...]:
        """As a daemon's reader finds them: first which there are, at times as of its last look, then each document."""
        found = self.open()
        shown = tuple(c for c in found if c.uuid in self._listed) if self._zookeeper.torn() else found
        self._listed = {change.uuid for change in found}
        return shown

    def write(
        self,
        change: Change,
        deadline_seconds: float,
        created: Sequence[Change] = (),
        children: Sequence[Change] = (),
    ) -> Outcome:
        request = self.prepare(WriteChange(change, tuple(created), tuple(children)))
        if isinstance(request, Outcome):
            return request
        outcome = request()
        assert outcome is not None, "it never starts over"
        return outcome

    def prepare(self, action: WriteChange) -> Outcome | Request:
        now, change = self._zookeeper.engine.now(), action.change
        if self._connected() is None:
            return Outcome(Result.FAILED, now, now, _AWAY)

        def commit() -> Outcome:
            root, at = self._zookeeper.root, self._zookeeper.engine.now()
            for each in (change, *action.children):
                standing = root.changes.get(each.sequence)
                if standing is None or standing.version != each.version:
                    return Outcome(Result.REFUSED, at, at, "its document has changed meanwhile")
                if standing.schema > SCHEMA and not self._newer:
                    raise RuleBrokenError(f"change {each.sequence} of a newer daemon was written by an older one")
            self._zookeeper.writes += 1
            before = root.changes[change.sequence]
            for listener in self._zookeeper.change_listeners:
                listener(before, change)
            if change.phase != before.phase:
                self._zookeeper.engine.say(f"change {change.sequence}", f"{change.phase} · {change.sentence}")
            stays = change.state.is_open or change.parent is not None
            if stays:
                root.changes[change.sequence] = replace(self._as_written(change), version=change.version + 1)
            self._add(action.created)
            for each in (*action.children, *(() if stays else (change,))):
                root.history[each.sequence] = replace(self._as_written(each), version=0)
                del root.changes[each.sequence]
            for old in sorted(root.history)[:-HISTORY]:
                del root.history[old]
            return Outcome(Result.DONE, at, at)

        return commit

    def _as_read(self, change: Change) -> Change:
        """The newer one knows its own schema, and works on it."""
        return replace(change, schema=SCHEMA) if self._newer else change

    def _as_written(self, change: Change) -> Change:
        standing = self._zookeeper.root.changes.get(change.sequence)
        return change if standing is None else replace(change, schema=standing.schema)

    def standing(self, deadline_seconds: float) -> tuple[Change, ...]:
        self._connect()
        return self.open()

    def create(self, changes: Sequence[Change], deadline_seconds: float) -> tuple[Change, ...]:
        self._connect()
        self._zookeeper.writes += 1
        return self._add(changes)

    def _add(self, changes: Sequence[Change]) -> tuple[Change, ...]:
        root, made = self._zookeeper.root, []
        for change in changes:
            schema = NEWER_SCHEMA if self._newer and self._zookeeper.writes_newer else SCHEMA
            root.changes[root.sequences] = replace(change, sequence=root.sequences, version=0, schema=schema)
            made.append(replace(change, sequence=root.sequences))
            root.sequences += 1
        return tuple(made)

    def cancel(self, sequence: int, deadline_seconds: float) -> Change:
        return self._mark(sequence, lambda change: replace(change, cancel=True))

    def pause(self, sequence: int, paused: bool, deadline_seconds: float) -> Change:
        return self._mark(sequence, lambda change: replace(change, paused=paused))

    def _mark(self, sequence: int, marked: Callable[[Change], Change]) -> Change:
        self._connect()
        standing = self._zookeeper.root.changes.get(sequence)
        if standing is None or not standing.state.is_open:
            raise UsageError(f"there is no open change {sequence}; see: bubuku-cli changes list")
        if standing.schema > SCHEMA and not self._newer:
            raise RefusedError(f"change {sequence} was written by a newer bubuku: ask a daemon of that version")
        self._zookeeper.writes += 1
        asked = marked(standing)
        self._zookeeper.root.changes[sequence] = replace(asked, version=standing.version + 1)
        return asked

    def find(self, sequence: int, deadline_seconds: float) -> Change | None:
        self._connect()
        root = self._zookeeper.root
        found = root.changes.get(sequence) or root.history.get(sequence)
        return None if found is None else self._as_read(found)

    def ended(self, most: int, deadline_seconds: float) -> tuple[Change, ...]:
        self._connect()
        history = self._zookeeper.root.history
        return tuple(history[sequence] for sequence in sorted(history, reverse=True)[: max(0, most)])

    def set_maintenance(
        self, on: bool, by: str, text: str | None, for_seconds: float | None, deadline_seconds: float
    ) -> None:
        self._connect()
        root, now = self._zookeeper.root, self._zookeeper.engine.wall()
        until = None if for_seconds is None else now + for_seconds
        self._zookeeper.writes += 1
        root.maintenance = Maintenance(root.maintenance.version + 1, on, by, text, now, until)

    def _connect(self) -> None:
        if self._connected() is None:
            raise UnavailableError(_AWAY)
