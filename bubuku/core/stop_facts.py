"""The permit's facts about our own broker, each drawn once from what a cycle sees. Pure.

Called by `core.stopping`. Invariants: a fact that rests on metadata rests on metadata begun after what it is about; of
the permit nothing is known while a write of ours, or of our predecessor, has no known outcome.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from bubuku.core import lifecycle, permit
from bubuku.core.actions import (
    DropPermit,
    ElectPreferred,
    Judge,
    Outcome,
    RestPermit,
    Result,
    SendStop,
    SettlePermit,
    TakePermit,
)
from bubuku.core.guard import Verdict
from bubuku.core.memory import Memory
from bubuku.core.model import BrokerState, CoordinationView, Partition, Record, Role
from bubuku.core.observation import Observation, Policy
from bubuku.core.permit import VERDICT_SECONDS, Facts
from bubuku.core.reasons import Reason
from bubuku.core.shared import Entry, Permit, Stop

NO_LASTS_SECONDS = 5.0  # so often the guard is asked again by a stop that it refuses
UNLISTED_SESSIONS = 2.0  # unlisted for longer than so many session time-outs is not a moment's absence
LAG_SECONDS = 60.0  # a server of ZooKeeper that lags for longer than syncLimit is none any more; that is 10 to 20 s
WRITES: tuple[type, ...] = (TakePermit, DropPermit, RestPermit)
# so long after its stop the others do not wait any more for a broker that does not come back
GIVEN_UP_SECONDS = {
    BrokerState.HELD: 60.0,
    BrokerState.FAILED: 300.0,
    BrokerState.STARTING: 300.0,  # without any progress
    BrokerState.UNREGISTERED: 120.0,
    BrokerState.FROZEN: 300.0,
}
_NEVER = float("-inf")


@dataclass(frozen=True, slots=True)
class Want:
    """Who wants our broker stopped. `token` names this stop, and is the same however often it is asked."""

    token: str
    change: str | None
    why: Reason
    stay_down: bool
    accept_unavailable: bool
    beside: str | None = None  # uuid of a parent, of whose children several may be in work at once


def remember(memory: Memory, obs: Observation, node_id: int, state: BrokerState) -> Memory:
    """What is counted from cycle to cycle: since when the broker is back, when SIGTERM was sent."""
    stop = obs.record.stop
    if stop is None:
        if (memory.noted, memory.signalled_at, memory.back_since, memory.failing_since) == (None, None, None, None):
            return memory
        return replace(memory, noted=None, signalled_at=None, back_since=None, failing_since=None)
    failing_since = _failing_since(memory, obs, stop, state)
    if failing_since != memory.failing_since:
        memory = replace(memory, failing_since=failing_since)
    if _sent(obs, stop) and memory.signalled_at is None:
        memory = replace(memory, signalled_at=obs.now)
    is_back = state is BrokerState.SERVING and _is_new(obs, stop) and behind(memory, obs, stop, node_id) == ()
    if not is_back:
        return replace(memory, back_since=None)
    return memory if memory.back_since is not None else replace(memory, back_since=obs.now)


def _failing_since(memory: Memory, obs: Observation, stop: Stop, state: BrokerState) -> float | None:
    """A start in between ends it only where nothing failed since the stop: each one of a crash loop looks like one."""
    if not stop.intended:
        return None
    if state in (BrokerState.HELD, BrokerState.FAILED):
        return memory.failing_since if memory.failing_since is not None else obs.now
    return memory.failing_since if obs.record.failures else None


def behind(memory: Memory, obs: Observation, stop: Stop, node_id: int) -> tuple[str, ...] | None:
    """The partitions in whose ISR it was and is not again; None: that is not known yet.

    Only metadata begun after the new process served counts. A partition that is gone, or moved away, or whose replica
    here is offline, is not waited for; nor is one without a leader, for nobody comes into its ISR, and who could lead
    it may wait for our entry to go.
    """
    view = obs.cluster.value
    if view is None or memory.served_since is None or obs.cluster.begun < memory.served_since:
        return None
    known = {f"{p.topic}-{p.partition}": p for p in view.cluster.partitions}
    names = known if stop.in_sync is None else stop.in_sync
    return tuple(name for name in names if _waited_for(known.get(name), node_id))


def _waited_for(p: Partition | None, node_id: int) -> bool:
    if p is None or p.leader < 0:
        return False
    return node_id in p.replicas and node_id not in p.isr and node_id not in p.offline


def given_up(memory: Memory, obs: Observation, state: BrokerState) -> bool:
    """It was stopped, and does not come back, for long: its entry stays, for the guard, and the slot is free."""
    stop, patience = obs.record.stop, GIVEN_UP_SECONDS.get(state)
    if stop is None or not stop.intended or stop.stay_down or patience is None:
        return False
    if stop.process is not None and stop.process == obs.process.identity:
        return False
    if state in (BrokerState.HELD, BrokerState.FAILED):
        return memory.failing_since is not None and obs.now - memory.failing_since >= patience
    if memory.state is not state:
        return False
    moved = memory.progress_at if state is BrokerState.STARTING and memory.progress_at is not None else memory.since
    return obs.now - max(moved, memory.since) >= patience


def _is_new(obs: Observation, stop: Stop) -> bool:
    """Another process runs than the one that was stopped."""
    return obs.process.identity is not None and obs.process.identity != stop.process


def _sent(obs: Observation, stop: Stop) -> bool:
    """This daemon has seen that SIGTERM was sent to the process that it was meant for."""
    outcome = obs.outcomes.get(SendStop)
    if outcome is None or outcome.result is not Result.DONE or outcome.data is None:
        return False
    return stop.process is not None and outcome.data.get("process") == stop.process


def draw(policy: Policy, memory: Memory, obs: Observation, node_id: int, want: Want | None) -> Facts:
    """The permit's facts, each drawn once."""
    meeting, stop = obs.coordination.value, obs.record.stop
    found = _known_permit(memory, obs, meeting)
    entry = None if found is None else found.entries.get(node_id)
    elsewhere = [] if found is None else [e for n, e in found.entries.items() if n != node_id]
    running = {kind for kind, outcome in obs.outcomes.items() if outcome.result is Result.RUNNING}
    maintenance = None if meeting is None else meeting.maintenance
    wanted = want is not None and (stop is None or _same(stop, want))
    return Facts(
        wanted=wanted,
        lies_down=wanted and want is not None and want.stay_down and _nothing_runs(policy, obs, node_id),
        stay_down=stop is not None and stop.stay_down,
        maintenance=maintenance is not None and maintenance.holds(obs.wall),
        permit_known=found is not None,
        entry=entry is not None,
        entry_is_recorded=entry is not None and stop is not None and entry.token == stop.token,
        others_working=any(e.working and not _goes_beside(e, want) for e in elsewhere),
        moved=stop is not None and acknowledged(obs.record) is None,
        recorded=stop is not None,
        intended=stop is not None and stop.intended,
        same_process=stop is not None and stop.process is not None and stop.process == obs.process.identity,
        alive=obs.process.identity is not None,
        verdict=judged(memory, obs, found)[0],
        judging=Judge in running,
        taking=bool(running & {*WRITES, SettlePermit}),
        signalling=SendStop in running,
        signalled=stop is not None and _sent(obs, stop),
        back=memory.back_since is not None and _settled_down(policy, memory, obs),
    )


