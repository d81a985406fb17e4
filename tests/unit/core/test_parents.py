"""Parents, claimed by any member, and changes that nobody works on: what this member writes next."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bubuku.core import parents, roll
from bubuku.core.actions import Action, FindBatch, Outcome, RestPermit, Result, WriteChange
from bubuku.core.left_behind import GONE_SECONDS
from bubuku.core.memory import Memory
from bubuku.core.model import CoordinationView, Member
from bubuku.core.observation import Observation
from bubuku.core.parents import TAKE_OVER_SECONDS
from bubuku.core.shared import Change, ChangeState, Entry
from tests.support.observations import INSTANCE, NOW
from tests.support.stops import ON, agreed, done, serving

OTHER = "instance-2"
ROLL = Change(
    5, "roll", "roll", None, ChangeState.RUNNING, "ann", 0.0, text="a patch", nodes=(2, 1), owner=INSTANCE, epoch=1
)
QUEUED = replace(ROLL, state=ChangeState.QUEUED, owner=None, epoch=0, phase="queued")


def member(node_id: int, instance: str) -> Member:
    return Member(node_id, f"host-{node_id}", instance, ("broker",), "1", None, None, "serving", "", 0.0)


MEMBERS = (member(1, INSTANCE), member(2, OTHER))


def child(node: int, state: ChangeState = ChangeState.RUNNING, **changes: Any) -> Change:
    usual = Change(10 + node, f"roll/{node}", "restart", node, state, "change 5", 0.0, parent="roll", version=3)
    return replace(usual, **changes)


def seen(*changes: Change, members: tuple[Member, ...] = MEMBERS, **more: Any) -> Observation:
    """Each parent has noted for whom it asked: for whom there is a child."""
    asked = {c.parent: tuple(o.node_id for o in changes if o.parent == c.parent and o.node_id) for c in changes}
    noted = (c if c.node_id is not None or c.asked else replace(c, asked=asked.get(c.uuid, ())) for c in changes)
    view = agreed(*noted, members=members, **more)
    return serving(view)


def next_write(*changes: Change, memory: Memory | None = None, **more: Any) -> Action | None:
    return parents.step(memory if memory is not None else Memory(), seen(*changes, **more))[1]


def written(*changes: Change, **more: Any) -> WriteChange:
    found = next_write(*changes, **more)
    assert isinstance(found, WriteChange), found
    return found


def test_a_queued_parent_is_claimed_by_any_member() -> None:
    claim = written(QUEUED).change
    assert (claim.owner, claim.epoch, claim.state, claim.version) == (INSTANCE, 1, ChangeState.RUNNING, QUEUED.version)
    assert claim.sentence == "0 of 2 done"


def test_of_two_that_were_asked_for_at_once_the_second_is_refused() -> None:
    running_elsewhere = replace(ROLL, owner=OTHER)
    ended = written(running_elsewhere, replace(QUEUED, sequence=6, uuid="next")).change
    assert (ended.sequence, ended.state) == (6, ChangeState.FAILED)
    assert ended.sentence == "refused: change 5, a roll of brokers 1, 2, was open already"


def test_a_child_that_was_asked_for_and_is_not_seen_yet_is_waited_for() -> None:
    """Documents are read one after the other: the parent's may be newer than the list of what there is."""
    asked = replace(ROLL, asked=(1,))
    assert next_write(asked) is None
    assert next_write(replace(asked, cancel=True)) is None
    assert [c.node_id for c in written(asked, child(1, ChangeState.DONE)).created] == [2]
    assert written(asked, child(1, ChangeState.DONE)).change.asked == (1, 2)


def test_its_first_child_is_asked_for_in_one_transaction_with_its_step() -> None:
    found = written(ROLL)
    (made,) = found.created
    assert (made.node_id, made.kind, made.parent, made.state) == (1, "restart", "roll", ChangeState.QUEUED)
    assert (made.asked_by, made.text, made.accept_unavailable) == ("change 5", "a patch", False)
    assert (found.change.version, found.change.epoch, found.change.sentence) == (
        ROLL.version,
        ROLL.epoch,
        "broker 1 is being restarted; 0 of 2 done",
    )


def test_a_child_is_the_same_whoever_asks_for_it() -> None:
    again = parents.step(Memory(), seen(ROLL))[1]
    assert again == written(ROLL)


def test_it_waits_while_a_child_is_at_work() -> None:
    told = written(ROLL, child(1))
    assert told.created == ()
    assert next_write(told.change, child(1)) is None


def test_the_next_child_follows_the_last() -> None:
    found = written(ROLL, child(1, ChangeState.DONE))
    assert [c.node_id for c in found.created] == [2]
    assert found.change.sentence == "broker 2 is being restarted; 1 of 2 done"


