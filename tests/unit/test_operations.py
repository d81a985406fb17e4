"""What operators ask for, against changes, permit and Kafka in memory: what is taken, refused, and not known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from bubuku.core.actions import Outcome, Result
from bubuku.core.change import KINDS
from bubuku.core.errors import BubukuError, RefusedError, TimedOutError, UnavailableError, UsageError
from bubuku.core.guard import Verdict, objections
from bubuku.core.model import ClusterView, Partition
from bubuku.core.roll import Turn
from bubuku.core.shared import Change, ChangeState, Maintenance, Permit
from bubuku.operations import Operations, Request
from bubuku.submission import Plan
from tests.support import operators
from tests.support import published as make
from tests.support.operators import BLOCKED, ENTRY, HEALTHY, Clock, Kafka, Meeting, change


@pytest.fixture
def meeting() -> Meeting:
    return Meeting()


@pytest.fixture
def kafka() -> Kafka:
    return Kafka()


@pytest.fixture
def asked(meeting: Meeting, kafka: Kafka) -> Operations:
    return operators.operations(meeting, kafka)


def restart(*nodes: int, **more: Any) -> Request:
    return Request("restart", nodes, "anna@desk", **more)


# --- submission -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(name for name, kind in KINDS.items() if kind.child is None))
def test_a_change_is_written_for_each_broker_in_that_order(
    asked: Operations, meeting: Meeting, kafka: Kafka, kind: str
) -> None:
    answer = asked.submit(Request(kind, (3, 1), "anna@desk", "new settings"))
    assert [(c.sequence, c.node_id, c.kind, c.state) for c in answer.changes] == [
        (100, 3, kind, ChangeState.QUEUED),
        (101, 1, kind, ChangeState.QUEUED),
    ]
    assert answer.changes == meeting.known.changes
    assert answer.changes[0].text == "new settings"
    assert len({c.uuid for c in answer.changes}) == 2
    assert kafka.asked == ([frozenset({3}), frozenset({1})] if KINDS[kind].stops else [])


def test_a_parent_is_one_change_of_several_brokers(asked: Operations, meeting: Meeting, kafka: Kafka) -> None:
    (made,) = asked.submit(Request("roll", (3, 1), "anna@desk")).changes
    assert (made.node_id, made.nodes, made.sentence) == (None, (3, 1), "brokers 1, 3 are to be restarted")
    assert meeting.known.changes == (made,)
    assert kafka.asked == [frozenset({3}), frozenset({1})]


STOPPED = {"state": "not_running", "reason": "stopped_on_purpose"}


def roll_of(*nodes: int, **more: Any) -> Request:
    return Request("roll", nodes, "anna", **more)


def test_a_roll_says_its_order_and_how_long_it_may_take(asked: Operations, meeting: Meeting) -> None:
    took = ((100.0, 110.0), (200.0, 230.0), (300.0, 312.0))
    meeting.history = [
        replace(change(n), state=ChangeState.DONE, begun_epoch=begun, ended_epoch=ended)
        for n, (begun, ended) in enumerate(took)
    ]
    plan = asked.submit(roll_of(3, 1, 2, cool_down=5.0, dry_run=True)).plan
    assert plan is not None
    assert [turn.node_id for turn in plan.turns] == [1, 3, 2]  # the controller last
    assert plan.seconds == 3 * 12.0 + 2 * 5.0
    assert meeting.created == 0
    meeting.history = []
    assert asked.submit(roll_of(1)).plan == Plan((Turn(1, "rack a"),), ((1,),), None)


@pytest.mark.parametrize(
    ("shows", "said"),
    [
        ({"maintenance": Maintenance(1, on=True)}, "maintenance is on: nothing is stopped until it is off"),
        (
            {"members": (make.member(1), make.member(2, version="2.1.0"), make.member(3))},
            "daemons of different versions are at work (2.0.0, 2.1.0); upgrade them first",
        ),
        (
            {"members": (make.member(1), make.member(2, state="held"), make.member(3))},
            "broker 2, which is not to be restarted, is held",
        ),
        (
            {"members": (make.member(1), make.member(2), make.member(3, **STOPPED))},
            "broker 3 is stopped on purpose: start it first, or leave it out",
        ),
        (
            {"members": (make.member(1, **STOPPED), make.member(2), make.member(3, **STOPPED))},
            "brokers 1, 3 are stopped on purpose: start them first, or leave them out",
        ),
    ],
)
def test_a_roll_that_could_not_go_on_is_refused(
    asked: Operations, meeting: Meeting, shows: dict[str, Any], said: str
) -> None:
    meeting.shows(**shows)
    with pytest.raises(RefusedError) as refused:
        asked.submit(roll_of(1, 3))
    assert str(refused.value) == said
    assert meeting.created == 0


def test_a_roll_of_others_goes_on_beside_a_broker_that_is_stopped_on_purpose(
    asked: Operations, meeting: Meeting
) -> None:
    meeting.shows(members=(make.member(1), make.member(2), make.member(3, **STOPPED)))
    lacking = replace(operators.SHORT, replicas=(1, 2, 3), isr=(1, 2))
    meeting.cluster = ClusterView.of(replace(make.cluster(), partitions=(lacking,)))
    assert asked.submit(roll_of(1, 2)).changes[0].nodes == (1, 2)


def test_a_roll_is_refused_while_partitions_are_out_of_sync_or_moved(
    asked: Operations, meeting: Meeting, kafka: Kafka
) -> None:
    meeting.cluster = ClusterView.of(make.cluster(under=2))
    with pytest.raises(RefusedError, match="and 1 more, which restarting would not mend"):
        asked.submit(roll_of(1))
    meeting.cluster = ClusterView.of(make.cluster())
    moved = Partition("t", 0, 1, (1, 2, 3), (1, 2, 3), adding=(3,))
    kafka.found = replace(HEALTHY, partitions=(moved,), min_isr={"t": 1})
    with pytest.raises(RefusedError, match="partitions are being moved"):
        asked.submit(roll_of(1))


def test_a_change_of_one_broker_has_no_cool_down(asked: Operations) -> None:
    with pytest.raises(UsageError, match="a restart has no cool-down and nothing parallel; a rolling restart has"):
        asked.submit(restart(1, cool_down=5.0))


ROLL = Change(7, "roll", "roll", None, ChangeState.RUNNING, "bob", 0.0, nodes=(1, 2), owner="one", epoch=1)
CHILD = Change(8, "roll/1", "restart", 1, ChangeState.RUNNING, "change 7", 0.0, parent="roll")
IN_A_ROLL = "change 7, a roll of brokers 1, 2, is open: see bubuku-cli changes show 7"


@pytest.mark.parametrize("child", [CHILD, None])
def test_a_restart_of_a_broker_that_is_yet_to_be_rolled_is_the_roll_itself(
    asked: Operations, meeting: Meeting, child: Change | None
) -> None:
    meeting.shows(changes=(ROLL, *([child] if child is not None else [])))
    assert asked.submit(restart(1)).changes == (ROLL,)
    assert meeting.created == 0


@pytest.mark.parametrize(
    ("kind", "nodes"), [("roll", (3,)), ("stop", (1,)), ("restart", (1, 3))], ids=["a second one", "stop", "in part"]
)
def test_what_cannot_stand_beside_a_roll_is_refused(
    asked: Operations, meeting: Meeting, kind: str, nodes: tuple[int, ...]
) -> None:
    meeting.shows(changes=(ROLL, CHILD))
    with pytest.raises(RefusedError, match=IN_A_ROLL):
        asked.submit(Request(kind, nodes, "anna"))


@pytest.mark.parametrize(("kind", "node"), [("restart", 3), ("stop", 3), ("start", 1), ("restart", 1)])
def test_what_a_roll_does_not_touch_or_has_done_queues_beside_it(
    asked: Operations, meeting: Meeting, kind: str, node: int
) -> None:
    done = replace(CHILD, state=ChangeState.DONE)
    meeting.shows(changes=(ROLL, done))
    (made,) = asked.submit(Request(kind, (node,), "anna")).changes
    assert (made.kind, made.node_id, meeting.created) == (kind, node, 1)


def test_a_roll_is_shown_with_what_it_asked_for(asked: Operations, meeting: Meeting) -> None:
    meeting.shows(changes=(ROLL, CHILD))
    assert asked.shown(7).children == (CHILD,)
    assert asked.shown(8).children == ()
    ended = (replace(CHILD, state=ChangeState.DONE), replace(ROLL, state=ChangeState.DONE))
    meeting.shows(changes=())
    meeting.history = [*ended, replace(CHILD, uuid="other", parent="other")]
    assert asked.shown(7).children == ended[:1]


def test_a_roll_under_way_is_ended_by_its_worker(asked: Operations, meeting: Meeting) -> None:
    meeting.shows(changes=(replace(ROLL, owner="who is gone"),))
    assert asked.cancel(7) == replace(ROLL, owner="who is gone", cancel=True)
    assert meeting.known.changes[0].state is ChangeState.RUNNING


def test_a_dry_run_is_the_same_but_for_the_writing(asked: Operations, meeting: Meeting, kafka: Kafka) -> None:
    dry = asked.submit(restart(1, dry_run=True))
    assert ([c.sequence for c in dry.changes], meeting.created) == ([-1], 0)
    assert dry.verdicts[0].allowed
    kafka.found = BLOCKED
    with pytest.raises(RefusedError) as wet:
        asked.submit(restart(1))
    with pytest.raises(RefusedError) as dried:
        asked.submit(restart(1, dry_run=True))
    assert str(wet.value) == str(dried.value)


def test_what_is_unsafe_is_refused_with_the_partition_and_counted(
    asked: Operations, meeting: Meeting, kafka: Kafka
) -> None:
    kafka.found = BLOCKED
    with pytest.raises(RefusedError, match=r"orders-1: 1 in-sync replica would be left \(2\)"):
        asked.submit(restart(1, 2))
    assert meeting.created == 0
    assert asked.refusals == {"below_min_isr": 1}


def test_what_cannot_stay_available_is_done_once_it_is_accepted(asked: Operations, kafka: Kafka) -> None:
    kafka.found = replace(HEALTHY, partitions=[Partition("orders", 0, 1, (1,), (1,))])
    with pytest.raises(RefusedError):
        asked.submit(restart(1))
    answer = asked.submit(restart(1, accept_unavailable=True))
    assert answer.changes[0].accept_unavailable
    assert answer.verdicts[0].accepted == 1


def test_while_another_broker_is_in_the_permit_it_queues(asked: Operations, meeting: Meeting, kafka: Kafka) -> None:
    """What our own stops hinder now is not refused."""
    meeting.shows(permit=Permit(4, {3: ENTRY}))
    kafka.found = BLOCKED
    answer = asked.submit(restart(1))
    assert (len(answer.changes), [v.allowed for v in answer.verdicts]) == (1, [False])
    kafka.found = UnavailableError("no Kafka broker answers")
    assert len(asked.submit(restart(2)).changes) == 1
    assert asked.refusals == {}


def test_what_can_never_be_kept_available_is_refused_all_the_same(
    asked: Operations, meeting: Meeting, kafka: Kafka
) -> None:
    """Else it would wait for ever, and a broker that is stopped on purpose may stay in the permit for days."""
    meeting.shows(permit=Permit(4, {3: ENTRY}))
    kafka.found = replace(HEALTHY, partitions=[Partition("orders", 0, 1, (1,), (1,))])
    with pytest.raises(RefusedError, match="too few replicas"):
        asked.submit(restart(1))
    assert len(asked.submit(restart(1, accept_unavailable=True)).changes) == 1


def test_its_own_entry_does_not_hinder_it(asked: Operations, meeting: Meeting, kafka: Kafka) -> None:
    meeting.shows(permit=Permit(4, {1: ENTRY}))
    kafka.found = BLOCKED
    with pytest.raises(RefusedError):
        asked.submit(restart(1))


def test_a_permit_that_is_taken_while_the_guard_looks_is_noticed(meeting: Meeting) -> None:
    """Two restarts asked at once of two daemons: the second one's guard sees the first one's broker go down."""

    class Going(Kafka):
        def evidence(self, *args: Any, **more: Any) -> Any:
            meeting.shows(permit=Permit(4, {3: ENTRY}))
            return super().evidence(*args, **more)

    assert len(operators.operations(meeting, Going(BLOCKED)).submit(restart(1)).changes) == 1


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (Request("reboot", (1,), "a"), "there is no kind of change 'reboot'; there are restart, roll, start, stop"),
        (Request("restart", (), "a"), "name at least one"),
        (restart(1, 9), "no daemon answers for broker 9; those with one are 1, 2, 3"),
    ],
)
def test_what_makes_no_sense_is_named(asked: Operations, meeting: Meeting, request_: Request, error: str) -> None:
    with pytest.raises(UsageError, match=error):
        asked.submit(request_)
    assert meeting.created == 0


def test_the_same_is_not_asked_for_twice(asked: Operations, meeting: Meeting) -> None:
    asked.submit(restart(1))
    with pytest.raises(RefusedError, match="broker 1 is being restarted already: see bubuku-cli changes show 100"):
        asked.submit(restart(2, 1))
    asked.submit(Request("start", (1,), "a"))
    assert meeting.created == 2


def test_nothing_is_taken_beside_an_original_daemon(asked: Operations, meeting: Meeting) -> None:
    meeting.shows(predecessor_v1=True)
    with pytest.raises(RefusedError, match="original"):
        asked.submit(restart(1))


WRITING: list[Callable[[Operations], object]] = [
    lambda asked: asked.submit(restart(1)),
    lambda asked: asked.submit(restart(1, dry_run=True)),
    lambda asked: asked.cancel(7),
    lambda asked: asked.set_maintenance(True, "anna", None, None),
    lambda asked: asked.release(1),
]


@pytest.mark.parametrize("write", WRITING)
@pytest.mark.parametrize(("marker", "there"), [(None, "carries no marker"), ("another", "carries marker another")])
def test_nothing_is_asked_for_in_a_zookeeper_that_was_wiped_or_is_another_one(
    asked: Operations, meeting: Meeting, write: Callable[[Operations], object], marker: str | None, there: str
) -> None:
    meeting.shows(marker=marker, permit=Permit(3, {1: ENTRY}), changes=(change(7),))
    before = meeting.view
    with pytest.raises(RefusedError, match=f"{there}, and this daemon has joined {make.MARKER}"):
        write(asked)
    assert meeting.view == before
    assert asked.changes(0) == (change(7),), "what is there is shown"


@pytest.mark.parametrize("write", WRITING)
def test_before_the_daemon_has_joined_nothing_is_asked_for(
    meeting: Meeting, kafka: Kafka, write: Callable[[Operations], object]
) -> None:
    with pytest.raises(UnavailableError, match="has not joined this ZooKeeper yet"):
        write(operators.operations(meeting, kafka, marker=None))


@pytest.mark.parametrize("view", [None, "away"])
def test_without_zookeeper_nothing_is_taken_nor_told(asked: Operations, meeting: Meeting, view: str | None) -> None:
    meeting.view = None if view is None else replace(meeting.known, connected=False)
    for question in (
        lambda: asked.submit(restart(1)),
        lambda: asked.changes(20),
        lambda: asked.change(1),
        lambda: asked.cancel(1),
        lambda: asked.maintenance(),
        lambda: asked.set_maintenance(True, "a", None, None),
        lambda: asked.permit(),
        lambda: asked.release(1),
    ):
        with pytest.raises(UnavailableError, match="ZooKeeper does not answer"):
            question()


def test_a_permit_that_cannot_be_read_stops_submission(asked: Operations, meeting: Meeting) -> None:
    meeting.shows(permit=None)
    with pytest.raises(UnavailableError):
        asked.submit(restart(1))
    with pytest.raises(UnavailableError, match="the permit cannot be read"):
        asked.permit()


def test_a_slow_cluster_is_not_asked_without_end(meeting: Meeting) -> None:
    """A request for many brokers must end before its client gives up: the rest are judged before they are stopped."""
    clock = Clock()

    class Slow(Kafka):
        def evidence(self, *args: Any, **more: Any) -> Any:
            clock.ahead += 6.0
            return super().evidence(*args, **more)

    slow = Slow()
    answer = operators.operations(meeting, slow, clock).submit(restart(1, 2, 3))
    assert (len(answer.changes), len(answer.verdicts), len(slow.asked)) == (3, 2, 2)


# --- what became of it ------------------------------------------------------------------------------------------------


def test_the_open_ones_come_first_and_then_the_newest(asked: Operations, meeting: Meeting) -> None:
    meeting.history = [change(n, state=ChangeState.DONE) for n in (1, 2, 3)]
    meeting.shows(changes=(change(4), change(5)))
    assert [c.sequence for c in asked.changes(2)] == [4, 5, 3, 2]
    assert [c.sequence for c in asked.changes(0)] == [4, 5]


def test_a_change_is_looked_for_where_it_is_now_and_not_in_what_was_read_last(meeting: Meeting, kafka: Kafka) -> None:
    """A daemon that is asked right after another one took the request has not read it yet."""
    stale = replace(meeting.known)
    asked = operators.operations(meeting, kafka)
    asked.submit(restart(1))
    late = operators.operations(meeting, kafka)
    late._view = lambda: operators.Dated(0.0, stale)  # what this daemon read last
    assert late.change(100).kind == "restart"
    with pytest.raises(UsageError, match="there is no change 7"):
        late.change(7)


def test_an_ended_change_is_found(asked: Operations, meeting: Meeting) -> None:
    meeting.history = [change(3, state=ChangeState.FAILED)]
    assert asked.change(3).state is ChangeState.FAILED


def test_cancelling_what_somebody_works_on(asked: Operations, meeting: Meeting) -> None:
    """Its broker's own daemon ends it, when it has started the broker again."""
    meeting.shows(changes=(change(4, state=ChangeState.RUNNING),))
    assert asked.cancel(4, dry_run=True).cancel
    assert not meeting.known.changes[0].cancel
    assert asked.cancel(4).cancel
    assert meeting.known.changes[0].cancel


