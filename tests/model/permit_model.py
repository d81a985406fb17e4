"""Hosts that stop their brokers by `bubuku.core.permit.RULES`, and everything that can come in between.

A state is one immutable tuple; `successors` gives each step that can come next, with a line that says what it is. The
daemons' own steps are the product's rules, evaluated on facts drawn from the state; the rest is the world: calls that
are executed, refused, or answered too late, daemons that die or freeze, helpers that are late, brokers that die by
themselves, operators that change their mind. Time is one step, `three seconds pass`: verdicts and helpers older than
that are worth nothing, and whoever was down by then is known to be down.

The shared partition has a replica on each host and needs all but one in sync, so stopping a second broker is always
wrong: it is the smallest cluster in which every rule matters.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from bubuku.core.permit import RULES, Facts, Move, Rule, Verdict, decide

DEAD, UP, FROZEN = 0, 1, 2  # a daemon
GONE, SERVING, CATCHING_UP, STOPPING = 0, 1, 2, 3  # a broker
NO_CALL, TAKE_SENT, TAKE_DONE, TAKE_LOST, RELEASE_SENT, RELEASE_DONE, RELEASE_LOST = range(7)
_OUTDATED = {
    TAKE_SENT: TAKE_LOST,
    TAKE_DONE: TAKE_LOST,
    RELEASE_SENT: RELEASE_LOST,
    RELEASE_DONE: RELEASE_LOST,
}
NO_ENTRY, WORKING, ON_PURPOSE = 0, 1, 2
VERDICTS = (Verdict.NONE, Verdict.YES, Verdict.NO)


class Host(NamedTuple):
    daemon: int = UP
    wanted: bool = True
    stay_down: bool = False
    # the daemon's memory
    knows: bool = False  # it has read the permit, and nobody has written since
    verdict: int = 0
    call: int = NO_CALL
    signalled: bool = False
    # a helper of its own process, which outlives its daemon
    helper: bool = False
    # the state file
    recorded: bool = False
    intended: bool = False
    meant: bool = False  # the process that the intent was for has not ended
    # the broker
    broker: int = SERVING
    ours: bool = False  # it went down, or is about to, by our SIGTERM
    long_gone: bool = False  # it has been out of the ISR by itself since before the last verdicts could be made


class State(NamedTuple):
    hosts: tuple[Host, ...]
    entries: tuple[int, ...]
    maintenance: bool = False
    faults: int = 0  # left


class Variant(NamedTuple):
    """The product's rules, or what a mistake would make of them."""

    rules: tuple[Rule, ...] = RULES
    helper_timer: bool = True  # the helper dies when its verdict is too old
    compare_and_set: bool = True  # the transaction checks the permit's version
    check_maintenance: bool = True  # …and that maintenance is unchanged
    evidence_after_read: bool = True  # a verdict on an older permit is thrown away
    ask_brokers: bool = True  # who is dead counts as gone, whatever metadata still says
    intend_first: bool = True  # the intent is on disk before SIGTERM


Step = tuple[str, State, bool]  # what happens, what is then, whether it is a fault


def initial(hosts: int, faults: int) -> State:
    return State((Host(),) * hosts, (NO_ENTRY,) * hosts, False, faults)


@cache
def _move(facts: Facts, rules: tuple[Rule, ...]) -> tuple[str, Move]:
    rule, move = decide(facts, rules)
    return (rule.name if rule is not None else "no rule applies"), move


def facts_of(state: State, me: int) -> Facts:
    host, entry = state.hosts[me], state.entries[me]
    return Facts(
        wanted=host.wanted,
        stay_down=host.stay_down,
        maintenance=state.maintenance and host.knows,
        permit_known=host.knows,
        entry=host.knows and entry != NO_ENTRY,
        entry_is_recorded=host.recorded,
        others_working=host.knows and any(e == WORKING for i, e in enumerate(state.entries) if i != me),
        recorded=host.recorded,
        intended=host.intended,
        same_process=host.meant and host.broker != GONE,
        alive=host.broker != GONE,
        verdict=VERDICTS[host.verdict],
        judging=False,
        taking=host.call != NO_CALL,
        signalling=host.helper,
        signalled=host.signalled,
        back=host.broker == SERVING and not host.meant,
    )


