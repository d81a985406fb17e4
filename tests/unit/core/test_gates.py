"""What stands between a broker that does not run and its start: each gate passes, holds, waits, acts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bubuku.core import gates
from bubuku.core.actions import AdoptBroker, FormatDirs, MarkDirs, Outcome, Remember, Result
from bubuku.core.case import NEVER, Case, Gate, Stop
from bubuku.core.memory import Memory
from bubuku.core.model import (
    BrokerState,
    Desired,
    LogView,
    ProcessView,
    Record,
    Registration,
    RegistrationView,
    Role,
)
from bubuku.core.observation import Observation, Policy
from bubuku.core.reasons import Reason
from tests.support.observations import (
    ENDED,
    KRAFT_POLICY,
    NOW,
    OTHER,
    POLICY,
    PROCESS,
    REGISTRATION,
    STARTED,
    after_end,
    case,
    cluster,
    counted,
    empty_dir,
    ended,
    foreign,
    log_dir,
    meeting,
    observe,
    partition,
    raised,
    ran,
    read,
    record,
    unread,
)
from tests.support.stops import OFF, ON, intended, noted

S = BrokerState
KILLED = ended(code=None, signal=9)
LATE = ENDED - 1


def through(gate: Gate, obs: Observation, policy: Policy = POLICY, memory: Memory | None = None) -> Stop | None:
    return gate(case(obs, policy, memory))[1]


def stopped(
    gate: Gate, obs: Observation, policy: Policy = POLICY, memory: Memory | None = None
) -> tuple[BrokerState, Reason]:
    stop = through(gate, obs, policy, memory)
    assert stop is not None, f"{gate.__name__} let the start pass"
    return stop.state, stop.reason


def passes(gate: Gate, obs: Observation, policy: Policy = POLICY, memory: Memory | None = None) -> bool:
    return through(gate, obs, policy, memory) is None


def test_the_gates_that_hold_come_before_the_fence_and_those_that_wait_after_it() -> None:
    names = [gate.__name__ for gate in gates.GATES]
    at = names.index("fence")
    before = {"settings", "executable", "readings", "other_process", "same_broker", "same_meeting_place"}
    assert before | {"lasting_failure", "hands_off"} == set(names[:at])
    assert names[-1] == "fence_raised"  # nothing may come between the raise and the start


def test_all_gates_pass_where_nothing_is_wrong() -> None:
    memory = Memory(raise_sent_at=NOW - 0.5, election_since=NOW - 1)
    assert gates.walk(case(observe(outcomes=raised()), memory=memory))[1] is None


def test_settings() -> None:
    assert passes(gates.settings, observe())
    assert stopped(gates.settings, observe(settings_error="no")) == (S.HELD, Reason.BAD_CONFIGURATION)


def test_executable() -> None:
    assert stopped(gates.executable, observe(start_error=read("ENOENT", NOW - 9))) == (
        S.FAILED,
        Reason.BAD_CONFIGURATION,
    )
    assert passes(gates.executable, observe(start_error=read("ENOENT", NOW - 10)))


@pytest.mark.parametrize("source", ["log_dirs", "foreign"])
def test_nothing_is_decided_before_the_first_look(source: str) -> None:
    assert stopped(gates.readings, observe(**{source: unread(begun=NEVER)}))[0] is S.NOT_RUNNING


@pytest.mark.parametrize("source", ["log_dirs", "foreign", "log"])
def test_nothing_is_decided_on_a_look_of_before_the_end(source: str) -> None:
    older = {source: replace(getattr(observe(), source), begun=LATE)}
    assert stopped(gates.readings, after_end(**older))[0] is S.NOT_RUNNING
    assert passes(gates.readings, after_end())


def test_after_a_signal_the_fence_waits_for_disks_in_kraft_alone() -> None:
    obs = after_end(KILLED, log_dirs=read((log_dir(),), LATE), log=read(LogView(), LATE))
    assert passes(gates.readings, obs)
    assert stopped(gates.readings, obs, KRAFT_POLICY)[0] is S.NOT_RUNNING
    assert stopped(gates.readings, replace(obs, foreign=read(None, LATE)))[0] is S.NOT_RUNNING


def test_log_dirs_that_cannot_be_read_hold() -> None:
    assert stopped(gates.readings, observe(log_dirs=unread("EIO"))) == (S.HELD, Reason.LOG_DIRS_FAILED)


def test_unknown_means_no_also_of_other_processes() -> None:
    assert stopped(gates.readings, observe(foreign=unread("EPERM"))) == (S.HELD, Reason.FOREIGN_KAFKA)


@pytest.mark.parametrize(
    ("found", "adopts", "state", "reason"),
    [
        (foreign(), False, S.HELD, Reason.FOREIGN_KAFKA),
        (foreign(), True, S.NOT_RUNNING, Reason.ADOPTED),
        (foreign(ours=True), False, S.NOT_RUNNING, Reason.ADOPTED),
        (foreign(ours=True, holds_log_dir=False, is_kafka=False), False, S.NOT_RUNNING, Reason.ADOPTED),
        (foreign(supervisor="kafka.service"), True, S.HELD, Reason.FOREIGN_SUPERVISOR),
        (foreign(supervisor="kafka.service"), False, S.HELD, Reason.FOREIGN_KAFKA),
        (foreign(supervisor="x.service", ours=True), True, S.NOT_RUNNING, Reason.ADOPTED),
        (foreign(is_kafka=False), True, S.HELD, Reason.PORT_TAKEN),
        (foreign(holds_log_dir=False), True, S.HELD, Reason.PORT_TAKEN),  # another broker on our port
    ],
)
def test_another_process(found: Any, adopts: bool, state: BrokerState, reason: Reason) -> None:
    policy = replace(POLICY, adopt_running=adopts)
    stop = through(gates.other_process, observe(foreign=read(found)), policy)
    assert stop is not None
    assert (stop.state, stop.reason) == (state, reason)
    adopted = [a.identity for a in stop.actions if isinstance(a, AdoptBroker)]
    assert adopted == ([OTHER] if reason is Reason.ADOPTED else [])


def test_the_hand_over_names_the_unit() -> None:
    policy = replace(POLICY, adopt_running=True)
    stop = through(gates.other_process, observe(foreign=read(foreign(supervisor="kafka.service"))), policy)
    assert stop is not None
    assert "kafka.service" in stop.sentence


def test_same_broker_waits_or_holds() -> None:
    fresh = Record("instance-1")
    away = read(meeting(connected=False))
    assert passes(gates.same_broker, observe())
    assert stopped(gates.same_broker, observe(record=fresh, coordination=away)) == (S.NOT_RUNNING, Reason.RECORD_UNREAD)
    assert stopped(gates.same_broker, observe(log_dirs=read((empty_dir(),)))) == (S.HELD, Reason.LOG_DIR_EMPTY)
    assert stopped(gates.same_broker, observe(log_dirs=read((log_dir(node_id=2),)))) == (
        S.HELD,
        Reason.NODE_ID_MISMATCH,
    )


@pytest.mark.parametrize(
    ("view", "policy", "reason"),
    [
        (meeting(), POLICY, None),
        (meeting(member_owner=None), POLICY, None),
        (meeting(member_owner="instance-9"), POLICY, Reason.MEMBER_ELSEWHERE),
        (meeting(member_owner="instance-9"), KRAFT_POLICY, Reason.MEMBER_ELSEWHERE),
        (meeting(marker=None), POLICY, Reason.MARKER_MISSING),
        (meeting(marker="root-9"), POLICY, Reason.MARKER_MISSING),
        (meeting(marker="root-9"), KRAFT_POLICY, None),  # KRaft starts without ZooKeeper
        (meeting(marker=None, marker_read=False), POLICY, None),
        (meeting(connected=False, member_owner="instance-9"), POLICY, None),
    ],
)
def test_meeting_place(view: Any, policy: Policy, reason: Reason | None) -> None:
    stop = through(gates.same_meeting_place, observe(coordination=read(view)), policy)
    assert (stop.reason if stop is not None else None) is reason
    assert stop is None or stop.state is S.HELD


def test_to_a_second_daemon_of_a_node_id_no_empty_dir_is_proposed_to_be_accepted() -> None:
    obs = observe(log_dirs=read((empty_dir(),)), coordination=read(meeting(member_owner="instance-9")))
    stop = gates.walk(case(obs))[1]
    assert stop is not None
    assert stop.reason is Reason.MEMBER_ELSEWHERE


def test_a_member_that_joined_nowhere_yet_has_no_marker_to_miss() -> None:
    obs = observe(record=record(marker=None), coordination=read(meeting(marker=None)))
    assert passes(gates.same_meeting_place, obs)


FULL = log_dir(free_bytes=1 << 20)


@pytest.mark.parametrize(
    ("fatal", "changes", "reason"),
    [
        (None, {}, None),
        (Reason.DISK_FULL, {"log_dirs": read((FULL,))}, Reason.DISK_FULL),
        (Reason.DISK_FULL, {}, None),  # space was freed
        (Reason.LOG_DIRS_FAILED, {"log_dirs": read((FULL,))}, Reason.DISK_FULL),  # Kafka says it so
        (Reason.LOG_DIRS_FAILED, {}, None),
        (Reason.BAD_CONFIGURATION, {}, Reason.BAD_CONFIGURATION),
        (Reason.BAD_CONFIGURATION, {"settings_digest": "d2"}, None),  # mended
        (Reason.CLUSTER_ID_MISMATCH, {}, Reason.CLUSTER_ID_MISMATCH),
        (Reason.NODE_ID_MISMATCH, {"settings_digest": "d2"}, None),
        (Reason.PORT_TAKEN, {}, None),  # backs off
    ],
)
def test_a_lasting_failure_holds_while_its_cause_stands(
    fatal: Reason | None, changes: dict[str, Any], reason: Reason | None
) -> None:
    log = read(LogView(fatal=fatal, fatal_line="said so"))
    stop = through(gates.lasting_failure, after_end(log=log, **changes))
    assert (stop.reason if stop is not None else None) is reason
    assert stop is None or (stop.state is S.HELD and "said so" in stop.sentence)


@pytest.mark.parametrize("fatal", [Reason.BAD_CONFIGURATION, Reason.NODE_ID_MISMATCH, Reason.CLUSTER_ID_MISMATCH])
def test_a_daemon_that_was_restarted_tries_once_more(fatal: Reason) -> None:
    """Its cause may be mended where nobody sees it: in Kafka's environment, in a file beside, in ZooKeeper."""
    log = read(LogView(fatal=fatal, fatal_line="said so"))
    assert passes(gates.lasting_failure, after_end(ended(watched=False), log=log))


