"""The permit, maintenance and changes in ZooKeeper: what a write may touch, and what it must find unchanged."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bubuku.adapters.zookeeper import documents
from bubuku.adapters.zookeeper.cache import WatchedNodes
from bubuku.adapters.zookeeper.changes import ZooKeeperChanges, node_name
from bubuku.adapters.zookeeper.permit import ZooKeeperPermits
from bubuku.core.actions import Result, TakePermit
from bubuku.core.change import HISTORY
from bubuku.core.errors import RefusedError, UsageError
from bubuku.core.shared import Change, ChangeState, Entry, Maintenance, Permit
from tests.support.stops import TOKEN, change, entry
from tests.support.znodes import Session

ROOT = "/kafka/bubuku/v2"
MODIFIED_EPOCH = 50.0
PERMIT, MAINTENANCE = f"{ROOT}/permit", f"{ROOT}/maintenance"
OF_ANOTHER = {"token": "of 2", "host": "host-2", "since_epoch": 1, "working": True, "invented": {"by": ["a newer one"]}}
GARBAGE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)
CHANGE = change(text="new settings", phase="stopping", sentence="Kafka is being stopped", ended_epoch=7.5)


class World:
    """One daemon's permits and changes on nodes that others write to as well."""

    def __init__(self, permit: Any = None, maintenance: bytes | None = None) -> None:
        self.session = Session()
        self.client = self.session.client
        self.cache = WatchedNodes(self.session)  # type: ignore[arg-type]
        self.permits = ZooKeeperPermits(self.session, self.cache)  # type: ignore[arg-type]
        self.changes = ZooKeeperChanges(self.session, self.cache)  # type: ignore[arg-type]
        for folder in ("changes", "history"):
            self.session.ensure(f"{ROOT}/{folder}", 0.0)
        if permit is not None:
            self.client.create(PERMIT, permit if isinstance(permit, bytes) else json.dumps(permit).encode())
        if maintenance is not None:
            self.client.create(MAINTENANCE, maintenance)

    def meanwhile(self, act: Callable[[], object]) -> None:
        """What somebody else does right before the next write."""

        def before(what: str, path: str) -> None:
            if what in ("set", "create", "commit"):
                self.client.before = None
                act()

        self.client.before = before

    def permit(self) -> Permit | None:
        self.cache.forget(PERMIT)
        return self.permits.read(time.monotonic() + 3)

    def entries(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.client.read(PERMIT)[0])["entries"]
        return found

    def take(self, version: int, maintenance_version: int) -> Result:
        return self.permits.take(TakePermit(1, entry(), version, maintenance_version), 3.0).result

    def switch(self, on: bool) -> None:
        self.changes.set_maintenance(on, "ann", None, None, 3.0)


def held() -> World:
    """Broker 2 is in the permit, and maintenance was switched off once."""
    return World(
        {"entries": {"2": OF_ANOTHER}, "invented": 1}, documents.maintenance_document(False, "ann", None, None)
    )


