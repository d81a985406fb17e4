"""Parent changes: which of their documents this member moves on next. Pure.

Called by `core.decide` in every cycle. A parent (a roll) is claimed by any member: its document names the claimer's
instance, with the epoch raised. It asks for one child after the other, each in one transaction with its own step, which
notes for whom was asked, and ends in one transaction with theirs. So a step is done once, whoever works on it and
whenever that one dies: who has lost the claim writes over a version that is gone, and nothing comes of it. What became
of a child is in its own document. The two are read one after the other, so a child that was asked for and is not seen
yet is waited for. Whether a claim's owner lives is seen by its `members/` node, which is ephemeral.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain

from bubuku.core import change as changes
from bubuku.core import left_behind, roll, stop_facts
from bubuku.core.actions import Action, FindBatch, Result, WriteChange
from bubuku.core.guard import named
from bubuku.core.memory import Memory
from bubuku.core.model import CoordinationView
from bubuku.core.observation import Observation
from bubuku.core.shared import Change, ChangeState

TAKE_OVER_SECONDS = 8.0  # the worker's member is gone for so long: what it sent has an end, and another one goes on
BATCH_SECONDS = 3.0  # what was found to go together is asked for within these, or looked for again; as is no answer


def step(memory: Memory, obs: Observation) -> tuple[Memory, Action | None]:
    """At most one write, of the oldest document that is to be moved on by this member, and was not sent just now."""
    meeting = obs.coordination.value
    if meeting is None or not stop_facts.is_ours(obs, meeting):
        idle = memory.away or memory.held_up or memory.stepped
        return (replace(memory, away={}, held_up={}, stepped={}) if idle else memory), None
    memory = _timed(memory, obs, meeting)
    written = obs.outcomes.get(WriteChange)
    if written is not None and written.result is Result.RUNNING:
        return memory, None
    at = Worker(memory, obs, meeting)
    parents = (c for c in meeting.changes if c.node_id is None and changes.is_workable(c))
    steps = (wanted for wanted in map(at.next, parents) if wanted is not None)
    for wanted in chain(steps, left_behind.steps(memory.away, obs, meeting)):
        if not isinstance(wanted, WriteChange):
            return memory, wanted
        memory, write = changes.sent(memory, wanted, obs.now)
        if write is not None:
            return memory, write
    return memory, None


def _timed(memory: Memory, obs: Observation, meeting: CoordinationView) -> Memory:
    """What is counted from cycle to cycle: since when somebody is away, or a parent of ours cannot go on."""
    away = left_behind.away(memory.away, obs.now, meeting)
    held_up, stepped = {}, {}
    ours = [c for c in meeting.changes if c.node_id is None and changes.is_workable(c) and changes.owned(c, obs.record)]
    for parent in ours:
        ended = sum(1 for c in meeting.changes if c.parent == parent.uuid and not c.state.is_open)
        before = memory.stepped.get(parent.uuid)
        stepped[parent.uuid] = before if before is not None and before[0] == ended else (ended, obs.now)
        if Worker(memory, obs, meeting).held_up(parent) is not None:
            held_up[parent.uuid] = memory.held_up.get(parent.uuid, obs.now)
    if (away, held_up, stepped) == (memory.away, memory.held_up, memory.stepped):
        return memory
    return replace(memory, away=away, held_up=held_up, stepped=stepped)


@dataclass(frozen=True, slots=True)
class Worker:
    """This member, and what it sees of all changes."""

    memory: Memory
    obs: Observation
    meeting: CoordinationView

    def next(self, parent: Change) -> Action | None:
        """What to do about it now; None: nothing, or it is another member's."""
        children = self.children(parent)
        if any(child.schema > changes.SCHEMA for child in children):
            return None  # a newer daemon works on it: what this one does not know of them would be lost
        if parent.state is ChangeState.QUEUED and (standing := self._before(parent)) is not None:
            where = f"change {standing.sequence}, a {standing.kind} of {named(standing.nodes)}, was open already"
            return WriteChange(changes.ended(parent, ChangeState.FAILED, f"refused: {where}", self.obs.wall))
        if not changes.owned(parent, self.obs.record):
            claimed = changes.claimed(parent, self.obs.record.instance, self.obs.wall)
            return WriteChange(self._said(claimed)) if self._may_claim(parent) else None
        if {child.node_id for child in children} != set(parent.asked):
            return None
        return self._advanced(parent)

    def _before(self, parent: Change) -> Change | None:
        """Another one that was asked for before and is open: two that were asked for at once, by different daemons."""
        open_ones = (c for c in self.meeting.changes if c.node_id is None and c.state.is_open)
        return next((c for c in open_ones if c.sequence < parent.sequence), None)

    def _may_claim(self, parent: Change) -> bool:
        gone_for = left_behind.gone_for(self.memory.away, parent.uuid, self.obs.now)
        return parent.state is ChangeState.QUEUED or gone_for >= TAKE_OVER_SECONDS

    def children(self, parent: Change) -> list[Change]:
        return [c for c in self.meeting.changes if c.parent == parent.uuid]

    def _advanced(self, parent: Change) -> Action | None:
        """The next step of a parent that is ours: ask for a child, or end; None while there is nothing to write."""
        children = self.children(parent)
        standing = [c for c in children if c.state.is_open]
        failed = [c for c in children if c.state in (ChangeState.FAILED, ChangeState.CANCELLED)]
        if standing:
            return self._cancelled_child(standing) if parent.cancel or failed else self._told(parent)
        left = self._left(parent)
        if failed:
            return self._ended(parent, failed[0].state, f"broker {failed[0].node_id}: {failed[0].sentence}")
        if not left:
            return self._ended(parent, ChangeState.DONE, "")
        if parent.cancel:
            return self._ended(parent, ChangeState.CANCELLED, "cancelled")
        held_up = self.held_up(parent)
        if held_up is not None and self._held_up_for(parent) >= roll.HELD_UP_SECONDS:
            return self._ended(parent, ChangeState.FAILED, f"{held_up}, for {roll.HELD_UP_SECONDS / 60:.0f} min")
        if held_up is not None or self._waits_for(parent) is not None:
            return self._told(parent)
        batch = self._batch(parent, left)
        if isinstance(batch, FindBatch) or batch is None:
            return batch
        asked = tuple(_child(parent, node, self.obs.wall) for node in batch)
        noted = replace(parent, asked=(*parent.asked, *batch))
        return WriteChange(self._said(noted, asked), created=asked)

    def _batch(self, parent: Change, left: list[int]) -> tuple[int, ...] | FindBatch | None:
        """Who goes next: one, or as many as may; the question, where that is not known; None while it is asked."""
        view, members, permit = self.obs.cluster.value, self.meeting.members, self.meeting.permit
        order = tuple(turn.node_id for turn in roll.order(left, members, view))
        if parent.parallel == 1 or permit is None:
            return order[:1]
        outcome, step = self.obs.outcomes.get(FindBatch), (parent.uuid, len(parent.asked))
        if outcome is not None and outcome.result is Result.RUNNING:
            return None
        if outcome is not None and self.obs.now - (outcome.ended or outcome.begun) < BATCH_SECONDS:
            data = {} if outcome.data is None else outcome.data
            if outcome.result is not Result.DONE or data.get("step") == step:
                found = data.get("batch")
                return found if isinstance(found, tuple) and found else order[:1]  # its own guard says why not
        alone = roll.alone(members, view)
        permitted = frozenset(permit.entries)
        return FindBatch(step, order, alone, parent.parallel, permitted, parent.accept_unavailable, self.meeting.joined)

    def held_up(self, parent: Change) -> str | None:
        """What has to heal before the next child; None while none is to be asked for now, or nothing is wrong."""
        left, children = self._left(parent), self.children(parent)
        if not left or parent.cancel or any(c.state is not ChangeState.DONE for c in children):
            return None
        if self._waits_for(parent) is not None:
            return None
        _, since = self.memory.stepped.get(parent.uuid, (0, self.obs.now))
        is_older = self.obs.cluster.begun < since  # what was just restarted still lacks in it
        excused = [c.node_id for c in children if c.node_id is not None] if is_older else []
        return roll.held_up(left, excused, self.meeting.members, self.obs.cluster.value)

    def _held_up_for(self, parent: Change) -> float:
        return self.obs.now - self.memory.held_up.get(parent.uuid, self.obs.now)

    def _waits_for(self, parent: Change) -> tuple[str, str] | None:
        """(phase, sentence) of what is waited for on purpose, however long."""
        maintenance = self.meeting.maintenance
        if parent.paused:
            return "paused", f"paused by an operator: bubuku-cli changes resume {parent.sequence}"
        if maintenance is None or maintenance.holds(self.obs.wall):
            return "waiting", "maintenance is on: nothing is stopped until it is off"
        ended, at = self.memory.stepped.get(parent.uuid, (0, self.obs.now))
        if ended and self.obs.now - at < parent.cool_down:
            return "cooling_down", f"{parent.cool_down:g} s pass between two brokers"
        return None

    def _left(self, parent: Change) -> list[int]:
        """Those for whom nothing was asked yet."""
        return [node for node in parent.nodes if node not in parent.asked]

    def _cancelled_child(self, standing: list[Change]) -> Action | None:
        """It ends as any cancelled one does: before its broker was stopped at once, else when that serves again."""
        wanted = [c for c in standing if not c.cancel]
        return WriteChange(replace(wanted[0], cancel=True)) if wanted else None

    def _told(self, parent: Change) -> Action | None:
        said = self._said(parent)
        return WriteChange(said) if said != parent else None

    def _ended(self, parent: Change, state: ChangeState, sentence: str) -> Action:
        """In one transaction with the children, which move to the history with it."""
        verb = changes.KINDS[parent.kind].verb
        done = [c.node_id for c in self.children(parent) if c.state is ChangeState.DONE and c.node_id is not None]
        so_far = f"{named(done)} {'was' if len(done) == 1 else 'were'} {verb}" if done else f"none was {verb}"
        told = f"{sentence}; {so_far}" if sentence else so_far
        return WriteChange(changes.ended(parent, state, told, self.obs.wall), children=tuple(self.children(parent)))

    def _said(self, parent: Change, asked: tuple[Change, ...] = ()) -> Change:
        """The parent's document with where it is: what is at work or waited for, and how many are done."""
        children = self.children(parent)
        done = sum(1 for c in children if c.state is ChangeState.DONE)
        standing = [*asked, *(c for c in children if c.state.is_open)]
        if standing:
            nodes = [c.node_id for c in standing if c.node_id is not None]
            phase = "working"
            told = f"{named(nodes)} {'is' if len(nodes) == 1 else 'are'} being {changes.KINDS[parent.kind].verb}"
        else:
            held_up, waits_for = self.held_up(parent), self._waits_for(parent)
            phase, told = waits_for or (("held_up", held_up) if held_up is not None else ("waiting", ""))
        so_far = f"{done} of {len(parent.nodes)} done"
        return replace(parent, phase=phase, sentence=f"{told}; {so_far}" if told else so_far)


def _child(parent: Change, node: int, wall: float) -> Change:
    """What a parent asks of this broker's daemon. Its uuid is the same whoever asks, and however often."""
    kind = changes.KINDS[parent.kind].child
    assert kind is not None, "a parent has children"
    return Change(
        sequence=-1,
        uuid=stop_facts.child_uuid(parent.uuid, node),
        kind=kind,
        node_id=node,
        state=ChangeState.QUEUED,
        asked_by=f"change {parent.sequence}",
        asked_epoch=wall,
        parent=parent.uuid,
        parallel=parent.parallel,
        text=parent.text,
        accept_unavailable=parent.accept_unavailable,
        sentence=f"broker {node} is to be {changes.KINDS[kind].verb}",
    )
