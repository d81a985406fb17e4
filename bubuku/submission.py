"""What becomes of a request for changes: it is written down, is part of what is under way, or is refused.

Caller: `operations`, in threads of the HTTP server. A dry run goes the same way, but for the writing.
"""

from __future__ import annotations

import statistics
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bubuku.core import change, roll
from bubuku.core.change import KINDS, Kind
from bubuku.core.errors import RefusedError, UnavailableError, UsageError
from bubuku.core.guard import Objection, Verdict, named, objections
from bubuku.core.model import ClusterView, CoordinationView
from bubuku.core.shared import Change, ChangeState
from bubuku.ports import Changes, Clock
from bubuku.verdicts import Verdicts

DEADLINE_SECONDS = 5.0
JUDGING_SECONDS = 10.0  # no further broker is judged at submission after these: each is before it is stopped, anyway
RECENT = 50  # of so many that ended last, the restarts tell how long one takes


@dataclass(frozen=True, slots=True)
class Request:
    """One change for each of `nodes`, in that order, or one parent for all of them.

    `by`: who asks; `text`: in their own words. Of a parent, `parallel`: so many brokers at once, 0: as many as the
    guard allows; `cool_down`: seconds between them."""

    kind: str
    nodes: tuple[int, ...]
    by: str
    text: str | None = None
    accept_unavailable: bool = False
    parallel: int = 1
    cool_down: float = 0.0
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """How a parent goes on as things are now; it looks again before each step. `seconds`: for all of it, as the last
    restarts took; None: none is known."""

    turns: tuple[roll.Turn, ...]
    batches: tuple[tuple[int, ...], ...]  # the same brokers: who goes together
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Answer:
    """`changes` have no sequence yet after a dry run; a parent may stand there that does what was asked for anyway.

    `verdicts`: what the guard says now of those that are to stop; not of the last ones where the cluster answers
    slowly. A no is for a stop of ours that is under way: it waits. `plan`: of a parent."""

    changes: tuple[Change, ...]
    verdicts: tuple[Verdict, ...]
    plan: Plan | None = None


