"""What a daemon sums up about changes and refusals, from cycle to cycle, for its metrics. Pure.

Called by the supervisor when it publishes a cycle. Invariant: a change is counted once, when it is known that the
document which ended it was written: it was sent by this daemon, and a later look does not find the change open.
"""

from __future__ import annotations

from collections.abc import Mapping

from bubuku.core.actions import Judge, Result, WriteChange
from bubuku.core.guard import Verdict, objections
from bubuku.core.observation import Decision, Ending, Observation, Tally

UNKNOWN = "unknown"


def counted(before: Tally, obs: Observation, decision: Decision) -> Tally:
    """The sums after this cycle."""
    refusals, judged = _refusals(before, obs)
    changes, ending = dict(before.changes), dict(before.ending)
    view = obs.coordination.value
    for uuid, end in before.ending.items():
        if view is None or not view.connected or obs.coordination.begun <= end.at:
            continue
        if not any(change.uuid == uuid and change.state.is_open for change in view.changes):
            changes[end.kind, end.outcome] = changes.get((end.kind, end.outcome), 0) + 1
            del ending[uuid]
    for action in decision.actions:
        if isinstance(action, WriteChange) and not action.change.state.is_open:
            ending[action.change.uuid] = Ending(action.change.kind, action.change.state.value, obs.now)
    return Tally(changes, refusals, ending, judged)


def _refusals(before: Tally, obs: Observation) -> tuple[Mapping[str, int], float | None]:
    outcome = obs.outcomes.get(Judge)
    if outcome is None or outcome.result is Result.RUNNING or outcome.begun == before.judged:
        return before.refusals, before.judged
    verdict = None if outcome.data is None else outcome.data.get("verdict")
    said = objections(verdict) if isinstance(verdict, Verdict) else (UNKNOWN,)
    refusals = dict(before.refusals)
    for each in said:
        refusals[each] = refusals.get(each, 0) + 1
    return refusals, outcome.begun
