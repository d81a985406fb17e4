"""Many connections that ask a daemon's probes, from a process of their own. Caller: `http_latency`.

Run as `python -m benchmarks.http_client SETTINGS` (JSON: host, port, paths, connections, seconds, every_seconds). Each
connection is kept alive and asks the paths in turn, one request at a time: every `every_seconds`, or, at 0, as soon as
it has its answer. Prints one JSON document: `samples`, each [monotonic time of asking, seconds to the whole answer,
index of the path, status], and `errors`. A refused or lost connection is an error, and is opened again.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ANSWER_SECONDS = 10.0
AGAIN_SECONDS = 0.05
NICENESS = -15
AUTOGROUP = Path("/proc/self/autogroup")  # niceness counts within a session only, where the kernel groups by it

Sample = tuple[float, float, int, int]


class Client:
    """All connections of one run. One event loop."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._host, self._port = settings["host"], settings["port"]
        self._requests = [
            f"GET {path} HTTP/1.1\r\nHost: {self._host}\r\n\r\n".encode("ascii") for path in settings["paths"]
        ]
        self._connections, self._every = settings["connections"], settings["every_seconds"]
        self._end = time.monotonic() + settings["seconds"]
        self.samples: list[Sample] = []
        self.errors: list[str] = []

    async def run(self) -> None:
        await asyncio.gather(*(self._connection(number) for number in range(self._connections)))

    async def _connection(self, number: int) -> None:
        turn = number
        due = time.monotonic() + self._every * number / self._connections
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        while due < self._end and time.monotonic() < self._end:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            path, at = turn % len(self._requests), time.monotonic()
            turn += 1
            due = at + self._every
            try:
                if streams is None:
                    opening = asyncio.open_connection(self._host, self._port)
                    streams = await asyncio.wait_for(opening, ANSWER_SECONDS)
                streams[1].write(self._requests[path])
                status = await asyncio.wait_for(_read_answer(streams[0]), ANSWER_SECONDS)
            except (OSError, TimeoutError, EOFError) as error:
                self.errors.append(f"{type(error).__name__}: {error}")
                if streams is not None:
                    streams[1].close()
                    streams = None
                due = max(due, time.monotonic() + AGAIN_SECONDS)
                continue
            self.samples.append((at, time.monotonic() - at, path, status))
        if streams is not None:
            streams[1].close()


async def _read_answer(reader: asyncio.StreamReader) -> int:
    head = await reader.readuntil(b"\r\n\r\n")
    length = 0
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    await reader.readexactly(length)
    return int(head.split(b" ", 2)[1])


def stand_apart() -> None:
    """A load balancer asks from a machine of its own: this client must not wait for the cores that Kafka's start has.

    Where we are not permitted to go first, its own waiting is part of what it measures.
    """
    try:
        os.setpriority(os.PRIO_PROCESS, 0, NICENESS)
        if AUTOGROUP.exists():
            AUTOGROUP.write_text(str(NICENESS), encoding="ascii")
    except OSError:
        pass
    gc.disable()  # nor for its own garbage


def main() -> None:
    stand_apart()
    client = Client(json.loads(sys.argv[1]))
    asyncio.run(client.run())
    print(json.dumps({"samples": client.samples, "errors": client.errors[:20]}))


if __name__ == "__main__":
    main()
