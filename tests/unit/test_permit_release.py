"""`Operations.release`: an operator is told what became of it."""

from __future__ import annotations

import pytest

from bubuku.core.actions import Outcome, Result, TakePermit
from bubuku.core.errors import TimedOutError, UnavailableError, UsageError
from bubuku.core.model import CoordinationView, Dated, Mode
from bubuku.core.shared import Entry
from bubuku.operations import Operations
from bubuku.verdicts import Verdicts
from tests.sim.engine import Engine
from tests.sim.host import Host, Settings
from tests.sim.kafka_admin import MemoryKafka
from tests.sim.kafka_cluster import KafkaCluster
from tests.sim.meeting import MemoryCoordination
from tests.sim.zookeeper import ZooKeeper


class Meeting:
    """Broker 1 is in the permit."""

    def __init__(self) -> None:
        engine = Engine(1)
        self.zookeeper = ZooKeeper(engine)
        self.port = MemoryCoordination(self.zookeeper)
        self.port.start()
        self.port.permits.take(TakePermit(1, Entry("token", "host-1", 0.0), -1, -1), 3.0)
        kafka = MemoryKafka(KafkaCluster(engine, Mode.KRAFT, self.zookeeper), Host("host-1", 1, Settings(1), {}, {}))
        verdicts = Verdicts(kafka, lambda: None, frozenset, list, frozenset)
        joined = self.port.join_marker("cluster-a", 3.0).data
        assert joined is not None
        self.marker: str | None = str(joined["marker"])
        self.seen: Dated[CoordinationView] = Dated(0.0, self.port.view(1, 3.0))
        self.operations = Operations(
            self.port.permits,
            self.port.changes,
            verdicts,
            lambda: self.seen,
            lambda: Dated(0.0, None),
            engine,
            lambda: self.marker,
        )


def test_it_is_gone_from_the_permit() -> None:
    meeting = Meeting()
    meeting.operations.release(1)
    assert not meeting.zookeeper.root.permit.entries
    with pytest.raises(UsageError, match="broker 2 is not in the permit"):
        meeting.operations.release(2)


@pytest.mark.parametrize(("result", "error"), [(Result.FAILED, UnavailableError), (Result.UNKNOWN, TimedOutError)])
def test_what_was_not_done_is_not_said_to_be(result: Result, error: type[Exception]) -> None:
    meeting = Meeting()
    meeting.port.permits.drop = lambda *_: Outcome(result, 0.0, 0.0, "no answer")  # type: ignore[method-assign]
    with pytest.raises(error, match="no answer"):
        meeting.operations.release(1)


def test_zookeeper_went_away_since_it_was_read() -> None:
    meeting = Meeting()
    meeting.zookeeper.set_up(False)
    with pytest.raises(UnavailableError, match="ZooKeeper does not answer"):
        meeting.operations.release(1)
