"""What `bubuku-cli status` says under its table of metadata that is not of this moment."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bubuku.cli.status import goings_on
from bubuku.core.model import ClusterView
from bubuku.core.observation import Note, Published
from bubuku.core.reasons import Reason
from bubuku.http.cluster_document import cluster_document
from tests.support import published as make


def document(published: Published) -> dict[str, Any]:
    return dict(cluster_document(published, make.ABOUT, make.NOW))


def test_how_old_the_metadata_is_stands_beside_what_it_says() -> None:
    shown = document(make.published())
    said = goings_on(shown)[0]
    assert "ago" not in said
    shown["metadata"] = {**shown["metadata"], "age_seconds": 12.3}
    assert goings_on(shown)[0] == f"{said} (12s ago)"


def test_a_broker_is_not_judged_by_metadata_that_is_older_than_its_state() -> None:
    two = ClusterView.of(replace(make.cluster(), brokers=make.cluster().brokers[:2]))  # read 1 s ago
    for since_epoch, judged in ((make.EPOCH - 0.5, False), (make.EPOCH - 2.0, True)):
        meeting = make.coordination(make.member(1), make.member(2), make.member(3, since_epoch=since_epoch))
        seen = make.observation(cluster=make.dated(two), coordination=make.dated(meeting))
        lines = goings_on(document(make.published(seen=seen)))
        assert any("does not list it" in line for line in lines) is judged


def test_a_zookeeper_that_was_wiped_is_told_although_every_broker_serves() -> None:
    for joined, told in (("marker-uuid", False), (None, False), ("of-before", True)):
        seen = make.observation()
        seen = replace(seen, record=replace(seen.record, marker=joined))
        lines = goings_on(document(make.published(seen=seen)))
        assert any("marker_missing" in line for line in lines) is told


def test_what_else_each_broker_has_to_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of ZooKeeper's addresses: a new list that was seen and when it is acted on, and a restart that waits."""
    monkeypatch.setattr("bubuku.cli.status.time.time", lambda: make.EPOCH)
    own = Note(Reason.ADDRESSES_CHANGED, "new ZooKeeper addresses b:1 come in force", make.EPOCH + 125)
    meeting = make.coordination(make.member(1), make.member(2, note="Kafka is to be restarted"), make.member(3))
    seen = make.observation(coordination=make.dated(meeting))
    lines = goings_on(document(make.published(replace(make.SERVING, note=own), seen)))
    assert lines[1:] == ["1: new ZooKeeper addresses b:1 come in force (in 2m 5s)", "2: Kafka is to be restarted"]