class TestTake:
    def test_the_first_one_makes_the_nodes(self) -> None:
        world = World()
        assert world.permit() == Permit(-1)
        assert world.take(-1, -1) is Result.DONE
        assert world.permit() == Permit(0, {1: entry()})
        maintenance, _ = world.changes.read(time.monotonic() + 3)
        assert (maintenance.on, maintenance.version) == (False, 0)

    def test_it_says_which_version_it_made_and_copies_what_is_of_others_as_it_is(self) -> None:
        world = held()
        outcome = world.permits.take(TakePermit(1, entry(), 0, 0), 3.0)
        assert (outcome.result, outcome.data) == (Result.DONE, {"version": 1})
        assert world.entries()["2"] == OF_ANOTHER
        assert json.loads(world.client.read(PERMIT)[0])["invented"] == 1

    @pytest.mark.parametrize("already", [True, False], ids=["already", "in between"])
    def test_of_a_permit_that_has_changed_it_is_refused(self, already: bool) -> None:
        world = held()

        def another() -> None:
            world.client.set(PERMIT, b'{"entries": {"3": {"token": "of 3"}}}', -1)

        if already:
            another()
        else:
            world.meanwhile(another)
        assert world.take(0, 0) is Result.REFUSED
        assert set(world.entries()) == {"3"}

    def test_two_that_read_the_same_permit_do_not_both_have_it(self) -> None:
        world = held()
        assert world.take(0, 0) is Result.DONE
        assert world.permits.take(TakePermit(3, entry(token="of 3"), 0, 0), 3.0).result is Result.REFUSED
        assert set(world.entries()) == {"1", "2"}

    @pytest.mark.parametrize("already", [True, False], ids=["already", "in between"])
    def test_where_maintenance_was_switched_it_is_refused(self, already: bool) -> None:
        world = held()
        if already:
            world.switch(True)
        else:
            world.meanwhile(lambda: world.switch(True))
        assert world.take(0, 0) is Result.REFUSED
        assert set(world.entries()) == {"2"}

    def test_where_maintenance_was_switched_for_the_first_time_it_is_refused(self) -> None:
        world = World()
        world.meanwhile(lambda: world.switch(True))
        assert world.take(-1, -1) is Result.REFUSED
        assert PERMIT not in world.client.nodes

    def test_without_an_answer_it_may_have_happened(self) -> None:
        world = held()
        world.session.lost = "commit"
        assert world.take(0, 0) is Result.UNKNOWN

    def test_what_is_not_json_is_mended_by_hand(self) -> None:
        world = World(b"\xff", documents.maintenance_document(False, "", None, None))
        assert world.permit() is None
        outcome = world.permits.take(TakePermit(1, entry(), 0, 0), 3.0)
        assert (outcome.result, outcome.detail) == (Result.FAILED, f"{PERMIT} is not JSON: mend it")


class TestOtherWrites:
    def taken(self) -> World:
        world = held()
        assert world.take(0, 0) is Result.DONE
        return world

    def test_our_entry_alone_is_removed(self) -> None:
        world = self.taken()
        outcome = world.permits.drop(1, TOKEN, 3.0)
        assert (outcome.result, outcome.data) == (Result.DONE, {"version": 2})
        assert world.entries() == {"2": OF_ANOTHER}
        assert world.permits.drop(1, TOKEN, 3.0).data == {"version": 2}, "it is gone: nothing is written"

    def test_an_entry_of_another_token_stays_save_for_an_operator(self) -> None:
        world = self.taken()
        assert world.permits.drop(1, "of before", 3.0).result is Result.DONE
        assert set(world.entries()) == {"1", "2"}
        assert world.permits.drop(1, None, 3.0).result is Result.DONE
        assert set(world.entries()) == {"2"}

    def test_a_removal_that_meets_a_write_of_another_begins_anew(self) -> None:
        world = self.taken()
        more = {"1": json.loads(documents.permit_document({}, 1, entry()))["entries"]["1"], "3": {"token": "of 3"}}
        world.meanwhile(lambda: world.client.set(PERMIT, json.dumps({"entries": more}).encode(), -1))
        assert world.permits.drop(1, TOKEN, 3.0).result is Result.DONE
        assert world.entries() == {"3": {"token": "of 3"}}

    def test_an_entry_that_rests_is_in_the_permit_and_not_in_work(self) -> None:
        world = self.taken()
        assert world.permits.rest(1, "of before", 3.0).data == {"version": 1}, "nothing is written"
        assert world.permits.rest(1, TOKEN, 3.0).result is Result.DONE
        permit = world.permit()
        assert permit is not None
        assert permit.entries[1] == entry(working=False)
        assert world.entries()["2"] == OF_ANOTHER

    def test_what_was_sent_before_it_was_settled_fails_and_nothing_else_changes(self) -> None:
        world = held()
        before = world.entries()
        outcome = world.permits.settle(3.0)
        assert (outcome.result, outcome.data) == (Result.DONE, {"version": 1})
        assert world.entries() == before
        assert world.take(0, 0) is Result.REFUSED

    def test_a_permit_that_never_was_is_settled_too(self) -> None:
        world = World()
        assert world.permits.settle(3.0).result is Result.DONE
        assert world.permit() == Permit(0)
        assert world.take(-1, -1) is Result.REFUSED


