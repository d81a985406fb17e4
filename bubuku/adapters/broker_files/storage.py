"""KRaft's format, by Kafka's own storage tool, of log dirs that never held data. Effects thread."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bubuku.adapters.broker_files import dirs
from bubuku.core.actions import Outcome, Result

if TYPE_CHECKING:
    from bubuku.adapters.broker_files import BrokerFilesSettings

_GRACE_SECONDS = 5.0


def format_dirs(
    settings: BrokerFilesSettings, paths: Sequence[Path], cluster_id: str, deadline_seconds: float
) -> Outcome:
    """Run the tool on the rendered server.properties. REFUSED: a dir holds data, or cannot be looked at.

    The tool formats all dirs that the file names and that are not formatted yet, as Kafka wants it, so `paths` must be
    all of those. UNKNOWN: it did not end within the deadline and was killed. `detail`: its last line where it failed.
    """
    begun = time.monotonic()

    def outcome(result: Result, detail: str = "") -> Outcome:
        return Outcome(result, begun, time.monotonic(), detail)

    for path in paths:
        found = dirs.look(path)
        if not found.usable or found.holds_data:
            return outcome(Result.REFUSED, f"{path}: {found.error or 'holds data already; it is never formatted'}")
    command = _command(settings.kafka_home)
    if command is None:
        return outcome(
            Result.FAILED, f"{settings.kafka_home}: has neither bin/kafka-storage.sh nor bin/kafka-run-class.sh"
        )
    command += ["format", "-t", cluster_id, "-c", str(settings.server_properties), "--ignore-formatted"]
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=None if settings.environment is None else dict(settings.environment),
            start_new_session=True,  # so that the JVM under a script ends with it
        )
    except OSError as error:
        return outcome(Result.FAILED, f"{command[0]}: {error.strerror}")
    with process:
        try:
            output, _ = process.communicate(timeout=deadline_seconds)
        except subprocess.TimeoutExpired:
            _end(process)
            return outcome(Result.UNKNOWN, f"{command[0]} did not end within {deadline_seconds:g} s")
    if process.returncode != 0:
        return outcome(Result.FAILED, _last_line(output) or f"{command[0]} exited {process.returncode}")
    return outcome(Result.DONE)


def _command(home: Path) -> list[str] | None:
    storage, run_class = home / "bin" / "kafka-storage.sh", home / "bin" / "kafka-run-class.sh"
    if os.access(storage, os.X_OK):
        return [str(storage)]
    if os.access(run_class, os.X_OK):
        return [str(run_class), "kafka.tools.StorageTool"]
    return None


def _end(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.communicate(timeout=_GRACE_SECONDS)
            return
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def _last_line(output: bytes) -> str:
    """The last line that is not of a stack trace."""
    lines = [line.strip() for line in output.decode("utf-8", "replace").splitlines()]
    told = [line for line in lines if line and not line.startswith(("at ", "..."))]
    return told[-1][:500] if told else ""
