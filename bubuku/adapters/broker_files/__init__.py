"""Kafka's folders and files on this host: the log dirs, server.properties, Kafka's log, and who else uses them.

Implements `ports.BrokerFiles`. The loop thread calls `render`, `restart_log`, `settings_digest` and `mark`; reader
threads call `log_dirs`, `log`, `foreign`, `differing`; an effects thread calls `format`. What one thread leaves for
another is one attribute that is replaced whole. The log dirs may be on sick disks, so the loop thread looks at them in
`mark` alone, which happens only right after a reading that found them well.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bubuku.adapters.broker_files import dirs, foreign, storage
from bubuku.adapters.broker_files.rendering import write_if_changed
from bubuku.adapters.broker_files.tail import LogTail
from bubuku.core import properties
from bubuku.core.actions import Outcome
from bubuku.core.errors import UnavailableError, UsageError
from bubuku.core.model import ForeignProcess, LogDir, LogView, Mode, Role
from bubuku.core.shared import ProcessId


@dataclass(frozen=True)
class BrokerFilesSettings:
    """What the adapter needs of the configuration."""

    kafka_home: Path
    template: Path
    server_properties: Path  # where the rendered file goes
    mode: Mode
    log_file: Path  # Kafka's own log
    stdout_file: Path | None = None  # what Kafka printed; looked at while the log says nothing
    roles: frozenset[Role] = frozenset({Role.BROKER})
    node_id: int | None = None
    rack: str | None = None
    addresses: tuple[str, ...] = ()  # of ZooKeeper, at first
    zookeeper_prefix: str = ""  # Kafka's chroot
    instance: str | None = None  # of the state folder: what a Kafka that we started carries as BUBUKU_INSTANCE
    environment: Mapping[str, str] | None = field(default=None, repr=False)  # of Kafka's storage tool; None: ours


class BrokerFiles:
    """See `ports.BrokerFiles`."""

    def __init__(self, settings: BrokerFilesSettings) -> None:
        self._settings = settings
        self._found_id: int | None = None
        self._addresses = settings.addresses
        self._tails = self._new_tails(from_end=False)

    @property
    def settings_path(self) -> Path:
        """The rendered server.properties."""
        return self._settings.server_properties

    def log_dirs(self) -> tuple[LogDir, ...]:
        """Each log dir as it is now. A sick one is a value with `usable` False, not an error."""
        parsed = properties.parse(self._wanted(None))
        data = properties.data_dirs(parsed)
        found = tuple(
            dirs.look(Path(path), logs_expected=path in data or Role.BROKER not in self._settings.roles)
            for path in properties.log_dirs(parsed, self._settings.mode)
        )
        self._found_id = next((each.node_id for each in found if each.node_id is not None), None)
        return found

    def mark(self, paths: Sequence[str]) -> None:
        for path in paths:
            dirs.mark(Path(path))

    def render(self) -> bool:
        mode = dirs.permissions(self._settings.template)
        return write_if_changed(self._settings.server_properties, self._wanted(self._found_id), mode)

    def differing(self) -> tuple[str, ...]:
        path = self._settings.server_properties
        try:
            text = path.read_text(encoding=properties.ENCODING)
        except OSError as error:
            raise UnavailableError(f"{path}: {error.strerror}") from error
        written, wanted = (properties.parse(each).as_dict() for each in (text, self._wanted(None)))
        names = {*written, *wanted} - properties.ID_KEYS  # a generated id, once known, is no change
        return tuple(sorted(name for name in names if written.get(name, "").strip() != wanted.get(name, "").strip()))

    def settings_digest(self) -> str:
        """Of the file without what meta.properties says, so that a generated id, once known, is no change."""
        return hashlib.sha256(self._wanted(None).encode(properties.ENCODING)).hexdigest()

    def use_addresses(self, addresses: tuple[str, ...]) -> None:
        self._addresses = addresses

    def restart_log(self) -> None:
        self._tails = self._new_tails(from_end=True)

    def log(self) -> LogView:
        primary, printed = self._tails
        view = primary.read()
        if view.lines_seen == 0 and printed is not None:
            return printed.read()  # the JVM did not get as far as its logging
        return view

    def foreign(self, ours: ProcessId | None) -> ForeignProcess | None:
        parsed = properties.parse(self._wanted(None))
        paths = [Path(path) for path in properties.log_dirs(parsed, self._settings.mode)]
        return foreign.find(paths, properties.listeners(parsed), ours, self._settings.instance)

    def format(self, paths: Sequence[str], cluster_id: str, deadline_seconds: float) -> Outcome:
        self.render()  # the storage tool reads what Kafka will be started on
        return storage.format_dirs(self._settings, [Path(path) for path in paths], cluster_id, deadline_seconds)

    def _wanted(self, found_id: int | None) -> str:
        """server.properties as it should be. Raises UsageError naming the template."""
        settings = self._settings
        try:
            template = settings.template.read_text(encoding=properties.ENCODING)
            return properties.rendered(
                template,
                mode=settings.mode,
                roles=settings.roles,
                node_id=found_id if found_id is not None else settings.node_id,
                rack=settings.rack,
                zookeeper_connect=",".join(self._addresses) + settings.zookeeper_prefix if self._addresses else None,
            )
        except OSError as error:
            raise UsageError(f"{settings.template}: {error.strerror}") from None
        except UsageError as error:
            raise UsageError(f"{settings.template}: {error}") from None

    def _new_tails(self, *, from_end: bool) -> tuple[LogTail, LogTail | None]:
        log, printed = self._settings.log_file, self._settings.stdout_file
        other = None if printed is None or printed == log else LogTail(printed, from_end=from_end)
        return LogTail(log, from_end=from_end), other


__all__ = ["BrokerFiles", "BrokerFilesSettings"]
