"""What stands between a broker that does not run and its start: a table of gates, read from the top. Pure.

Called by `core.decide` in each cycle without a running process. A gate returns None (go on), or a `Stop`: the state to
show and the actions that help it along. All gates passed: the broker is started. The gates that hold come before the
fence, because a broker that will be held is never fenced off; those that only wait come after it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from bubuku.core import identity
from bubuku.core.actions import Action, AdoptBroker, Fence, FormatDirs, MarkDirs, RaiseFence, Remember, Result
from bubuku.core.memory import Memory
from bubuku.core.model import BrokerState, CoordinationView, Exit, LogDir, Mode, Registration, Role
from bubuku.core.observation import Observation, Policy
from bubuku.core.reasons import Reason

FENCE_RETRY_SECONDS = 1.0
NEVER = float("-inf")  # a reading that was not made yet
READING_PATIENCE_SECONDS = 5.0
EXECUTE_RETRY_SECONDS = 10.0
FULL_BYTES = 16 << 20  # below this much free space Kafka cannot be expected to start


@dataclass(frozen=True, slots=True)
class Stop:
    state: BrokerState
    reason: Reason
    sentence: str
    actions: tuple[Action, ...] = ()


@dataclass(frozen=True, slots=True)
class Case:
    """One start that is being considered."""

    policy: Policy
    memory: Memory
    obs: Observation

    @property
    def dirs(self) -> tuple[LogDir, ...]:
        return self.obs.log_dirs.value or ()

    @property
    def meeting(self) -> CoordinationView | None:
        view = self.obs.coordination.value
        return view if view is not None and view.connected else None

    @property
    def node_id(self) -> int | None:
        return identity.node_id(self.policy, self.obs.record, self.dirs)

    @property
    def ended(self) -> Exit | None:
        return self.obs.process.exit

    @property
    def ended_at(self) -> float:
        return self.ended.at if self.ended is not None else NEVER

    @property
    def accepts_empty(self) -> bool:
        """Once: for the first start of a daemon that was told so, never for a later one."""
        return self.policy.accept_empty and self.memory.process is None

    @property
    def zookeeper(self) -> bool:
        return self.policy.mode is Mode.ZOOKEEPER

    @property
    def broker(self) -> bool:
        return Role.BROKER in self.policy.roles


Gate = Callable[[Case], tuple[Memory, Stop | None]]


def wait(reason: Reason, sentence: str, *actions: Action) -> Stop:
    return Stop(BrokerState.NOT_RUNNING, reason, sentence, actions)


def held(reason: Reason, sentence: str) -> Stop:
    return Stop(BrokerState.HELD, reason, sentence)


def settings(case: Case) -> tuple[Memory, Stop | None]:
    """server.properties can be made."""
    if case.obs.settings_error is not None:
        return case.memory, held(Reason.BAD_CONFIGURATION, case.obs.settings_error)
    return case.memory, None


def executable(case: Case) -> tuple[Memory, Stop | None]:
    """The last start was executed at all; else it is tried again every 10 s."""
    error = case.obs.start_error
    if error is None or case.obs.now - error.begun >= EXECUTE_RETRY_SECONDS:
        return case.memory, None
    return case.memory, Stop(BrokerState.FAILED, Reason.BAD_CONFIGURATION, f"Kafka cannot be executed: {error.value}")


def readings(case: Case) -> tuple[Memory, Stop | None]:
    """The log dirs, Kafka's log and the other processes were looked at since the last end."""
    signalled = case.ended is not None and case.ended.signal is not None
    if case.obs.log_dirs.begun == NEVER or case.obs.foreign.begun == NEVER:
        return case.memory, wait(case.memory.cause, "looking at the log dirs and the other processes first")
    if not case.obs.log_dirs.known:
        return case.memory, held(Reason.LOG_DIRS_FAILED, f"the log dirs cannot be read: {case.obs.log_dirs.error}")
    # a signal says by itself that the end was not clean: then the fence need not wait for the disks
    times = [case.obs.foreign.begun] if signalled else [case.obs.foreign.begun, case.obs.log.begun, case.obs.log_dirs.begun]
    if min(times) < case.ended_at:
        return case.memory, wait(case.memory.cause, "looking at the log dirs, the log and the other processes first")
    return case.memory, None


