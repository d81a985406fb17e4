"""Where ZooKeeper is, as an operator or a script keeps it. Each class implements `ports.Addresses`.

A provider (an auto-scaling group, Exhibitor) is one more class here.
"""

from __future__ import annotations

from pathlib import Path

from bubuku.core import addresses
from bubuku.core.errors import UnavailableError


class ConfiguredAddresses:
    """The list of the configuration, which is the same for as long as the daemon lives."""

    def __init__(self, listed: tuple[str, ...]) -> None:
        self._listed = listed

    def read(self) -> tuple[str, ...]:
        return self._listed


class FileAddresses:
    """The list in a file, read anew each time; `core.addresses.parse` has its form."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> tuple[str, ...]:
        try:
            return addresses.parse(self._path.read_text(encoding="utf-8"))
        except OSError as error:
            raise UnavailableError(f"{self._path}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise UnavailableError(f"{self._path}: not UTF-8 text") from None
        except ValueError as error:
            raise UnavailableError(f"{self._path}: {error}") from None