def test_what_served_was_configured_well() -> None:
    """A log at level WARN has no line by which a run's beginning is known: an old failure may still be in it."""
    obs = after_end(log=read(LogView(fatal=Reason.BAD_CONFIGURATION, fatal_line="long ago")))
    assert passes(gates.lasting_failure, obs, memory=counted(obs, process=PROCESS, served_since=STARTED))


def test_a_log_of_before_the_end_says_nothing_of_it() -> None:
    log = read(LogView(fatal=Reason.BAD_CONFIGURATION), LATE)
    assert passes(gates.lasting_failure, after_end(log=log))


@pytest.mark.parametrize(("source", "seconds"), [("log_dirs", 30), ("foreign", 10)])
def test_a_start_rests_on_no_old_look(source: str, seconds: float) -> None:
    value = getattr(observe(), source)
    assert passes(gates.looked_lately, observe(**{source: replace(value, begun=NOW - seconds)}))
    assert not passes(gates.looked_lately, observe(**{source: replace(value, begun=NOW - seconds - 0.1)}))
    assert not passes(gates.looked_lately, after_end(KILLED, **{source: replace(value, begun=LATE)}))


def test_a_start_rests_on_no_look_of_before_another_kafka_was_gone() -> None:
    gone = Memory(another_ran=True, alone_since=NOW - 1)
    assert passes(gates.looked_lately, observe(), memory=gone)
    assert not passes(gates.looked_lately, observe(log_dirs=read((log_dir(),), NOW - 1.1)), memory=gone)