def successors(state: State, variant: Variant) -> Iterator[Step]:
    for me, host in enumerate(state.hosts):
        if host.daemon == UP:
            yield from _daemon(state, me, variant)
        yield from _world(state, me, variant)
        if state.faults:
            yield from _faults(state, me)
    passed = _time_passes(state, variant)
    if passed != state:
        yield "three seconds pass", passed, False
    if state.maintenance:
        yield "an operator switches maintenance off", _maintenance(state, variant, state.faults), False
    elif state.faults:
        yield "an operator switches maintenance on", _maintenance(state, variant, state.faults - 1), True


def _daemon(state: State, me: int, variant: Variant) -> Iterator[Step]:
    host = state.hosts[me]
    if not host.knows and host.call == NO_CALL:
        verdict = 0 if variant.evidence_after_read else host.verdict
        yield f"{me} reads the permit", _host(state, me, knows=True, verdict=verdict), False
    name, move = _move(facts_of(state, me), variant.rules)
    line = f"{me} {move.value} ({name})"
    if move is Move.ADOPT:
        yield line, _host(state, me, recorded=True, intended=True, meant=host.broker != GONE), False
    elif move is Move.NOTE:
        yield line, _host(state, me, recorded=True), False
    elif move is Move.JUDGE:
        yield line, _host(state, me, verdict=_judge(state, me, variant)), False
    elif move is Move.TAKE:
        yield line, _host(state, me, call=TAKE_SENT), False
    elif move is Move.INTEND:
        yield line, _host(state, me, intended=variant.intend_first, meant=True, signalled=False), False
        if not variant.intend_first:
            yield f"{me} sends without an intent", _host(state, me, helper=True, meant=True), False
    elif move is Move.SIGNAL:
        yield line, _host(state, me, helper=True), False
    elif move is Move.START:
        yield line, _host(state, me, broker=CATCHING_UP, meant=False, signalled=False), False
    elif move is Move.KEEP_DOWN and state.entries[me] == WORKING:
        yield line, _written(state, me, ON_PURPOSE, variant), False
    elif move in (Move.WITHDRAW, Move.RELEASE):
        yield line, _host(state, me, call=RELEASE_SENT), False
    elif move is Move.FORGET:
        done = {"wanted": False} if host.intended else {}
        yield line, _host(state, me, recorded=False, intended=False, meant=False, signalled=False, **done), False
    if host.broker == GONE and not host.intended:
        yield f"{me} starts its broker, which died by itself", _host(state, me, broker=CATCHING_UP, meant=False), False


def _judge(state: State, me: int, variant: Variant) -> int:
    """The guard: all others in the ISR, not in the permit, and (having answered) alive."""
    for other, host in enumerate(state.hosts):
        if other == me:
            continue
        alive = host.broker == SERVING or (not variant.ask_brokers and host.broker == GONE and not host.long_gone)
        if state.entries[other] != NO_ENTRY or not alive:
            return 2
    return 1


