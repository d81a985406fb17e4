"""The document of our own broker's change, as it should be now: a view of what the stop rests on. Pure.

Called by `core.stopping` in every cycle, with where the stop stands.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bubuku.core import change as changes
from bubuku.core import stop_facts
from bubuku.core.actions import Result, WriteChange
from bubuku.core.model import BrokerState
from bubuku.core.observation import Observation, Progress
from bubuku.core.shared import Change, ChangeState

if TYPE_CHECKING:
    from bubuku.core.stopping import Position

SENTENCE_SECONDS = 1.0  # so often, at most, a document is written because of its sentence alone


def due(obs: Observation, at: Position, change: Change | None, progress: Progress | None) -> Change | None:
    """The change's document as it should be now; None where it is so, or is not ours to write."""
    if change is None or not stop_facts.is_ours(obs, at.meeting):
        return None
    outcome = obs.outcomes.get(WriteChange)
    if outcome is not None and outcome.result is Result.RUNNING:
        return None
    wanted = _next(obs, at, change, progress)
    if wanted == change:
        return None
    only_said = replace(wanted, sentence=change.sentence) == change
    return None if only_said and obs.now - at.memory.change_written_at < SENTENCE_SECONDS else wanted


def _next(obs: Observation, at: Position, change: Change, progress: Progress | None) -> Change:
    record, stop, kind = obs.record, obs.record.stop, changes.KINDS[change.kind]
    finished = record.finished
    if finished is not None and finished.change == change.uuid and (stop is None or stop.change != change.uuid):
        if change.cancel:
            return changes.ended(change, ChangeState.CANCELLED, f"cancelled; {finished.sentence}", obs.wall)
        state = ChangeState.DONE if finished.done else ChangeState.FAILED
        return changes.ended(change, state, finished.sentence, obs.wall)
    ours = stop is not None and stop.change == change.uuid
    if change.cancel and not ours:
        return changes.ended(change, ChangeState.CANCELLED, changes.UNTOUCHED, obs.wall)
    if change.state is ChangeState.QUEUED:
        return changes.claimed(change, record.instance, obs.wall)
    if change.owner != record.instance:
        return changes.ended(change, ChangeState.FAILED, changes.REPLACED, obs.wall)
    if ours and at.given_up and at.facts.permit_known and not at.unrested():
        return changes.ended(change, ChangeState.FAILED, at.lost(), obs.wall)
    down = stop is not None and stop.stay_down and stop.intended and not at.facts.alive
    if kind.stays_down and ours and down and at.facts.permit_known and not at.unrested():
        return changes.ended(change, ChangeState.DONE, f"broker {at.node_id} is stopped, and stays so", obs.wall)
    if stop is not None and stop.stay_down and kind.stops and not ours:
        sentence = f"broker {at.node_id} is stopped on purpose: bubuku-cli start --broker {at.node_id}"
        return changes.ended(change, ChangeState.FAILED, sentence, obs.wall)
    if not kind.stops and stop is None and at.state is BrokerState.SERVING:
        return changes.ended(change, ChangeState.DONE, f"broker {at.node_id} serves", obs.wall)
    if progress is None:  # of a start: what stands between the broker and its service
        return change if kind.stops else replace(change, phase="starting", sentence=at.decided.sentence)
    return replace(change, phase=progress.phase, sentence=progress.sentence)