def test_back_off() -> None:
    stop = through(gates.back_off, after_end(), memory=counted(after_end(), next_start_at=NOW + 4))
    assert stop is not None
    assert (stop.state, stop.reason) == (S.FAILED, Reason.BACK_OFF)
    assert "in 4 s" in stop.sentence
    assert passes(gates.back_off, after_end(), memory=counted(after_end(), next_start_at=NOW))


def test_dirs_are_marked_once_for_each_look() -> None:
    obs = observe(log_dirs=read((log_dir(), empty_dir("/b"))))
    memory, stop = gates.dirs_marked(case(obs))
    assert stop is not None
    assert stop.actions == (MarkDirs(("/b",)),)
    memory, stop = gates.dirs_marked(case(obs, memory=memory))
    assert stop is not None
    assert stop.actions == ()  # not seen yet
    later = replace(obs, log_dirs=replace(obs.log_dirs, begun=NOW + 0.1), now=NOW + 1)
    _, stop = gates.dirs_marked(case(later, memory=memory))
    assert stop is not None
    assert stop.actions == (MarkDirs(("/b",)),)  # it failed


def test_dirs_are_written_down_before_kafka_sees_them() -> None:
    obs = observe(log_dirs=read((log_dir(), log_dir("/b"))))
    stop = through(gates.dirs_marked, obs)
    assert stop is not None
    assert stop.actions == (Remember(record(dirs={"marker/a": "/a", "marker/b": "/b"})),)
    assert passes(gates.dirs_marked, observe())


