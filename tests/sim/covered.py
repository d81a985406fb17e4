"""Which rows of the step machines' tables were taken, over many seeds, and which never were.

What there is comes from the tables themselves (and from the source where the table is a function's text), so that a new
row is asked for as soon as it is there. `UNREACHED` has those that the simulator takes never, or hardly ever, each with
its reason.
"""

from __future__ import annotations

import ast
import inspect
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, get_args
from unittest.mock import patch

from bubuku.core import gates, lifecycle, permit, stopping
from bubuku.core.actions import Action, Judge
from bubuku.core.case import Case, Gate, Stop
from bubuku.core.change import KINDS
from bubuku.core.guard import Objection, Verdict, objections
from bubuku.core.memory import Memory
from bubuku.core.model import BrokerState
from bubuku.core.observation import Published
from bubuku.core.reasons import Reason
from bubuku.core.shared import Change, ChangeState

if TYPE_CHECKING:
    from tests.sim.world import World

ENOUGH_SEEDS = 5000  # so many have to take every row
Row = tuple[str, str]  # table, row

PERMIT, GATES, LIVES, FOLLOWS = "rules of the permit", "gates that decided", "rules of a living process", "states"
ENDS, PHASES, REASONS = "ends of changes", "phases of changes", "reasons"
ACTIONS, GUARD = "actions", "words of the guard"


def _phases() -> Iterator[str]:
    """What `core.stopping` calls the steps of a change, for its document."""
    for node in ast.walk(ast.parse(inspect.getsource(stopping))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Progress":
            first = node.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield first.value


TABLES: Mapping[str, Callable[[], Iterator[str]]] = {
    PERMIT: lambda: (rule.name for rule in permit.RULES),
    GATES: lambda: (gate.__name__ for gate in gates.GATES),
    LIVES: lambda: (rule.name for rule in lifecycle.RULES),
    FOLLOWS: lambda: (
        f"{a} → {b}" for a, after in lifecycle.FOLLOWS.items() for b in BrokerState if b in after and a is not b
    ),
    ENDS: lambda: (f"{kind}: {state}" for kind in KINDS for state in ChangeState if not state.is_open),
    PHASES: lambda: (phase for phase in dict.fromkeys(_phases())),
    REASONS: lambda: (reason.value for reason in Reason),
    ACTIONS: lambda: (action.__name__ for action in get_args(Action)),
    GUARD: lambda: (*(objection.value for objection in Objection), "unknown", "allowed").__iter__(),
}

_LAPSES = "a stop lapses while the broker answers and is listed, and it has to turn so within the second after it"
UNREACHED: Mapping[Row, str] = {
    **{(FOLLOWS, f"stopping → {b}"): _LAPSES for b in ("starting", "recovering", "unregistered", "frozen", "failed")},
    (FOLLOWS, "unregistered → recovering"): "takes a log that is read more slowly than a registration comes and goes",
    (REASONS, Reason.INVARIANT.value): "it is what must not happen",
    (GUARD, Objection.BELOW_MIN_ISR_WITHOUT_REMOVING.value): "takes a reassignment; the simulator has none",
    (GUARD, Objection.LAST_IN_SYNC.value): "takes a topic of two replicas that needs both; the simulator has none",
}


class Covered:
    """The rows that one seed took."""

    def __init__(self) -> None:
        self.taken: Counter[Row] = Counter()

    def listen(self, world: World) -> None:
        world.zookeeper.change_listeners.append(self._changed)

    def cycle(self, before: BrokerState, published: Published) -> None:
        """One cycle of a daemon whose last state was `before`."""
        decision, taken = published.decision, self.taken
        if decision.state is not before:
            taken[FOLLOWS, f"{before} → {decision.state}"] += 1
        taken[REASONS, decision.reason.value] += 1
        if decision.note is not None:
            taken[REASONS, decision.note.reason.value] += 1
        for action in decision.actions:
            taken[ACTIONS, type(action).__name__] += 1
        judged = published.observation.outcomes.get(Judge)
        verdict = judged.data.get("verdict") if judged is not None and judged.data is not None else None
        if isinstance(verdict, Verdict):
            for word in objections(verdict) or ("allowed",):
                taken[GUARD, word] += 1

    def refused(self, words: Iterable[str]) -> None:
        """A request was refused by the guard, for these."""
        for word in words:
            self.taken[GUARD, word] += 1

    def _changed(self, before: Change, after: Change) -> None:
        self.taken[PHASES, after.phase] += 1
        if not after.state.is_open:
            self.taken[ENDS, f"{after.kind}: {after.state}"] += 1

    @contextmanager
    def counting(self) -> Iterator[None]:
        """While this lasts, the core's tables say which of their rows decided."""
        decide, classify = permit.decide, lifecycle.classify

        def decided(facts: permit.Facts) -> tuple[permit.Rule | None, permit.Move]:
            rule, move = decide(facts)
            self.taken[PERMIT, rule.name if rule is not None else "none"] += 1
            return rule, move

        def classified(facts: lifecycle.Facts) -> tuple[lifecycle.Rule, str]:
            rule, sentence = classify(facts)
            self.taken[LIVES, rule.name] += 1
            return rule, sentence

        with ExitStack() as stack:
            stack.enter_context(patch.object(permit, "decide", decided))
            stack.enter_context(patch.object(lifecycle, "classify", classified))
            stack.enter_context(patch.object(gates, "GATES", tuple(self._watched(gate) for gate in gates.GATES)))
            yield

    def _watched(self, gate: Gate) -> Gate:
        row = (GATES, gate.__name__)

        def watched(case: Case) -> tuple[Memory, Stop | None]:
            memory, stop = gate(case)
            if stop is not None:
                self.taken[row] += 1
            return memory, stop

        return watched


def report(taken: Counter[Row], seeds: int) -> tuple[str, bool]:
    """What to print, and whether all is taken that should be."""
    lines, complete = [], True
    for table, rows in TABLES.items():
        there = list(rows())
        missing = [row for row in there if not taken[table, row]]
        lines.append(f"{table:<26} covered {len(there) - len(missing)} of {len(there)}")
        for row in missing:
            why = UNREACHED.get((table, row))
            complete = complete and why is not None
            lines.append(f"    never taken: {row}{'' if why is None else f' ({why})'}")
    lucky = [row for row in UNREACHED if taken[row]]  # what is rare is not asked for, and is welcome
    lines += [f"    {table}: {row} is in UNREACHED, and was taken" for table, row in lucky]
    if seeds < ENOUGH_SEEDS and not complete:
        lines.append(f"(only {seeds} seeds: {ENOUGH_SEEDS} have to take all)")
    return "\n".join(lines), complete or seeds < ENOUGH_SEEDS
