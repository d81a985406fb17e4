"""The gates about the old registration: fenced on proof, or waited for, before the broker is started again. Pure.

Called by `core.gates`. Invariants: a fence needs the proven, unclean end of the process whose registration is on
record; it is settled before the next start; in ZooKeeper mode raising `fence/<node id>` makes a late one fail.
"""

from __future__ import annotations

from dataclasses import replace

from bubuku.core import identity
from bubuku.core.actions import Action, Fence, RaiseFence, Remember, Result
from bubuku.core.case import PROCESSES_AGE_SECONDS, Case, Stop, held, wait
from bubuku.core.memory import Memory
from bubuku.core.model import Registration
from bubuku.core.reasons import Reason

FENCE_RETRY_SECONDS = 1.0
FORWARD_SECONDS = 60.0  # KRaft: for so long a broker carries an unanswered request from one controller to the next
KILLED = 9  # SIGKILL: of a stop that hung, perhaps before it gave its leaders away
FENCE_TRIES = 3  # KRaft: what was not sent needs no waiting for, and Kafka itself waits for its old session


def fence(case: Case) -> tuple[Memory, Stop | None]:
    """Tell the cluster at once that the broker is dead, and know what became of it, before anything is started."""
    memory, obs = case.memory, case.obs
    if memory.fence_sent_at is None:
        if (obs.record.fencing or _record_was_lost(case)) and memory.fence_unknown_at is None:
            # our predecessor died with a fence under way, or may have
            case = replace(case, memory=replace(memory, fence_unknown_at=obs.now))
        target = fence_target(case)
        return _settled(case) if target is None else _send_fence(case, target)
    outcome = obs.outcomes.get(Fence)
    if outcome is None or outcome.begun < memory.fence_sent_at:
        return _again(case, "it was not sent")  # dropped: the act before it failed, or another one was at work
    if outcome.result is Result.RUNNING:
        return memory, wait(Reason.FENCE_PENDING, "telling the cluster that this broker is dead")
    if outcome.result is Result.FAILED and (case.zookeeper or memory.fence_tries < FENCE_TRIES):
        return _again(case, outcome.detail)
    if outcome.result is Result.UNKNOWN:
        if case.zookeeper:
            return _again(case, outcome.detail)  # sent twice, it is done once
        memory = replace(memory, fence_unknown_at=outcome.ended if outcome.ended is not None else obs.now)
        return _settled(replace(case, memory=memory))
    return _settled(case)


def _record_was_lost(case: Case) -> bool:
    """A daemon had these dirs before, and the state file does not know of it: nor does it of a fence under way."""
    marked_by_others = case.memory.marked_at is None and any(d.marker is not None and d.holds_data for d in case.dirs)
    return marked_by_others and not case.obs.record.dirs


def _again(case: Case, why: str) -> tuple[Memory, Stop | None]:
    """Once a second, until the old session has ended by itself."""
    target = fence_target(case)
    if target is None or case.obs.now - case.ended_at >= case.policy.session_timeout:
        return _settled(case)
    sent = case.memory.fence_sent_at
    if sent is not None and case.obs.now - sent < FENCE_RETRY_SECONDS:
        sentence = f"telling the cluster that this broker is dead is tried again: {why}"
        return case.memory, wait(Reason.FENCE_PENDING, sentence)
    return _send_fence(case, target)


def _settled(case: Case) -> tuple[Memory, Stop | None]:
    """KRaft: a late UnregisterBroker would break the next incarnation. In ZooKeeper mode a raise makes it fail."""
    since = case.memory.fence_unknown_at
    quiet = max(case.policy.session_timeout, FORWARD_SECONDS)
    if case.zookeeper or since is None or case.obs.now >= since + quiet:
        return case.memory, None
    sentence = f"whether the cluster was told is unknown, and it may be told late: waiting for {quiet:.0f} s"
    return case.memory, wait(Reason.OLD_SESSION, sentence)


def fence_target(case: Case) -> Registration | None:
    """The registration to remove; None where the fence has no business."""
    policy, obs, ended = case.policy, case.obs, case.ended
    if ended is None or not policy.instant_failover or not case.broker or obs.leaving or obs.terminate:
        return None
    if obs.record.process != ended.identity or obs.record.registration is None or case.memory.another_ran:
        return None  # what is on record is not of the process that ended last
    if (obs.record.stop_intent and ended.signal != KILLED) or identity.ended_cleanly(ended, obs.log_dirs):
        return None  # after a stop that was told to, and not cut short, it has left by itself
    if case.memory.next_start_at - obs.now > policy.session_timeout:
        return None  # not about to be started: in KRaft an unregistered broker would not count for new topics
    if not case.zookeeper:
        meeting = case.meeting
        # by this very session: our predecessor's member node says nothing about who answers for the id now
        if meeting is None or meeting.session_id is None or meeting.member_session != meeting.session_id:
            return None
        if meeting.member_owner != obs.record.instance:
            return None
    return obs.record.registration


def _send_fence(case: Case, target: Registration) -> tuple[Memory, Stop | None]:
    if case.obs.foreign.begun < case.obs.now - PROCESSES_AGE_SECONDS:
        # somebody may have started Kafka by hand meanwhile: in KRaft its registration looks the same
        return case.memory, wait(case.memory.cause, "looking at the other processes first")
    sentence = f"broker {target.node_id} is dead: telling the cluster at once"
    memory = replace(
        case.memory, fence_sent_at=case.obs.now, fence_tries=case.memory.fence_tries + 1, raise_sent_at=None
    )
    record = case.obs.record
    actions: tuple[Action, ...] = (Fence(target, sentence),)
    if not case.zookeeper and not record.fencing:
        actions = (Remember(replace(record, fencing=True)), *actions)
    return memory, wait(Reason.FENCE_PENDING, sentence, *actions)


def old_registration(case: Case) -> tuple[Memory, Stop | None]:
    """ZooKeeper mode: a broker cannot register while its predecessor's znode stands."""
    memory, obs = case.memory, case.obs
    if not case.zookeeper or case.node_id is None:
        return memory, None
    after = max(case.quiet_since, memory.fence_sent_at if memory.fence_sent_at is not None else case.quiet_since)
    view = obs.registration.value
    if view is None or obs.registration.begun <= after or view.asked_for != case.node_id:
        memory = replace(memory, session_since=None)  # sessions do not end while ZooKeeper is away
        return memory, wait(Reason.COORDINATION_AWAY, "asking ZooKeeper whether the old registration still stands")
    own = view.own
    if own is None:
        return memory, None
    since = memory.session_since if memory.session_since is not None else obs.now
    memory = replace(memory, session_since=since)
    sent = memory.fence_sent_at
    if own == fence_target(case) and (sent is None or obs.now - sent >= FENCE_RETRY_SECONDS):
        return _send_fence(replace(case, memory=memory), own)  # ZooKeeper is back, or what was sent was lost
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
    memory = replace(case.memory, raise_sent_at=case.obs.now)
    return memory, wait(Reason.FENCE_PENDING, "raising the fence before the start", RaiseFence(case.node_id))
