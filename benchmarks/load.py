"""The producer process behind `workload.Workload`: paced records, every acknowledgement's time, then all read back.

Run as `python -m benchmarks.load`, with one JSON document of settings as its argument. One thread sends at its pace,
the client's own thread records acknowledgements, the main thread answers one JSON line on stdout for each on stdin. It
ends when stdin does, so that it never outlives who started it. Times are of the monotonic clock, which all processes of
a host share.

The client's settings, as a careful service would have them; each bounds something that would else be measured in
place of the cluster:
  delivery_timeout 120 s   a failover is waited for, not reported as a failure
  retry_backoff 20 ms      also the pace at which metadata are asked for again after "not the leader" (default 100 ms)
  reconnect_backoff 20 to 200 ms   of a broker that is down; the default grows to 30 s, longer than any failover
  request_timeout 30 s     Kafka's default; also how long a leader may wait for its followers' acknowledgement
  linger 0, 5 requests in flight a connection, idempotent: Kafka's defaults
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from functools import partial
from itertools import pairwise
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition

from benchmarks.figures import percentile

CLIENT = {
    "acks": "all",
    "enable_idempotence": True,
    "delivery_timeout_ms": 120_000,
    "request_timeout_ms": 30_000,
    "retry_backoff_ms": 20,
    "reconnect_backoff_ms": 20,
    "reconnect_backoff_max_ms": 200,
    "linger_ms": 0,
    "bootstrap_timeout_ms": 10_000,
}
SETTLE_DEADLINE_SECONDS = 130.0
READ_DEADLINE_SECONDS = 120.0
PENDING, FAILED = -1.0, -2.0


class Load:
    """Sends until `stop`. `sent` and `done` are indexed by sequence; `done` is a time, PENDING or FAILED."""

    def __init__(self, producer: Any, topic: str, partitions: int, rate: float, size: int) -> None:
        self._producer, self._topic, self._partitions = producer, topic, partitions
        self._interval, self._padding = 1.0 / rate, b"." * max(0, size - 20)
        self.sent, self.done = array("d"), array("d")
        self.acks = array("d")  # in the order of arrival
        self.errors: list[str] = []
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ending.set()
        self._thread.join(70.0)  # send() itself may block for max_block_ms where there are no metadata
        self.settle(time.monotonic())

    def settle(self, until: float) -> None:
        """Wait until what was sent before `until` is acknowledged or has failed."""
        end = time.monotonic() + SETTLE_DEADLINE_SECONDS
        last = bisect_right(self.sent, until)
        while PENDING in self.done[:last] and time.monotonic() < end:
            time.sleep(0.05)

    def _run(self) -> None:
        due = time.monotonic()
        while not self._ending.wait(max(0.0, due - time.monotonic())):
            self._send(len(self.sent))
            due = max(due + self._interval, time.monotonic() - 1.0)  # what a stall held up is caught up, a second of it

    def _send(self, sequence: int) -> None:
        self.sent.append(time.monotonic())
        self.done.append(PENDING)
        value = b"%020d" % sequence + self._padding
        future = self._producer.send(self._topic, value=value, partition=sequence % self._partitions)
        future.add_callback(partial(self._acknowledged, sequence))
        future.add_errback(partial(self._failed, sequence))

    def _acknowledged(self, sequence: int, _metadata: object) -> None:
        now = time.monotonic()
        self.done[sequence] = now
        self.acks.append(now)

    def _failed(self, sequence: int, error: object) -> None:
        self.done[sequence] = FAILED
        if len(self.errors) < 20:
            self.errors.append(f"record {sequence}: {error!r}")

    def window(self, begin: float, end: float) -> dict[str, Any]:
        """What happened between two moments; records in flight at either edge are part of it."""
        self.settle(end)
        first = max(0, bisect_left(self.acks, begin) - 1)
        acks = self.acks[first : bisect_right(self.acks, end) + 1].tolist()
        acks = [begin] * (not acks or acks[0] > begin) + acks + [end] * (not acks or acks[-1] < end)
        longest, at = max((later - earlier, earlier) for earlier, later in pairwise(acks))
        latencies, failed = [], 0
        for sequence in range(bisect_right(self.sent, end)):
            done = self.done[sequence]
            if done >= begin:
                latencies.append(done - self.sent[sequence])
            elif done in (FAILED, PENDING) and self.sent[sequence] >= begin:
                failed += 1
        return {
            "acknowledged": len(latencies),
            "failed": failed,
            "longest_gap_seconds": longest,
            "gap_began_after_seconds": at - begin,
            "p50_seconds": percentile(latencies, 50),
            "p99_seconds": percentile(latencies, 99),
            "worst_seconds": max(latencies, default=None),
        }

    def verdict(self, found: Mapping[int, int]) -> dict[str, Any]:
        """All of it against what was read back: `found` counts the copies of each sequence."""
        acknowledged = [sequence for sequence, done in enumerate(self.done) if done >= 0.0]
        missing = [sequence for sequence in acknowledged if sequence not in found]
        return {
            "sent": len(self.sent),
            "acknowledged": len(acknowledged),
            "failed": len(self.sent) - len(acknowledged),
            "missing": len(missing),
            "first_missing": missing[:10],
            "duplicates": sum(copies - 1 for copies in found.values()),
            "errors": self.errors,
        }


def create_topic(settings: Mapping[str, Any]) -> None:
    admin = KafkaAdminClient(bootstrap_servers=settings["bootstrap_servers"], bootstrap_timeout_ms=10_000)
    topic, placement = settings["topic"], settings["placement"]
    try:
        options: dict[str, Any] = {"configs": {"min.insync.replicas": str(settings["min_isr"])}}
        if placement:
            options["assignments"] = dict(enumerate(placement))
        else:
            options |= {"num_partitions": settings["partitions"], "replication_factor": settings["replication"]}
        admin.create_topics({topic: options}, timeout_ms=30_000, wait_for_metadata=True)
    finally:
        admin.close()


def read_back(bootstrap: list[str], topic: str, partitions: int) -> dict[int, int]:
    """How often each sequence is in the topic, from the beginning to its present end."""
    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap,
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        bootstrap_timeout_ms=10_000,
        retry_backoff_ms=50,
        reconnect_backoff_max_ms=200,
    )
    try:
        all_of = [TopicPartition(topic, number) for number in range(partitions)]
        consumer.assign(all_of)
        ends = consumer.end_offsets(all_of)
        consumer.seek_to_beginning()
        deadline = time.monotonic() + READ_DEADLINE_SECONDS
        found: dict[int, int] = {}
        while any(consumer.position(p) < ends[p] for p in all_of):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{topic} was not read to its end within {READ_DEADLINE_SECONDS:g} s")
            for records in consumer.poll(timeout_ms=500, max_records=5000).values():
                for record in records:
                    sequence = int(record.value[:20])
                    found[sequence] = found.get(sequence, 0) + 1
        return found
    finally:
        consumer.close()


def serve(settings: Mapping[str, Any]) -> None:
    bootstrap, topic, partitions = settings["bootstrap_servers"], settings["topic"], settings["partitions"]
    create_topic(settings)
    producer = KafkaProducer(bootstrap_servers=bootstrap, **CLIENT)
    load = Load(producer, topic, partitions, settings["rate"], settings["size"])
    load.start()
    answer({"started": time.monotonic()})
    for line in sys.stdin:
        asked = json.loads(line)
        if asked["what"] == "window":
            answer(load.window(asked["begin"], asked["end"]))
        elif asked["what"] == "finish":
            load.stop()
            producer.close(timeout=5)
            answer(load.verdict(read_back(bootstrap, topic, partitions)))


def answer(document: Mapping[str, Any]) -> None:
    print(json.dumps(document), flush=True)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    serve(json.loads(sys.argv[1]))
