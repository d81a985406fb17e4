"""Where ZooKeeper is: which list of addresses is in force, and when our broker is restarted for it. Pure.

A list is a set of "host:port": its order does not matter. It has settled once it was read, and nothing else was, for
`Policy.addresses_settle` seconds. Another list than is in force comes in force when it has settled; one that the
configuration gives, when the daemon starts. The daemon's own session and server.properties follow at once. A Kafka that
was started with another list is wanted restarted when the one in force has settled; permit and guard decide, as for any
stop. So a list at which no ZooKeeper answers, or not the one that we joined, stops nothing.
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
    seen = _seen(memory.addresses, frozenset(read), obs)
    if seen is not memory.addresses:
        memory = replace(memory, addresses=seen)
    started_with = record.started_with
    if obs.process.identity is not None and started_with is None:  # unknown: taken for what was in force then
        started_with = record.addresses if record.addresses is not None else read
    in_force = record.addresses
    same = in_force is not None and frozenset(in_force) == frozenset(read)
    if not same and (in_force is None or policy.addresses_given or _settled(policy, memory)):
        in_force = read
    if (in_force, started_with) == (record.addresses, record.started_with):
        return memory, ()
    actions: list[Action] = [Remember(replace(record, addresses=in_force, started_with=started_with))]
    if in_force is not None and in_force != record.addresses:
        actions.append(UseAddresses(in_force, f"ZooKeeper's addresses are {','.join(in_force)} from now on"))
    return memory, tuple(actions)


def _seen(before: SeenAddresses | None, listed: frozenset[str], obs: Observation) -> SeenAddresses:
    at = obs.addresses.begun
    if before is not None and before.listed == listed:
        return before if before.until == at else replace(before, until=at)
    return SeenAddresses(listed, at, at, obs.wall - (obs.now - at))


def _settled(policy: Policy, memory: Memory) -> bool:
    seen = memory.addresses
    return seen is not None and seen.until - seen.since >= policy.addresses_settle


def _changing(memory: Memory, record: Record) -> bool:
    """What was read last is not in force."""
    seen = memory.addresses
    return seen is not None and record.addresses is not None and seen.listed != frozenset(record.addresses)


def _outdated(policy: Policy, obs: Observation) -> bool:
    """Our Kafka runs, and was started with another list than is in force. In KRaft it has none."""
    if obs.process.identity is None or policy.mode is not Mode.ZOOKEEPER:
        return False
    ours, theirs = obs.record.addresses, obs.record.started_with
    return ours is not None and theirs is not None and frozenset(ours) != frozenset(theirs)


def want(policy: Policy, memory: Memory, obs: Observation) -> Want | None:
    """An outdated Kafka restarted, once the list in force has settled under this very daemon, too."""
    process = obs.process.identity
    if process is None or not _outdated(policy, obs) or _changing(memory, obs.record) or not _settled(policy, memory):
        return None
    token = f"{obs.record.instance}:addresses:{process.pid}:{process.start_ticks}"
    return Want(token, None, Reason.ADDRESSES_CHANGED, stay_down=False, accept_unavailable=False)


def note(policy: Policy, memory: Memory, obs: Observation) -> Note | None:
    """What an operator should know of it, in `obs` with the newest record; the same while nothing changes."""
    record, seen, error = obs.record, memory.addresses, obs.addresses.error
    if record.addresses is None:
        return None
    listed = ",".join(record.addresses)
    if error is not None:
        sentence = f"ZooKeeper's addresses cannot be read, and stay {listed}: {error}"
        return Note(Reason.ADDRESSES_UNREAD, sentence)
    if seen is None:
        return None
    due = None if _settled(policy, memory) else seen.since_epoch + policy.addresses_settle
    if _changing(memory, record):
        sentence = f"new ZooKeeper addresses {','.join(sorted(seen.listed))} come in force, if they stay the same"
        return Note(Reason.ADDRESSES_CHANGED, sentence, due)
    if _outdated(policy, obs):
        when = "when the permit and the guard allow it" if due is None else "if they stay the same"
        sentence = f"Kafka is to be restarted with the new ZooKeeper addresses {listed}, {when}"
        return Note(Reason.ADDRESSES_CHANGED, sentence, due)
    return None
