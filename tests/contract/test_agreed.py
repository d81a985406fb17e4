"""What every `ports.Permits` and `ports.Changes` does, and how `Coordination.view` shows it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bubuku.adapters.zookeeper.changes import node_name
from bubuku.core.actions import Outcome, Result, TakePermit
from bubuku.core.errors import RefusedError, TimedOutError, UnavailableError, UsageError
from bubuku.core.model import CoordinationView
from bubuku.core.shared import Change, ChangeState, Entry
from tests.contract import implementations
from tests.contract.worlds import Meeting, MeetingWorld

IMPLEMENTATIONS = implementations.MEETING

OURS = Entry("token-1", "kafka-1", 1_700_000_000.0, change="uuid-1", why="restarted")
THEIRS = Entry("token-2", "kafka-2", 1_700_000_001.0)
ASKED = Change(
    -1,
    "uuid-1",
    "restart",
    1,
    ChangeState.QUEUED,
    "operator",
    1_700_000_000.0,
    "why not",
    True,
    sentence="is asked for",
)


def seen(port: Meeting) -> CoordinationView:
    return port.view(1, 3.0)


def entries(port: Meeting) -> dict[int, Entry]:
    found = seen(port).permit
    assert found is not None
    return dict(found.entries)


def versions(port: Meeting) -> tuple[int, int]:
    view = seen(port)
    assert view.permit is not None
    assert view.maintenance is not None
    return view.permit.version, view.maintenance.version


def take(port: Meeting, node_id: int = 1, entry: Entry = OURS) -> TakePermit:
    """Over the versions that `port` sees now."""
    return TakePermit(node_id, entry, *versions(port))


def done(outcome: Outcome) -> int:
    """The version afterwards."""
    assert outcome.result is Result.DONE, outcome
    assert outcome.data is not None
    version = outcome.data["version"]
    assert isinstance(version, int)
    return version


class TestPermits:
    def test_nobody_ever_stopped_anything(self, world: MeetingWorld) -> None:
        port = world.daemon()
        assert versions(port) == (-1, -1)
        assert entries(port) == {}

    def test_an_entry_is_taken_and_seen_by_all(self, world: MeetingWorld) -> None:
        one, two = world.daemon(), world.daemon()
        version = done(one.permits.take(take(one), 3.0))
        assert versions(one) == (version, 0)
        assert entries(one) == {1: OURS}
        world.wait(lambda: entries(two) == {1: OURS}, 5, "the entry")

    def test_of_two_over_one_version_one_takes_it(self, world: MeetingWorld) -> None:
        one, two = world.daemon(), world.daemon()
        late = take(two, 2, THEIRS)
        done(one.permits.take(take(one), 3.0))
        assert two.permits.take(late, 3.0).result is Result.REFUSED
        assert entries(one) == {1: OURS}

    def test_it_is_not_taken_where_maintenance_has_changed(self, world: MeetingWorld) -> None:
        port = world.daemon()
        planned = take(port)
        port.changes.set_maintenance(True, "op", None, None, 3.0)
        assert port.permits.take(planned, 3.0).result is Result.REFUSED
        port.changes.set_maintenance(False, "op", None, None, 3.0)
        assert port.permits.take(planned, 3.0).result is Result.REFUSED
        done(port.permits.take(take(port), 3.0))

    def test_entries_of_others_are_kept(self, world: MeetingWorld) -> None:
        one, two = world.daemon(), world.daemon()
        done(one.permits.take(take(one), 3.0))
        world.wait(lambda: entries(two) == {1: OURS}, 5, "the entry")
        before = done(two.permits.take(take(two, 2, THEIRS), 3.0))
        assert done(one.permits.drop(1, OURS.token, 3.0)) == before + 1
        assert entries(one) == {2: THEIRS}

    def test_only_the_entry_of_its_token_is_dropped(self, world: MeetingWorld) -> None:
        port = world.daemon()
        version = done(port.permits.take(take(port), 3.0))
        assert done(port.permits.drop(1, "another", 3.0)) == version
        assert done(port.permits.drop(2, OURS.token, 3.0)) == version
        assert entries(port) == {1: OURS}
        assert done(port.permits.drop(1, None, 3.0)) == version + 1
        assert entries(port) == {}

    def test_a_resting_entry_stays(self, world: MeetingWorld) -> None:
        port = world.daemon()
        version = done(port.permits.take(take(port), 3.0))
        assert done(port.permits.rest(1, "another", 3.0)) == version
        assert done(port.permits.rest(1, OURS.token, 3.0)) == version + 1
        assert done(port.permits.rest(1, OURS.token, 3.0)) == version + 1
        assert entries(port) == {1: replace(OURS, working=False)}

    def test_a_late_write_changes_nothing_once_it_is_settled(self, world: MeetingWorld) -> None:
        port = world.daemon()
        done(port.permits.settle(3.0))
        planned = take(port)

        def settle() -> None:
            done(port.permits.settle(3.0))

        outcome = world.late_take(planned, settle)
        assert outcome.result is Result.UNKNOWN
        assert entries(port) == {}
        assert versions(port)[0] == planned.version + 1

    def test_a_late_write_may_still_happen(self, world: MeetingWorld) -> None:
        port = world.daemon()
        done(port.permits.settle(3.0))
        assert world.late_take(take(port), lambda: None).result is Result.UNKNOWN
        world.wait(lambda: entries(port) == {1: OURS}, 5, "the entry that came late")

    def test_settling_keeps_what_stands(self, world: MeetingWorld) -> None:
        port = world.daemon()
        version = done(port.permits.take(take(port), 3.0))
        assert done(port.permits.settle(3.0)) == version + 1
        assert entries(port) == {1: OURS}

    def test_what_cannot_be_read_is_not_written(self, world: MeetingWorld) -> None:
        port = world.daemon()
        done(port.permits.take(take(port), 3.0))
        planned = take(port, 2, THEIRS)
        world.spoil("permit")
        world.wait(lambda: seen(port).permit is None, 5, "the spoilt permit")
        assert port.permits.drop(1, OURS.token, 3.0).result is Result.FAILED
        assert port.permits.settle(3.0).result is Result.FAILED
        assert port.permits.take(planned, 3.0).result in (Result.FAILED, Result.REFUSED)

    def test_without_an_answer_it_may_have_happened_or_not(self, world: MeetingWorld) -> None:
        port = world.daemon()
        planned = take(port)
        world.cut()
        assert port.permits.take(planned, 0.5).result in (Result.FAILED, Result.UNKNOWN)
        assert port.permits.settle(0.5).result in (Result.FAILED, Result.UNKNOWN)


def only(port: Meeting) -> Change:
    (change,) = seen(port).changes
    return change


class TestChanges:
    def test_what_is_asked_for_is_seen_by_all_in_its_order(self, world: MeetingWorld) -> None:
        one, two = world.daemon(), world.daemon()
        made = one.changes.create([ASKED, replace(ASKED, uuid="uuid-2", node_id=2)], 3.0)
        assert [change.sequence for change in made] == [0, 1]
        world.wait(lambda: len(seen(two).changes) == 2, 5, "both changes")
        assert seen(two).changes == (
            replace(ASKED, sequence=0),
            replace(ASKED, sequence=1, uuid="uuid-2", node_id=2),
        )
        assert [change.sequence for change in two.changes.create([ASKED], 3.0)] == [2]

    def test_a_document_is_written_over_its_version_alone(self, world: MeetingWorld) -> None:
        port = world.daemon()
        port.changes.create([ASKED], 3.0)
        found = world.wait(lambda: seen(port).changes, 5, "the change")[0]
        running = replace(found, state=ChangeState.RUNNING, owner="instance-1", epoch=1, phase="waiting")
        assert port.changes.write(running, 3.0).result is Result.DONE
        assert only(port) == replace(running, version=found.version + 1)
        assert port.changes.write(replace(running, phase="late"), 3.0).result is Result.REFUSED
        assert only(port).phase == "waiting"

    def test_an_ended_one_moves_to_the_history(self, world: MeetingWorld) -> None:
        port = world.daemon()
        port.changes.create([ASKED, replace(ASKED, uuid="uuid-2")], 3.0)
        first, second = world.wait(lambda: seen(port).changes, 5, "the changes")
        over = replace(first, state=ChangeState.DONE, phase="done", sentence="it serves", ended_epoch=1_700_000_009.0)
        assert port.changes.write(over, 3.0).result is Result.DONE
        assert seen(port).changes == (second,)
        assert port.changes.write(replace(over, sentence="again"), 3.0).result is Result.REFUSED
        assert port.changes.write(replace(second, state=ChangeState.FAILED), 3.0).result is Result.DONE
        assert [(c.sequence, c.state) for c in port.changes.ended(5, 3.0)] == [
            (1, ChangeState.FAILED),
            (0, ChangeState.DONE),
        ]
        assert port.changes.ended(1, 3.0)[0].sequence == 1
        assert port.changes.ended(0, 3.0) == ()
        assert port.changes.ended(5, 3.0)[1].sentence == "it serves"

    def test_a_parent_asks_for_a_child_in_one_transaction_and_ends_with_it(self, world: MeetingWorld) -> None:
        port = world.daemon()
        port.changes.create([replace(ASKED, kind="roll", node_id=None, nodes=(2, 1))], 3.0)
        parent = world.wait(lambda: seen(port).changes, 5, "the parent")[0]
        child = replace(ASKED, uuid="uuid-1/2", node_id=2, parent="uuid-1")
        assert port.changes.write(replace(parent, phase="working"), 3.0, created=[child]).result is Result.DONE
        late = port.changes.write(replace(parent, phase="late"), 3.0, created=[child])
        assert late.result is Result.REFUSED
        assert seen(port).changes == (
            replace(parent, phase="working", version=parent.version + 1),
            replace(child, sequence=1),
        )
        over = replace(seen(port).changes[1], state=ChangeState.DONE)
        assert port.changes.write(over, 3.0).result is Result.DONE
        standing, ended = seen(port).changes
        assert ended == replace(over, version=over.version + 1)  # it stays beside its parent
        done = replace(standing, state=ChangeState.DONE)
        assert port.changes.write(done, 3.0, children=[over]).result is Result.REFUSED
        assert len(seen(port).changes) == 2
        assert port.changes.write(done, 3.0, children=[ended]).result is Result.DONE
        assert seen(port).changes == ()
        assert [(c.sequence, c.parent, c.state) for c in port.changes.ended(5, 3.0)] == [
            (1, "uuid-1", ChangeState.DONE),
            (0, None, ChangeState.DONE),
        ]

    def test_a_cancelled_one_is_marked(self, world: MeetingWorld) -> None:
        one, two = world.daemon(), world.daemon()
        one.changes.create([ASKED], 3.0)
        found = world.wait(lambda: seen(one).changes, 5, "the change")[0]
        assert two.changes.cancel(0, 3.0).cancel
        assert one.changes.write(replace(found, phase="late"), 3.0).result is Result.REFUSED
        world.wait(lambda: only(one) == replace(found, cancel=True, version=found.version + 1), 5, "the cancellation")
        with pytest.raises(UsageError):
            two.changes.cancel(7, 3.0)

    def test_a_newer_document_is_left_alone(self, world: MeetingWorld) -> None:
        port = world.daemon()
        port.changes.create([ASKED], 3.0)
        world.newer("changes", node_name(0))
        with pytest.raises(RefusedError):
            port.changes.cancel(0, 3.0)
        assert world.unknown_kept("changes", node_name(0))

    def test_an_ended_one_cannot_be_cancelled(self, world: MeetingWorld) -> None:
        port = world.daemon()
        port.changes.create([ASKED], 3.0)
        found = world.wait(lambda: seen(port).changes, 5, "the change")[0]
        assert port.changes.write(replace(found, state=ChangeState.CANCELLED), 3.0).result is Result.DONE
        with pytest.raises(UsageError):
            port.changes.cancel(0, 3.0)

    def test_requests_say_that_nobody_answers(self, world: MeetingWorld) -> None:
        port = world.daemon()
        world.cut()
        with pytest.raises((UnavailableError, TimedOutError)):
            port.changes.create([ASKED], 0.5)
        with pytest.raises((UnavailableError, TimedOutError)):
            port.changes.set_maintenance(True, "op", None, None, 0.5)


class TestMaintenance:
    def test_it_is_seen_by_all(self, world: MeetingWorld) -> None:
        one, two = world.daemon(), world.daemon()
        one.changes.set_maintenance(True, "op", "a switch is replaced", None, 3.0)

        def on() -> bool:
            found = seen(two).maintenance
            return found is not None and found.on and (found.by, found.text) == ("op", "a switch is replaced")

        world.wait(on, 5, "maintenance")
        one.changes.set_maintenance(False, "op", None, None, 3.0)
        world.wait(lambda: not on(), 5, "its end")
        assert versions(one)[1] == 1

    def test_it_may_end_by_itself(self, world: MeetingWorld) -> None:
        port = world.daemon()
        port.changes.set_maintenance(True, "op", None, 30.0, 3.0)
        found = seen(port).maintenance
        assert found is not None
        assert found.until_epoch == pytest.approx(found.since_epoch + 30.0)
        assert found.holds(found.since_epoch + 29.0)
        assert not found.holds(found.since_epoch + 31.0)