def test_a_failed_disk_stays_on_record() -> None:
    both = record(dirs={"marker/a": "/a", "marker/b": "/b"})
    assert passes(gates.dirs_marked, observe(record=both, log_dirs=read((log_dir(), empty_dir("/b", usable=False)))))


NEW_KRAFT = observe(log_dirs=read((empty_dir(marker="marker/a"),)))


def formatting(result: Result | None, sent: float, ended_at: float = NOW - 1) -> Stop | None:
    outcomes: dict[type, Outcome] = {} if result is None else {FormatDirs: Outcome(result, sent, ended_at, "no")}
    return through(gates.formatted, replace(NEW_KRAFT, outcomes=outcomes), KRAFT_POLICY, Memory(format_sent_at=sent))


def test_formatting() -> None:
    memory, stop = gates.formatted(case(NEW_KRAFT, KRAFT_POLICY))
    assert stop is not None
    assert stop.actions == (FormatDirs(("/a",), "cluster-a"),)
    assert memory.format_sent_at == NOW
    assert passes(gates.formatted, observe(), KRAFT_POLICY)
    assert passes(gates.formatted, NEW_KRAFT)  # ZooKeeper mode has none


@pytest.mark.parametrize(
    ("result", "sent", "ended_at", "reason", "again"),
    [
        (Result.RUNNING, NOW - 50, NOW - 1, Reason.FORMATTING, False),
        (Result.FAILED, NOW - 29, NOW - 1, Reason.FORMAT_FAILED, False),
        (Result.FAILED, NOW - 30, NOW - 1, Reason.FORMATTING, True),
        (Result.DONE, NOW - 5, NOW + 1, Reason.FORMATTING, False),  # looked at before it was done
        (None, NOW - 1, NOW, Reason.FORMATTING, True),  # dropped: it was never begun
    ],
)
def test_formatting_goes_on(result: Result | None, sent: float, ended_at: float, reason: Reason, again: bool) -> None:
    stop = formatting(result, sent, ended_at)
    assert stop is not None
    assert stop.reason is reason
    assert any(isinstance(action, FormatDirs) for action in stop.actions) is again


def test_formatting_needs_a_cluster_id() -> None:
    obs = replace(NEW_KRAFT, record=Record("instance-1"))
    assert stopped(gates.formatted, obs, replace(KRAFT_POLICY, cluster_id=None)) == (S.HELD, Reason.BAD_CONFIGURATION)


@pytest.mark.parametrize(
    ("view", "policy", "reason"),
    [
        (meeting(), POLICY, None),
        (meeting(connected=False), POLICY, Reason.COORDINATION_AWAY),
        (meeting(connected=False), KRAFT_POLICY, None),  # has its record: not even ZooKeeper is needed
        (meeting(member_owner=None), POLICY, Reason.COORDINATION_AWAY),
        (meeting(member_owner=None), KRAFT_POLICY, Reason.COORDINATION_AWAY),
    ],
)
def test_membership(view: Any, policy: Policy, reason: Reason | None) -> None:
    stop = through(gates.member_joined, observe(coordination=read(view)), policy)
    assert (stop.reason if stop is not None else None) is reason


