"""Files written so that a reader sees the old or the new one, whole, and that a power cut leaves one of the two."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from bubuku.core import properties
from bubuku.core.errors import UnavailableError


def write_if_changed(path: Path, text: str, mode: int) -> bool:
    """Make `path` hold `text`. False: it does already. Raises UnavailableError naming the file."""
    wanted = text.encode(properties.ENCODING)
    try:
        if path.read_bytes() == wanted:
            return False
    except FileNotFoundError:
        pass
    except OSError as error:
        raise UnavailableError(f"{path}: {error.strerror}") from error
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, wanted, mode)
    except OSError as error:
        raise UnavailableError(f"{path}: cannot be written: {error.strerror}") from error
    return True


def replace_file(path: Path, content: bytes, mode: int) -> None:
    """Temporary file, fsync, rename, fsync of the folder. Raises OSError, and leaves no temporary file then."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
