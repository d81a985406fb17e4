"""Where ZooKeeper is: which list of addresses is in force, and when our broker is restarted for it. Pure.

A list is a set of "host:port": its order does not matter. Another one than is in force comes in force once it has been
read, and nothing else was, for `Policy.addresses_settle` seconds. The daemon's own session and server.properties follow
at once; a Kafka that was started with another list is wanted restarted, and the permit, the guard and maintenance
decide as for any stop. So a list at which no ZooKeeper answers, or not the one that we joined, stops nothing.
Called by `core.decide` in every cycle. What cannot be read is unknown: nothing follows from it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from bubuku.core.actions import Action, Remember, UseAddresses
from bubuku.core.memory import Memory, SeenAddresses
from bubuku.core.model import Mode, Record
from bubuku.core.observation import Note, Observation, Policy
from bubuku.core.reasons import Reason
from bubuku.core.stop_facts import Want

DEFAULT_PORT = 2181
_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\s]+)(?::(\d{1,5}))?")


def parse(text: str) -> tuple[str, ...]:
    """A file's list: one "host:port" a line, or several with commas; from "#" on a line is a comment.

    Raises ValueError as `checked` does.
    """
    return checked(part for line in text.splitlines() for part in line.partition("#")[0].split(","))


def checked(parts: Iterable[str]) -> tuple[str, ...]:
    """Each as "host:port", in the order given; the port is 2181 where there is none. Raises ValueError."""
    found = []
    for part in (each.strip() for each in parts):
        if not part:
            continue
        if "/" in part:
            raise ValueError(f'"{part}" has a path; the chroot goes into zookeeper.prefix')
        match = _ADDRESS.fullmatch(part)
        if match is None or not 0 < int(match[2] or DEFAULT_PORT) < 65536:
            raise ValueError(f'"{part}" is not host:port')
        found.append(f"{match[1]}:{match[2] or DEFAULT_PORT}")
    if not found:
        raise ValueError("should name at least one host:port")
    return tuple(found)


def step(policy: Policy, memory: Memory, obs: Observation) -> tuple[Memory, tuple[Action, ...]]:
    """What was seen, since when; and the list that comes in force now, on disk before it is used."""
    read, record = obs.addresses.value, obs.record
    if read is None:
        return memory, ()
    if memory.addresses is None or memory.addresses.listed != frozenset(read):
        since_epoch = obs.wall - (obs.now - obs.addresses.begun)
        memory = replace(memory, addresses=SeenAddresses(frozenset(read), obs.addresses.begun, since_epoch))
    started_with = record.started_with
    if obs.process.identity is not None and started_with is None:  # unknown: taken for what was in force then
        started_with = record.addresses if record.addresses is not None else read
    in_force = read if _comes_in_force(policy, memory, obs) else record.addresses
    wanted = replace(record, addresses=in_force, started_with=started_with)
    actions: list[Action] = [] if wanted == record else [Remember(wanted)]
    if in_force is not None and in_force != record.addresses:
        actions.append(UseAddresses(in_force, f"ZooKeeper's addresses are {','.join(in_force)} from now on"))
    return memory, tuple(actions)


def _comes_in_force(policy: Policy, memory: Memory, obs: Observation) -> bool:
    """What is read now, in place of what is. At once where nothing is known, or led to no ZooKeeper so far."""
    seen, record = memory.addresses, obs.record
    if seen is None or (record.addresses is not None and seen.listed == frozenset(record.addresses)):
        return False
    if record.addresses is None or record.marker is None:
        return True
    return obs.addresses.begun - seen.since >= policy.addresses_settle


def want(policy: Policy, obs: Observation) -> Want | None:
    """Our Kafka, which runs with another list than is in force, restarted. In KRaft it has none."""
    process = obs.process.identity
    if process is None or policy.mode is not Mode.ZOOKEEPER or not _is_outdated(obs.record):
        return None
    token = f"{obs.record.instance}:addresses:{process.pid}:{process.start_ticks}"
    return Want(token, None, Reason.ADDRESSES_CHANGED, stay_down=False, accept_unavailable=False)


def _is_outdated(record: Record) -> bool:
    if record.addresses is None or record.started_with is None:
        return False
    return frozenset(record.addresses) != frozenset(record.started_with)


def note(policy: Policy, memory: Memory, obs: Observation) -> Note | None:
    """What an operator should know of it, in `obs` with the newest record; the same while nothing changes."""
    record, seen, error = obs.record, memory.addresses, obs.addresses.error
    if record.addresses is None:
        return None
    if error is not None:
        sentence = f"ZooKeeper's addresses cannot be read, and stay {','.join(record.addresses)}: {error}"
        return Note(Reason.ADDRESSES_UNREAD, sentence)
    if seen is not None and seen.listed != frozenset(record.addresses):
        sentence = f"new ZooKeeper addresses {','.join(sorted(seen.listed))} come in force, if they stay the same"
        return Note(Reason.ADDRESSES_CHANGED, sentence, seen.since_epoch + policy.addresses_settle)
    if want(policy, obs) is not None:
        sentence = (
            f"Kafka is to be restarted with the new ZooKeeper addresses {','.join(record.addresses)}, "
            "when the permit and the guard allow it"
        )
        return Note(Reason.ADDRESSES_CHANGED, sentence)
    return None
