"""In what the running Kafka differs from what a start would make now: what a restart is pending for. Pure.

Called by `core.decide` in every cycle. Of a Kafka that this host's daemon did not start nothing is known.
"""

from __future__ import annotations

from bubuku.core.observation import Observation, Policy


def pending(policy: Policy, obs: Observation) -> tuple[str, ...]:
    """Names of settings, of Kafka's environment, "start command": in their order, each once."""
    record, process, started = obs.record, obs.process.identity, obs.process.started_at
    if process is None or record.process != process or not record.started_by_us or started is None:
        return ()
    differing = obs.differing.value if obs.differing.begun >= started else None
    names = set(differing or ())
    if record.launch is not None:
        then, now = record.launch, policy.launch
        names |= {name for name in {*then, *now} if then.get(name) != now.get(name)}
    return tuple(sorted(names))


def sentence(names: tuple[str, ...], most: int = 5) -> str:
    """
    >>> sentence(("num.io.threads",))
    'restart pending: num.io.threads'
    >>> sentence(tuple("abcdefg"))
    'restart pending: 7 differences (a, b, c, d, e, …)'
    """
    if len(names) == 1:
        return f"restart pending: {names[0]}"
    more = ", …" if len(names) > most else ""
    return f"restart pending: {len(names)} differences ({', '.join(names[:most])}{more})"
