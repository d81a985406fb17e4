"""How long the guard takes over a large cluster, and how much memory: 100,000 partitions on 30 brokers, no I/O.

Caller: `python -m benchmarks`. Each verdict is made in a process of its own, so that its memory is its own; the
evidence is what two brokers say, from encoded metadata on, for the decoding is part of what a verdict costs in memory.
Seconds are those of the processor: a verdict waits for nothing, and what else the machine does is not its cost.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

from benchmarks.figures import median
from benchmarks.report import Row, seconds
from bubuku.core.errors import UnavailableError
from bubuku.core.evidence import combine
from bubuku.core.guard import Evidence, judge
from bubuku.core.model import Partition

PARTITIONS, BROKERS, TOPIC_SIZE = 100_000, 30, 10
TARGET_SECONDS, TARGET_MEBIBYTES = 0.5, 300
DEADLINE_SECONDS = 120.0
CASES = {
    "one broker, two brokers agree": ([1], False),
    "one broker, two brokers differ": ([1], True),
    "ten brokers, two brokers differ": (list(range(1, 11)), True),
}


def run(rounds: int, tell: Callable[[str], None]) -> list[Row]:
    """A row for the time and one for the memory of each case. Raises UnavailableError where a case cannot be run."""
    rows = []
    for name, (stop, differ) in CASES.items():
        tell(f"guard: {name}")
        results = [_measured(stop, differ) for _ in range(rounds)]
        taken = [each["seconds"] for each in results]
        memory = [each["mebibytes"] for each in results]
        worst, middle, most = max(taken), median(taken), max(memory)
        group = f"guard, {PARTITIONS:,} partitions on {BROKERS} brokers"
        rows.append(
            Row(group, name, f"≤ {TARGET_SECONDS} s", seconds(middle), worst <= TARGET_SECONDS, "", {"seconds": taken})
        )
        rows.append(
            Row(
                group,
                f"{name}: memory",
                f"≤ {TARGET_MEBIBYTES} MiB",
                f"{most:.0f} MiB",
                most <= TARGET_MEBIBYTES,
                "",
                {"mebibytes": memory},
            )
        )
    return rows


def _measured(stop: list[int], differ: bool) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.guard", json.dumps({"stop": stop, "differ": differ})]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_SECONDS, check=True)
    except (subprocess.SubprocessError, OSError) as error:
        raise UnavailableError(f"{' '.join(command)} failed: {getattr(error, 'stderr', None) or error}") from error
    found: dict[str, float] = json.loads(done.stdout)
    return found


def one_verdict(stop: list[int], differ: bool) -> dict[str, float]:
    """Decode both views as brokers send them, and judge: CPU seconds of the verdict, peak MiB of the process."""
    from bubuku.adapters.kafka.messages import decode_partitions

    one = decode_partitions(encoded(missing_every=0))
    two = decode_partitions(encoded(missing_every=7)) if differ else one
    stopping = frozenset(stop)
    begun = time.process_time()
    shapes = combine([one, two], [{}, {}], stopping)
    min_isr = {p.topic: 2 for p in shapes}
    evidence = Evidence(shapes, min_isr, permitted=frozenset(), answered=frozenset(range(1, BROKERS + 1)))
    verdict = judge(stopping, evidence)
    taken = time.process_time() - begun
    if len(stop) == 1 and verdict.allowed is differ:
        raise AssertionError(verdict.sentence())
    return {"seconds": taken, "mebibytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def partitions(missing_every: int) -> Iterator[Partition]:
    """RF 3 on neighbours; every n-th partition has lost a follower (0: none has)."""
    for number in range(PARTITIONS):
        replicas = tuple((number * 7 + step) % BROKERS + 1 for step in range(3))
        isr = replicas[:2] if missing_every and number % missing_every == 0 else replicas
        yield Partition(f"topic-{number // TOPIC_SIZE:06}", number % TOPIC_SIZE, replicas[0], replicas, isr)


def encoded(missing_every: int) -> bytes:
    """The topics of a metadata answer of version 11, as Kafka writes them."""
    out = bytearray(_varint(PARTITIONS // TOPIC_SIZE + 1))
    for p in partitions(missing_every):
        if p.partition == 0:
            name = p.topic.encode()
            out += b"\0\0" + _varint(len(name) + 1) + name + bytes(16) + b"\0" + _varint(TOPIC_SIZE + 1)
        out += b"\0\0" + b"".join(_int32(v) for v in (p.partition, p.leader, 0))
        out += _ids(p.replicas) + _ids(p.isr) + _ids(()) + b"\0"
        if p.partition == TOPIC_SIZE - 1:
            out += _int32(-(2**31)) + b"\0"
    return bytes(out)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _int32(value: int) -> bytes:
    return value.to_bytes(4, "big", signed=True)


def _ids(ids: tuple[int, ...]) -> bytes:
    return _varint(len(ids) + 1) + b"".join(map(_int32, ids))


if __name__ == "__main__":
    print(json.dumps(one_verdict(**json.loads(sys.argv[1]))))
