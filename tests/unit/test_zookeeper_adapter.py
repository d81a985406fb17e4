"""bubuku.adapters.zookeeper without ZooKeeper: documents, settings, and addresses where nobody answers."""

from __future__ import annotations

import json
import logging
import socket
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bubuku.adapters.zookeeper import (
    ConnectionState,
    Session,
    ZooKeeperCoordination,
    ZooKeeperRegistrations,
    ZooKeeperSettings,
    documents,
)
from bubuku.core.actions import Result
from bubuku.core.errors import UnavailableError, UsageError
from bubuku.core.model import CoordinationView, Desired, Member, Registration

MEMBER = Member(
    node_id=3,
    host="kafka-3",
    instance="instance-3",
    roles=("broker", "controller"),
    version="2.0.0",
    api_url=None,
    rack="c",
    state="serving",
    sentence="the broker serves",
    since_epoch=1_700_000_000.5,
    kafka_version="4.3.0",
    schemas=(1, 2),
    disk_used_bytes=50,
    disk_total_bytes=1000,
    restarts=0,
    note="new addresses come in force",
    note_due_epoch=1_700_000_180.5,
    marker="root-1",
)
GARBAGE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


class TestDocuments:
    def test_a_member_comes_back_as_it_was(self) -> None:
        assert documents.parse_member(3, documents.member_document(MEMBER)) == MEMBER

    def test_the_node_name_counts_and_unknown_fields_are_dropped(self) -> None:
        written = json.loads(documents.member_document(MEMBER)) | {"schema": 9, "invented": [1]}
        assert documents.parse_member(4, json.dumps(written).encode()) == replace(MEMBER, node_id=4)

    @given(st.sampled_from(sorted(json.loads(documents.member_document(MEMBER)))), GARBAGE)
    def test_any_field_may_be_of_any_type(self, field: str, value: object) -> None:
        written = json.loads(documents.member_document(MEMBER)) | {field: value}
        found = documents.parse_member(3, json.dumps(written).encode())
        assert found is None or found.node_id == 3

    @given(st.binary(max_size=40) | GARBAGE.map(lambda value: json.dumps(value).encode()))
    def test_any_bytes_are_read_without_an_error(self, data: bytes) -> None:
        documents.parse_member(1, data)
        documents.parse_desired(data)
        documents.parse_marker(data)
        documents.parse_controller(data)
        documents.parse_endpoints(data.decode("utf-8", "replace"))

    def test_desired_keeps_what_it_does_not_know(self) -> None:
        written = documents.desired_document(Desired({"u": "/data"}, "c"), {"kafka_home": "/opt/kafka", "schema": 4})
        assert json.loads(written) == {
            "kafka_home": "/opt/kafka",
            "schema": 1,
            "dirs": {"u": "/data"},
            "cluster_id": "c",
        }
        assert documents.parse_desired(written) == Desired({"u": "/data"}, "c")

    def test_unreadable_dirs_are_unknown_and_not_none(self) -> None:
        assert documents.parse_desired(b'{"dirs": {"u": 7}}') is None
        assert documents.parse_desired(b'{"dirs": []}') is None
        assert documents.parse_desired(b"{}") == Desired()

    @pytest.mark.parametrize(
        ("content", "endpoints"),
        [
            ({"endpoints": ["SSL://b:9093", "PLAINTEXT://a:9092"], "host": None, "port": -1}, ("a:9092", "b:9093")),
            ({"endpoints": [], "host": "a", "port": 9092}, ("a:9092",)),
            ({"host": "a"}, ()),
            ([], ()),
        ],
    )
    def test_endpoints_of_a_registration(self, content: object, endpoints: tuple[str, ...]) -> None:
        assert documents.parse_endpoints(json.dumps(content)) == endpoints

    def test_a_disk_is_told_from_one_percent_on(self) -> None:
        assert not documents.worth_writing(MEMBER, MEMBER)
        assert not documents.worth_writing(MEMBER, replace(MEMBER, disk_used_bytes=59))
        assert documents.worth_writing(MEMBER, replace(MEMBER, disk_used_bytes=60))
        assert documents.worth_writing(MEMBER, replace(MEMBER, disk_used_bytes=None))
        assert documents.worth_writing(MEMBER, replace(MEMBER, state="frozen"))

    def test_a_cancelled_change_keeps_what_this_version_does_not_know(self) -> None:
        before = json.dumps({"uuid": "u", "state": "queued", "schema": 9, "invented": [1]}).encode()
        asked = documents.marked_document(before, cancel=True)
        assert asked is not None
        assert json.loads(asked) == json.loads(before) | {"cancel": True}
        assert documents.marked_document(b"[", cancel=True) is None