class TestPermitDocument:
    def test_an_entry_comes_back_as_it_was(self) -> None:
        assert documents.parse_permit(documents.permit_document({}, 1, entry(working=False)), 4) == Permit(
            4, {1: entry(working=False)}
        )

    @pytest.mark.parametrize(
        "document", [b"", b"[]", b"null", b'{"entries": []}', b'{"entries": {"x": {}}}', b'{"entries": {"1": 5}}']
    )
    def test_what_cannot_be_read_whole_is_not_known(self, document: bytes) -> None:
        assert documents.parse_permit(document, 0) is None

    @given(st.sampled_from(["token", "host", "since_epoch", "working", "change", "why", "x"]), GARBAGE)
    def test_an_entry_of_any_shape_is_an_entry(self, name: str, value: object) -> None:
        shape = {name: value}
        permit = documents.parse_permit(json.dumps({"entries": {"2": shape}, "schema": 9}).encode(), 0)
        assert permit is not None
        assert isinstance(permit.entries[2], Entry)
        assert permit.entries[2].working is (shape.get("working") is not False)

    @given(GARBAGE)
    def test_an_entry_of_another_is_copied_whatever_it_is(self, other: object) -> None:
        written = documents.permit_document({"entries": {"2": other}, "invented": other}, 1, entry())
        taken_out = documents.permit_document(json.loads(written), 1, None)
        left = {"entries": {"2": other}, "invented": other, "schema": 1}
        assert json.dumps(json.loads(taken_out), sort_keys=True) == json.dumps(left, sort_keys=True)


def maintenance(**fields: Any) -> Maintenance:
    document = json.dumps({"on": True, "by": "ann", **fields}).encode()
    return documents.parse_maintenance(document, 3, MODIFIED_EPOCH)


class TestMaintenanceDocument:
    def test_its_end_counts_from_zookeepers_clock(self) -> None:
        assert maintenance(for_seconds=10, text="x") == Maintenance(3, True, "ann", "x", 50.0, 60.0)
        assert maintenance(for_seconds=None).until_epoch is None

    @pytest.mark.parametrize("data", [b"", b"no", b"[1]"])
    def test_what_cannot_be_read_means_hands_off(self, data: bytes) -> None:
        assert documents.parse_maintenance(data, 0, 0.0).holds(1e12)

    @pytest.mark.parametrize("on", [None, 0, "false", True])
    def test_only_false_is_off(self, on: object) -> None:
        assert maintenance(on=on).on
        assert not maintenance(on=False).on

    @pytest.mark.parametrize("seconds", [float("nan"), float("inf"), -1, 10**17, 1e300, True, "60"], ids=str)
    def test_an_end_that_makes_no_sense_is_none(self, seconds: object) -> None:
        """Else maintenance that was switched on for ever would be over at once."""
        assert maintenance(for_seconds=seconds).holds(1e11)