def _nothing_runs(policy: Policy, obs: Observation, node_id: int) -> bool:
    """No Kafka of this broker runs, as it was looked at since the last end: none here, where its data is on record, nor
    anywhere else, where the cluster would list it."""
    ended = obs.process.exit.at if obs.process.exit is not None else _NEVER
    if obs.process.identity is not None or obs.record.node_id != node_id or not obs.record.dirs:
        return False
    found, listed = obs.foreign.value, obs.registration.value
    if not obs.foreign.known or obs.foreign.begun < ended or (found is not None and found.is_kafka):
        return False
    if Role.BROKER not in policy.roles:
        return True  # a dedicated controller is not listed
    return listed is not None and listed.asked_for == node_id and listed.own is None and obs.registration.begun >= ended


def _goes_beside(entry: Entry, want: Want | None) -> bool:
    """It is of the same batch: the guard alone says whether they may be down together."""
    return want is not None and want.beside is not None and is_child_of(want.beside, entry.change)


def is_child_of(parent: str, change: str | None) -> bool:
    """By the uuids, as `child_uuid` makes them."""
    return change is not None and change.rpartition("/")[0] == parent


def child_uuid(parent: str, node_id: int) -> str:
    """The same whoever asks for the child, and however often."""
    return f"{parent}/{node_id}"


def _same(stop: Stop, want: Want) -> bool:
    """The stop under way is the one that is wanted, perhaps begun by the daemon of a host that was replaced."""
    return stop.token == want.token or (want.change is not None and stop.change == want.change)


def _settled_down(policy: Policy, memory: Memory, obs: Observation) -> bool:
    """In its ISRs for the stability window, as seen after it, too; preferred leaders were elected, or tried, since."""
    stop, since = obs.record.stop, memory.back_since
    if stop is None or since is None or min(obs.now, obs.cluster.begun) - since < policy.stability:
        return False
    elected = obs.outcomes.get(ElectPreferred)
    return elected is not None and elected.begun >= since + policy.stability and elected.result is not Result.RUNNING


