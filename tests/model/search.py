"""Breadth-first search through the model: what must never happen, and what must always still be possible."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from tests.model import permit_model as model
from tests.model.permit_model import State, Variant

SOUND = Variant()


@dataclass
class Found:
    """`violation` None: nothing bad in `states` states. `trace` leads from the initial state to it, a line a step."""

    states: int
    violation: str | None = None
    trace: list[str] = field(default_factory=list)


def search(hosts: int, faults: int, variant: Variant = SOUND, most: int = 5_000_000) -> Found:
    """All states that can be reached with so many faults. The first violation ends it, by the shortest trace."""
    start = model.initial(hosts, faults)
    came: dict[State, tuple[State, str] | None] = {start: None}
    queue = deque([start])
    calm: dict[State, list[State]] = {}
    while queue:
        state = queue.popleft()
        for line, after, is_fault in model.successors(state, variant):
            bad = violation(state, line, after)
            if after not in came:
                came[after] = (state, line)
                queue.append(after)
                if len(came) > most:
                    raise AssertionError(f"more than {most} states: make the model smaller")
            if bad is not None:
                return Found(len(came), bad, [*_trace(came, state), line])
            if not is_fault:
                calm.setdefault(after, []).append(state)
    stuck = _stuck(came, calm)
    if stuck is not None:
        return Found(len(came), "from here it never ends well", _trace(came, stuck))
    return Found(len(came))


def violation(before: State, line: str, after: State) -> str | None:
    """Why this step must not happen; None where it may."""
    for me, (old, new) in enumerate(zip(before.hosts, after.hosts, strict=True)):
        others = [h for i, h in enumerate(after.hosts) if i != me]
        if new.broker == model.STOPPING and old.broker != model.STOPPING:
            if any(h.ours and h.broker != model.SERVING for h in others):
                return f"{me} is stopped while another broker is down by us"
            if any(h.long_gone for h in others):
                return f"{me} is stopped although another one has been out of the ISR for long"
        if after.entries[me] == model.NO_ENTRY:
            if new.helper and new.meant and new.broker in (model.SERVING, model.CATCHING_UP):
                return f"{me} has no entry, and its SIGTERM may still be sent"
            if new.ours and new.broker in (model.STOPPING, model.GONE):
                return f"{me} is down by us, and has no entry"
        taken = before.entries[me] == model.NO_ENTRY and after.entries[me] == model.WORKING
        if taken and before.maintenance:
            return f"{me} takes the permit in maintenance"
    return None


def well(state: State) -> bool:
    """Nobody is down, nothing is held, nothing is wanted."""
    return not any(state.entries) and all(h.broker == model.SERVING and not h.wanted for h in state.hosts)


def _stuck(came: dict[State, tuple[State, str] | None], calm: dict[State, list[State]]) -> State | None:
    """A state without faults left from which no way leads to a good end; None where there is none."""
    good = [state for state in came if well(state)]
    reached = set(good)
    queue = deque(good)
    while queue:
        for before in calm.get(queue.popleft(), ()):
            if before not in reached:
                reached.add(before)
                queue.append(before)
    return next((state for state in came if state not in reached), None)


def _trace(came: dict[State, tuple[State, str] | None], state: State) -> list[str]:
    lines: list[str] = []
    step = came[state]
    while step is not None:
        before, line = step
        lines.append(line)
        step = came[before]
    return lines[::-1]