def test_it_ends_together_with_its_children() -> None:
    children = (child(1, ChangeState.DONE), child(2, ChangeState.DONE))
    found = written(ROLL, *children)
    assert (found.change.state, found.change.sentence) == (ChangeState.DONE, "brokers 1, 2 were restarted")
    assert (found.children, found.change.ended_epoch) == (children, serving().wall)


@pytest.mark.parametrize("state", [ChangeState.FAILED, ChangeState.CANCELLED])
def test_no_further_child_after_one_that_was_not_done(state: ChangeState) -> None:
    lost = child(1, state, sentence="it does not come back")
    found = written(ROLL, lost)
    assert (found.change.state, found.created, found.children) == (state, (), (lost,))
    assert found.change.sentence == "broker 1: it does not come back; none was restarted"


def test_cancelled_it_has_its_child_ended_first() -> None:
    cancelled = replace(ROLL, cancel=True)
    asked = written(cancelled, child(1))
    assert asked == WriteChange(child(1, cancel=True))
    assert next_write(cancelled, child(1, cancel=True)) is None
    ended = written(cancelled, child(1, ChangeState.DONE)).change
    assert (ended.state, ended.sentence) == (ChangeState.CANCELLED, "cancelled; broker 1 was restarted")


DIED = (member(1, INSTANCE), member(2, OTHER), replace(member(3, "instance-3"), state="not_running"))


def test_paused_it_asks_for_nothing_more() -> None:
    told = written(replace(ROLL, paused=True), child(1, ChangeState.DONE))
    assert (told.change.phase, told.created) == ("paused", ())
    assert told.change.sentence == "paused by an operator: bubuku-cli changes resume 5; 1 of 2 done"
    assert next_write(told.change, child(1, ChangeState.DONE)) is None


def test_in_maintenance_it_asks_for_nothing() -> None:
    assert written(ROLL, maintenance=ON).change.phase == "waiting"


def test_it_is_held_up_while_another_broker_is_down_and_goes_on_when_it_is_back() -> None:
    told = written(ROLL, members=DIED)
    assert (told.change.phase, told.created) == ("held_up", ())
    assert told.change.sentence == "broker 3, which is not to be restarted, is not_running; 0 of 2 done"
    assert written(told.change).created[0].node_id == 1


def test_held_up_for_long_it_has_failed() -> None:
    _, found = aged(Memory(), ROLL, seconds=roll.HELD_UP_SECONDS - 1, members=DIED)
    assert isinstance(found, WriteChange)
    assert found.change.state is ChangeState.RUNNING
    _, found = aged(Memory(), ROLL, seconds=roll.HELD_UP_SECONDS, members=DIED)
    assert isinstance(found, WriteChange)
    assert found.change.state is ChangeState.FAILED
    assert (
        found.change.sentence
        == "broker 3, which is not to be restarted, is not_running, for 30 min; none was restarted"
    )


@pytest.mark.parametrize(
    ("parent", "more"), [(replace(ROLL, paused=True), {}), (ROLL, {"maintenance": ON})], ids=["paused", "maintenance"]
)
def test_what_is_wrong_does_not_count_while_it_waits_on_purpose(parent: Change, more: dict[str, Any]) -> None:
    memory, found = aged(Memory(), parent, seconds=roll.HELD_UP_SECONDS, members=DIED, **more)
    assert isinstance(found, WriteChange)
    assert found.change.state is ChangeState.RUNNING
    later = replace(seen(replace(ROLL, version=1), members=DIED), now=NOW + roll.HELD_UP_SECONDS + 1)
    _, found = parents.step(memory, later)
    assert isinstance(found, WriteChange)
    assert (found.change.state, found.change.phase) == (ChangeState.RUNNING, "held_up")


def test_it_cools_down_between_two_brokers() -> None:
    parent = replace(ROLL, cool_down=30.0)
    assert written(parent).created  # not before the first
    children = (child(1, ChangeState.DONE),)
    _, found = aged(Memory(), parent, *children, seconds=29)
    assert isinstance(found, WriteChange)
    assert (found.change.phase, found.created) == ("cooling_down", ())
    _, found = aged(Memory(), parent, *children, seconds=30)
    assert isinstance(found, WriteChange)
    assert [c.node_id for c in found.created] == [2]


PARALLEL = replace(ROLL, parallel=0)
STEP = ("roll", 0)


def found(*batch: int, **changes: Any) -> dict[type, Outcome]:
    return {FindBatch: done(**{"step": STEP, "batch": batch, **changes})}