def other_process(case: Case) -> tuple[Memory, Stop | None]:
    """No second Kafka beside a running one: it is adopted, or held."""
    found = case.obs.foreign.value
    if found is None:
        return case.memory, None
    who = f"process {found.identity.pid} {found.evidence}"
    if not (found.is_kafka and found.holds_log_dir):
        return case.memory, held(Reason.PORT_TAKEN, f"{who}, so Kafka cannot start")
    if not case.policy.adopt_running and not found.ours:
        return case.memory, held(Reason.FOREIGN_KAFKA, f"a Kafka that bubuku did not start runs already: {who}")
    if found.supervisor is not None and not found.ours:
        sentence = (
            f"{who} and belongs to {found.supervisor}, which would restart it: hand it over with"
            f" 'systemctl set-property --runtime {found.supervisor} Restart=no' or 'systemctl disable {found.supervisor}'"
        )
        return case.memory, held(Reason.FOREIGN_SUPERVISOR, sentence)
    sentence = f"Kafka runs already ({who}): taken over without a restart"
    adopt = AdoptBroker(found.identity, Reason.ADOPTED, sentence)
    return case.memory, wait(Reason.ADOPTED, sentence, adopt)


def same_broker(case: Case) -> tuple[Memory, Stop | None]:
    """The log dirs are this broker's, and all of them."""
    finding = identity.check_ids(case.policy, case.obs.record, case.dirs, case.meeting)
    if finding is None:
        finding = identity.check_dirs(case.policy, case.obs.record, case.dirs, case.meeting)
        if finding is not None and not finding.waits and case.accepts_empty:
            finding = _without_its_data(case)
    if finding is None:
        return case.memory, None
    make = wait if finding.waits else held
    return case.memory, make(finding.reason, finding.sentence)


def _without_its_data(case: Case) -> identity.Finding | None:
    """--accept-empty: allowed where a live broker says that every partition has another live in-sync replica."""
    view = case.obs.cluster.value
    if view is None:
        return identity.Finding(
            Reason.LOG_DIR_EMPTY, "--accept-empty waits: no live broker answers to say whether the data is elsewhere"
        )
    live = view.cluster.live() - {case.node_id}
    lost = [f"{p.topic}-{p.partition}" for p in view.cluster.partitions if case.node_id in p.replicas and not live & set(p.isr)]
    if not lost:
        return None
    more = f" and {len(lost) - 5} more" if len(lost) > 5 else ""
    sentence = f"--accept-empty refused: no other in-sync replica lives of {', '.join(lost[:5])}{more}"
    return identity.Finding(Reason.LOG_DIR_EMPTY, sentence)


def same_meeting_place(case: Case) -> tuple[Memory, Stop | None]:
    """This ZooKeeper is the one that we joined, and nobody else answers for our id in it."""
    meeting = case.meeting
    if meeting is None:
        return case.memory, None
    if meeting.member_owner is not None and meeting.member_owner != case.obs.record.instance:
        other = next((m.host for m in meeting.members if m.node_id == case.node_id), "another host")
        return case.memory, held(Reason.MEMBER_ELSEWHERE, f"the daemon of {other} answers for node id {case.node_id}")
    known = case.obs.record.marker
    if case.zookeeper and known is not None and meeting.marker_read and meeting.marker != known:
        there = "has no marker" if meeting.marker is None else f"carries marker {meeting.marker}"
        return case.memory, held(Reason.MARKER_MISSING, f"this ZooKeeper {there}, this member joined {known}")
    return case.memory, None


def lasting_failure(case: Case) -> tuple[Memory, Stop | None]:
    """A failure that a restart cannot mend holds while its cause stands."""
    log = case.obs.log.value
    if log is None or log.fatal is None or case.ended is None or case.obs.log.begun < case.ended_at:
        return case.memory, None
    reason = Reason(log.fatal)
    line = log.fatal_line or ""
    full = [d.path for d in case.dirs if d.usable and d.total_bytes > 0 and d.free_bytes < FULL_BYTES]
    stands = {
        Reason.DISK_FULL: bool(full),
        Reason.BAD_CONFIGURATION: case.obs.settings_digest == case.obs.record.settings_digest,
        Reason.NODE_ID_MISMATCH: case.obs.settings_digest == case.obs.record.settings_digest,
        Reason.CLUSTER_ID_MISMATCH: case.obs.settings_digest == case.obs.record.settings_digest,
    }.get(reason, False)
    if reason is Reason.LOG_DIRS_FAILED and full:
        reason, stands = Reason.DISK_FULL, True
    return case.memory, held(reason, f"Kafka said: {line}") if stands else None


