"""What must never happen in the model: of each step, and of each state."""

from __future__ import annotations

from bubuku.core.permit import Facts, Move, Verdict
from tests.model import permit_model as model
from tests.model.permit_model import Host, State, Step

ASKS_ZOOKEEPER = (Move.TAKE, Move.WITHDRAW, Move.RELEASE)


def broken(before: State, step: Step, apart: bool) -> str | None:
    """Why this step must not happen; None where it may."""
    if step.move is not None and step.facts is not None:
        found = _rests_on(step.move, step.facts, before.hosts[step.host])
        if found is not None:
            return f"{step.host} {found}"
    if step.move is Move.ADOPT and before.entries[step.host] == model.WORKING and step.after.hosts[step.host].meant:
        return f"{step.host} stops a broker that nobody has told to stop since its host was replaced"
    for me, (old, new) in enumerate(zip(before.hosts, step.after.hosts, strict=True)):
        others = [h for i, h in enumerate(step.after.hosts) if i != me]
        if new.broker == model.STOPPING and old.broker not in (model.STOPPING, model.HUNG) and not apart:
            if any(h.ours and h.broker != model.SERVING for h in others):
                return f"{me} is stopped while another broker is down by us"
            if any(h.long_gone for h in others):
                return f"{me} is stopped although another one has been out of the ISR for long"
        if step.after.entries[me] == model.NO_ENTRY and new.root == model.HERE:
            if new.helper and new.meant and new.broker in (model.SERVING, model.CATCHING_UP):
                return f"{me} has no entry, and its SIGTERM may still be sent"
            if new.ours and new.broker in (model.STOPPING, model.HUNG, model.GONE):
                return f"{me} is down by us, and has no entry"
        asked = before.entries[me] == model.NO_ENTRY and step.after.entries[me] == model.WORKING
        if not asked or new.root == model.MOVED or not new.recorded:
            continue  # what may go down already is said again, perhaps late
        if before.maintenance:
            return f"{me} takes the permit in maintenance"
        if apart and step.after.entries.count(model.WORKING) > 1:
            return "two are in work at once"
    return None


def _rests_on(move: Move, facts: Facts, host: Host) -> str | None:
    """What a daemon's own move must rest on."""
    if (move is Move.JUDGE and facts.judging) or (move is Move.SIGNAL and facts.signalling):
        return "asks again for what is under way"
    if move in ASKS_ZOOKEEPER and facts.taking:
        return "sends a write although one is under way"
    if move is Move.START and facts.stay_down:
        return "starts a broker that is to stay down"
    if move is Move.TAKE and facts.moved:
        return None  # what may go down already is said again
    if move is Move.TAKE and not facts.recorded:
        return "asks for an entry that its own disk does not know: its successor would believe that SIGTERM was sent"
    if move is Move.TAKE and not (facts.wanted and (facts.alive or facts.lies_down)):
        return "asks for the permit although nothing is to be stopped"
    if move is Move.TAKE and facts.verdict is not Verdict.YES and not facts.lies_down:
        return "asks for the permit without the guard's yes"
    if move is Move.INTEND:
        if not facts.wanted:
            return "means to stop a broker that nobody wants stopped any more, and cannot take that back"
        if facts.maintenance:
            return "means to stop its broker in maintenance"
        if facts.lies_down:
            return None
        if not facts.alive:
            return "means to stop a broker that does not run: in which ISRs it was is not known any more"
        if facts.verdict is not Verdict.YES:
            return "means to stop its broker without the guard's yes, and cannot take that back"
    if move is Move.SIGNAL and not facts.same_process:
        return "sends SIGTERM to another process than the one that it was meant for"
    if move is Move.WITHDRAW and facts.lies_down and not facts.maintenance:
        return "gives the entry of a broker back that lies down and is to stay so, only to ask for it again"
    if move is Move.FORGET and facts.entry:
        return "forgets a stop whose entry is in the permit"
    if move is Move.FORGET and facts.signalled and facts.same_process:
        return "forgets a stop for which SIGTERM was sent: in maintenance its broker would stay down"
    if move is Move.RELEASE and host.broker != model.SERVING:
        return "removes the entry of a broker that is not back"
    return None


def well(state: State) -> bool:
    """Nobody is down, nothing is held, noted or wanted."""
    if any(state.entries):
        return False
    if any(h.root != model.HERE for h in state.hosts):
        return False
    return all(h.broker == model.SERVING and not h.wanted and not h.recorded for h in state.hosts)
