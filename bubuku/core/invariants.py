"""The rules that hold after every decision, whoever made it. Pure. Called by `core.decide` in each cycle.

A breach is a bug: the daemon then holds, and leaves the broker alone.
"""

from __future__ import annotations

from bubuku.core import lifecycle
from bubuku.core.actions import EndStalled, Fence, KillStuck, SendStop, StartBroker
from bubuku.core.errors import InvariantError
from bubuku.core.model import BrokerState
from bubuku.core.observation import Decision, Observation


def check(before: BrokerState, decision: Decision, obs: Observation) -> None:
    """The rules that hold after every decision."""
    if decision.state is not before and decision.state not in lifecycle.FOLLOWS[before]:
        raise InvariantError(f"{decision.state} cannot follow {before}: {decision.sentence}")
    alive = obs.process.identity is not None
    for action in decision.actions:
        if isinstance(action, StartBroker) and alive:
            raise InvariantError("a second Kafka was about to be started beside a running one")
        if isinstance(action, StartBroker) and (not obs.foreign.known or obs.foreign.value is not None):
            raise InvariantError("a Kafka was about to be started beside one that may run already")
        if isinstance(action, Fence):
            ended = obs.process.exit
            if alive or ended is None or ended.identity != obs.record.process:
                raise InvariantError("a fence was about to be sent without proof of death")
        if isinstance(action, EndStalled) and obs.record.registration is not None:
            raise InvariantError("a broker that had registered was about to be ended as stalled")
        if isinstance(action, SendStop | KillStuck):
            _check_stop(action, obs)


def _check_stop(action: SendStop | KillStuck, obs: Observation) -> None:
    """Our entry is in the permit as it was read last, and the intent is on disk, of this very process."""
    stop, meeting = obs.record.stop, obs.coordination.value
    if stop is None or not stop.intended or stop.process != action.identity:
        raise InvariantError("a broker was about to be stopped without an intent on disk")
    if isinstance(action, SendStop):
        entries = meeting.permit.entries.values() if meeting is not None and meeting.permit is not None else ()
        if all(entry.token != stop.token for entry in entries):
            raise InvariantError("a broker was about to be stopped without its entry in the permit")