def with_outcomes(outcomes: dict[type, Outcome], *changes: Change) -> Action | None:
    return parents.step(Memory(), replace(seen(*changes), outcomes=outcomes))[1]


def test_several_at_once_are_looked_for_and_asked_for_in_one_transaction() -> None:
    question = next_write(PARALLEL, others={3: Entry("token", "host-3", 0.0)})
    assert isinstance(question, FindBatch)
    assert (question.step, question.order, question.limit) == (STEP, (1, 2), 0)
    assert (question.permitted, question.alone) == ({3}, {2})
    asked = with_outcomes(found(1, 2), PARALLEL)
    assert isinstance(asked, WriteChange)
    assert [(c.node_id, c.parallel) for c in asked.created] == [(1, 0), (2, 0)]
    assert asked.change.sentence == "brokers 1, 2 are being restarted; 0 of 2 done"


def test_where_nobody_may_go_the_first_asks_by_itself_and_says_why_it_waits() -> None:
    asked = with_outcomes(found(), PARALLEL)
    assert isinstance(asked, WriteChange)
    assert [c.node_id for c in asked.created] == [1]


@pytest.mark.parametrize("result", [Result.FAILED, Result.UNKNOWN])
def test_where_no_answer_comes_in_time_the_first_asks_by_itself_too(result: Result) -> None:
    """Else the roll would say for ever what it said last."""
    asked = with_outcomes({FindBatch: Outcome(result, NOW - 5.1, NOW - 0.1, "no Kafka broker answers")}, PARALLEL)
    assert isinstance(asked, WriteChange)
    assert [c.node_id for c in asked.created] == [1]


def test_a_batch_counts_from_when_it_was_found_however_long_that_took() -> None:
    outcome = replace(found(1, 2)[FindBatch], begun=NOW - 4, ended=NOW - 0.1)
    asked = with_outcomes({FindBatch: outcome}, PARALLEL)
    assert isinstance(asked, WriteChange)
    assert [c.node_id for c in asked.created] == [1, 2]


@pytest.mark.parametrize(
    ("outcomes", "again"),
    [
        (found(1, step=("roll", 1)), True),
        (found(1, begun=NOW - 3.2), True),
        ({FindBatch: done(result=Result.FAILED, begun=NOW - 3.2)}, True),
        ({FindBatch: done(result=Result.RUNNING)}, False),
    ],
    ids=["of another step", "old", "failed a while ago", "under way"],
)
def test_a_batch_is_of_this_step_and_just_found(outcomes: dict[type, Outcome], again: bool) -> None:
    asked = with_outcomes(outcomes, PARALLEL)
    assert isinstance(asked, FindBatch) if again else not isinstance(asked, FindBatch | WriteChange)


def test_cancelled_when_all_was_done_it_is_done() -> None:
    children = (child(1, ChangeState.DONE), child(2, ChangeState.DONE))
    assert written(replace(ROLL, cancel=True), *children).change.state is ChangeState.DONE


def aged(memory: Memory, *changes: Change, seconds: float, **more: Any) -> tuple[Memory, Action | None]:
    """The same is still seen so much later."""
    memory, _ = parents.step(memory, seen(*changes, **more))
    obs = replace(seen(*changes, **more), now=NOW + seconds)
    return parents.step(memory, obs)


ALONE = (member(1, INSTANCE),)
THEIRS = replace(ROLL, owner=OTHER, epoch=4)


def test_another_members_parent_is_left_alone_while_that_one_lives() -> None:
    assert aged(Memory(), THEIRS, seconds=1e6)[1] is None


def test_a_parent_whose_worker_is_gone_is_taken_over_with_the_epoch_raised() -> None:
    assert aged(Memory(), THEIRS, seconds=TAKE_OVER_SECONDS - 0.1, members=ALONE)[1] is None
    _, found = aged(Memory(), THEIRS, seconds=TAKE_OVER_SECONDS, members=ALONE)
    assert isinstance(found, WriteChange)
    assert (found.change.owner, found.change.epoch, found.created) == (INSTANCE, 5, ())


def test_who_comes_back_within_the_time_keeps_it() -> None:
    memory, _ = parents.step(Memory(), seen(THEIRS, members=ALONE))
    memory, _ = parents.step(memory, replace(seen(THEIRS), now=NOW + 5))
    _, found = parents.step(memory, replace(seen(THEIRS, members=ALONE), now=NOW + TAKE_OVER_SECONDS))
    assert found is None


def test_what_was_counted_before_the_connection_was_lost_does_not_count() -> None:
    memory, _ = parents.step(Memory(), seen(THEIRS, members=ALONE))
    memory, _ = parents.step(memory, replace(seen(THEIRS, members=ALONE, connected=False), now=NOW + 5))
    _, found = parents.step(memory, replace(seen(THEIRS, members=ALONE), now=NOW + TAKE_OVER_SECONDS))
    assert found is None


