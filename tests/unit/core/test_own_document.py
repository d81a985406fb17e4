"""The document of our own change: what it says next, and when it is written. Through whole decisions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bubuku.core.actions import (
    DropPermit,
    Judge,
    Remember,
    RestPermit,
    Result,
    SendStop,
    SettlePermit,
    TakePermit,
    WriteChange,
)
from bubuku.core.decide import decide
from bubuku.core.model import BrokerState, Record
from bubuku.core.shared import Change, ChangeState, Finished
from tests.support.observations import (
    NOW,
    POLICY,
    counted,
    ran,
    watching,
)
from tests.support.stops import (
    UUID,
    agreed,
    change,
    done,
    entry,
    judged,
    serving,
)
from tests.unit.core.test_stop_order import acts, decided, gone_wrong, lying

S, C = BrokerState, ChangeState
WRITES = (TakePermit, DropPermit, RestPermit, SettlePermit, SendStop)


# the document


def written(asked: Change, record: Record | None = None, **changes: Any) -> Change | None:
    decision = decided(serving(agreed(asked), record, **changes), watching())
    return next((action.change for action in acts(decision, WriteChange)), None)


def test_a_queued_change_is_claimed_before_anything_is_done_for_it() -> None:
    queued = change(state=C.QUEUED, owner=None, epoch=3)
    claim = written(queued)
    assert claim is not None
    assert (claim.state, claim.owner, claim.epoch, claim.version) == (C.RUNNING, "instance-1", 4, 2)
    assert not acts(decided(serving(agreed(queued), outcomes=judged()), watching()), Judge, Remember, *WRITES)


def test_nothing_is_done_for_a_change_of_another_instance_and_it_fails() -> None:
    of_another = change(owner="of the disk that was lost")
    failed = written(of_another)
    assert failed is not None
    assert failed.state is C.FAILED
    assert not acts(decided(serving(agreed(of_another), outcomes=judged())), Judge, Remember, *WRITES)


def test_what_is_cancelled_before_anything_was_stopped_ends() -> None:
    ended_ = written(change(cancel=True))
    assert ended_ is not None
    assert (ended_.state, ended_.sentence) == (C.CANCELLED, "cancelled before anything was stopped")


def test_a_finished_change_is_not_done_again_while_its_document_lags() -> None:
    record = ran(finished=Finished(UUID, True, "over"))
    assert not acts(decided(serving(agreed(), record, outcomes=judged())), Judge, Remember, *WRITES)


def test_a_document_is_not_sent_again_before_five_seconds_are_over() -> None:
    queued = serving(agreed(change(state=C.QUEUED, owner=None)))
    memory, decision = decide(POLICY, watching(), queued)
    assert acts(decision, WriteChange)
    assert not acts(decided(replace(queued, now=NOW + 4), memory), WriteChange)
    assert acts(decided(replace(queued, now=NOW + 5), memory), WriteChange)
    running = replace(queued, now=NOW + 5, outcomes={WriteChange: done(result=Result.RUNNING)})
    assert not acts(decided(running, memory), WriteChange)


def test_a_start_of_a_broker_that_serves_is_done_at_once() -> None:
    started = written(change(kind="start"))
    assert started is not None
    assert (started.state, started.sentence) == (C.DONE, "broker 1 serves")


def test_a_start_says_what_stands_in_its_way() -> None:
    asked = change(kind="start")
    obs = lying(ran(), agreed(asked))
    (write,) = acts(decided(obs, counted(obs)), WriteChange)
    assert (write.change.phase, write.change.sentence) == ("starting", "no template")
    obs, memory = gone_wrong(entry(), for_seconds=10)
    (write,) = acts(decided(obs, memory), WriteChange)
    assert (write.change.phase, write.change.sentence) == ("starting", "line 3: no '='")