def _world(state: State, me: int, variant: Variant) -> Iterator[Step]:
    host = state.hosts[me]
    if host.call == TAKE_SENT:
        executed = _written(state, me, WORKING, variant)
        yield f"{me}'s transaction is executed", _host(executed, me, call=TAKE_DONE), False
    elif host.call == RELEASE_SENT:
        executed = _written(state, me, NO_ENTRY, variant)
        yield f"{me}'s removal is executed", _host(executed, me, call=RELEASE_DONE), False
    if host.daemon == UP and host.call in (TAKE_DONE, RELEASE_DONE):
        yield f"{me} gets the answer", _host(state, me, call=NO_CALL, knows=True), False
    if host.daemon == UP and host.call in (TAKE_LOST, RELEASE_LOST):
        yield (
            f"{me} learns that the permit is another one now",
            _host(state, me, call=NO_CALL, knows=False, verdict=0),
            False,
        )
    if host.helper:
        hit = {"broker": STOPPING, "ours": True} if host.broker in (SERVING, CATCHING_UP) and host.meant else {}
        yield (
            f"{me}'s helper sends SIGTERM",
            _host(state, me, helper=False, signalled=host.daemon != DEAD, **hit),
            False,
        )
    if host.broker == STOPPING:
        yield f"{me}'s broker is down", _host(state, me, broker=GONE, meant=False), False
    if host.broker == CATCHING_UP:
        yield f"{me}'s broker is back in its ISRs", _host(state, me, broker=SERVING, ours=False, long_gone=False), False
    if host.daemon == DEAD:
        fresh = {"knows": False, "verdict": 0, "call": NO_CALL, "signalled": False}
        yield f"{me}'s daemon is started again", _host(state, me, daemon=UP, **fresh), False
    if host.daemon == FROZEN:
        yield f"{me}'s daemon is thawed", _host(state, me, daemon=UP), False
    if host.stay_down:
        yield f"an operator lets {me} start again", _host(state, me, stay_down=False), False


def _faults(state: State, me: int) -> Iterator[Step]:
    less = state._replace(faults=state.faults - 1)
    host = state.hosts[me]
    if host.daemon != DEAD:
        # what it had sent may be executed after its death: `call` stays, and nobody gets the answer
        yield f"{me}'s daemon dies", _host(less, me, daemon=DEAD, verdict=0, signalled=False, knows=False), True
    if host.daemon == UP:
        yield f"{me}'s daemon is frozen", _host(less, me, daemon=FROZEN), True
    if host.broker in (SERVING, CATCHING_UP):
        yield f"{me}'s broker dies by itself", _host(less, me, broker=GONE, meant=False), True
    if host.call in (TAKE_SENT, RELEASE_SENT, TAKE_DONE, RELEASE_DONE):
        yield f"{me}'s connection is lost", _host(less, me, call=NO_CALL, knows=False, verdict=0), True
    if host.wanted:
        yield f"an operator cancels {me}'s restart", _host(less, me, wanted=False), True
        if not host.stay_down:
            yield f"an operator wants {me} to stay down", _host(less, me, stay_down=True), True
    if host.recorded:
        lost = {"recorded": False, "intended": False, "meant": False}
        gone = {"broker": GONE, "daemon": DEAD, "knows": False, "verdict": 0, "helper": False, "signalled": False}
        yield f"{me}'s host is replaced, its state file is lost", _host(less, me, **lost, **gone), True


def _time_passes(state: State, variant: Variant) -> State:
    hosts = tuple(
        h._replace(
            verdict=0,
            helper=h.helper and not variant.helper_timer,
            long_gone=h.long_gone or (h.broker != SERVING and not h.ours),
        )
        for h in state.hosts
    )
    return state._replace(hosts=hosts)


def _host(state: State, me: int, **changes: object) -> State:
    hosts = list(state.hosts)
    hosts[me] = hosts[me]._replace(**changes)  # type: ignore[arg-type]
    return state._replace(hosts=tuple(hosts))


def _written(state: State, me: int, entry: int, variant: Variant) -> State:
    """The permit with my entry changed. What everybody knew of it is outdated, and what was sent on that is refused."""
    entries = list(state.entries)
    entries[me] = entry
    hosts = tuple(h if i == me else _outdated(h, variant) for i, h in enumerate(state.hosts))
    return state._replace(entries=tuple(entries), hosts=hosts)


def _outdated(host: Host, variant: Variant) -> Host:
    if not variant.compare_and_set:
        return host._replace(knows=False)
    # also an answer that is under way tells of a version that is not the newest any more
    call = _OUTDATED.get(host.call, host.call)
    return host._replace(knows=False, call=call)


def _maintenance(state: State, variant: Variant, faults: int) -> State:
    lost = TAKE_LOST if variant.check_maintenance else TAKE_SENT
    hosts = tuple(h._replace(call=lost if h.call == TAKE_SENT else h.call, knows=False) for h in state.hosts)
    return state._replace(maintenance=not state.maintenance, hosts=hosts, faults=faults)