def test_cancelling_what_nobody_has_begun_ends_it(asked: Operations, meeting: Meeting) -> None:
    meeting.shows(changes=(change(4),))
    assert asked.cancel(4).state is ChangeState.CANCELLED
    assert meeting.known.changes == ()
    assert meeting.history[0].sentence == "cancelled before anything was stopped"


@pytest.mark.parametrize(
    ("members", "entries", "ended"),
    [((2, 3), {}, True), ((2, 3), {1: ENTRY}, False), ((2, 3), None, False), ((1, 2, 3), {}, False)],
)
def test_what_a_lost_host_began_is_ended_unless_it_is_in_the_permit(
    asked: Operations, meeting: Meeting, members: tuple[int, ...], entries: Any, ended: bool
) -> None:
    meeting.shows(
        changes=(change(4, state=ChangeState.RUNNING),),
        members=tuple(map(make.member, members)),
        permit=None if entries is None else Permit(4, entries),
    )
    found = asked.cancel(4)
    assert (found.state is ChangeState.CANCELLED, found.cancel) == (ended, True)
    assert bool(meeting.history) is ended


def test_a_change_that_is_begun_just_then_is_cancelled_as_such(asked: Operations, meeting: Meeting) -> None:
    meeting.shows(changes=(change(4),))
    meeting.writing = Outcome(Result.REFUSED, 0.0, 1.0, "its document has changed meanwhile")
    assert asked.cancel(4).state is ChangeState.QUEUED
    assert meeting.known.changes[0].cancel
    meeting.writing = Outcome(Result.UNKNOWN, 0.0, 1.0, "ZooKeeper gave no answer")
    with pytest.raises(TimedOutError, match="see: bubuku-cli changes show 4"):
        asked.cancel(4)


