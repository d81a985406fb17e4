"""What stands between a broker that does not run and its start: a table of gates, read from the top. Pure.

Called by `core.decide` in each cycle without a running process. A gate returns None (go on), or a `Stop`: the state to
show and the actions that help it along. All gates passed: the broker is started. The gates that hold come before the
fence, because a broker that will be held is never fenced off; those that only wait come after it.
"""

from __future__ import annotations

from dataclasses import replace

from bubuku.core import identity
from bubuku.core.actions import AdoptBroker, FormatDirs, MarkDirs, Remember, Result
from bubuku.core.case import NEVER, PROCESSES_AGE_SECONDS, Case, Gate, Stop, held, wait
from bubuku.core.fencing import fence, fence_raised, old_registration
from bubuku.core.memory import Memory
from bubuku.core.model import BrokerState, Role
from bubuku.core.reasons import Reason

READING_PATIENCE_SECONDS = 5.0
READING_AGE_SECONDS = 30.0  # what a start rests on is not older; processes come and go faster than disks
FORMAT_RETRY_SECONDS = 30.0
EXECUTE_RETRY_SECONDS = 10.0
FULL_BYTES = 16 << 20  # below this much free space Kafka cannot be expected to start


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
    signalled = case.zookeeper and case.ended is not None and case.ended.signal is not None
    if case.obs.log_dirs.begun == NEVER or case.obs.foreign.begun == NEVER:
        return case.memory, wait(case.memory.cause, "looking at the log dirs and the other processes first")
    if not case.obs.log_dirs.known:
        return case.memory, held(Reason.LOG_DIRS_FAILED, f"the log dirs cannot be read: {case.obs.log_dirs.error}")
    # ZooKeeper mode: after a signal the fence need not wait for the disks (after a clean stop it would find no znode)
    obs, after = case.obs, case.ended_at
    if obs.foreign.begun < after or (not signalled and min(obs.log.begun, obs.log_dirs.begun) < after):
        return case.memory, wait(case.memory.cause, "looking at the log dirs, the log and the other processes first")
    if not case.obs.foreign.known:
        sentence = f"whether a Kafka runs already cannot be told: {case.obs.foreign.error}"
        return case.memory, held(Reason.FOREIGN_KAFKA, sentence)
    return case.memory, None


def looked_lately(case: Case) -> tuple[Memory, Stop | None]:
    """What the start rests on is of after the end, and not old: a disk may vanish while a start is waited for."""
    obs = case.obs
    fresh = min(obs.log_dirs.begun + READING_AGE_SECONDS, obs.foreign.begun + PROCESSES_AGE_SECONDS)
    if min(obs.log_dirs.begun, obs.foreign.begun, obs.log.begun) < case.quiet_since or fresh < obs.now:
        sentence = "looking at the log dirs and the other processes again"
        oldest = obs.now - obs.log_dirs.begun
        if oldest > 2 * READING_AGE_SECONDS:
            sentence += f"; the last look at the log dirs was {oldest:.0f} s ago: a disk may hang"
        return case.memory, wait(case.memory.cause, sentence)
    return case.memory, None


