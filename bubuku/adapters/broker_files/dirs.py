"""One of Kafka's log dirs: what is in it, whether it can be used, and the marker that bubuku leaves in it.

Called by `BrokerFiles`; reader thread, for a sick disk may block. Nothing here raises for a sick dir save `mark`.
"""

from __future__ import annotations

import errno
import os
import re
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bubuku.adapters.broker_files.rendering import replace_file
from bubuku.core import properties
from bubuku.core.errors import UnavailableError, UsageError
from bubuku.core.model import LogDir

MARKER_NAME = ".bubuku-marker"
META_NAME = "meta.properties"
CLEAN_NAME = ".kafka_cleanshutdown"
_PARTITION = re.compile(r".+-\d+(\.[0-9a-f]+-(delete|future|stray))?")


def look(path: Path, *, logs_expected: bool = True) -> LogDir:
    """The dir as found. One that is not there yet, but can be created, is usable and holds nothing (Kafka makes it).

    `logs_expected` False: a metadata.log.dir of its own, in which Kafka never leaves its clean-shutdown file; it counts
    as clean. A full disk does not make a dir unusable: `free_bytes` tells.
    """
    try:
        _probe(path)
        error = None
    except OSError as failure:
        error = f"{failure.strerror or failure} ({errno.errorcode.get(failure.errno or 0, '?')})"
    if not os.path.isdir(path):
        total, free, device = _space(_existing(path)) if error is None else (0, 0, None)
        return LogDir(
            str(path), None, False, usable=error is None, error=error, total_bytes=total, free_bytes=free, device=device
        )
    try:
        meta = _meta(path)
        marker = _text(path / MARKER_NAME)
        holds_data = meta is not None or _has_partition(path)
        clean = not logs_expected or (path / CLEAN_NAME).exists()
        total, free, device = _space(path)
    except OSError as failure:
        reason = error or failure.strerror or str(failure)
        return LogDir(str(path), None, True, usable=False, error=reason)  # what it holds is not known: not empty
    return LogDir(
        path=str(path),
        marker=marker or None,
        holds_data=holds_data,
        node_id=_meta_id(meta),
        cluster_id=(meta.get("cluster.id") or None) if meta is not None else None,
        clean=clean,
        usable=error is None,
        error=error,
        total_bytes=total,
        free_bytes=free,
        device=device,
    )


def mark(path: Path) -> None:
    """Write a fresh marker, durably; a dir that is missing is made first, and one that has a marker keeps it.

    Raises UnavailableError naming the dir.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        if not _text(path / MARKER_NAME):
            replace_file(path / MARKER_NAME, f"{uuid.uuid4()}\n".encode(), 0o644)
    except OSError as error:
        raise UnavailableError(f"{path}: the marker cannot be written: {error.strerror}") from error


def permissions(path: Path) -> int:
    """A file's permission bits, at least readable and writable to us; 0600 where it cannot be looked at."""
    try:
        return path.stat().st_mode & 0o777 | 0o600
    except OSError:
        return 0o600


def _probe(path: Path) -> None:
    """Create and remove a tiny file in the dir, or ask whether the dir could be created. Raises OSError."""
    if not path.exists():
        existing = _existing(path)
        if not existing.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, f"{existing} is not a directory")
        if not os.access(existing, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, f"not there, and {existing} is not writable")
        return
    if not path.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "not a directory")
    try:
        with _nameless(path) as descriptor:
            os.write(descriptor, b"bubuku")
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise


@contextmanager
def _nameless(path: Path) -> Iterator[int]:
    """A file that nobody sees and that is gone when it is closed, even if we are killed; named where that fails."""
    try:
        descriptor = os.open(path, os.O_TMPFILE | os.O_WRONLY, 0o600)
        name = None
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):
            raise
        descriptor, name = tempfile.mkstemp(prefix=".bubuku-probe-", dir=path)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
        if name is not None:
            os.unlink(name)


def _existing(path: Path) -> Path:
    """The dir or its nearest ancestor that is there."""
    path = path.absolute()
    while not os.path.lexists(path) and path != path.parent:
        path = path.parent
    return path


def _space(path: Path) -> tuple[int, int, int]:
    """Bytes in all, bytes free to Kafka, and which file system it is."""
    stat = os.statvfs(path)
    return stat.f_blocks * stat.f_frsize, stat.f_bavail * stat.f_frsize, os.stat(path).st_dev


def _meta(path: Path) -> dict[str, str] | None:
    """meta.properties; None where there is none, {} where it is damaged."""
    try:
        text = (path / META_NAME).read_text(encoding=properties.ENCODING)
    except FileNotFoundError:
        return None
    try:
        return {key: value.strip() for key, value in properties.parse(text).as_dict().items()}
    except UsageError:
        return {}


def _meta_id(meta: dict[str, str] | None) -> int | None:
    for key in ("broker.id", "node.id"):
        value = (meta or {}).get(key, "")
        if value.isascii() and value.isdigit():
            return int(value)
    return None


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding=properties.ENCODING).strip()
    except FileNotFoundError:
        return None


def _has_partition(path: Path) -> bool:
    with os.scandir(path) as entries:
        return any(_PARTITION.fullmatch(entry.name) and entry.is_dir() for entry in entries)