def test_a_broker_whose_id_kafka_generates_joins_afterwards() -> None:
    nobody = observe(record=Record("instance-1"), log_dirs=read((empty_dir(marker="m"),)))
    no_id = replace(POLICY, node_id=None)
    joined = replace(nobody, coordination=read(meeting(member_owner=None)))
    assert passes(gates.member_joined, joined, no_id)
    away = replace(nobody, coordination=read(meeting(connected=False)))
    assert stopped(gates.member_joined, away, no_id)[1] is Reason.COORDINATION_AWAY


def leaders(view: Any, since: float | None = None, policy: Policy = POLICY, **changes: Any) -> Stop | None:
    return through(gates.leaders_moving, after_end(cluster=view, **changes), policy, Memory(election_since=since))


@pytest.mark.parametrize(
    ("view", "since", "waits"),
    [
        (read(cluster(partition(1, (1, 2)))), None, True),
        (read(cluster(partition(1, (1, 2)))), NOW - 59.9, True),
        (read(cluster(partition(1, (1, 2)))), NOW - 60, False),  # at most so long
        (read(cluster(partition(1, (1,)))), None, False),  # nobody else can lead it
        (read(cluster(partition(1, (1, 2)), brokers=(1, 3))), None, False),  # 2 is dead too
        (read(cluster(partition(2, (2,)))), None, False),
        (read(cluster(partition(1, (1, 2))), ENDED), NOW - 4, True),  # old: a fresh word is waited for, shortly
        (read(cluster(partition(1, (1, 2))), ENDED), NOW - 5, False),
        (unread(), None, False),  # nobody lives: a power cut
    ],
)
def test_leaders_that_move_are_waited_for(view: Any, since: float | None, waits: bool) -> None:
    stop = leaders(view, since)
    assert (stop is not None) is waits
    assert stop is None or stop.reason is Reason.LEADERS_MOVING


@pytest.mark.parametrize(
    ("policy", "changes"),
    [
        (replace(POLICY, unclean_election=True), {}),
        (replace(KRAFT_POLICY, roles=frozenset({Role.BROKER, Role.CONTROLLER})), {}),  # a voter
        (replace(KRAFT_POLICY, roles=frozenset({Role.CONTROLLER})), {}),
        (POLICY, {"record": ran(registration=None)}),  # it led nothing
    ],
)
def test_leaders_are_not_waited_for(policy: Policy, changes: dict[str, Any]) -> None:
    assert leaders(read(cluster(partition(1, (1, 2)))), None, policy, **changes) is None


def standing(own: Registration | None, begun: float = NOW) -> Any:
    return read(RegistrationView(own, 2), begun)


def test_the_case_reads_no_meeting_place_that_is_away() -> None:
    view = meeting(connected=False, desired=Desired({"x": "/x"}))
    assert Case(POLICY, Memory(), observe(coordination=read(view))).meeting is None
    assert Case(POLICY, Memory(), observe(process=ProcessView())).ended_at == NEVER
    assert standing(REGISTRATION).known


# hands off

MAINTENANCE = read(meeting(maintenance=ON))


def test_in_maintenance_nothing_is_started() -> None:
    assert passes(gates.hands_off, observe())
    assert passes(gates.hands_off, observe(coordination=read(meeting(maintenance=OFF))))
    assert stopped(gates.hands_off, observe(coordination=MAINTENANCE)) == (S.NOT_RUNNING, Reason.MAINTENANCE)
    assert passes(gates.hands_off, observe(coordination=read(meeting(maintenance=replace(ON, until_epoch=0.0)))))


def test_save_what_we_stopped_ourselves() -> None:
    for_one = after_end(coordination=MAINTENANCE, record=noted(intended()))
    assert passes(gates.hands_off, for_one)
    assert stopped(gates.hands_off, replace(for_one, record=noted()))[1] is Reason.MAINTENANCE, "it died by itself"


def test_hands_are_kept_off_as_it_was_last_known() -> None:
    away = observe(coordination=read(meeting(connected=False, maintenance=ON)))
    assert stopped(gates.hands_off, away)[1] is Reason.MAINTENANCE