def other_process(case: Case) -> tuple[Memory, Stop | None]:
    """No second Kafka beside a running one: it is adopted, or held."""
    found = case.obs.foreign.value
    if found is None:
        return case.memory, None
    who = f"process {found.identity.pid} {found.evidence}"
    if not found.ours and not (found.is_kafka and found.holds_log_dir):
        return case.memory, held(Reason.PORT_TAKEN, f"{who}, so Kafka cannot start")
    if not case.policy.adopt_running and not found.ours:
        return case.memory, held(Reason.FOREIGN_KAFKA, f"a Kafka that bubuku did not start runs already: {who}")
    if found.supervisor is not None and not found.ours:
        drop_in = f"/run/systemd/system/{found.supervisor}.d"
        sentence = (
            f"{who} and belongs to {found.supervisor}, which would restart it: hand it over with  mkdir -p {drop_in} &&"
            f' printf "[Service]\\nRestart=no\\n" >{drop_in}/bubuku.conf && systemctl daemon-reload &&'
            f" systemctl disable {found.supervisor}"
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
        if finding is not None and finding.reason is Reason.LOG_DIR_EMPTY and case.accepts_empty:
            finding = _without_its_data(case)
    if finding is None:
        return case.memory, None
    make = wait if finding.waits else held
    return case.memory, make(finding.reason, finding.sentence)


def _without_its_data(case: Case) -> identity.Finding | None:
    """--accept-empty: allowed where a live broker says that every partition has another live in-sync replica."""
    view = case.obs.cluster.value
    ours = identity.cluster_id(case.policy, case.obs.record, case.dirs)
    if view is not None and None not in (ours, view.cluster.cluster_id) and view.cluster.cluster_id != ours:
        sentence = f"--accept-empty refused: {view.cluster.answered_by} is of Kafka cluster {view.cluster.cluster_id}"
        return identity.Finding(Reason.LOG_DIR_EMPTY, sentence)
    if view is None or case.obs.cluster.begun < case.obs.now - READING_AGE_SECONDS:
        return identity.Finding(
            Reason.LOG_DIR_EMPTY, "--accept-empty waits: no live broker answers to say whether the data is elsewhere"
        )
    live = view.cluster.live() - {case.node_id}
    mine = [p for p in view.cluster.partitions if case.node_id in p.replicas]
    lost = [f"{p.topic}-{p.partition}" for p in mine if not live & set(p.isr)]
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


def hands_off(case: Case) -> tuple[Memory, Stop | None]:
    """Maintenance: nothing is started, save what we stopped ourselves. As it was last known, also without ZooKeeper."""
    view, stop = case.obs.coordination.value, case.obs.record.stop
    if view is None or view.maintenance is None or not view.maintenance.holds(case.obs.wall):
        return case.memory, None
    if stop is not None and stop.intended:
        return case.memory, None
    by = f" ({view.maintenance.by}: {view.maintenance.text})" if view.maintenance.text else f" ({view.maintenance.by})"
    return case.memory, wait(Reason.MAINTENANCE, f"maintenance is on, so Kafka is not started{by}")


def lasting_failure(case: Case) -> tuple[Memory, Stop | None]:
    """A failure that a restart cannot mend holds while its cause stands."""
    log = case.obs.log.value
    if log is None or log.fatal is None or case.ended is None or case.obs.log.begun < case.ended_at:
        return case.memory, None
    reason = Reason(log.fatal)
    line = log.fatal_line or ""
    full = [d.path for d in case.dirs if d.usable and d.total_bytes > 0 and d.free_bytes < FULL_BYTES]
    # The cause may also be in Kafka's environment, a file beside the template, or ZooKeeper, where its end does not
    # show: a daemon that was restarted since tries once more. What served was not refused; the log is of before.
    served = case.memory.served_since is not None and case.memory.process == case.ended.identity
    unchanged = case.obs.settings_digest == case.obs.record.settings_digest and case.ended.watched and not served
    stands = {
        Reason.DISK_FULL: bool(full),
        Reason.BAD_CONFIGURATION: unchanged,
        Reason.NODE_ID_MISMATCH: unchanged,
        Reason.CLUSTER_ID_MISMATCH: unchanged,
    }.get(reason, False)
    if reason is Reason.LOG_DIRS_FAILED and full:
        reason, stands = Reason.DISK_FULL, True
    return case.memory, held(reason, f"Kafka said: {line}") if stands else None


def back_off(case: Case) -> tuple[Memory, Stop | None]:
    """The delay after failed starts is over."""
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
        sentence = "marking the log dirs as this broker's"
        if case.memory.marked_at is not None and case.obs.log_dirs.begun <= case.memory.marked_at:
            return case.memory, wait(case.memory.cause, sentence)
        return replace(case.memory, marked_at=case.obs.now), wait(case.memory.cause, sentence, MarkDirs(missing))
    here = identity.present(case.dirs)
    ids = (case.node_id, identity.cluster_id(case.policy, case.obs.record, case.dirs))
    record = case.obs.record
    wanted = here if case.accepts_empty else {**record.dirs, **here}
    if dict(record.dirs) != wanted or (record.node_id, record.cluster_id) != ids:
        updated = replace(record, dirs=wanted, node_id=ids[0], cluster_id=ids[1])
        return case.memory, wait(case.memory.cause, "writing down which log dirs this broker has", Remember(updated))
    return case.memory, None


def formatted(case: Case) -> tuple[Memory, Stop | None]:
    """KRaft: log dirs that never held data are formatted, by Kafka's own tool."""
    paths = identity.unformatted(case.policy, case.dirs)
    if not paths:
        return case.memory, None
    cluster = identity.cluster_id(case.policy, case.obs.record, case.dirs)
    if cluster is None:
        sentence = "KRaft log dirs are empty and kafka.cluster_id is not set: make one with kafka-storage random-uuid"
        return case.memory, held(Reason.BAD_CONFIGURATION, sentence)
    sent, outcome = case.memory.format_sent_at, case.obs.outcomes.get(FormatDirs)
    if sent is not None and outcome is not None and outcome.begun >= sent:
        if outcome.result is Result.RUNNING:
            return case.memory, wait(Reason.FORMATTING, f"formatting {', '.join(paths)}")
        if outcome.result is not Result.DONE and case.obs.now - sent < FORMAT_RETRY_SECONDS:
            return case.memory, held(Reason.FORMAT_FAILED, f"formatting {', '.join(paths)} failed: {outcome.detail}")
        if outcome.result is Result.DONE and case.obs.log_dirs.begun < (outcome.ended or case.obs.now):
            return case.memory, wait(Reason.FORMATTING, "formatted; looking at the log dirs again")
    memory = replace(case.memory, format_sent_at=case.obs.now)
    return memory, wait(Reason.FORMATTING, f"formatting {', '.join(paths)}", FormatDirs(paths, cluster))


def member_joined(case: Case) -> tuple[Memory, Stop | None]:
    """We are the member of our node id, so no other host starts the same broker. KRaft does not wait for ZooKeeper."""
    if case.meeting is None:
        if not case.zookeeper:
            return case.memory, None
        sentence = "ZooKeeper does not answer, and Kafka cannot start without it"
        # no session ends meanwhile: the patience with the old one begins anew
        return replace(case.memory, session_since=None), wait(Reason.COORDINATION_AWAY, sentence)
    if case.node_id is not None and case.meeting.member_owner is None:
        return case.memory, wait(Reason.COORDINATION_AWAY, f"joining as member {case.node_id}")
    return case.memory, None


GATES: tuple[Gate, ...] = (
    settings,
    executable,
    readings,
    other_process,
    same_meeting_place,  # before the dirs: to a second daemon of a node id --accept-empty must not be proposed
    same_broker,
    lasting_failure,
    hands_off,
    fence,
    looked_lately,
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
        case = case if memory is case.memory else replace(case, memory=memory)
    return case.memory, None