def fence(case: Case) -> tuple[Memory, Stop | None]:
    """Tell the cluster at once that the broker is dead, and know what became of it, before anything is started."""
    memory, obs = case.memory, case.obs
    if memory.fence_sent_at is None:
        target = fence_target(case)
        if target is None:
            return memory, None
        return _send_fence(case, target)
    outcome = obs.outcomes.get(Fence)
    if outcome is None or outcome.begun < memory.fence_sent_at or outcome.result is Result.RUNNING:
        return memory, wait(Reason.FENCE_PENDING, "telling the cluster that this broker is dead")
    if outcome.result is Result.FAILED and obs.now - case.ended_at < case.policy.session_timeout:
        target = fence_target(case)
        if target is not None and obs.now - memory.fence_sent_at >= FENCE_RETRY_SECONDS:
            return _send_fence(case, target)
        if target is not None:
            return memory, wait(Reason.FENCE_PENDING, f"telling the cluster failed and is tried again: {outcome.detail}")
    if outcome.result is Result.UNKNOWN and not case.zookeeper:
        # a late UnregisterBroker would break the next incarnation; in ZooKeeper mode raising the fence rules it out
        quiet_at = (outcome.ended if outcome.ended is not None else obs.now) + case.policy.session_timeout
        if obs.now < quiet_at:
            return memory, wait(Reason.OLD_SESSION, "whether the cluster was told is unknown: the old session must end first")
    return memory, None


def fence_target(case: Case) -> Registration | None:
    """The registration to remove; None where the fence has no business."""
    policy, obs, ended = case.policy, case.obs, case.ended
    if ended is None or not policy.instant_failover or not case.broker or obs.terminate:
        return None
    if obs.record.stop_intent or obs.record.registration is None or identity.ended_cleanly(ended, case.dirs):
        return None
    if case.memory.next_start_at - obs.now > policy.session_timeout:
        return None  # not about to be started: in KRaft an unregistered broker would not count for new topics
    if not case.zookeeper:
        meeting = case.meeting
        if meeting is None or meeting.member_owner != obs.record.instance:
            return None
    return obs.record.registration


def _send_fence(case: Case, target: Registration) -> tuple[Memory, Stop | None]:
    sentence = f"broker {target.node_id} is dead: telling the cluster at once"
    memory = replace(case.memory, fence_sent_at=case.obs.now, fence_tries=case.memory.fence_tries + 1)
    return memory, wait(Reason.FENCE_PENDING, sentence, Fence(target, sentence))


def back_off(case: Case) -> tuple[Memory, Stop | None]:
    left = case.memory.next_start_at - case.obs.now
    if left <= 0:
        return case.memory, None
    ends = case.obs.record.failures
    sentence = f"Kafka ended {ends} times in a row; the next start is in {left:.0f} s"
    return case.memory, Stop(BrokerState.FAILED, Reason.BACK_OFF, sentence)


def leaders_moving(case: Case) -> tuple[Memory, Stop | None]:
    """Wait while the cluster still elects leaders for what this broker led; only on a live broker's word."""
    policy, memory, obs = case.policy, case.memory, case.obs
    if not case.broker or Role.CONTROLLER in policy.roles or policy.unclean_election or case.node_id is None:
        return memory, None
    if case.obs.record.registration is None:
        return memory, None  # it never registered, so it led nothing since
    since = memory.election_since if memory.election_since is not None else obs.now
    memory = replace(memory, election_since=since)
    if obs.now - since >= policy.election_wait:
        return memory, None
    if obs.cluster.begun <= case.ended_at:
        if obs.now - since < READING_PATIENCE_SECONDS:
            return memory, wait(Reason.LEADERS_MOVING, "asking a live broker which partitions this one still leads")
        return memory, None
    view = obs.cluster.value
    if view is None:
        return memory, None
    live = view.cluster.live() - {case.node_id}
    mine = sum(1 for p in view.cluster.partitions if p.leader == case.node_id and live.intersection(p.isr))
    if not mine:
        return memory, None
    return memory, wait(Reason.LEADERS_MOVING, f"the cluster still elects leaders for {mine} partitions of this broker")


def dirs_marked(case: Case) -> tuple[Memory, Stop | None]:
    """Each log dir carries its marker, and the state file knows them, before Kafka sees the dirs."""
    missing = identity.unmarked(case.dirs)
    if missing:
        return case.memory, wait(case.memory.cause, "marking the log dirs as this broker's", MarkDirs(missing))
    here = identity.present(case.dirs)
    ids = (case.node_id, identity.cluster_id(case.policy, case.obs.record, case.dirs))
    record = case.obs.record
    wanted = here if case.accepts_empty else {**record.dirs, **here}
    if dict(record.dirs) != wanted or (record.node_id, record.cluster_id) != ids:
        updated = replace(record, dirs=wanted, node_id=ids[0], cluster_id=ids[1])
        return case.memory, wait(case.memory.cause, "writing down which log dirs this broker has", Remember(updated))
    return case.memory, None