@pytest.mark.parametrize("dry_run", [False, True])
def test_what_has_ended_cannot_be_cancelled(asked: Operations, meeting: Meeting, dry_run: bool) -> None:
    meeting.history = [change(3, state=ChangeState.DONE)]
    with pytest.raises(UsageError, match="change 3 has ended already: done"):
        asked.cancel(3, dry_run)
    with pytest.raises(UsageError, match="there is no change 4"):
        asked.cancel(4, dry_run)


# --- maintenance and the permit ---------------------------------------------------------------------------------------


def test_maintenance(asked: Operations, meeting: Meeting) -> None:
    asked.set_maintenance(True, "anna", "disks", 60.0, dry_run=True)
    assert not asked.maintenance().on
    asked.set_maintenance(True, "anna", "disks", 60.0)
    found = asked.maintenance()
    assert (found.on, found.by, found.text) == (True, "anna", "disks")
    meeting.shows(maintenance=None)
    with pytest.raises(UnavailableError):
        asked.maintenance()


def test_maintenance_ends_by_itself() -> None:
    assert not Maintenance(1, on=True, since_epoch=10.0, until_epoch=20.0).holds(20.0)


LOST = (make.member(1), make.member(2))  # broker 3 has no daemon


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize(
    ("cause", "instead"),
    [
        ("uuid-8", "cancel its change instead: bubuku-cli changes cancel 8"),
        (None, "it takes its entry out by itself"),
        ("has ended", "it takes its entry out by itself"),
    ],
)
def test_what_its_daemon_is_at_work_on_is_not_released(
    asked: Operations, meeting: Meeting, cause: str | None, instead: str, dry_run: bool
) -> None:
    """It may be told to stop in this very moment, and nobody would count it as down."""
    permit = Permit(4, {3: replace(ENTRY, change=cause)})
    meeting.shows(permit=permit, changes=(change(7), change(8, node_id=3)))
    with pytest.raises(RefusedError) as refused:
        asked.release(3, dry_run)
    assert str(refused.value) == f"the daemon of broker 3 is at work on it; {instead}"
    assert meeting.known.permit == permit


