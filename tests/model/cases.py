"""Each rule of `bubuku.core.permit.RULES`, and each mechanism around them, left out: what then goes wrong.

Callers: the tests, and `docs.permit_model`, which writes the traces into docs/permit-model.md. `hosts` and `faults` are
the smallest with which there is a counterexample.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from bubuku.core.permit import RULES
from tests.model.permit_model import SOUND, Variant
from tests.model.search import Found, search


@dataclass(frozen=True, slots=True)
class Case:
    """`why`: one sentence on what goes wrong without it."""

    name: str
    hosts: int
    faults: int
    why: str
    mechanism: str | None = None  # a field of Variant; None: the rule of this name
    apart: bool = False

    def variant(self) -> Variant:
        if self.mechanism is not None:
            return SOUND._replace(**{self.mechanism: False})  # type: ignore[arg-type]
        rules = tuple(rule for rule in RULES if rule.name != self.name)
        assert len(rules) == len(RULES) - 1, f"there is no rule {self.name!r}"
        return SOUND._replace(rules=rules, apart=self.apart)


@cache
def found(case: Case) -> Found:
    return search(case.hosts, case.faults, case.variant())


MECHANISMS = (
    Case(
        "The helper's timer",
        2,
        1,
        "A helper that is late sends SIGTERM on a verdict that is not true any more: another broker has died since.",
        "helper_timer",
    ),
    Case(
        "Compare-and-set on the permit",
        2,
        0,
        "Two daemons judge on the same permit, and both take it: two brokers go down at once.",
        "compare_and_set",
    ),
    Case(
        "The transaction checks maintenance",
        1,
        1,
        "The entry is taken although an operator has switched maintenance on in between.",
        "check_maintenance",
    ),
    Case(
        "Evidence begun after the permit was read",
        2,
        1,
        "A verdict is older than another broker's entry, and does not count that one.",
        "evidence_after_read",
    ),
    Case(
        "The intent before SIGTERM",
        1,
        0,
        "SIGTERM meets a broker that its own daemon takes to have died by itself, so it gives the entry back at once.",
        "intend_first",
    ),
    Case(
        "The brokers themselves are asked",
        2,
        1,
        "Metadata shows a dead broker as in sync until its session ends, and the guard believes it.",
        "ask_brokers",
    ),
    Case(
        "Each daemon acknowledges a new ZooKeeper first",
        2,
        1,
        "ZooKeeper was wiped, and with it the entry of a broker that is about to go down; another one is stopped.",
        "ask_joined",
    ),
    Case(
        "After an unknown outcome the permit is settled",
        1,
        2,
        "A removal whose outcome is unknown is executed after the daemon has begun to rest on the entry again.",
        "settle",
    ),
    Case(
        "A daemon that finds a stop on its disk settles first",
        1,
        2,
        "A removal that its predecessor had sent is executed after it has gone on with the stop.",
        "settle_as_heir",
    ),
    Case(
        "A daemon that adopts an entry settles first",
        1,
        2,
        "A removal that the daemon of the lost disk had sent is executed after SIGTERM was made ready.",
        "settle_after_adopting",
    ),
    Case(
        "A daemon that adopts an entry knows which broker it has started",
        1,
        1,
        "A broker that was started on its new host, and that nobody has told to stop, is stopped once more.",
        "knows_its_own",
    ),
)
ROWS = (
    Case("down on purpose stays down", 1, 1, "A broker that is to stay down is started again."),
    Case("what we stopped is started again", 1, 0, "A broker that was stopped stays down for ever."),
    Case("unknown means wait", 1, 0, "A second write is sent while the first may be executed yet."),
    Case("an entry without a record", 1, 1, "After the disk was lost the entry of a broker that is down is taken out."),
    Case(
        "begun under another ZooKeeper",
        1,
        1,
        "A broker goes down that was told to before ZooKeeper was wiped, and the new permit does not know of it.",
    ),
    Case("known to this ZooKeeper now", 1, 1, "The entry is written again when the stop is over, and so on for ever."),
    Case("noted, and no longer wanted", 1, 1, "A restart that was cancelled in time is done all the same."),
    Case("noted, hands off since", 1, 1, "A broker is stopped although the daemon knows of maintenance."),
    Case("noted, and it lies down", 1, 2, "A broker that cannot be started is asked to stop for ever, and never held."),
    Case(
        "noted, it died by itself",
        1,
        1,
        "What ISRs it was in is noted of a broker that is out of them, so its entry goes before it is back.",
    ),
    Case(
        "noted, the guard says no now",
        2,
        1,
        "The stop cannot be taken back any more, and keeps the permit, although it is not safe now.",
    ),
    Case("the verdict is being made", 1, 0, "Evidence is asked for again in every cycle, before it is there."),
    Case("noted, the verdict is too old", 1, 0, "The stop cannot be taken back any more, and no verdict says yes."),
    Case("noted, and may be sent", 1, 0, "The entry is in the permit, and nothing ever comes of it."),
    Case("back in every ISR", 1, 0, "The stop is forgotten, and its entry stays in the permit."),
    Case("back, and the entry was released for us", 1, 0, "A stop that is over never ends."),
    Case("on its way back", 1, 0, "The broker that was just started again is stopped once more."),
    Case("the helper is at work", 1, 0, "A second helper is asked for beside the first."),
    Case(
        "it was sent: it is going down",
        1,
        2,
        "An operator releases a broker that hangs in its stop, and nothing starts it again when it has ended.",
    ),
    Case(
        "the entry was released under a stop",
        1,
        2,
        "An operator has released the entry of a host without a daemon; the next daemon stops the broker without one.",
    ),
    Case("to finish the stop, a verdict", 2, 1, "A stop is finished by the next daemon while another broker is dead."),
    Case("to finish the stop, not now", 2, 1, "A stop is finished although the guard says no."),
    Case("finish the stop", 1, 0, "The broker is never stopped, and its entry stays in the permit."),
    Case(
        "noted, never taken, not wanted",
        1,
        1,
        "What was noted for a cancelled restart stays on disk, and bars every later one.",
    ),
    Case("nothing is wanted", 1, 1, "The permit is asked for although nothing is to be stopped."),
    Case("hands off", 1, 1, "The permit is taken in maintenance."),
    Case("one at a time", 2, 0, "Two brokers that share no partition are in work at once.", apart=True),
    Case("first the verdict", 1, 0, "An entry that the others must count is made before the guard was asked."),
    Case("the guard says no", 2, 1, "An entry that the others must count is made although the guard says no."),
    Case("note the token", 1, 0, "The entry is not known to the disk, so the next daemon believes that it was sent."),
    Case("take it", 1, 0, "Nothing is ever stopped."),
)
CASES = (*MECHANISMS, *ROWS)