class TestChangeDocument:
    def test_it_comes_back_as_it_was(self) -> None:
        assert documents.parse_change(7, documents.change_document(CHANGE), 2) == CHANGE

    @given(st.sampled_from(sorted(json.loads(documents.change_document(CHANGE)))), GARBAGE)
    def test_any_field_may_be_of_any_type(self, name: str, value: object) -> None:
        document = json.loads(documents.change_document(CHANGE)) | {name: value}
        found = documents.parse_change(7, json.dumps(document).encode(), 2)
        assert found is None or isinstance(found, Change)

    def test_a_newer_schema_is_told(self) -> None:
        document = json.loads(documents.change_document(CHANGE)) | {"schema": 2, "invented": 1}
        found = documents.parse_change(7, json.dumps(document).encode(), 2)
        assert found == replace(CHANGE, schema=2)

    @pytest.mark.parametrize("state", ["", "paused", 5, None])
    def test_a_state_that_is_not_known_here_is_not_a_change_here(self, state: object) -> None:
        document = json.loads(documents.change_document(CHANGE)) | {"state": state}
        assert documents.parse_change(7, json.dumps(document).encode(), 2) is None


class TestChanges:
    def asked(self) -> tuple[World, Change]:
        world = World()
        fresh = change(sequence=-1, state=ChangeState.QUEUED, owner=None, version=0)
        (made,) = world.changes.create([fresh], 3.0)
        return world, made

    def test_a_document_is_written_over_the_version_that_was_read(self) -> None:
        world, made = self.asked()
        assert world.changes.read(time.monotonic() + 3)[1] == (made,)
        claimed = replace(made, state=ChangeState.RUNNING, owner="one")
        assert world.changes.write(claimed, 3.0).result is Result.DONE
        assert world.changes.write(replace(claimed, owner="two"), 3.0).result is Result.REFUSED
        (stands,) = world.changes.read(time.monotonic() + 3)[1]
        assert (stands.owner, stands.version) == ("one", 1)

    def test_what_ends_moves_to_the_history_unless_it_has_changed(self) -> None:
        world, made = self.asked()
        over = replace(made, state=ChangeState.DONE)
        assert world.changes.write(replace(over, version=5), 3.0).result is Result.REFUSED
        assert world.changes.ended(5, 3.0) == ()
        assert world.changes.write(over, 3.0).result is Result.DONE
        assert world.changes.read(time.monotonic() + 3)[1] == ()
        assert world.changes.ended(5, 3.0) == (over,)

    def test_the_history_is_bounded(self) -> None:
        world, made = self.asked()
        for number in range(HISTORY):
            world.client.create(f"{ROOT}/history/{node_name(number)}", b"{}")
        assert world.changes.write(replace(made, sequence=HISTORY + 7), 3.0).result is Result.REFUSED
        path = f"{ROOT}/changes/{node_name(HISTORY + 7)}"
        world.client.create(path, documents.change_document(made))
        over = replace(made, sequence=HISTORY + 7, state=ChangeState.FAILED)
        assert world.changes.write(over, 3.0).result is Result.DONE
        left = [p for p in world.client.nodes if p.startswith(f"{ROOT}/history/")]
        assert len(left) == HISTORY
        assert world.changes.ended(1, 3.0) == (over,)

    def test_a_cancellation_survives_a_write_in_between(self) -> None:
        world, made = self.asked()
        world.meanwhile(lambda: world.changes.write(replace(made, phase="waiting"), 3.0))
        assert world.changes.cancel(made.sequence, 3.0).cancel
        (stands,) = world.changes.read(time.monotonic() + 3)[1]
        assert (stands.cancel, stands.phase) == (True, "waiting")

    def test_a_change_of_a_newer_daemon_is_not_written_over(self) -> None:
        world, made = self.asked()
        path = f"{ROOT}/changes/{node_name(made.sequence)}"
        newer = json.dumps({**json.loads(documents.change_document(made)), "schema": 2, "invented": 1}).encode()
        world.client.set(path, newer, -1)
        with pytest.raises(RefusedError, match="by a newer bubuku"):
            world.changes.cancel(made.sequence, 3.0)
        assert world.client.read(path)[0] == newer

    def test_what_is_not_there_cannot_be_cancelled(self) -> None:
        with pytest.raises(UsageError, match="there is no open change 9"):
            World().changes.cancel(9, 3.0)
