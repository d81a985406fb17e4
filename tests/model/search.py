"""Breadth-first search through the model: what must never happen, and what must always still be possible."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

from tests.model import permit_model as model
from tests.model.permit_model import SOUND, State, Variant
from tests.model.promises import broken, well


@dataclass
class Found:
    """`violation` None: nothing bad in `states` states. `trace` leads from the initial state to it, a line a step."""

    states: int
    violation: str | None = None
    trace: list[str] = field(default_factory=list)


def search(hosts: int, faults: int, variant: Variant = SOUND, most: int = 3_000_000, symmetric: bool = False) -> Found:
    """All states that can be reached with so many faults. The first violation ends it, by the shortest trace.

    `symmetric`: states that differ only in which host is which count as one; the hosts' numbers in a trace may swap.
    """
    return search_from(model.initial(hosts, faults), variant, most, symmetric)


def search_from(start: State, variant: Variant = SOUND, most: int = 3_000_000, symmetric: bool = False) -> Found:
    """The same from any state."""
    states = [start]
    number = {states[0]: 0}
    came: list[tuple[int, str]] = [(-1, "")]
    backward: list[array[int]] = [array("l")]
    at = 0
    while at < len(states):
        state = states[at]
        for step in model.successors(state, variant):
            after = _sorted(step.after) if symmetric else step.after
            bad = broken(state, step, variant.apart)
            if bad is not None:
                return Found(len(states), bad, [*_trace(came, at), step.line])
            found = number.get(after)
            if found is None:
                found = number[after] = len(states)
                states.append(after)
                came.append((at, step.line))
                backward.append(array("l"))
                if len(states) > most:
                    raise AssertionError(f"more than {most} states: make the model smaller")
            if not step.fault:
                backward[found].append(at)
        at += 1
    stuck = _stuck(states, backward)
    if stuck is not None:
        return Found(len(states), "from here it never ends well", _trace(came, stuck))
    return Found(len(states))


def _sorted(state: State) -> State:
    pairs = sorted(zip(state.hosts, state.entries, strict=True))
    return state._replace(hosts=tuple(h for h, _ in pairs), entries=tuple(e for _, e in pairs))


def _stuck(states: list[State], backward: list[array[int]]) -> int | None:
    """A state from which no way without a fault leads to a good end; None where there is none."""
    reached = bytearray(len(states))
    queue = [at for at, state in enumerate(states) if well(state)]
    for at in queue:
        reached[at] = 1
    while queue:
        for before in backward[queue.pop()]:
            if not reached[before]:
                reached[before] = 1
                queue.append(before)
    found = reached.find(0)
    return None if found < 0 else found


def _trace(came: list[tuple[int, str]], at: int) -> list[str]:
    lines: list[str] = []
    while at > 0:
        at, line = came[at]
        lines.append(line)
    return lines[::-1]