class Submission:
    """`meeting`, `cluster`: the last readings; the former raises where nothing may be written."""

    def __init__(
        self,
        changes: Changes,
        verdicts: Verdicts,
        meeting: Callable[[], CoordinationView],
        cluster: Callable[[], ClusterView | None],
        clock: Clock,
    ) -> None:
        self._changes, self._verdicts = changes, verdicts
        self._meeting, self._cluster, self._clock = meeting, cluster, clock
        self.refused: Counter[str] = Counter()

    def submit(self, request: Request) -> Answer:
        """Raises UsageError (an unknown kind or broker), RefusedError (unsafe, with the reason), UnavailableError.

        What our own permits hinder now is not refused: it waits its turn.
        """
        kind, view = self._checked(request)
        joined = _met(request, self._changes.standing(DEADLINE_SECONDS))
        if joined is not None:
            return Answer((joined,), ())
        plan = None if kind.child is None else self._planned(request, view)
        verdicts = self._judged(request) if kind.stops else ()
        if plan is not None and any(verdict.moving for verdict in verdicts):
            moving = max(verdict.moving for verdict in verdicts)
            raise RefusedError(f"partitions are being moved ({moving} of one broker); wait for that, or cancel it")
        made = _made(request, self._clock.wall())
        if not request.dry_run:
            made = self._changes.create(made, DEADLINE_SECONDS)
        return Answer(made, verdicts, plan)

    def _checked(self, request: Request) -> tuple[Kind, CoordinationView]:
        kind = KINDS.get(request.kind)
        if kind is None:
            raise UsageError(f"there is no kind of change {request.kind[:100]!r}; there are {', '.join(sorted(KINDS))}")
        if not request.nodes:
            raise UsageError(f"which brokers are to be {kind.verb}? name at least one")
        if (request.cool_down or request.parallel != 1) and kind.child is None:
            raise UsageError(f"a {kind.name} has no cool-down and nothing parallel; a rolling restart has")
        view = self._meeting()
        members = {member.node_id for member in view.members}
        for node in request.nodes:
            if node not in members:
                known = ", ".join(map(str, sorted(members))) or "none"
                raise UsageError(f"no daemon answers for broker {node}; those with one are {known}")
        return kind, view

    def _planned(self, request: Request, view: CoordinationView) -> Plan:
        """Raises RefusedError for what the roll could not go on with."""
        if view.maintenance is None or view.maintenance.holds(self._clock.wall()):
            raise RefusedError("maintenance is on: nothing is stopped until it is off")
        stopped = roll.stopped_on_purpose(view.members) & set(request.nodes)
        if stopped:
            are, them = ("is", "it") if len(stopped) == 1 else ("are", "them")
            raise RefusedError(f"{named(stopped)} {are} stopped on purpose: start {them} first, or leave {them} out")
        cluster = self._cluster()
        held_up = roll.held_up(request.nodes, [], view.members, cluster)
        if held_up is not None:
            raise RefusedError(held_up)
        versions = sorted({member.version for member in view.members})
        if len(versions) > 1:
            raise RefusedError(f"daemons of different versions are at work ({', '.join(versions)}); upgrade them first")
        turns = roll.order(request.nodes, view.members, cluster)
        took = [
            each.ended_epoch - each.begun_epoch
            for each in self._changes.ended(RECENT, DEADLINE_SECONDS)
            if each.kind == "restart" and each.state is ChangeState.DONE and each.ended_epoch and each.begun_epoch
        ]
        batches: tuple[tuple[int, ...], ...] = tuple((turn.node_id,) for turn in turns)
        if request.parallel != 1:
            order, alone = tuple(turn.node_id for turn in turns), roll.alone(view.members, cluster)
            batches = self._verdicts.batches(order, alone, request.parallel, request.accept_unavailable)
        pauses = request.cool_down * (len(batches) - 1)
        return Plan(turns, batches, statistics.median(took) * len(batches) + pauses if took else None)

    def _judged(self, request: Request) -> tuple[Verdict, ...]:
        """Raises RefusedError for the first that may not be stopped, whatever becomes of those in the permit."""
        verdicts: list[Verdict] = []
        until = self._clock.now() + JUDGING_SECONDS
        for node in request.nodes:
            if verdicts and self._clock.now() >= until:
                break
            hindered = self._others_are_down(node)
            try:
                verdict = self._verdicts.safe_to_stop(frozenset({node}), request.accept_unavailable)
            except UnavailableError:
                if hindered:
                    continue
                raise
            hindered = hindered or self._others_are_down(node)  # it may have been read a moment too early
            lasting = any(b.objection is Objection.CANNOT_BE_AVAILABLE for b in verdict.blocked)
            if not verdict.allowed and (lasting or not hindered):
                self.refused.update(objections(verdict))
                raise RefusedError(verdict.sentence())
            verdicts.append(verdict)
        return tuple(verdicts)

    def _others_are_down(self, node: int) -> bool:
        """Others are in the permit: what the guard says now of this one may be because of them."""
        found = self._meeting().permit
        return found is not None and bool(set(found.entries) - {node})


def _made(request: Request, wall: float) -> tuple[Change, ...]:
    """As they are written: one for each broker, or one parent."""
    if KINDS[request.kind].child is None:
        return tuple(_change(request, node, (), wall) for node in request.nodes)
    return (_change(request, None, request.nodes, wall),)


def _change(request: Request, node: int | None, nodes: tuple[int, ...], wall: float) -> Change:
    all_nodes = nodes if node is None else (node,)
    return Change(
        sequence=-1,
        uuid=str(uuid.uuid4()),
        kind=request.kind,
        node_id=node,
        state=ChangeState.QUEUED,
        asked_by=request.by,
        asked_epoch=wall,
        nodes=nodes,
        text=request.text,
        accept_unavailable=request.accept_unavailable,
        parallel=request.parallel,
        cool_down=request.cool_down,
        sentence=f"{named(all_nodes)} {'is' if len(all_nodes) == 1 else 'are'} to be {KINDS[request.kind].verb}",
    )


def _met(request: Request, standing: Sequence[Change]) -> Change | None:
    """The open change of which this request is a part. Raises RefusedError for one that it cannot stand beside."""
    joined = None
    for each in (c for c in standing if c.state.is_open):
        where = f"see bubuku-cli changes show {each.sequence}"
        match change.meets(request.kind, request.nodes, each, standing):
            case change.Meets.JOINS:
                joined = each
            case change.Meets.REFUSED if each.node_id is None:
                raise RefusedError(f"change {each.sequence}, a {each.kind} of {named(each.nodes)}, is open: {where}")
            case change.Meets.REFUSED:
                raise RefusedError(f"broker {each.node_id} is being {KINDS[request.kind].verb} already: {where}")
            case change.Meets.QUEUES:
                continue
    return joined
