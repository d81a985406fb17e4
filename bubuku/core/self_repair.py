"""When our own broker is to be restarted because it is alive and of no use: it lives, and the cluster does not list it.

Called by `core.stopping` in every cycle. It only wants: the permit, the guard and maintenance decide as for any stop.
Nothing is wanted while nobody at all is registered (the fault is not this broker's), or where that cannot be told.
"""

from __future__ import annotations

from dataclasses import replace

from bubuku.core.memory import Memory
from bubuku.core.observation import Observation, Policy
from bubuku.core.reasons import Reason
from bubuku.core.stop_facts import UNLISTED_SESSIONS, Want

LOOKED_SECONDS = 15.0  # the registration was read since
BUDGET, BUDGET_SECONDS = 3, 3600.0  # a broker that this does not mend is left to people


def remember(memory: Memory, obs: Observation, reason: Reason) -> Memory:
    """Since when it is unlisted, by the state that was decided for this cycle."""
    if reason is not Reason.NOT_REGISTERED:
        return memory if memory.unlisted_since is None else replace(memory, unlisted_since=None)
    return memory if memory.unlisted_since is not None else replace(memory, unlisted_since=obs.now)


def want(policy: Policy, memory: Memory, obs: Observation) -> Want | None:
    since, process, view = memory.unlisted_since, obs.process.identity, obs.registration.value
    if since is None or process is None or view is None or view.others == 0:
        return None
    long = UNLISTED_SESSIONS * policy.session_timeout
    if obs.now - since <= long or obs.registration.begun < obs.now - LOOKED_SECONDS:
        return None
    token = f"{obs.record.instance}:repair:{process.pid}:{process.start_ticks}"
    begun = memory.repaired == process or (obs.record.stop is not None and obs.record.stop.token == token)
    if not begun and len(lately(memory, obs.now)) >= BUDGET:
        return None
    return Want(token, None, Reason.NOT_REGISTERED, stay_down=False, accept_unavailable=False)


def lately(memory: Memory, now: float) -> tuple[float, ...]:
    """When restarts of this kind were begun that still count."""
    return tuple(at for at in memory.repairs if now - at < BUDGET_SECONDS)