class TestSettings:
    def test_secrets_do_not_show(self) -> None:
        settings = ZooKeeperSettings("a:2181", digest="user:hush", key_password="hush")
        sasl = ZooKeeperSettings("a:2181", sasl_username="user", sasl_password="hush")
        assert "hush" not in repr(settings) + repr(sasl)

    @pytest.mark.parametrize("prefix", ["kafka", "/kafka/", "/a//b"])
    def test_a_prefix_that_cannot_be(self, prefix: str) -> None:
        with pytest.raises(UsageError, match="prefix"):
            ZooKeeperSettings("a:2181", prefix)

    def test_halves_of_credentials(self) -> None:
        with pytest.raises(UsageError, match="password"):
            ZooKeeperSettings("a:2181", sasl_username="user")
        with pytest.raises(UsageError, match="user:password"):
            ZooKeeperSettings("a:2181", digest="hush")

    def test_an_address_that_is_none(self) -> None:
        with pytest.raises(UsageError, match="a:b"):
            Session(ZooKeeperSettings("a:b"))

    def test_kazoo_never_logs_what_it_sends(self) -> None:
        """At debug level it would log the digest's password."""
        assert not logging.getLogger("kazoo.client").isEnabledFor(logging.INFO)


class TestNobodyAnswers:
    """Nothing blocks, nothing raises what the port does not name, and closing is quick."""

    @pytest.fixture(params=["refused", "silent", "unknown name"])
    def session(self, request: pytest.FixtureRequest) -> Iterator[Session]:
        with socket.create_server(("127.0.0.1", 0)) as server:
            address = f"127.0.0.1:{server.getsockname()[1]}"
            if request.param == "refused":
                server.close()
            if request.param == "unknown name":
                address = "zookeeper.invalid:2181"
            session = Session(ZooKeeperSettings(address, "/kafka", session_timeout_seconds=2.0))
            yield session
            session.close()

    def test_it_starts_at_once_and_every_call_is_bounded(self, session: Session) -> None:
        begun = time.monotonic()
        coordination = ZooKeeperCoordination(session)
        registrations = ZooKeeperRegistrations(session, lambda: 3)
        coordination.start()
        coordination.start()
        assert coordination.view(3, 0.2) == CoordinationView(connected=False)
        with pytest.raises(UnavailableError, match="does not answer"):
            coordination.publish(MEMBER, 0.2)
        assert coordination.record_desired(3, Desired(), 0.2).result is Result.FAILED
        assert coordination.join_marker("c", 0.2).result is Result.FAILED
        with pytest.raises(UnavailableError):
            registrations.view(0.2)
        assert registrations.raise_fence(3, 0.2).result is Result.FAILED
        expected = Registration(3, ("a:1",), czxid=1, owner=2, content="{}")
        assert registrations.fence(expected, 0.2).result is Result.FAILED
        assert session.state is ConnectionState.LOST
        assert session.session_id is None
        assert time.monotonic() - begun < 1.0
        coordination.close()
        coordination.close()
        assert time.monotonic() - begun < 5.0
        assert coordination.view(3, 0.2) == CoordinationView(connected=False)

    def test_moving_a_session_that_never_was(self, session: Session) -> None:
        session.start()
        begun = time.monotonic()
        session.move("127.0.0.1:1", 0.5)
        assert time.monotonic() - begun < 1.0
        assert session.state is ConnectionState.LOST
