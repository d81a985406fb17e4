"""Leave to stop a broker: the protocol of the one permit, as a table of rules for one broker's own daemon. Pure.

The permit is one persistent document, node id → entry. **An entry means: down, or may go down at any instant.** Every
deliberate stop goes through it and through the guard; nothing else removes an entry than its own host's daemon, or an
operator's release.

`RULES` is read from the top; the first row that applies is the one move of this cycle. Callers: the daemon's decision,
and the explicit-state model in tests/model, which runs exactly these rows over all interleavings of three hosts;
docs/permit-model.md shows for each row what happens without it.

The order in which a stop is made:
1. read the permit (version v) and maintenance;  2. evidence begun afterwards, and the guard over it;
3. one transaction: v → v+1 with our entry, maintenance unchanged;  4. the intent on disk, then SIGTERM by a helper that
dies of its own timer when the verdict is too old;  5. down, started, back in every ISR it was in: the entry is removed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

VERDICT_SECONDS = 3.0  # a verdict older than this stops nothing


class Move(StrEnum):
    """What our daemon does next about the permit; exactly one a cycle."""

    NONE = "none"  # nothing is wanted and nothing is owed
    WAIT = "wait"  # for something that is under way, or unknown
    REFUSED = "refused"  # wanted, and the answer now is no: asked again while it is wanted
    ADOPT = "adopt"  # an entry of ours without a record: take it that SIGTERM was sent, but to none started since
    NOTE = "note"  # write down, durably, under which token we are about to ask
    JUDGE = "judge"  # gather evidence begun after the permit that we know
    TAKE = "take"  # the transaction that adds our entry
    ACKNOWLEDGE = "acknowledge"  # write down that this ZooKeeper's permit has the stop that another one's had
    INTEND = "intend"  # write down, durably, that SIGTERM may be sent from now on
    SIGNAL = "signal"  # SIGTERM, by a helper bounded by the verdict's age
    KEEP_DOWN = "keep_down"  # it is down and is meant to stay so
    START = "start"  # it is down and must come back
    WITHDRAW = "withdraw"  # remove an entry under which nothing was sent
    RELEASE = "release"  # remove the entry of a broker that is back
    FORGET = "forget"  # the record's entry is gone and nothing is owed: drop the record


class Verdict(StrEnum):
    """What the guard said, on evidence begun after the permit version that we know."""

    NONE = "none"
    YES = "yes"
    NO = "no"


@dataclass(frozen=True, slots=True)
class Facts:
    """What one daemon knows about its own stop, each drawn once from an observation."""

    wanted: bool  # a change, or the daemon itself, wants our broker stopped
    lies_down: bool  # …for good, and it is down by itself already: nothing has to be sent, and so nothing judged
    stay_down: bool  # what we stopped is not started again until an operator says so
    maintenance: bool
    permit_known: bool  # read since the last outcome that was unknown
    entry: bool  # the permit has an entry of ours…
    entry_is_recorded: bool  # …whose token is in our state file
    moved: bool  # SIGTERM may have been sent under the permit of another ZooKeeper, and this one may not know of it
    others_working: bool  # somebody else's entry is in work
    recorded: bool  # the state file has a token: we asked, or were about to
    intended: bool  # the state file says that SIGTERM may have been sent…
    same_process: bool  # …and the process that it was meant for still runs
    alive: bool  # our broker's process runs
    verdict: Verdict
    judging: bool
    taking: bool  # the transaction is under way, or its outcome is not known
    signalling: bool  # the helper is under way
    signalled: bool  # this daemon has seen the helper send it
    back: bool  # registered, serving, and in every ISR that it was in, on a snapshot begun afterwards


@dataclass(frozen=True, slots=True)
class Rule:
    name: str
    applies: Callable[[Facts], bool]
    move: Move


RULES: tuple[Rule, ...] = (
    # what is owed, whatever anybody wants: a broker that we stopped is started again
    Rule("down on purpose stays down", lambda f: f.intended and not f.alive and f.stay_down, Move.KEEP_DOWN),
    Rule("what we stopped is started again", lambda f: f.intended and not f.alive, Move.START),
    Rule("unknown means wait", lambda f: (f.wanted or f.recorded) and (not f.permit_known or f.taking), Move.WAIT),
    # an entry of ours that the state file does not know: the disk was lost, or the predecessor was another one
    Rule("an entry without a record", lambda f: f.entry and not f.entry_is_recorded, Move.ADOPT),
    # ZooKeeper was wiped, or is another one: nobody stops a broker before we have acknowledged it
    Rule("begun under another ZooKeeper", lambda f: f.moved and not f.entry, Move.TAKE),
    Rule("known to this ZooKeeper now", lambda f: f.moved, Move.ACKNOWLEDGE),
    # between the entry and SIGTERM
    Rule("noted, and no longer wanted", lambda f: f.entry and not f.intended and not f.wanted, Move.WITHDRAW),
    Rule("noted, hands off since", lambda f: f.entry and not f.intended and f.maintenance, Move.WITHDRAW),
    Rule("noted, and it lies down", lambda f: f.entry and not f.intended and f.lies_down, Move.INTEND),
    Rule("noted, it died by itself", lambda f: f.entry and not f.intended and not f.alive, Move.WITHDRAW),
    Rule(
        "noted, the guard says no now", lambda f: f.entry and not f.intended and f.verdict is Verdict.NO, Move.WITHDRAW
    ),
    Rule("the verdict is being made", lambda f: f.judging, Move.WAIT),
    Rule(
        "noted, the verdict is too old", lambda f: f.entry and not f.intended and f.verdict is Verdict.NONE, Move.JUDGE
    ),
    Rule("noted, and may be sent", lambda f: f.entry and not f.intended, Move.INTEND),
    # SIGTERM may have been sent: finish the stop, never conclude from how the broker looks
    Rule("back in every ISR", lambda f: f.intended and not f.same_process and f.back and f.entry, Move.RELEASE),
    Rule(
        "back, and the entry was released for us", lambda f: f.intended and not f.same_process and f.back, Move.FORGET
    ),
    Rule("on its way back", lambda f: f.intended and not f.same_process, Move.WAIT),
    Rule("the helper is at work", lambda f: f.intended and f.signalling, Move.WAIT),
    Rule("it was sent: it is going down", lambda f: f.intended and f.signalled, Move.WAIT),
    Rule("the entry was released under a stop", lambda f: f.intended and not f.entry, Move.FORGET),
    Rule("to finish the stop, a verdict", lambda f: f.intended and f.verdict is Verdict.NONE, Move.JUDGE),
    Rule("to finish the stop, not now", lambda f: f.intended and f.verdict is Verdict.NO, Move.REFUSED),
    Rule("finish the stop", lambda f: f.intended, Move.SIGNAL),
    # noted, and no entry: the transaction was refused, or never sent
    Rule("noted, never taken, not wanted", lambda f: f.recorded and not f.wanted, Move.FORGET),
    # asking
    Rule("nothing is wanted", lambda f: not f.wanted or not (f.alive or f.lies_down), Move.NONE),
    Rule("hands off", lambda f: f.maintenance, Move.REFUSED),
    Rule("one at a time", lambda f: f.others_working, Move.REFUSED),
    Rule("first the verdict", lambda f: f.alive and f.verdict is Verdict.NONE, Move.JUDGE),
    Rule("the guard says no", lambda f: f.alive and f.verdict is Verdict.NO, Move.REFUSED),
    Rule("note the token", lambda f: not f.recorded, Move.NOTE),
    Rule("take it", lambda _f: True, Move.TAKE),
)


def decide(facts: Facts, rules: tuple[Rule, ...] = RULES) -> tuple[Rule | None, Move]:
    """The first rule that applies and its move. With rules left out (the model does that) there may be none."""
    for rule in rules:
        if rule.applies(facts):
            return rule, rule.move
    return None, Move.NONE
