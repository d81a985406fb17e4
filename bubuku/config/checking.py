"""Start-up checks: what a valid configuration names, looked at on this host. One clear line a problem.

Callers: the daemon before it does anything (exit 2), and `bubuku-cli config check`. Reads only; nothing is created.
A log dir that is sick at run time (I/O error, a lost mount) is the broker's business and no reason to stay down, so
only what an operator has to correct is a problem here: permissions, and that no log dir at all can be used.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from bubuku.config.model import Config
from bubuku.config.sections import Secretive
from bubuku.core import addresses, properties
from bubuku.core.errors import UsageError
from bubuku.core.model import Mode, Role


def check(config: Config) -> list[str]:
    """The problems, one line each, naming the key; empty where all is well."""
    return [
        *_kafka_home(config),
        *_template(config),
        *_own_dir("state_dir", config.state_dir),
        *_own_dir("log_dir", config.log_dir),
        *_credentials(config),
    ]


def check_addresses(config: Config) -> list[str]:
    """The same of zookeeper.addresses_file: no reason to stay down for a daemon that knows what the file last said."""
    path = config.zookeeper.addresses_file
    if path is None:
        return []
    try:
        addresses.parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        return [f"zookeeper.addresses_file: {path}: {error.strerror}"]
    except ValueError as error:
        reason = "not UTF-8 text" if isinstance(error, UnicodeDecodeError) else str(error)
        return [f"zookeeper.addresses_file: {path}: {reason}"]
    return []


def _kafka_home(config: Config) -> list[str]:
    home = config.kafka.dir
    if not os.path.isdir(home):
        return [f"kafka.dir: {home}: {'not a directory' if os.path.exists(home) else 'no such directory'}"]
    program = config.start_command[0]
    key = "kafka.dir" if config.kafka.start_command is None else "kafka.start_command"
    if shutil.which(program) is not None:
        return []
    if os.path.exists(program):
        return [f"{key}: {program}: not executable; chmod +x it"]
    return [f"{key}: {program}: no such program"]


def _template(config: Config) -> list[str]:
    name = f"kafka.settings: {config.kafka.settings}"
    try:
        text = config.template()
    except UsageError as error:
        return [str(error)]
    try:
        parsed = properties.parse(text)
        policy = config.policy()
        properties.listeners(parsed)
    except UsageError as error:
        return [f"{name}: {error}"]
    problems = []
    if config.kafka.mode is Mode.KRAFT:
        problems = _kraft(config, parsed)
        if policy.node_id is None:
            problems.append("neither node.id here nor node_id is set; KRaft needs it")
    elif parsed.get("process.roles"):
        problems.append("process.roles is set: this is KRaft, but kafka.mode is zookeeper")
    wanted = properties.node_id(parsed)
    if config.node_id is not None and wanted is not None and wanted != config.node_id:
        problems.append(f"the id is {wanted} here, but node_id is {config.node_id}")
    return [*(f"{name}: {problem}" for problem in problems), *_log_dirs(name, parsed, config.kafka.mode)]


def _kraft(config: Config, parsed: properties.Properties) -> list[str]:
    configured = {str(role) for role in config.kafka.roles}
    found = properties.process_roles(parsed)
    if not found:
        return [f"process.roles is missing; kafka.roles says {','.join(sorted(configured))}"]
    problems = []
    if found != configured:
        problems.append(
            f"process.roles is {','.join(sorted(found))}, but kafka.roles is {','.join(sorted(configured))}"
        )
    if not properties.controller_listener_names(parsed):
        problems.append("controller.listener.names is missing; KRaft needs it")
    elif Role.CONTROLLER in config.kafka.roles and not properties.controller_listeners(parsed):
        problems.append("no listener of controller.listener.names is in listeners")
    return problems


def _log_dirs(name: str, parsed: properties.Properties, mode: Mode) -> list[str]:
    problems = []
    dirs = properties.log_dirs(parsed, mode)
    usable = 0
    for path in map(Path, dirs):
        missing, reason = not os.path.exists(path), _unusable(path)
        usable += reason is None
        # a missing folder may be a lost mount of a broker that has others
        if reason is not None and not (missing and len(dirs) > 1):
            problems.append(f"{name}: log dir {path}: {reason}")
    if not usable and not problems:
        problems.append(f"{name}: none of the log dirs {', '.join(dirs)} is there or can be created")
    return problems


def _own_dir(key: str, path: Path) -> list[str]:
    reason = _unusable(path)
    return [] if reason is None else [f"{key}: {path}: {reason}"]


def _unusable(path: Path) -> str | None:
    """Why a folder cannot be written to, or created; None where it can."""
    existing = path.absolute()
    while not os.path.lexists(existing) and existing != existing.parent:
        existing = existing.parent
    if not os.path.isdir(existing):
        return "not a directory" if existing == path.absolute() else f"cannot be created: {existing} is not a directory"
    if not os.access(existing, os.W_OK | os.X_OK):
        return "not writable" if existing == path.absolute() else f"cannot be created: {existing} is not writable"
    return None


def _credentials(config: Config) -> list[str]:
    client, zookeeper = config.kafka.client, config.zookeeper
    files: list[tuple[str, Path | None]] = [
        (f"kafka.client.{name}", getattr(client, name)) for name in ("ssl_cafile", "ssl_certfile", "ssl_keyfile")
    ]
    if zookeeper.tls is not None:
        files += [(f"zookeeper.tls.{name}", getattr(zookeeper.tls, name)) for name in ("cafile", "certfile", "keyfile")]
    problems = [f"{key}: {path}: {reason}" for key, path in files if path and (reason := _unreadable(path))]
    sections: list[tuple[str, Secretive | None]] = [("kafka.client", client), ("zookeeper.auth", zookeeper.auth)]
    for key, section in sections:
        if section is None or section.password is not None or section.password_file is None:
            continue
        try:
            secret = section.secret()
        except UsageError as error:
            problems.append(f"{key}.{error}")
            continue
        if secret is not None and not secret.get_secret_value():
            problems.append(f"{key}.password_file: {section.password_file}: empty")
    return problems


def _unreadable(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        return error.strerror or str(error)
    return None