def test_what_rests_is_released_whoever_is_there(asked: Operations, meeting: Meeting) -> None:
    meeting.shows(permit=Permit(4, {3: replace(ENTRY, working=False)}))
    asked.release(3)
    assert asked.permit() == {}


def test_releasing(asked: Operations, meeting: Meeting) -> None:
    meeting.shows(permit=Permit(4, {3: ENTRY}), members=LOST)
    assert asked.release(3, dry_run=True) == ENTRY
    assert asked.permit() == {3: ENTRY}
    assert asked.release(3) == ENTRY
    assert asked.permit() == {}
    with pytest.raises(UsageError, match="broker 3 is not in the permit"):
        asked.release(3)


@pytest.mark.parametrize(
    ("result", "error"),
    [(Result.FAILED, UnavailableError), (Result.REFUSED, UnavailableError), (Result.UNKNOWN, TimedOutError)],
)
def test_a_release_that_was_not_done_is_not_told_as_done(
    asked: Operations, meeting: Meeting, result: Result, error: type[BubukuError]
) -> None:
    meeting.shows(permit=Permit(4, {3: ENTRY}), members=LOST)
    meeting.dropping = Outcome(result, 0.0, 1.0, "ZooKeeper gave no answer")
    with pytest.raises(error, match="ZooKeeper gave no answer"):
        asked.release(3)


def test_what_says_no_has_a_code() -> None:
    assert objections(Verdict((1,), (), unknown="who leads")) == ("unknown",)
    assert objections(Verdict((1,), (), quorum="two of three", unknown="x")) == ("quorum", "unknown")
    assert objections(Verdict((1,), ())) == ()
