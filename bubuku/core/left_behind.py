"""What a broker's daemon that is gone for long has left: changes that nobody works on, entries that others wait for.

Pure. Called by `core.parents` for any member: whoever sees it for long enough moves it on. A frozen daemon that comes
back finds the permit changed, and its change ended: it finishes what it owes its broker, under a new verdict.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from bubuku.core import change as changes
from bubuku.core.actions import RestPermit, Result, WriteChange
from bubuku.core.model import CoordinationView
from bubuku.core.observation import Observation
from bubuku.core.shared import Change, ChangeState

GONE_SECONDS = 600.0  # a broker's daemon is gone for so long: what was asked of it is not waited for any more


def away(before: Mapping[str, float], now: float, meeting: CoordinationView) -> dict[str, float]:
    """Since when this member sees that somebody is not there: who is to work on a change, by its uuid; who has an entry
    in work, by its token."""
    found = [c.uuid for c in meeting.changes if c.state.is_open and _is_away(c, meeting)]
    here = {member.node_id for member in meeting.members}
    entries = {} if meeting.permit is None else meeting.permit.entries
    found += [entry.token for node, entry in entries.items() if entry.working and node not in here]
    return {each: before.get(each, now) for each in found}


def gone_for(seen: Mapping[str, float], what: str, now: float) -> float:
    """Seconds; 0 where it is not away."""
    return now - seen.get(what, now)


def steps(seen: Mapping[str, float], obs: Observation, meeting: CoordinationView) -> Iterator[RestPermit | WriteChange]:
    """An entry is put to rest first: it stays, for the guard, but is not waited for; then its change has failed."""
    permit, rested = meeting.permit, obs.outcomes.get(RestPermit)
    if permit is None or (rested is not None and rested.result is Result.RUNNING):
        return
    for node, entry in permit.entries.items():
        if entry.working and gone_for(seen, entry.token, obs.now) >= GONE_SECONDS:
            yield RestPermit(node, entry.token)
    for change in meeting.changes:
        is_gone = change.node_id is not None and gone_for(seen, change.uuid, obs.now) >= GONE_SECONDS
        if is_gone and changes.is_workable(change):
            yield WriteChange(_failed(change, obs.wall))


def _is_away(change: Change, meeting: CoordinationView) -> bool:
    if change.node_id is not None:
        return all(member.node_id != change.node_id for member in meeting.members)
    return change.owner is not None and all(member.instance != change.owner for member in meeting.members)


def _failed(change: Change, wall: float) -> Change:
    sentence = f"broker {change.node_id} has had no daemon for {GONE_SECONDS / 60:.0f} min; ask again when it has"
    return changes.ended(replace(change, epoch=change.epoch + 1), ChangeState.FAILED, sentence, wall)
