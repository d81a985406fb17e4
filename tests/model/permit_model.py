"""Hosts that stop their brokers by `bubuku.core.permit.RULES`, and everything that can come in between.

A state is one immutable tuple; `successors` gives each step that can come next. The daemons' own steps are the
product's rules, evaluated on facts drawn from the state; the rest is the world: calls that are executed, refused,
or lost and executed much later, daemons that die or freeze, helpers that are late, brokers that die or hang by
themselves, disks that are lost, operators that change their mind. Time is one step, `three seconds pass`: verdicts and
helpers older than that are worth nothing, and whoever was down by then is known to be down.

The shared partition has a replica on each host and needs all but one in sync, so stopping a second broker is always
wrong: it is the smallest cluster in which nearly every rule matters. `Variant.apart` is one whose brokers share no
partition, where the guard always says yes.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from bubuku.core.permit import RULES, Facts, Move, Rule, Verdict, decide

DEAD, UP, FROZEN = 0, 1, 2  # a daemon
GONE, SERVING, CATCHING_UP, STOPPING, HUNG = range(5)  # a broker; HUNG: in its stop
HERE, ELSEWHERE, MOVED = range(3)  # it has joined this ZooKeeper; another one; this one, with a stop begun there
NO_ENTRY, WORKING, ON_PURPOSE = range(3)
NO_CALL, TAKE, DROP, REST, SETTLE = range(5)  # what a daemon has sent, and waits for
DONE, REFUSED = 10, 20  # …added to it: that happened, and the answer is on its way
NOTHING, YES, NO, YES_COMES, NO_COMES, OLD_COMES = range(6)  # the guard's verdict
VERDICTS = (Verdict.NONE, Verdict.YES, Verdict.NO, Verdict.NONE, Verdict.NONE, Verdict.NONE)
_ARRIVED = {YES_COMES: YES, NO_COMES: NO, OLD_COMES: NOTHING}
_AGED = {YES_COMES: OLD_COMES, NO_COMES: OLD_COMES, OLD_COMES: OLD_COMES}


class Host(NamedTuple):
    daemon: int = UP
    wanted: bool = True
    stay_down: bool = False
    # the daemon's memory
    knows: bool = False  # it has read the permit as it is, as far as that can change what it does
    verdict: int = NOTHING
    call: int = NO_CALL
    unsettled: bool = False  # it does not know what became of a write of its own
    heir: bool = False  # it has settled nothing of its predecessor's
    sending: bool = False  # its helper is under way
    signalled: bool = False
    # what outlives its daemon
    helper: bool = False
    lost: int = NO_CALL  # a write that nobody waits for any more, and that may be executed yet
    # the state file
    recorded: bool = False
    intended: bool = False
    meant: bool = False  # the process that the intent was for has not ended
    root: int = HERE
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
    intend_first: bool = True  # the intent is on disk before SIGTERM
    ask_joined: bool = True  # whose daemon has not acknowledged this ZooKeeper may go down at any instant
    ask_brokers: bool = True  # who is dead counts as gone, whatever metadata still says
    settle: bool = True  # after an unknown outcome the permit is rewritten before anything rests on it
    settle_as_heir: bool = True  # …and by a daemon that finds a stop that it did not begin itself
    settle_after_adopting: bool = True  # …and by one that finds an entry that its disk does not know
    knows_its_own: bool = True  # who adopts an entry does not stop a broker that it has started since by itself
    apart: bool = False  # the cluster's, and not a mistake: the brokers share no partition


class Step(NamedTuple):
    """What happens, what is then, whether it is a fault, and what the daemon rested it on, where it is its own."""

    line: str
    after: State
    fault: bool = False
    host: int = 0
    move: Move | None = None
    facts: Facts | None = None


SOUND = Variant()


def initial(hosts: int, faults: int) -> State:
    return State((Host(),) * hosts, (NO_ENTRY,) * hosts, False, faults)


@cache
def _move(facts: Facts, rules: tuple[Rule, ...]) -> tuple[str, Move]:
    rule, move = decide(facts, rules)
    return (rule.name if rule is not None else "no rule applies"), move


@cache
def _facts(host: Host, entry: int, others_working: bool, maintenance: bool, variant: Variant) -> Facts:
    known = host.knows and not _must_settle(host, variant)
    return Facts(
        wanted=host.wanted,
        lies_down=host.wanted and host.stay_down and host.broker == GONE,
        stay_down=host.stay_down,
        maintenance=maintenance and host.knows,
        permit_known=known,
        entry=known and entry != NO_ENTRY,
        entry_is_recorded=known and entry != NO_ENTRY and host.recorded,
        others_working=known and others_working,
        moved=host.root == MOVED,
        recorded=host.recorded,
        intended=host.intended,
        same_process=host.meant and host.broker != GONE,
        alive=host.broker != GONE,
        verdict=VERDICTS[host.verdict] if known else Verdict.NONE,
        judging=host.verdict in _ARRIVED,
        taking=host.call != NO_CALL,
        signalling=host.sending,
        signalled=host.signalled,
        back=host.broker == SERVING and not host.meant,
    )


def _must_settle(host: Host, variant: Variant) -> bool:
    return (host.unsettled and variant.settle) or (host.recorded and host.heir)


def successors(state: State, variant: Variant) -> Iterator[Step]:
    for me, host in enumerate(state.hosts):
        if host.daemon == UP:
            yield from _daemon(state, me, variant)
            yield from _answers(state, me, variant)
        yield from _zookeeper(state, me, variant)
        yield from _machine(state, me, variant)
        if state.faults:
            yield from _faults(state, me, variant)
    if state.faults and any(h.root == HERE for h in state.hosts):
        yield Step("ZooKeeper is wiped", _wiped(state), fault=True)
    passed = _time_passes(state, variant)
    if passed != state:
        yield Step("three seconds pass", passed)
    if state.maintenance:
        yield Step("an operator switches maintenance off", _maintenance(state, variant, state.faults))
    elif state.faults:
        yield Step("an operator switches maintenance on", _maintenance(state, variant, state.faults - 1), fault=True)


def _daemon(state: State, me: int, variant: Variant) -> Iterator[Step]:
    host = state.hosts[me]
    others_working = any(entry == WORKING for i, entry in enumerate(state.entries) if i != me)
    facts = _facts(host, state.entries[me], others_working, state.maintenance, variant)
    name, move = _move(facts, variant.rules)
    if _must_settle(host, variant) and host.call == NO_CALL and host.root != ELSEWHERE:
        yield Step(f"{me} settles what may be on its way", _host(state, me, call=SETTLE))
        if move is not Move.START:
            return
    for changes in _act(state, me, variant, move):
        yield Step(f"{me} {move.value} ({name})", _host(state, me, **changes), False, me, move, facts)
    if host.broker == GONE and not host.intended:
        yield Step(f"{me} starts its broker, which died by itself", _host(state, me, broker=CATCHING_UP, meant=False))


def _act(state: State, me: int, variant: Variant, move: Move) -> Iterator[dict[str, object]]:
    """What the move changes of its host, in each way that it may turn out."""
    host, entry = state.hosts[me], state.entries[me]
    if move is Move.ADOPT:
        kept = entry == ON_PURPOSE
        # a broker that runs was started since the state file was lost, and so was told nothing
        meant = (kept or not variant.knows_its_own) and host.broker != GONE
        intent = {"recorded": True, "intended": True, "meant": meant, "stay_down": kept, "root": HERE}
        yield intent if variant.settle_after_adopting else {**intent, "heir": False}
    elif move is Move.NOTE:
        yield {"recorded": True, "heir": False}
    elif move is Move.JUDGE:
        yield {"verdict": _judge(state, me, variant)}
    elif move is Move.TAKE:
        yield {"call": TAKE}
    elif move is Move.ACKNOWLEDGE:
        yield {"root": HERE}
    elif move is Move.INTEND:
        intent = {"intended": variant.intend_first, "meant": host.broker != GONE, "signalled": False}
        yield intent if variant.intend_first else {**intent, "helper": True, "sending": True}
    elif move is Move.SIGNAL:
        yield {"helper": True, "sending": True}
    elif move is Move.START:
        yield {"broker": CATCHING_UP, "meant": False, "signalled": False}
    elif move is Move.KEEP_DOWN and entry == WORKING and host.knows and host.call == NO_CALL:
        yield {"call": REST}
    elif move in (Move.WITHDRAW, Move.RELEASE):
        yield {"call": DROP}
    elif move is Move.FORGET:
        done = {"wanted": False} if host.intended else {}
        yield {"recorded": False, "intended": False, "meant": False, "signalled": False, "root": HERE, **done}
    elif move is Move.WAIT and host.signalled and host.broker == HUNG:
        yield {"broker": GONE, "meant": False}  # by SIGKILL, when it flushed nothing for long


def _judge(state: State, me: int, variant: Variant) -> int:
    """The guard: all others in the ISR, not in the permit, and (having answered) alive."""
    for other, host in enumerate(state.hosts):
        if other == me:
            continue
        if host.root != HERE and variant.ask_joined:
            return NO_COMES
        if variant.apart:
            continue
        # one that was told to stop answers for a while
        seen = host.broker in (SERVING, STOPPING) or (host.broker == GONE and not variant.ask_brokers)
        if state.entries[other] != NO_ENTRY or not seen:
            return NO_COMES
    return YES_COMES


def _answers(state: State, me: int, variant: Variant) -> Iterator[Step]:
    """What its daemon learns."""
    host = state.hosts[me]
    if not host.knows and host.call == NO_CALL and host.root != ELSEWHERE:
        kept = host.verdict if not variant.evidence_after_read else _AGED.get(host.verdict, NOTHING)
        yield Step(f"{me} reads the permit", _host(state, me, knows=True, verdict=kept))
    if host.verdict in _ARRIVED:
        yield Step(f"{me} gets the guard's verdict", _host(state, me, verdict=_ARRIVED[host.verdict]))
    if host.call == TAKE + DONE:
        yield Step(f"{me} learns that its entry is in the permit", _host(state, me, call=NO_CALL, knows=True))
    elif host.call == SETTLE + DONE:
        settled = {"unsettled": False, "heir": False}
        yield Step(f"{me} learns that all is settled", _host(state, me, call=NO_CALL, knows=False, **settled))
    elif host.call >= DONE:
        what = "the permit is another one now" if host.call >= REFUSED else "that is done"
        verdict = _AGED.get(host.verdict, NOTHING)
        yield Step(f"{me} learns that {what}", _host(state, me, call=NO_CALL, knows=False, verdict=verdict))


def _zookeeper(state: State, me: int, variant: Variant) -> Iterator[Step]:
    host, entry = state.hosts[me], state.entries[me]
    wanted = {TAKE: WORKING, DROP: NO_ENTRY, REST: ON_PURPOSE if entry != NO_ENTRY else entry, SETTLE: entry}
    names = {TAKE: "transaction", DROP: "removal", REST: "mark", SETTLE: "rewriting"}
    if host.call in wanted:
        executed = _written(state, me, wanted[host.call], variant)
        yield Step(f"{me}'s {names[host.call]} is executed", _host(executed, me, call=host.call + DONE))
    if host.lost in wanted:
        executed = _written(state, me, wanted[host.lost], variant)
        yield Step(f"{me}'s {names[host.lost]} is executed late", _host(executed, me, lost=NO_CALL, knows=False))


def _machine(state: State, me: int, variant: Variant) -> Iterator[Step]:
    """Its processes."""
    host = state.hosts[me]
    if host.helper:
        hit = host.meant and host.broker != GONE
        stopped = {"broker": STOPPING, "ours": True} if hit and host.broker in (SERVING, CATCHING_UP) else {}
        seen = {"signalled": hit or host.signalled, "sending": False} if host.sending else {}
        yield Step(f"{me}'s helper sends SIGTERM", _host(state, me, helper=False, **seen, **stopped))
    if host.broker == STOPPING:
        yield Step(f"{me}'s broker is down", _host(state, me, broker=GONE, meant=False))
    if host.broker == HUNG and not host.recorded:
        yield Step(f"an operator kills {me}'s broker, which hangs", _host(state, me, broker=GONE, meant=False))
    if host.broker == CATCHING_UP:
        yield Step(f"{me}'s broker is back in its ISRs", _host(state, me, broker=SERVING, ours=False, long_gone=False))
    if host.daemon == DEAD:
        heir = variant.settle_as_heir or not host.recorded
        yield Step(f"{me}'s daemon is started again", _host(state, me, daemon=UP, heir=heir))
    if host.daemon == FROZEN:
        yield Step(f"{me}'s daemon is thawed", _host(state, me, daemon=UP))
    if host.root == ELSEWHERE:
        heir, kept = variant.settle_as_heir or not host.intended, host.intended
        joined = {**_dead(host), "daemon": UP, "heir": heir, "recorded": kept, "root": MOVED if kept else HERE}
        joined["ours"] = host.ours and (kept or host.broker in (STOPPING, HUNG))  # else nobody knows of it
        yield Step(f"an operator lets {me} join the new ZooKeeper", _host(state, me, **joined))
    if _waits_for_another(state, me):
        line = f"an operator releases {me}'s entry, as two wait for each other"
        yield Step(line, _released(state, me, variant))
    if host.stay_down:
        yield Step(f"an operator lets {me} start again", _host(state, me, stay_down=False))


def _faults(state: State, me: int, variant: Variant) -> Iterator[Step]:
    less, host, entry = state._replace(faults=state.faults - 1), state.hosts[me], state.entries[me]
    dead = _dead(host)
    if host.daemon != DEAD:
        yield Step(f"{me}'s daemon dies", _host(less, me, **dead), fault=True)
    if host.daemon == UP:
        yield Step(f"{me}'s daemon is frozen", _host(less, me, daemon=FROZEN), fault=True)
    if host.broker in (SERVING, CATCHING_UP):
        yield Step(f"{me}'s broker dies by itself", _host(less, me, broker=GONE, meant=False), fault=True)
    if host.broker == STOPPING:
        yield Step(f"{me}'s broker hangs in its stop", _host(less, me, broker=HUNG), fault=True)
    if host.call != NO_CALL and host.call < REFUSED:
        unknown = {"call": NO_CALL, "knows": False, "verdict": NOTHING, "lost": _on_its_way(host)}
        owed = {"unsettled": True} if host.call % DONE != SETTLE else {}
        yield Step(f"{me}'s connection is lost", _host(less, me, **unknown, **owed), fault=True)
    if host.wanted:
        yield Step(f"an operator cancels {me}'s restart", _host(less, me, wanted=False), fault=True)
        if not host.stay_down:
            yield Step(f"an operator wants {me} to stay down", _host(less, me, stay_down=True), fault=True)
    if host.recorded:
        disk = {"recorded": False, "intended": False, "meant": False, "stay_down": False, "helper": False}
        disk |= {"root": HERE, "ours": host.ours and host.root == HERE}
        replaced = _host(less, me, **{**dead, **disk, "broker": GONE})
        yield Step(f"{me}'s host is replaced, its state file is lost", replaced, fault=True)
    left_alone = host.daemon == DEAD and host.broker in (SERVING, GONE)
    if entry != NO_ENTRY and not host.helper and (left_alone or host.broker == HUNG):
        why = "its daemon is gone" if left_alone else "its stop hangs"
        yield Step(f"an operator releases {me}'s entry, as {why}", _released(less, me, variant), fault=True)


def _released(state: State, me: int, variant: Variant) -> State:
    """If it is down, then by itself from now on, and for long once three seconds have passed."""
    return _host(_written(state, me, NO_ENTRY, variant), me, knows=False, ours=False)


def _waits_for_another(state: State, me: int) -> bool:
    """Two stops were made ready, of which only an operator can say that nobody was told to stop: each bars the other.

    That takes a stop whose entry was removed without its daemon's knowing of it, a second one since, and a wiped
    ZooKeeper, into whose root both entries are written.
    """
    ready = [
        h.intended and h.meant and h.broker == SERVING and not h.helper and h.root == HERE and entry == WORKING
        for h, entry in zip(state.hosts, state.entries, strict=True)
    ]
    return ready[me] and ready.count(True) > 1 and state.hosts[me].verdict == NO


def _dead(host: Host) -> dict[str, object]:
    """What is left of a daemon: what it had sent may be executed after its death, and nobody gets the answer."""
    memory = {"knows": False, "verdict": NOTHING, "call": NO_CALL, "sending": False, "signalled": False}
    return {"daemon": DEAD, "lost": _on_its_way(host), "unsettled": False, **memory}


def _on_its_way(host: Host) -> int:
    return host.call if host.call in (TAKE, DROP, REST) else host.lost


def _time_passes(state: State, variant: Variant) -> State:
    hosts = tuple(
        h._replace(
            verdict=_AGED.get(h.verdict, NOTHING),
            helper=h.helper and not variant.helper_timer,
            sending=h.sending and not variant.helper_timer,
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
    """The permit with my entry so. What others knew of it is outdated, and what was sent over an older one fails."""
    entries = (*state.entries[:me], entry, *state.entries[me + 1 :])
    hosts = tuple(
        h._replace(lost=NO_CALL if variant.compare_and_set else h.lost)
        if i == me
        else _outdated(h, entries[i], variant)
        for i, h in enumerate(state.hosts)
    )
    return state._replace(entries=entries, hosts=hosts)


def _outdated(host: Host, entry: int, variant: Variant) -> Host:
    """Who has an entry may not have heard of it for a while, and goes on."""
    knows = host.knows and entry != NO_ENTRY
    if not variant.compare_and_set:
        return host._replace(knows=knows)
    # a removal, a mark and a rewriting begin anew by themselves
    return host._replace(knows=knows, call=TAKE + REFUSED if host.call == TAKE else host.call, lost=NO_CALL)


def _maintenance(state: State, variant: Variant, faults: int) -> State:
    def seen(h: Host) -> Host:
        if not variant.check_maintenance:
            return h._replace(knows=False)
        call = TAKE + REFUSED if h.call == TAKE else h.call
        return h._replace(knows=False, call=call, lost=NO_CALL if h.lost == TAKE else h.lost)

    return state._replace(maintenance=not state.maintenance, hosts=tuple(map(seen, state.hosts)), faults=faults)


def _wiped(state: State) -> State:
    """Nobody's entry, nor anything that was on its way, is there any more; the daemons hold, and the brokers go on."""
    forgotten = {"knows": False, "verdict": NOTHING, "call": NO_CALL, "lost": NO_CALL, "unsettled": False}
    hosts = tuple(h._replace(root=ELSEWHERE, **forgotten) for h in state.hosts)  # type: ignore[arg-type]
    return State(hosts, (NO_ENTRY,) * len(hosts), False, state.faults - 1)
