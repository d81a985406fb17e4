"""One cycle's decision: accounts of ends, back-off, what is never done, stalled starts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bubuku.core.actions import (
    Action,
    EndStalled,
    Fence,
    JoinMarker,
    Remember,
    StartBroker,
)
from bubuku.core.decide import back_off_seconds, decide
from bubuku.core.errors import InvariantError
from bubuku.core.invariants import check
from bubuku.core.lifecycle import FOLLOWS
from bubuku.core.memory import Memory
from bubuku.core.model import BrokerState, Exit, LogView, ProcessView, Record, RegistrationView
from bubuku.core.observation import Decision, Observation
from bubuku.core.reasons import Reason
from tests.support.observations import (
    ENDED,
    INSTANCE,
    NOW,
    OTHER,
    POLICY,
    PROCESS,
    REGISTRATION,
    STARTED,
    after_end,
    ended,
    foreign,
    log_dir,
    observe,
    raised,
    ran,
    read,
    record,
    running,
    unread,
    watching,
)

S = BrokerState
KILLED = ended(code=None, signal=9)


def acts(decision: Decision, kind: type) -> list[Any]:
    return [action for action in decision.actions if isinstance(action, kind)]


def saved(decision: Decision) -> Record | None:
    return next((a.record for a in reversed(decision.actions) if isinstance(a, Remember)), None)


# ends are counted, once


@pytest.mark.parametrize(
    ("failures", "served", "seconds"),
    [
        (0, False, 0.0),
        (0, True, 0.0),
        (1, False, 1.0),
        (2, False, 2.0),
        (9, False, 256.0),
        (10, False, 300.0),
        (10_000, False, 300.0),
        (1, True, 0.0),
        (3, True, 0.0),
        (4, True, 1.0),
        (5, True, 2.0),
    ],
)
def test_back_off(failures: int, served: bool, seconds: float) -> None:
    assert back_off_seconds(failures, served) == seconds


@pytest.mark.parametrize(
    ("known", "memory", "end", "failures", "delay"),
    [
        (ran(), watching(), KILLED, 1, 0.0),  # served: started again at once
        (ran(failures=3), watching(), KILLED, 4, 1.0),  # but not again and again
        (ran(failures=5), watching(served_since=ENDED - 700), KILLED, 1, 0.0),  # ten minutes of service forgive all
        (ran(failures=5), watching(served_since=NOW - 599), KILLED, 6, 4.0),
        (record(process=PROCESS), watching(served_since=None), ended(), 1, 1.0),
        (record(process=PROCESS, failures=3), watching(served_since=None), ended(), 4, 8.0),
        (ran(), Memory(), ended(watched=False), 1, 0.0),  # nobody watched: taken as a service that ended
        (ran(failures=4), Memory(), ended(watched=False), 5, 2.0),
        (ran(failures=4, counted=True), Memory(), ended(watched=False), 4, 1.0),  # our predecessor counted it
        (ran(failures=4, stop_intent=True), watching(), ended(), 0, 0.0),  # we stopped it
        (ran(failures=1), watching(failures=3), KILLED, 4, 1.0),  # the state file could not be written meanwhile
        (ran(failures=4, counted=True), watching(process=OTHER), ended(identity=OTHER), 5, 2.0),  # an adopted one
    ],
)
def test_an_end_is_counted(known: Record, memory: Memory, end: Exit, failures: int, delay: float) -> None:
    memory, decision = decide(POLICY, memory, after_end(end, record=known))
    after = saved(decision) or known
    assert after.failures == memory.failures == failures
    assert memory.next_start_at == end.at + delay


def test_an_end_is_counted_once() -> None:
    obs = after_end(KILLED)
    memory, decision = decide(POLICY, watching(), obs)
    known = saved(decision)
    assert known is not None
    assert (known.failures, known.counted) == (1, True)
    _, decision = decide(POLICY, memory, replace(obs, record=known, now=NOW + 1))
    assert saved(decision) is None
    _, decision = decide(POLICY, Memory(), replace(obs, record=known, now=NOW + 1))  # a successor
    assert saved(decision) is None


def test_an_adopted_ones_end_leaves_the_count_of_the_recorded_one_alone() -> None:
    known = ran(failures=2, counted=True)
    _, decision = decide(POLICY, watching(process=OTHER), after_end(ended(identity=OTHER), record=known))
    after = saved(decision)
    assert after is not None
    assert after.counted


def test_ten_minutes_of_service_are_forgiven_on_disk_too() -> None:
    _, decision = decide(POLICY, watching(served_since=NOW - 600), running(record=ran(failures=3)))
    after = saved(decision)
    assert after is not None
    assert after.failures == 0
    _, decision = decide(POLICY, watching(served_since=NOW - 599), running(record=ran(failures=3)))
    assert saved(decision) is None


@pytest.mark.parametrize(
    ("obs", "memory", "cause"),
    [
        (after_end(), watching(), Reason.PROCESS_DIED),
        (after_end(log_dirs=read((log_dir(clean=True),))), watching(), Reason.STOPPED_OUTSIDE),
        (after_end(log_dirs=read((log_dir(clean=True),), ENDED - 1)), watching(), Reason.PROCESS_DIED),  # not known yet
        # it never served: the file is left of the stop before
        (
            after_end(record=record(process=PROCESS), log_dirs=read((log_dir(clean=True),))),
            watching(),
            Reason.PROCESS_DIED,
        ),
        (after_end(record=ran(stop_intent=True)), watching(), Reason.FIRST_START),  # its daemon took it along
        (after_end(), watching(stalled=PROCESS), Reason.START_STALLED),
        (observe(), Memory(), Reason.FIRST_START),
    ],
)
def test_why_it_is_started_again(obs: Observation, memory: Memory, cause: Reason) -> None:
    memory, _ = decide(POLICY, memory, obs)
    assert memory.cause is cause


def test_the_cause_is_looked_up_again_when_the_disks_were_read() -> None:
    early = after_end(log_dirs=read((log_dir(clean=True),), ENDED - 1))
    memory, _ = decide(POLICY, watching(), early)
    memory, decision = decide(POLICY, memory, replace(early, log_dirs=read((log_dir(clean=True),))))
    assert memory.cause is Reason.STOPPED_OUTSIDE
    assert not acts(decision, Fence)


def test_what_ran_on_the_log_dirs_since_is_remembered_until_the_next_end() -> None:
    """A fence is about the process that is on record, and that one was not the last."""
    memory, _ = decide(POLICY, watching(), after_end(foreign=read(foreign())))
    assert memory.another_ran
    assert memory.alone_since is None
    memory, decision = decide(POLICY, memory, after_end(foreign=read(None, NOW - 0.5)))
    assert memory.another_ran
    assert memory.alone_since == NOW - 0.5
    assert not acts(decision, Fence)
    memory, _ = decide(POLICY, memory, after_end(ended(identity=OTHER), record=ran(process=OTHER)))
    assert not memory.another_ran


# a start


def ready(**changes: Any) -> tuple[Memory, Observation]:
    """All gates are passed in this cycle."""
    memory = Memory(raise_sent_at=NOW - 0.5)
    return memory, observe(outcomes=raised(), **changes)


def test_a_first_start() -> None:
    memory, decision = decide(POLICY, *ready())
    assert (decision.state, decision.reason) == (S.STARTING, Reason.FIRST_START)
    assert acts(decision, StartBroker)[0].sentence == "nothing runs: starting Kafka"
    assert (memory.raise_sent_at, memory.fence_sent_at, memory.election_since) == (None, None, None)


@pytest.mark.parametrize(
    ("end", "said"),
    [
        (ended(code=None, signal=9), "(pid 41) was killed by signal 9"),
        (ended(code=3), "(pid 41) ended with exit code 3"),
        (ended(code=None), "(pid 41) ended:"),
        (ended(code=None, watched=False), "(pid 41) ended while no daemon watched"),
    ],
)
def test_the_sentence_says_how_it_ended(end: Exit, said: str) -> None:
    memory, obs = ready(process=ProcessView(exit=end), record=record(process=PROCESS, counted=True))
    _, decision = decide(POLICY, replace(memory, ended=PROCESS), obs)
    assert said in acts(decision, StartBroker)[0].sentence


def test_a_failed_start_shows_kafkas_last_lines() -> None:
    obs = after_end(record=record(process=PROCESS), log=read(LogView(last_lines=("a", "b"))))
    _, decision = decide(POLICY, watching(served_since=None), replace(obs, now=ENDED + 0.5))
    assert (decision.state, decision.reason) == (S.FAILED, Reason.BACK_OFF)
    assert decision.last_lines == ("a", "b")


def test_nothing_is_started_by_a_daemon_that_was_told_to_end() -> None:
    memory, obs = ready()
    _, decision = decide(POLICY, memory, replace(obs, terminate=True))
    assert (decision.state, decision.reason) == (S.NOT_RUNNING, Reason.TERMINATING)
    assert not acts(decision, StartBroker)


# what is never done


def decision_of(state: BrokerState, *actions: Action) -> Decision:
    return Decision(state, Reason.RUNNING, "", actions)


START = StartBroker(Reason.FIRST_START, "")
FENCE = Fence(REGISTRATION, "")


@pytest.mark.parametrize(
    ("before", "decision", "obs", "said"),
    [
        (S.SERVING, decision_of(S.SERVING, START), running(), "a second Kafka"),
        (S.NOT_RUNNING, decision_of(S.STARTING, START), observe(foreign=read(foreign())), "may run already"),
        (S.NOT_RUNNING, decision_of(S.STARTING, START), observe(foreign=unread()), "may run already"),
        (S.SERVING, decision_of(S.SERVING, FENCE), running(), "without proof"),
        (S.NOT_RUNNING, decision_of(S.NOT_RUNNING, FENCE), observe(record=ran()), "without proof"),
        (S.NOT_RUNNING, decision_of(S.NOT_RUNNING, FENCE), after_end(ended(identity=OTHER)), "without proof"),
        (S.STARTING, decision_of(S.STARTING, EndStalled(PROCESS, False, "")), running(), "had registered"),
        (S.SERVING, decision_of(S.RECOVERING), running(), "recovering cannot follow serving"),
    ],
)
def test_invariants_raise(before: BrokerState, decision: Decision, obs: Observation, said: str) -> None:
    with pytest.raises(InvariantError, match=said):
        check(before, decision, obs)


def test_all_that_may_follow_passes() -> None:
    for before, followers in FOLLOWS.items():
        for after in followers | {before}:
            check(before, decision_of(after), running())


# a start that stalls


STUCK = running(
    record=record(process=PROCESS, started_by_us=True),
    registration=read(RegistrationView(None, 2)),
    answers=read(False),
    process=ProcessView(PROCESS, STARTED),
)
STILL = watching(
    state=S.STARTING,
    served_since=None,
    registered_once=False,
    answered_at=None,
    progress=(0, 0),
    progress_at=NOW - 300,
)


def test_a_start_without_progress_is_ended() -> None:
    memory, decision = decide(POLICY, STILL, STUCK)
    assert [a.force for a in acts(decision, EndStalled)] == [False]
    assert "no progress for 300 s" in decision.sentence
    assert (memory.stalled, memory.startup_timeout) == (PROCESS, 360.0)


def test_a_wrong_configuration_is_not_noted_beside_a_running_broker() -> None:
    """Its daemon is new and has not read the dirs yet: noted, the mistake would outlast its correction."""
    wrong = replace(POLICY, node_id=7, cluster_id="cluster-x")
    early = running(record=Record(INSTANCE), log_dirs=unread())
    _, decision = decide(wrong, Memory(), early)
    kept = saved(decision)
    assert kept is None or (kept.node_id, kept.cluster_id) == (None, None)
    assert not acts(decision, JoinMarker)
    _, decision = decide(wrong, Memory(), replace(early, log_dirs=read((log_dir(),))))
    kept = saved(decision)
    assert kept is not None
    assert (kept.node_id, kept.cluster_id) == (1, "cluster-a")
    assert not acts(decision, JoinMarker)


def test_a_start_that_hangs_is_ended_though_our_predecessor_told_it_to_stop() -> None:
    """In KRaft a starting Kafka ignores SIGTERM: the stop would be waited for for ever."""
    told = replace(STUCK, record=replace(STUCK.record, stop_intent=True))
    _, decision = decide(POLICY, STILL, told)
    assert decision.state is S.STOPPING
    assert [a.force for a in acts(decision, EndStalled)] == [False]


@pytest.mark.parametrize(
    ("memory", "changes"),
    [
        (replace(STILL, progress_at=NOW - 299), {}),
        (STILL, {"log": read(LogView(lines_seen=1))}),  # progress
        (STILL, {"log": read(LogView(1, 100))}),  # it recovers
        (replace(STILL, registered_once=True), {}),
        (STILL, {"record": ran()}),
        (STILL, {"registration": read(RegistrationView(REGISTRATION, 2))}),
        (STILL, {"registration": read(RegistrationView(None, 2), NOW - 31)}),  # an old look
        (STILL, {"registration": unread()}),  # unknown means no: ZooKeeper is away
        (STILL, {"process": ProcessView(PROCESS, STARTED, suspended=True)}),
        (STILL, {"terminate": True}),
        (STILL, {"answers": read(True)}),  # it serves, only not where we look: a wrong zookeeper.prefix
        (replace(STILL, answered_at=NOW - 200), {}),
        (STILL, {"record": record(process=PROCESS)}),  # adopted while it ran: not our start
        (STILL, {"record": record(process=None, started_by_us=True)}),  # being adopted now
    ],
)
def test_a_start_is_left_alone(memory: Memory, changes: dict[str, Any]) -> None:
    _, decision = decide(POLICY, memory, replace(STUCK, **changes))
    assert not acts(decision, EndStalled)


@pytest.mark.parametrize(
    ("stalled_at", "progress_at", "forced"),
    [(NOW - 30, NOW - 330, True), (NOW - 29, NOW - 329, False), (NOW - 60, NOW - 29, False)],
)
def test_one_that_ignores_it_is_killed_after_a_grace(stalled_at: float, progress_at: float, forced: bool) -> None:
    memory = replace(STILL, stalled=PROCESS, stalled_at=stalled_at, progress_at=progress_at, startup_timeout=360.0)
    memory, decision = decide(POLICY, memory, STUCK)
    assert [a.force for a in acts(decision, EndStalled)] == ([True] if forced else [])
    assert memory.startup_timeout == 360.0  # grows once a start


def test_the_timeout_grows_by_its_step_or_its_factor() -> None:
    progressive = replace(POLICY, startup_progressive=True, startup_step=0.5)
    assert decide(progressive, STILL, STUCK)[0].startup_timeout == 450.0
    assert decide(POLICY, watching(startup_timeout=900.0), running())[0].startup_timeout == 300.0
