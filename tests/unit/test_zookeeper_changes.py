"""Changes, maintenance and the permit in ZooKeeper's nodes (in memory): each write over the version that was read."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import Any, cast

import pytest

from bubuku.adapters.zookeeper import documents
from bubuku.adapters.zookeeper.cache import WatchedNodes
from bubuku.adapters.zookeeper.changes import ZooKeeperChanges, node_name
from bubuku.adapters.zookeeper.permit import ZooKeeperPermits
from bubuku.adapters.zookeeper.session import Session as RealSession
from bubuku.core.actions import Result, TakePermit
from bubuku.core.change import HISTORY
from bubuku.core.errors import RefusedError, TimedOutError, UnavailableError, UsageError
from bubuku.core.shared import Change, ChangeState, Entry
from tests.support.operators import change
from tests.support.znodes import Client, Session

ROOT = "/kafka/bubuku/v2"
ENTRY = Entry("token-1", "kafka-1", 5.0, change="uuid", why="restarted")


class World:
    def __init__(self) -> None:
        self.session = Session()
        self.client: Client = self.session.client
        real = cast(RealSession, self.session)
        cache = WatchedNodes(real)
        self.changes = ZooKeeperChanges(real, cache)
        self.permits = ZooKeeperPermits(real, cache)
        self.session.ensure(f"{ROOT}/changes", 0)
        self.session.ensure(f"{ROOT}/history", 0)

    def made(self, *wanted: Change) -> tuple[Change, ...]:
        return self.changes.create(wanted or (change(-1),), 5)

    def document(self, path: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.client.nodes[f"{ROOT}/{path}"][0])
        return found

    def put(self, path: str, **document: Any) -> None:
        self.client.ensure_path_async(f"{ROOT}/{path}")
        self.client.set(f"{ROOT}/{path}", json.dumps(document).encode(), -1)


@pytest.fixture
def world() -> World:
    return World()


def until() -> float:
    return time.monotonic() + 5


# --- changes ----------------------------------------------------------------------------------------------------------


def test_changes_are_made_all_or_none_and_read_in_their_order(world: World) -> None:
    first, second = world.made(change(-1, node_id=2), change(-1, text="new settings"))
    assert (first.sequence, second.sequence) == (0, 1)
    _, found = world.changes.read(until())
    assert found == (first, second)


def test_a_change_is_found_where_it_is_and_with_all_that_was_written_before(world: World) -> None:
    (made,) = world.made()
    world.client.calls.clear()
    assert world.changes.find(made.sequence, 5) == made
    assert world.client.calls == ["sync", "get"]
    done = replace(made, state=ChangeState.DONE, phase="done", ended_epoch=9.0)
    assert world.changes.write(done, 5).result is Result.DONE
    assert world.changes.find(made.sequence, 5) == done
    assert world.changes.find(99, 5) is None


def test_a_change_that_ends_while_it_is_looked_for_is_found(world: World) -> None:
    (made,) = world.made()
    done = replace(made, state=ChangeState.DONE)

    def end(what: str, path: str) -> None:
        if what == "get" and "/changes/" in path:
            world.client.before = None
            world.changes.write(done, 5)

    world.client.before = end
    found = world.changes.find(made.sequence, 5)
    assert found is not None
    assert found.state is ChangeState.DONE


def test_it_is_written_over_the_version_that_was_read_alone(world: World) -> None:
    (made,) = world.made()
    assert world.changes.write(replace(made, phase="waiting"), 5).result is Result.DONE
    for late in (replace(made, phase="checking"), replace(made, state=ChangeState.DONE)):
        assert world.changes.write(late, 5).result is Result.REFUSED
    found = world.changes.find(made.sequence, 5)
    assert found is not None
    assert (found.phase, found.state) == ("waiting", ChangeState.QUEUED)


def test_a_parents_step_is_one_transaction_with_its_child(world: World) -> None:
    (parent,) = world.made(change(-1, kind="roll", node_id=None, nodes=(1, 2)))
    child = change(-1, uuid="child", parent=parent.uuid)
    assert world.changes.write(replace(parent, phase="working"), 5, created=[child]).result is Result.DONE
    assert world.changes.write(replace(parent, phase="late"), 5, created=[child]).result is Result.REFUSED
    standing, asked = world.changes.read(until())[1]
    assert (standing.phase, asked) == ("working", replace(child, sequence=1, version=asked.version))
    over = replace(asked, state=ChangeState.DONE)
    assert world.changes.write(over, 5).result is Result.DONE
    done = replace(standing, state=ChangeState.DONE)
    assert world.changes.write(done, 5, children=[over]).result is Result.REFUSED
    assert world.changes.write(done, 5, children=[replace(over, version=over.version + 1)]).result is Result.DONE
    assert world.changes.read(until())[1] == ()
    assert [c.sequence for c in world.changes.ended(5, 5)] == [1, 0]


def test_who_asked_for_a_child_sees_it_before_its_watch_fires(world: World) -> None:
    (parent,) = world.made(change(-1, kind="roll", node_id=None, nodes=(1, 2)))
    world.changes.read(until())
    child = change(-1, uuid="child", parent=parent.uuid)
    assert world.changes.write(replace(parent, phase="working"), 5, created=[child]).result is Result.DONE
    assert [c.uuid for c in world.changes.read(until())[1]] == [parent.uuid, "child"]


def test_the_newest_that_ended_are_kept(world: World) -> None:
    for number in range(HISTORY + 3):
        world.client.create(f"{ROOT}/history/{node_name(number)}", documents.change_document(change(number)))
    world.client.counter = HISTORY + 3
    (made,) = world.made()
    world.changes.write(replace(made, state=ChangeState.DONE), 5)
    names = [path for path in world.client.nodes if path.startswith(f"{ROOT}/history/")]
    assert len(names) == HISTORY
    assert [c.sequence for c in world.changes.ended(2, 5)] == [HISTORY + 3, HISTORY + 2]
    assert world.changes.ended(0, 5) == ()


@pytest.mark.parametrize("error", [UnavailableError, TimedOutError])
def test_what_was_written_is_done_although_the_history_cannot_be_pruned(world: World, error: type[Exception]) -> None:
    (made,) = world.made()

    def lost(what: str, path: str) -> None:
        if path == f"{ROOT}/history" and what != "ensure":
            raise error("no answer")

    world.client.before = lost
    assert world.changes.write(replace(made, state=ChangeState.DONE), 5).result is Result.DONE


def test_cancelling_leaves_what_others_wrote(world: World) -> None:
    (made,) = world.made()

    def writes(what: str, path: str) -> None:
        if what == "set":
            world.client.before = None
            world.changes.write(replace(made, phase="waiting"), 5)

    world.client.before = writes
    assert world.changes.cancel(made.sequence, 5).cancel
    found = world.changes.find(made.sequence, 5)
    assert found is not None
    assert (found.cancel, found.phase) == (True, "waiting")
    with pytest.raises(UsageError, match="there is no open change 7"):
        world.changes.cancel(7, 5)


def test_a_change_of_a_newer_schema_is_shown_and_not_touched(world: World) -> None:
    """What this version does not know of it would be lost."""
    (made,) = world.made()
    path = f"changes/{node_name(made.sequence)}"
    world.put(path, **(world.document(path) | {"schema": 2, "invented": [1]}))
    found = world.changes.find(made.sequence, 5)
    assert found is not None
    assert found.schema == 2
    with pytest.raises(RefusedError, match="written by a newer bubuku"):
        world.changes.cancel(made.sequence, 5)
    assert world.document(path)["invented"] == [1]


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"uuid": 5}', b'{"uuid": "u", "node_id": 1, "state": "odd"}'])
def test_what_is_no_change_is_passed_over(world: World, data: bytes) -> None:
    world.client.create(f"{ROOT}/changes/0000000005", data)
    assert world.changes.read(until())[1] == ()
    assert world.changes.find(5, 5) is None


def test_no_reply_is_not_taken_for_a_no(world: World) -> None:
    world.session.lost = "commit"
    with pytest.raises(TimedOutError):
        world.made()
    (made,) = world.changes.read(until())[1]
    world.session.lost = "commit"
    assert world.changes.write(replace(made, phase="waiting"), 5).result is Result.UNKNOWN


# --- maintenance ------------------------------------------------------------------------------------------------------


def test_maintenance_ends_by_zookeepers_clock(world: World) -> None:
    assert not world.changes.read(until())[0].on
    world.changes.set_maintenance(True, "anna", "disks", 60.0, 5)
    again = World()
    again.client.nodes.update(world.client.nodes)
    found = again.changes.read(until())[0]
    assert (found.on, found.by, found.text) == (True, "anna", "disks")
    assert found.until_epoch == found.since_epoch + 60
    assert found.holds(found.since_epoch + 59)
    assert not found.holds(found.since_epoch + 60)


def test_maintenance_that_cannot_be_read_is_on(world: World) -> None:
    world.client.create(f"{ROOT}/maintenance", b"{")
    assert world.changes.read(until())[0].holds(0)


# --- the permit -------------------------------------------------------------------------------------------------------


def test_the_permit_is_taken_over_exactly_what_was_judged(world: World) -> None:
    assert world.permits.read(until()) is not None
    taken = world.permits.take(TakePermit(1, ENTRY, -1, -1), 5)
    assert (taken.result, taken.data) == (Result.DONE, {"version": 0})
    assert world.permits.take(TakePermit(2, ENTRY, -1, -1), 5).result is Result.REFUSED
    assert world.permits.take(TakePermit(2, ENTRY, 0, 1), 5).result is Result.REFUSED  # maintenance was another
    world.changes.set_maintenance(True, "anna", None, None, 5)
    assert world.permits.take(TakePermit(2, ENTRY, 0, 0), 5).result is Result.REFUSED
    assert world.permits.take(TakePermit(2, ENTRY, 0, 1), 5).result is Result.DONE
    assert set(world.document("permit")["entries"]) == {"1", "2"}


def test_an_entry_is_dropped_by_its_token_or_on_an_operators_word(world: World) -> None:
    world.put("permit", entries={"1": {"token": "token-1"}, "2": {"token": "x", "invented": 1}}, later="kept")
    assert world.permits.drop(1, "another", 5).result is Result.DONE
    assert set(world.document("permit")["entries"]) == {"1", "2"}
    world.permits.drop(1, "token-1", 5)
    assert world.document("permit")["entries"] == {"2": {"token": "x", "invented": 1}}
    assert world.document("permit")["later"] == "kept"
    world.permits.drop(2, None, 5)
    assert world.document("permit")["entries"] == {}


def test_a_release_meets_another_write_and_starts_over(world: World) -> None:
    world.put("permit", entries={"1": {"token": "t"}, "2": {"token": "u"}})

    def writes(what: str, path: str) -> None:
        if what == "set":
            world.client.before = None
            world.permits.drop(2, "u", 5)

    world.client.before = writes
    assert world.permits.drop(1, None, 5).result is Result.DONE
    assert world.document("permit")["entries"] == {}


def test_a_rest_and_a_settlement_change_the_version(world: World) -> None:
    world.put("permit", entries={"1": {"token": "t", "working": True}})
    version = world.client.nodes[f"{ROOT}/permit"][1].version
    assert world.permits.rest(1, "t", 5).data == {"version": version + 1}
    assert world.document("permit")["entries"]["1"]["working"] is False
    assert world.permits.rest(1, "t", 5).data == {"version": version + 1}  # it was so already
    assert world.permits.settle(5).data == {"version": version + 2}


@pytest.mark.parametrize(
    "data", [b"{", b"[]", b'{"entries": []}', b'{"entries": {"one": {}}}', b'{"entries": {"1": 5}}']
)
def test_a_permit_that_cannot_be_read_whole_is_not_known(world: World, data: bytes) -> None:
    world.client.create(f"{ROOT}/permit", data)
    assert world.permits.read(until()) is None
