"""--accept-empty: an operator's word for log dirs that lost their data, guarded by what the cluster says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bubuku.core import gates
from bubuku.core.actions import Remember
from bubuku.core.case import Gate, Stop
from bubuku.core.memory import Memory
from bubuku.core.model import BrokerState
from bubuku.core.observation import Observation, Policy
from bubuku.core.reasons import Reason
from tests.support.observations import (
    NOW,
    OTHER,
    POLICY,
    case,
    cluster,
    empty_dir,
    log_dir,
    observe,
    partition,
    read,
    unread,
)


def through(gate: Gate, obs: Observation, policy: Policy = POLICY, memory: Memory | None = None) -> Stop | None:
    return gate(case(obs, policy, memory))[1]


def stopped(
    gate: Gate, obs: Observation, policy: Policy = POLICY, memory: Memory | None = None
) -> tuple[BrokerState, Reason]:
    stop = through(gate, obs, policy, memory)
    assert stop is not None, f"{gate.__name__} let the start pass"
    return stop.state, stop.reason


ACCEPTS = replace(POLICY, accept_empty=True)
EMPTY = observe(log_dirs=read((empty_dir(),)))


@pytest.mark.parametrize(
    ("view", "passes_by", "said"),
    [
        (read(cluster(partition(2, (2, 3)))), True, ""),
        (read(cluster(partition(2, (2, 3)), partition(3, (3,), replicas=(3,)))), True, ""),
        (read(cluster(partition(-1, (1,)))), False, "no other in-sync replica lives of t-0"),
        (read(cluster(partition(1, (1, 2)), brokers=(1, 3))), False, "no other in-sync replica lives"),
        (read(cluster(partition(2, (2, 3)), cluster_id="x")), False, "is of Kafka cluster x"),
        (read(cluster(partition(2, (2, 3))), NOW - 31), False, "no live broker answers"),
        (unread(), False, "no live broker answers"),
    ],
)
def test_accept_empty_is_guarded(view: Any, passes_by: bool, said: str) -> None:
    stop = through(gates.same_broker, replace(EMPTY, cluster=view), ACCEPTS)
    assert (stop is None) is passes_by
    if stop is not None:
        assert stop.reason is Reason.LOG_DIR_EMPTY
        assert said in stop.sentence


def test_accept_empty_is_for_the_first_start_alone() -> None:
    safe = replace(EMPTY, cluster=read(cluster(partition(2, (2, 3)))))
    assert stopped(gates.same_broker, safe, ACCEPTS, Memory(process=OTHER))[1] is Reason.LOG_DIR_EMPTY


@pytest.mark.parametrize(
    ("dirs", "reason"),
    [
        ((log_dir(marker="x"),), Reason.LOG_DIR_FOREIGN),
        ((empty_dir(usable=False),), Reason.LOG_DIRS_FAILED),
        ((), Reason.BAD_CONFIGURATION),
        ((log_dir(cluster_id="x"),), Reason.CLUSTER_ID_MISMATCH),
    ],
)
def test_accept_empty_accepts_nothing_but_empty(dirs: Any, reason: Reason) -> None:
    safe = observe(log_dirs=read(dirs), cluster=read(cluster(partition(2, (2, 3)))))
    assert stopped(gates.same_broker, safe, ACCEPTS)[1] is reason


def test_what_was_accepted_passes_again_once_it_is_marked() -> None:
    marked = observe(log_dirs=read((empty_dir(marker="new"),)), cluster=read(cluster(partition(2, (2, 3)))))
    assert through(gates.same_broker, marked, ACCEPTS) is None


def test_accept_empty_writes_the_new_dirs_down() -> None:
    obs = observe(log_dirs=read((empty_dir(marker="new"),)))
    stop = through(gates.dirs_marked, obs, ACCEPTS)
    assert stop is not None
    assert [a.record.dirs for a in stop.actions if isinstance(a, Remember)] == [{"new": "/a"}]
