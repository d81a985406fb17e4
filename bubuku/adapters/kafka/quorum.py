"""KRaft's controllers, as the quorum's leader tells of them. Callers: `admin`, `evidence`; any thread."""

from __future__ import annotations

import time

from bubuku.adapters.kafka import settings_asked
from bubuku.adapters.kafka.link import Link
from bubuku.adapters.kafka.messages import quorum_request
from bubuku.core.errors import UnavailableError
from bubuku.core.guard import Quorum

_QUORUM_SECONDS = 3.0
_FETCH_TIMEOUT = "controller.quorum.fetch.timeout.ms"
_FETCH_TIMEOUT_DEFAULT_MS = 2000


def ask_quorum(link: Link, broker: int, until: float) -> Quorum:
    """Asked through a broker, which forwards it to the leader. Raises UnavailableError, TimedOutError.

    The leader shows itself as caught up at the time of its answer, which so is "now" by its clock. The time-out is the
    asked broker's setting, which is that of the controllers too where all have the same settings.
    """
    until = min(until, time.monotonic() + _QUORUM_SECONDS)
    answer = link.ask(quorum_request(), until)
    found = [p for topic in answer.topics for p in topic.partitions]
    if answer.error_code != 0 or not found or found[0].error_code != 0:
        code = answer.error_code or (found[0].error_code if found else "none")
        raise UnavailableError(f"the quorum's leader does not tell (error {code})")
    caught_up = {voter.replica_id: voter.last_caught_up_timestamp for voter in found[0].current_voters}
    now = max(caught_up.values(), default=0)
    told = settings_asked.broker_setting(link, broker, _FETCH_TIMEOUT, until)
    timeout_ms = int(told) if told is not None and told.isdecimal() else _FETCH_TIMEOUT_DEFAULT_MS
    return Quorum(
        voters=frozenset(caught_up),
        caught_up=frozenset(voter for voter, at in caught_up.items() if at > 0 and now - at <= timeout_ms),
    )