@pytest.mark.parametrize(
    "view",
    [
        agreed(ROLL, members=MEMBERS, connected=False),
        agreed(ROLL, members=MEMBERS, marker="another-root"),
        agreed(ROLL, members=MEMBERS, member_owner=OTHER),
    ],
    ids=["no connection", "another ZooKeeper", "not our id"],
)
def test_nothing_is_written_where_it_is_not_ours_to_write(view: CoordinationView) -> None:
    assert parents.step(Memory(), serving(view))[1] is None


def test_a_newer_schema_is_left_alone() -> None:
    assert next_write(replace(ROLL, schema=99)) is None
    assert next_write(replace(QUEUED, schema=99)) is None
    assert next_write(ROLL, child(1, ChangeState.DONE, schema=99)) is None


def test_over_one_version_it_is_written_once_and_again_after_a_while() -> None:
    memory, first = parents.step(Memory(), seen(ROLL))
    assert first is not None
    memory, again = parents.step(memory, replace(seen(ROLL), now=NOW + 1))
    assert again is None
    _, later = parents.step(memory, replace(seen(ROLL), now=NOW + 6))
    assert later == first


def test_a_document_that_cannot_be_written_holds_up_no_other_and_is_tried_again_as_seldom() -> None:
    """Each of the two fails, and whose turn it is next is not forgotten over that."""
    ours, theirs = replace(ROLL, sequence=4, uuid="first"), TestAbandoned.CHANGE
    memory, sent = Memory(away={theirs.uuid: NOW - GONE_SECONDS}), list[tuple[float, str]]()
    for tenths in range(0, 110, 5):
        obs = replace(seen(ours, theirs, members=ALONE, others={}), now=NOW + tenths / 10)
        memory, action = parents.step(memory, obs)
        if isinstance(action, WriteChange):
            sent.append((tenths / 10, action.change.uuid))
    assert sent == [(at, uuid) for at in (0, 5, 10) for at, uuid in ((at, "first"), (at + 0.5, theirs.uuid))]


def test_no_second_write_while_one_is_under_way() -> None:
    obs = replace(seen(ROLL), outcomes={WriteChange: done(result=Result.RUNNING)})
    assert parents.step(Memory(), obs)[1] is None


class TestAbandoned:
    """A change of broker 2, whose daemon is gone."""

    CHANGE = child(2, parent=None, owner=OTHER, epoch=3)
    ENTRY = Entry("token", "host-2", 0.0, change="roll/2")

    def test_it_is_waited_for_so_long(self) -> None:
        assert aged(Memory(), self.CHANGE, seconds=GONE_SECONDS - 1, members=ALONE)[1] is None
        assert aged(Memory(), self.CHANGE, seconds=1e6)[1] is None

    def test_then_it_has_failed_with_the_epoch_raised(self) -> None:
        _, found = aged(Memory(), self.CHANGE, seconds=GONE_SECONDS, members=ALONE)
        assert isinstance(found, WriteChange)
        assert (found.change.state, found.change.epoch) == (ChangeState.FAILED, 4)
        assert found.change.sentence == "broker 2 has had no daemon for 10 min; ask again when it has"

    def test_but_first_its_entry_is_not_in_work_any_more(self) -> None:
        _, found = aged(Memory(), self.CHANGE, seconds=GONE_SECONDS, members=ALONE, others={2: self.ENTRY})
        assert found == RestPermit(2, "token")
        resting = {2: replace(self.ENTRY, working=False)}
        _, found = aged(Memory(), self.CHANGE, seconds=GONE_SECONDS, members=ALONE, others=resting)
        assert isinstance(found, WriteChange)

    @pytest.mark.parametrize("asked", [CHANGE, replace(CHANGE, node_id=1, owner=INSTANCE)], ids=["with", "without"])
    def test_nor_is_that_of_a_stop_that_no_change_asked_for(self, asked: Change) -> None:
        others = {2: replace(self.ENTRY, change=None, why="terminating")}
        _, found = aged(Memory(), asked, seconds=GONE_SECONDS - 1, members=ALONE, others=others)
        assert found is None
        _, found = aged(Memory(), asked, seconds=GONE_SECONDS, members=ALONE, others=others)
        assert found == RestPermit(2, "token")

    def test_one_whose_daemon_is_there_is_left_alone(self) -> None:
        asked = replace(self.CHANGE, node_id=1, owner=INSTANCE)
        assert aged(Memory(), asked, seconds=1e6, others={2: self.ENTRY})[1] is None
