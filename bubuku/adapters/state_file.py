"""What outlives the daemon on this host: one JSON file, written atomically and durably, and the lock of its folder.

Called by the loop thread (load, save) and once by the daemon (lock). Unknown fields of a newer bubuku are dropped, so a
downgraded daemon still knows its broker.
"""

from __future__ import annotations

import dataclasses
import fcntl
import json
import logging
import os
import uuid
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from bubuku.core.errors import RefusedError, UnavailableError
from bubuku.core.model import Record

LOG = logging.getLogger(__name__)
SCHEMA = 1
MACHINE_ID = Path("/etc/machine-id")
_CURE = "restore it, or move it away"
_RECORD = TypeAdapter(Record)  # checks types, and drops fields that it does not know


class JsonStateFile:
    """Implements `ports.StateFile` in `<folder>/state.json`."""

    def __init__(self, folder: Path, machine_id: Path = MACHINE_ID) -> None:
        self._folder = folder
        self._path = folder / "state.json"
        self._machine_id = machine_id
        self._lock: int | None = None

    def lock(self) -> None:
        """Own the folder until the process ends. Raises UnavailableError, or RefusedError naming who has it."""
        path = self._folder / "lock"
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise UnavailableError(f"{path}: {error.strerror}; it must belong to the daemon's user") from error
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
        """The record, or a fresh one with a new instance UUID. Raises UnavailableError if the file cannot be read.

        Of a folder that came from another host (a copy, a clone, a moved volume) only what the data is remains: that
        host's process, whatever this one's boot id says, is not proven dead, and its daemon is another instance.
        """
        here = self._machine()
        try:
            document = json.loads(self._path.read_text())
            record = _RECORD.validate_python(document["record"])
        except FileNotFoundError:
            record = Record(instance=str(uuid.uuid4()), machine=here)
            self.save(record)
            return record
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            why = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
            raise UnavailableError(f"{self._path} is not a bubuku state file ({why}); {_CURE}") from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UnavailableError(f"{self._path} cannot be read ({error!r}); {_CURE}") from error
        if None not in (here, record.machine) and record.machine != here:
            LOG.warning("%s is of another host: the process and the registration in it are forgotten", self._path)
            record = dataclasses.replace(
                record,
                instance=str(uuid.uuid4()),
                machine=here,
                process=None,
                registration=None,
                stop_intent=False,
                stop=None,  # the permit still has its entry, if there is one
                counted=False,
            )
            self.save(record)
        return record if here is None else dataclasses.replace(record, machine=here)

    def _machine(self) -> str | None:
        """systemd's id of this host; None where it has none (most containers)."""
        try:
            return self._machine_id.read_text(encoding="ascii", errors="replace").strip() or None
        except OSError:
            return None

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
