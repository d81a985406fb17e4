"""What outlives the daemon on this host: one JSON file, written atomically and durably, and the lock of its folder.

Called by the loop thread (load, save) and once by the daemon (lock). Unknown fields of a newer bubuku are dropped, so a
downgraded daemon still knows its broker.
"""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import uuid
from pathlib import Path
from typing import Any, TypeVar

from bubuku.core.errors import RefusedError, UnavailableError
from bubuku.core.model import ProcessId, Record, Registration

SCHEMA = 1
R = TypeVar("R")


class JsonStateFile:
    """Implements `ports.StateFile` in `<folder>/state.json`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / "state.json"
        self._lock: int | None = None

    def lock(self) -> None:
        """Own the folder until the process ends. Raises RefusedError naming the daemon that has it."""
        descriptor = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
            os.close(descriptor)
            raise RefusedError(
                f"another bubuku-daemon (pid {holder or 'unknown'}) runs with state_dir {self._folder}"
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._lock = descriptor

    def load(self) -> Record:
        """The record, or a fresh one with a new instance UUID. Raises UnavailableError if the file cannot be read."""
        try:
            document = json.loads(self._path.read_text())
        except FileNotFoundError:
            record = Record(instance=str(uuid.uuid4()))
            self.save(record)
            return record
        except (OSError, ValueError) as error:
            raise UnavailableError(f"{self._path} cannot be read: {error}; restore it, or move it away") from error
        if not isinstance(document, dict) or not isinstance(document.get("record"), dict):
            raise UnavailableError(f"{self._path} is not a bubuku state file; restore it, or move it away")
        return _record(document["record"], self._path)

    def save(self, record: Record) -> None:
        """On disk when it returns. Raises UnavailableError."""
        text = json.dumps({"schema": SCHEMA, "record": dataclasses.asdict(record)}, indent=1, sort_keys=True)
        fresh = self._path.with_suffix(".new")
        try:
            with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "w") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(fresh, self._path)
            folder = os.open(self._folder, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise UnavailableError(f"{self._path} cannot be written: {error.strerror}") from error


def _record(raw: dict[str, Any], path: Path) -> Record:
    try:
        known = _known(Record, raw)
        if known.get("process") is not None:
            known["process"] = ProcessId(**_known(ProcessId, known["process"]))
        if known.get("registration") is not None:
            registration = _known(Registration, known["registration"])
            registration["endpoints"] = tuple(registration["endpoints"])
            known["registration"] = Registration(**registration)
        return Record(**known)
    except (TypeError, KeyError, AttributeError) as error:
        raise UnavailableError(f"{path} is not a bubuku state file ({error}); restore it, or move it away") from error


def _known(kind: type[R], raw: dict[str, Any]) -> dict[str, Any]:
    names = {f.name for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    return {name: value for name, value in raw.items() if name in names}