def formatted(case: Case) -> tuple[Memory, Stop | None]:
    paths = identity.unformatted(case.policy, case.dirs)
    if not paths:
        return case.memory, None
    cluster = identity.cluster_id(case.policy, case.obs.record, case.dirs)
    if cluster is None:
        sentence = "KRaft log dirs are empty and kafka.cluster_id is not set: make one with kafka-storage random-uuid"
        return case.memory, held(Reason.BAD_CONFIGURATION, sentence)
    sent, outcome = case.memory.format_sent_at, case.obs.outcomes.get(FormatDirs)
    if sent is not None:
        if outcome is None or outcome.begun < sent or outcome.result is Result.RUNNING:
            return case.memory, wait(Reason.FORMATTING, f"formatting {', '.join(paths)}")
        if outcome.result is not Result.DONE and case.obs.now - sent < 30:
            return case.memory, held(Reason.FORMAT_FAILED, f"formatting {', '.join(paths)} failed: {outcome.detail}")
        if outcome.result is Result.DONE and case.obs.log_dirs.begun < (outcome.ended or case.obs.now):
            return case.memory, wait(Reason.FORMATTING, "formatted; looking at the log dirs again")
    memory = replace(case.memory, format_sent_at=case.obs.now)
    return memory, wait(Reason.FORMATTING, f"formatting {', '.join(paths)}", FormatDirs(paths, cluster))


def member_joined(case: Case) -> tuple[Memory, Stop | None]:
    """We are the member of our node id, so no other host starts the same broker. KRaft does not wait for ZooKeeper."""
    if case.node_id is None:
        if case.meeting is None and case.zookeeper:
            return case.memory, wait(Reason.COORDINATION_AWAY, "ZooKeeper does not answer, and Kafka cannot start without it")
        return case.memory, None
    if case.meeting is None:
        if case.zookeeper:
            return case.memory, wait(Reason.COORDINATION_AWAY, "ZooKeeper does not answer, and Kafka cannot start without it")
        return case.memory, None
    if case.meeting.member_owner is None:
        return case.memory, wait(Reason.COORDINATION_AWAY, f"joining as member {case.node_id}")
    return case.memory, None


def old_registration(case: Case) -> tuple[Memory, Stop | None]:
    """ZooKeeper mode: a broker cannot register while its predecessor's znode stands."""
    memory, obs = case.memory, case.obs
    if not case.zookeeper or case.node_id is None:
        return memory, None
    since = memory.session_since if memory.session_since is not None else obs.now
    memory = replace(memory, session_since=since)
    after = max(case.ended_at, memory.fence_sent_at if memory.fence_sent_at is not None else case.ended_at)
    if not obs.registration.known or obs.registration.begun <= after:
        return memory, wait(Reason.COORDINATION_AWAY, "asking ZooKeeper whether the old registration still stands")
    own = obs.registration.value.own if obs.registration.value is not None else None
    if own is None:
        return memory, None
    if obs.now - since > 2 * case.policy.session_timeout:
        sentence = f"node id {case.node_id} stays registered at {', '.join(own.endpoints)}: another broker uses this id"
        return memory, held(Reason.MEMBER_ELSEWHERE, sentence)
    return memory, wait(Reason.OLD_SESSION, "the old registration still stands; its ZooKeeper session must end first")


def fence_raised(case: Case) -> tuple[Memory, Stop | None]:
    """ZooKeeper mode: from here on a fence that was sent before, and is still on its way, fails."""
    if not case.zookeeper or case.node_id is None or not case.broker:
        return case.memory, None
    sent, outcome = case.memory.raise_sent_at, case.obs.outcomes.get(RaiseFence)
    if sent is not None and outcome is not None and outcome.begun >= sent:
        if outcome.result is Result.DONE:
            return case.memory, None
        if outcome.result is Result.RUNNING or case.obs.now - sent < FENCE_RETRY_SECONDS:
            return case.memory, wait(Reason.FENCE_PENDING, "raising the fence before the start")
    elif sent is not None and case.obs.now - sent < READING_PATIENCE_SECONDS:
        return case.memory, wait(Reason.FENCE_PENDING, "raising the fence before the start")
    memory = replace(case.memory, raise_sent_at=case.obs.now)
    return memory, wait(Reason.FENCE_PENDING, "raising the fence before the start", RaiseFence(case.node_id))


GATES: tuple[Gate, ...] = (
    settings,
    executable,
    readings,
    other_process,
    same_broker,
    same_meeting_place,
    lasting_failure,
    fence,
    back_off,
    dirs_marked,
    formatted,
    member_joined,
    old_registration,
    leaders_moving,
    fence_raised,
)


def walk(case: Case) -> tuple[Memory, Stop | None]:
    """Through all gates. None: the broker may be started now."""
    for gate in GATES:
        memory, stop = gate(case)
        if stop is not None:
            return memory, stop
        case = replace(case, memory=memory)
    return case.memory, None
