"""Which change's turn it is, and how its document goes on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bubuku.core import change as changes
from bubuku.core.change import KINDS, SCHEMA
from bubuku.core.reasons import EXPLANATIONS
from bubuku.core.shared import Change, ChangeState
from tests.support.observations import INSTANCE, ran
from tests.support.stops import UUID, change, noted, stop

C = ChangeState
QUEUED = change(state=C.QUEUED, owner=None, epoch=0)
OLDER = replace(QUEUED, uuid="older", sequence=3)


def turn(*found: Change, record: object = None) -> str | None:
    mine = changes.current(found, 1, record if record is not None else ran())  # type: ignore[arg-type]
    return None if mine is None else mine.uuid


def test_the_oldest_open_change_is_first_whatever_order_they_come_in() -> None:
    assert turn(QUEUED, OLDER) == "older"
    assert turn(OLDER, QUEUED) == "older"


def test_one_that_is_at_work_goes_on() -> None:
    assert turn(OLDER, change()) == UUID
    assert turn(OLDER, QUEUED, record=noted()) == UUID, "the state file tells which, though its document lags"
    assert turn(OLDER, record=noted()) == "older", "its document is gone"


@pytest.mark.parametrize(
    "other",
    [
        replace(QUEUED, node_id=2),
        replace(QUEUED, state=C.DONE),
        replace(QUEUED, kind="of a newer daemon"),
        replace(QUEUED, schema=SCHEMA + 1),
    ],
    ids=["of another broker", "ended", "of an unknown kind", "of a newer schema"],
)
def test_what_is_left_alone(other: Change) -> None:
    assert turn(other) is None
    assert turn(other, record=noted(stop(change=other.uuid))) is None


def test_a_claim_names_the_daemon_and_raises_the_epoch_over_the_version_that_was_read() -> None:
    claim = changes.claimed(replace(QUEUED, epoch=4), INSTANCE, 5.0)
    assert (claim.state, claim.owner, claim.epoch, claim.version) == (C.RUNNING, INSTANCE, 5, QUEUED.version)
    assert changes.owned(claim, ran())
    assert not changes.owned(claim, ran(instance="another"))
    assert not changes.owned(replace(claim, state=C.DONE), ran())
    assert not changes.owned(QUEUED, ran())


def test_an_end_says_when_and_why() -> None:
    over = changes.ended(change(), C.FAILED, "why", 12.0)
    assert (over.state, over.phase, over.sentence, over.ended_epoch) == (C.FAILED, "failed", "why", 12.0)
    assert not over.state.is_open


def test_each_kind_has_a_reason_that_is_explained() -> None:
    assert all(kind.why in EXPLANATIONS for kind in KINDS.values())
    assert {name for name, kind in KINDS.items() if kind.stays_down} == {"stop"}
    assert all(kind.stops for kind in KINDS.values() if kind.stays_down)
