"""Literal pieces of a deliberate stop of broker 1, for tests of the core: change, permit, record, the guard's word.

Callers: tests/unit/core. Each takes the fields to change by name, over `tests.support.observations`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bubuku.core.actions import DropPermit, Judge, Outcome, Result, SendStop, TakePermit
from bubuku.core.guard import Blocked, Objection, Verdict
from bubuku.core.model import CoordinationView, Record
from bubuku.core.observation import Observation
from bubuku.core.shared import Change, ChangeState, Entry, Maintenance, Permit, ProcessId, Stop
from tests.support.observations import INSTANCE, MARKER, NOW, PROCESS, meeting, ran, read, running

UUID = "change-1"
TOKEN = f"{INSTANCE}:{UUID}"
VERSION = 5  # of the permit, before our entry is in it
YES = Verdict((1,), ())
NO = Verdict((1,), (Blocked("t", 0, Objection.BELOW_MIN_ISR, (2,), 2),))
OFF = Maintenance(3)
ON = Maintenance(3, on=True, by="ann", text="a switch is replaced")


def change(**changes: Any) -> Change:
    """A restart of broker 1, claimed by this daemon."""
    usual = Change(7, UUID, "restart", 1, ChangeState.RUNNING, "ann", 0.0, owner=INSTANCE, epoch=1, version=2)
    return replace(usual, **changes)


def entry(**changes: Any) -> Entry:
    return replace(Entry(TOKEN, "host-1", 0.0, change=UUID, why="restarted"), **changes)


def stop(**changes: Any) -> Stop:
    """Noted, and nothing more."""
    return replace(Stop(TOKEN, UUID, "restarted", PROCESS, marker=MARKER), **changes)


def intended(**changes: Any) -> Stop:
    return stop(**{"intended": True, "in_sync": ("t-0",), **changes})


def noted(what: Stop | None = None, **changes: Any) -> Record:
    return ran(stop=what if what is not None else stop(), **changes)


def agreed(
    *changes_: Change,
    ours: Entry | None = None,
    version: int = VERSION,
    others: dict[int, Entry] | None = None,
    **more: Any,
) -> CoordinationView:
    """What ZooKeeper says: these open changes, our entry and those of others, maintenance off."""
    entries = dict(others or {}) | ({1: ours} if ours is not None else {})
    usual = {"permit": Permit(version, entries), "maintenance": OFF, "changes": changes_ or (change(),)}
    return meeting(**{**usual, **more})


def done(begun: float = NOW - 0.2, result: Result = Result.DONE, **data: Any) -> Outcome:
    return Outcome(result, begun, None if result is Result.RUNNING else begun + 0.1, data=data or None)


def judged(verdict: Verdict = YES, version: int = VERSION, age: float = 0.5) -> dict[type, Outcome]:
    return {Judge: done(NOW - age, verdict=verdict, in_sync=("t-0",), version=version)}


def taken(version: int = VERSION + 1) -> dict[type, Outcome]:
    return {TakePermit: done(version=version)}


def dropped(result: Result = Result.DONE) -> dict[type, Outcome]:
    return {DropPermit: done(result=result, version=VERSION + 1)}


def sent(process: ProcessId = PROCESS) -> dict[type, Outcome]:
    return {SendStop: done(process=process)}


def serving(view: CoordinationView | None = None, record: Record | None = None, **changes: Any) -> Observation:
    """Kafka serves, with this in ZooKeeper and this on disk."""
    view = view if view is not None else agreed()
    return running(**{"coordination": read(view), "record": record if record is not None else ran(), **changes})