def _known_permit(memory: Memory, obs: Observation, meeting: CoordinationView | None) -> Permit | None:
    """The permit, where nothing that we sent can change it any more behind our back."""
    if meeting is None or meeting.permit is None or meeting.maintenance is None:
        return None
    if not is_ours(obs, meeting) or meeting.predecessor_v1 or needs_settling(memory, obs):
        return None
    newest = max((_unread(obs, obs.outcomes.get(kind)) for kind in (*WRITES, SettlePermit)), default=-1)
    return meeting.permit if meeting.permit.version >= newest else None


def unknown(obs: Observation, meeting: CoordinationView) -> str:
    """Why nothing is known of the permit, or of maintenance: what is to be mended, or waited for."""
    if is_ours(obs, meeting):
        if meeting.predecessor_v1:
            return "an original bubuku daemon (v1) is at work on this cluster: stop it first"
        if meeting.permit is None:
            return "the permit cannot be read: mend <prefix>/bubuku/v2/permit, which is JSON"
        if meeting.maintenance is None:
            return "whether maintenance is on cannot be read: mend <prefix>/bubuku/v2/maintenance, which is JSON"
    return "ZooKeeper, or what became of the last request to it, is waited for"


def _unread(obs: Observation, outcome: Outcome | None) -> int:
    """The version that a write of ours made and that the reading may not show yet, from a server that lags behind. One
    begun long afterwards shows what stands, though it be lower: ZooKeeper was restored."""
    late = outcome is not None and outcome.ended is not None and obs.coordination.begun - outcome.ended >= LAG_SECONDS
    return -1 if late else _version(outcome)


def is_ours(obs: Observation, meeting: CoordinationView) -> bool:
    """It answers, it is the ZooKeeper that we joined, and we are the member of our id in it."""
    joined = obs.record.marker is not None and meeting.marker == obs.record.marker
    return meeting.connected and joined and meeting.member_owner == obs.record.instance


def acknowledged(record: Record) -> str | None:
    """The root that we show to have joined: its permit has, or had, whatever may bring our broker down."""
    stop = record.stop
    return record.marker if stop is None or not stop.intended or stop.marker == record.marker else None


def untold(record: Record, obs: Observation) -> bool:
    """It runs since this very state file was there, in which no SIGTERM for it was ever made ready."""
    return record.started_by_us and record.process == obs.process.identity and not record.stop_intent


def settled(policy: Policy, memory: Memory, obs: Observation, state: BrokerState) -> bool:
    """Our broker has been in this state for long: its being out of sync, or unlisted, is not about to end by itself."""
    window = policy.stability if state is BrokerState.SERVING else UNLISTED_SESSIONS * policy.session_timeout
    return memory.state is state and obs.now - memory.since >= window


def _version(outcome: Outcome | None) -> int:
    found = None if outcome is None or outcome.data is None else outcome.data.get("version")
    return found if isinstance(found, int) else -1


def needs_settling(memory: Memory, obs: Observation) -> bool:
    """Something was sent, by us or by our predecessor, and what became of it is not known."""
    settled = obs.outcomes.get(SettlePermit)
    settled_at = settled.begun if settled is not None and settled.result is Result.DONE else _NEVER
    for kind in WRITES:
        outcome = obs.outcomes.get(kind)
        if outcome is not None and outcome.result is Result.UNKNOWN and (outcome.ended or obs.now) >= settled_at:
            return True
    stop = obs.record.stop
    return stop is not None and memory.noted != stop.token and settled_at == _NEVER


def judged(memory: Memory, obs: Observation, known: Permit | None) -> tuple[permit.Verdict, str]:
    """What the guard said of the permit as it is now, and its sentence. No, while Kafka starts or recovers its logs."""
    if obs.process.identity is not None and memory.answered_at is None and not lifecycle.registered_before(obs):
        return permit.Verdict.NO, "Kafka is starting, and is not stopped before it is up"
    outcome = obs.outcomes.get(Judge)
    if outcome is None or outcome.result is Result.RUNNING or known is None:
        return permit.Verdict.NONE, ""
    age = obs.now - outcome.begun
    verdict = None if outcome.data is None else outcome.data.get("verdict")
    if not isinstance(verdict, Verdict):
        return (permit.Verdict.NO if age < NO_LASTS_SECONDS else permit.Verdict.NONE), outcome.detail
    if not verdict.allowed:
        return (permit.Verdict.NO if age < NO_LASTS_SECONDS else permit.Verdict.NONE), verdict.sentence()
    if age >= VERDICT_SECONDS or not _same_permit(obs, outcome, known):
        return permit.Verdict.NONE, ""
    return permit.Verdict.YES, verdict.sentence()


def _same_permit(obs: Observation, judged: Outcome, known: Permit) -> bool:
    """Nobody but ourselves has written since: the permit is the one that was judged, or that with our entry in it."""
    version = _version(judged)
    if version == known.version:
        return True
    taken = obs.outcomes.get(TakePermit)
    ours = taken is not None and taken.result is Result.DONE and taken.begun >= judged.begun
    return ours and _version(taken) == known.version == version + 1
