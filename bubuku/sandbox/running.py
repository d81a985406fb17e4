"""Which processes a sandbox has: the keeper's `run.json`, and the lock that a living keeper holds.

Callers: the keeper (writes), `sandbox` commands and tests (read); any process.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import IO, Any

from bubuku.adapters.process import boot_id
from bubuku.core.shared import ProcessId
from bubuku.sandbox.layout import Node
from bubuku.sandbox.processes import alive


@dataclass(frozen=True, slots=True)
class Running:
    """The processes that the keeper started last. They may have ended since: `living` leaves those out."""

    keeper: ProcessId | None = None
    zookeeper: ProcessId | None = None
    daemons: dict[int, ProcessId] = field(default_factory=dict)
    restarts: dict[int, int] = field(default_factory=dict)  # of daemons, since the keeper started

    def living(self) -> Running:
        return replace(
            self,
            keeper=_living(self.keeper),
            zookeeper=_living(self.zookeeper),
            daemons={node_id: process for node_id, process in self.daemons.items() if alive(process)},
        )

    def anything(self) -> bool:
        return bool(self.keeper or self.zookeeper or self.daemons)


def _living(process: ProcessId | None) -> ProcessId | None:
    return process if process is not None and alive(process) else None


def read(folder: Path) -> Running:
    """What `run.json` says and still lives; nothing where there is no such file, or a power cut left half of it."""
    try:
        document = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        return Running(
            keeper=_process(document["keeper"]),
            zookeeper=_process(document["zookeeper"]),
            daemons={int(n): ProcessId(**process) for n, process in document["daemons"].items()},
            restarts={int(n): count for n, count in document["restarts"].items()},
        ).living()
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return Running()


def write(folder: Path, running: Running) -> None:
    fresh = folder / ".run.json.new"
    fresh.write_text(json.dumps(asdict(running), indent=1) + "\n", encoding="utf-8")
    fresh.replace(folder / "run.json")


def _process(document: dict[str, Any] | None) -> ProcessId | None:
    return None if document is None else ProcessId(**document)


def recorded_kafka(node: Node) -> ProcessId | None:
    """The Kafka process that the node's daemon has on record and that still lives."""
    try:
        document = json.loads((node.state_dir / "state.json").read_text(encoding="utf-8"))
        record = document["record"]["process"]
        if record is None:
            return None
        process = ProcessId(int(record["pid"]), int(record["start_ticks"]), str(record["boot_id"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None  # not started yet, or the daemon will say what is wrong with its file
    return _living(process) if process.boot_id == boot_id() else None


def distinct(processes: Iterable[ProcessId | None]) -> list[ProcessId]:
    return list(dict.fromkeys(process for process in processes if process is not None))


def lock(path: Path) -> IO[str] | None:
    """Hold the lock file `path` until the returned file is closed, or its process ends; None: another one has it."""
    file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file
