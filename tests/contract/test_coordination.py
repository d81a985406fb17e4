"""What every `ports.Coordination` does."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bubuku.core.actions import Result
from bubuku.core.errors import RefusedError, TimedOutError, UnavailableError
from bubuku.core.model import Desired, Member
from bubuku.ports import Coordination
from tests.contract import implementations
from tests.contract.worlds import MeetingWorld

IMPLEMENTATIONS = implementations.MEETING

HERE = Member(
    node_id=1,
    host="kafka-1",
    instance="instance-1",
    roles=("broker",),
    version="2.0.0",
    api_url="http://kafka-1:8888",
    rack="a",
    state="serving",
    sentence="the broker serves",
    since_epoch=1_700_000_000.0,
    kafka_version="3.9.2",
    disk_used_bytes=10 * 2**30,
    disk_total_bytes=100 * 2**30,
    restarts=2,
)
THERE = replace(HERE, node_id=2, host="kafka-2", instance="instance-2", rack=None, api_url=None)


def members(port: Coordination) -> list[Member]:
    return list(port.view(1, 3.0).members)


class TestMembers:
    def test_published_members_are_seen_by_all(self, world: MeetingWorld) -> None:
        one, two = world.daemon(), world.daemon()
        one.publish(HERE, 3.0)
        two.publish(THERE, 3.0)
        world.wait(lambda: members(one) == members(two) == [HERE, THERE], 5, "both members")
        assert one.view(1, 3.0).member_owner == HERE.instance
        assert one.view(2, 3.0).member_owner == THERE.instance
        assert one.view(3, 3.0).member_owner is None
        assert one.view(None, 3.0).member_owner is None

    def test_a_change_is_seen_by_the_others(self, world: MeetingWorld) -> None:
        one, two = world.daemon(), world.daemon()
        one.publish(HERE, 3.0)
        world.wait(lambda: members(two) == [HERE], 5, "the member")
        changed = replace(HERE, state="recovering", sentence="recovers its logs", restarts=3)
        one.publish(changed, 3.0)
        world.wait(lambda: members(two) == [changed], 5, "the change")

    def test_publishing_the_same_writes_nothing(self, world: MeetingWorld) -> None:
        port = world.daemon()
        port.publish(HERE, 3.0)
        before = world.writes()
        for used in range(20):
            port.publish(replace(HERE, disk_used_bytes=10 * 2**30 + used), 3.0)
        assert world.writes() == before

    def test_a_disk_that_fills_is_told(self, world: MeetingWorld) -> None:
        port = world.daemon()
        port.publish(HERE, 3.0)
        fuller = replace(HERE, disk_used_bytes=12 * 2**30)
        port.publish(fuller, 3.0)
        assert members(port) == [fuller]

    def test_a_closed_daemon_leaves_at_once(self, world: MeetingWorld) -> None:
        one, two = world.daemon(), world.daemon()
        one.publish(HERE, 3.0)
        world.wait(lambda: members(two) == [HERE], 5, "the member")
        one.close()
        world.wait(lambda: not members(two), 3, "the member to go")

    def test_a_dead_predecessor_of_this_host_is_replaced_at_once(self, world: MeetingWorld) -> None:
        world.dead_daemon(replace(HERE, state="starting"))
        port = world.daemon()
        assert port.view(1, 3.0).member_owner == HERE.instance
        port.publish(HERE, 3.0)
        assert members(port) == [HERE]

    def test_the_member_outlives_the_predecessors_session(self, world: MeetingWorld) -> None:
        world.dead_daemon(HERE)
        port, other = world.daemon(), world.daemon()
        port.publish(HERE, 3.0)
        port.close()
        # With a session of the dead one behind it, the node would stay on until that session's end.
        world.wait(lambda: not members(other), 3, "the member to go with its own session")

    def test_another_hosts_member_is_not_touched(self, world: MeetingWorld) -> None:
        one, two = world.daemon(), world.daemon()
        one.publish(HERE, 3.0)
        impostor = replace(HERE, host="kafka-9", instance="instance-9")
        world.wait(lambda: members(two) == [HERE], 5, "the member")
        with pytest.raises(RefusedError, match="kafka-1"):
            two.publish(impostor, 3.0)
        assert members(two) == [HERE]
        assert two.view(1, 3.0).member_owner == HERE.instance

    def test_another_hosts_dead_member_is_not_touched_either(self, world: MeetingWorld) -> None:
        world.dead_daemon(replace(HERE, host="kafka-9", instance="instance-9"))
        port = world.daemon()
        with pytest.raises(RefusedError, match="kafka-9"):
            port.publish(HERE, 3.0)

    def test_after_an_expired_session_it_is_published_anew(self, world: MeetingWorld) -> None:
        one, two = world.daemon(), world.daemon()
        one.publish(HERE, 3.0)
        world.wait(lambda: members(two) == [HERE], 5, "the member")
        session = one.view(1, 3.0).session_id
        world.expire(one)
        world.wait(lambda: not members(two), 10, "the member to go")
        world.wait(lambda: _published(one, HERE), 15, "a new session")
        world.wait(lambda: members(two) == [HERE], 5, "the member to be back")
        assert one.view(1, 3.0).session_id != session


class TestDesired:
    def test_absent_is_told_from_unread(self, world: MeetingWorld) -> None:
        port = world.daemon()
        view = port.view(1, 3.0)
        assert (view.desired, view.desired_read) == (None, True)
        assert not port.view(None, 3.0).desired_read

    def test_recorded_and_read_back_by_any(self, world: MeetingWorld) -> None:
        one, two = world.daemon(), world.daemon()
        desired = Desired({"marker-a": "/data/1", "marker-b": "/data/2"}, "cluster-a")
        assert one.record_desired(1, desired, 3.0).result is Result.DONE
        world.wait(lambda: two.view(1, 3.0).desired == desired, 5, "the record")
        assert two.view(2, 3.0).desired is None
        later = Desired({"marker-a": "/mnt/1"}, "cluster-a")
        assert two.record_desired(1, later, 3.0).result is Result.DONE
        assert two.view(1, 3.0).desired == later
        world.wait(lambda: one.view(1, 3.0).desired == later, 5, "the later record")


class TestMarker:
    def test_the_first_creates_it_and_the_rest_join(self, world: MeetingWorld) -> None:
        one, two = world.daemon(), world.daemon()
        view = one.view(1, 3.0)
        assert (view.marker, view.marker_read) == (None, True)
        created = one.join_marker("cluster-a", 3.0)
        joined = two.join_marker("cluster-a", 3.0)
        assert (created.result, joined.result) == (Result.DONE, Result.DONE)
        world.wait(lambda: two.view(1, 3.0).marker, 5, "the marker")
        seen = two.view(1, 3.0)
        assert created.data is not None
        assert seen.marker == created.data["marker"]
        assert seen.marker_cluster_id == "cluster-a"

    def test_it_is_never_overwritten(self, world: MeetingWorld) -> None:
        port = world.daemon()
        port.join_marker("cluster-a", 3.0)
        marker = port.view(1, 3.0).marker
        assert port.join_marker("cluster-b", 3.0).result is Result.REFUSED
        seen = port.view(1, 3.0)
        assert (seen.marker, seen.marker_cluster_id) == (marker, "cluster-a")

    def test_an_unknown_cluster_joins_what_stands(self, world: MeetingWorld) -> None:
        port = world.daemon()
        port.join_marker("cluster-a", 3.0)
        assert port.join_marker(None, 3.0).result is Result.DONE

    def test_a_wiped_root_is_read_as_such(self, world: MeetingWorld) -> None:
        port = world.daemon()
        port.publish(HERE, 3.0)
        port.join_marker("cluster-a", 3.0)
        world.wait(lambda: port.view(1, 3.0).marker, 5, "the marker")
        world.wipe()
        world.wait(lambda: port.view(1, 3.0).marker is None, 5, "the marker to be gone")
        assert port.view(1, 3.0).marker_read
        port.publish(HERE, 3.0)
        assert members(port) == [HERE]


class TestWithoutAnAnswer:
    def test_views_and_writes_are_bounded_and_say_so(self, world: MeetingWorld) -> None:
        port = world.daemon()
        port.publish(HERE, 3.0)
        world.wait(lambda: members(port) == [HERE], 5, "the member")
        world.cut()
        begun = world.now()
        with pytest.raises((UnavailableError, TimedOutError)):
            port.publish(replace(HERE, state="recovering"), 0.5)
        recorded = port.record_desired(1, Desired({"a": "/a"}), 0.5)
        joined = port.join_marker("cluster-a", 0.5)
        assert {recorded.result, joined.result} <= {Result.FAILED, Result.UNKNOWN}
        port.view(1, 0.5)
        assert world.now() - begun < 3.0
        world.wait(lambda: not port.view(1, 0.5).connected, 20, "the loss of the connection to be noticed")
        assert port.view(1, 0.5).members == (HERE,), "the last that was known"
        world.restore()
        world.wait(lambda: _published(port, HERE), 20, "the connection to be back")
        world.wait(lambda: members(port) == [HERE], 5, "the member")


class TestTolerance:
    """What other versions, or people, wrote. In-memory ports keep no documents, so this is of those that do."""

    def test_documents_that_cannot_be_read_never_break_a_view(self, world: MeetingWorld) -> None:
        _needs_documents(world)
        port = world.daemon()
        port.publish(HERE, 3.0)
        port.record_desired(1, Desired({"a": "/a"}), 3.0)
        port.join_marker("cluster-a", 3.0)
        world.wait(lambda: port.view(1, 3.0).marker, 5, "the marker")
        for path in (("members", 1), ("desired", 1), ("marker",)):
            world.spoil(*path)
        world.wait(lambda: not port.view(1, 3.0).members, 5, "the spoilt member to be left out")
        view = port.view(1, 3.0)
        assert (view.desired, view.desired_read) == (None, False), "unknown, not absent"
        assert (view.marker, view.marker_read) == (None, False)
        assert view.member_owner is not None, "somebody holds the id"
        port.publish(HERE, 3.0)
        assert members(port) == [HERE]
        assert port.record_desired(1, Desired({"b": "/b"}), 3.0).result is Result.FAILED
        assert port.join_marker("cluster-a", 3.0).result is Result.REFUSED

    def test_newer_documents_are_read_as_far_as_they_are_known_and_kept(self, world: MeetingWorld) -> None:
        _needs_documents(world)
        one, two = world.daemon(), world.daemon()
        one.publish(HERE, 3.0)
        one.record_desired(1, Desired({"a": "/a"}), 3.0)
        world.wait(lambda: one.view(1, 3.0).desired, 5, "the record")
        for path in (("members", 1), ("desired", 1)):
            world.newer(*path)
        world.wait(lambda: members(two) == [HERE], 5, "the newer member")
        two.record_desired(1, Desired({"b": "/b"}), 3.0)
        world.wait(lambda: one.view(1, 3.0).desired == Desired({"b": "/b"}), 5, "the record")
        assert world.unknown_kept("desired", 1)

    @pytest.mark.parametrize("holds", ["changes", "size_stats"])
    def test_an_original_daemon_is_noticed(self, world: MeetingWorld, holds: str) -> None:
        _needs_documents(world)
        port = world.daemon()
        assert not port.view(1, 3.0).predecessor_v1
        world.original_daemon(holds)
        world.wait(lambda: port.view(1, 3.0).predecessor_v1, 5, "the original daemon to be noticed")


def _published(port: Coordination, member: Member) -> bool:
    try:
        port.publish(member, 1.0)
    except (UnavailableError, TimedOutError):
        return False
    return port.view(member.node_id, 1.0).connected


def _needs_documents(world: MeetingWorld) -> None:
    """Every real world has `spoil`; this only says so to a reader of a failure."""
    assert hasattr(world, "spoil")
