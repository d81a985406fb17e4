"""Who else uses Kafka's log dirs or listeners on this host. Reader thread.

A log dir's lock is Kafka's own (`.lock`, a POSIX lock); asking who holds it takes nothing and opens for reading only.
Listeners are looked at only while no broker of ours runs: its own would be found, at a cost.
"""

from __future__ import annotations

import errno
import fcntl
import ipaddress
import os
import re
import struct
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from bubuku.core.model import ForeignProcess
from bubuku.core.properties import Listener
from bubuku.core.shared import ProcessId

LOCK_NAME = ".lock"
MAIN_CLASS = "kafka.Kafka"
INSTANCE_VARIABLE = "BUBUKU_INSTANCE"
_SYSTEMCTL_SECONDS = 2.0
_FLOCK = struct.Struct("hhqqi4x")  # struct flock of 64-bit Linux: type, whence, start, length, pid
_LISTEN = "0A"


def find(
    dirs: Sequence[Path],
    listeners: Sequence[Listener],
    ours: ProcessId | None,
    instance: str | None,
    proc: Path = Path("/proc"),
) -> ForeignProcess | None:
    """The first process other than `ours` (and what it started) that holds a lock, is this daemon's own child that was
    never written down, or listens on a port."""
    for path in dirs:
        pid = lock_holder(path / LOCK_NAME)
        if pid is not None and not _is_ours(proc, pid, ours):
            return _describe(proc, pid, f"holds the lock of {path}", instance, holds_log_dir=True)
    if ours is not None:
        return None
    orphan = _started_by(proc, instance) if instance is not None else None
    if orphan is not None:
        return _describe(proc, orphan, "was started by this host's bubuku", instance, holds_log_dir=False)
    for port, inode in _listening(proc, listeners):
        owner = _owner(proc, inode)
        return _describe(proc, owner, f"listens on port {port}", instance, holds_log_dir=False)
    return None


def lock_holder(path: Path) -> int | None:
    """The pid that holds a POSIX lock on the file; 0 where it is of another pid namespace; None: nobody."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return None  # no lock file: no Kafka; a sick disk is told by the reading of the log dirs
    try:
        asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        kind, _, _, _, pid = _FLOCK.unpack(fcntl.fcntl(descriptor, fcntl.F_GETLK, asked))
    except OSError as error:
        if error.errno in (errno.ENOLCK, errno.EINVAL, errno.EOPNOTSUPP):
            return None
        raise
    finally:
        os.close(descriptor)
    return None if kind == fcntl.F_UNLCK else max(pid, 0)


def supervisor(pid: int, proc: Path = Path("/proc"), systemctl: str = "systemctl") -> str | None:
    """The systemd unit that would restart the process; None where there is none, or it is this daemon's own."""
    unit = _unit(proc / str(pid) / "cgroup")
    if unit is None or unit == _unit(proc / "self" / "cgroup"):
        return None
    try:
        said = subprocess.run(
            [systemctl, "show", "--property=Restart", unit],
            capture_output=True,
            text=True,
            timeout=_SYSTEMCTL_SECONDS,
            check=False,
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"^Restart=(\S+)$", said, re.MULTILINE)
    return unit if match is not None and match[1] != "no" else None


def _unit(path: Path) -> str | None:
    """The innermost service of a /proc/PID/cgroup; a login's manager (user@1000.service) does not count."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        number, controllers, group = line.split(":", 2)
        if number != "0" and controllers != "name=systemd":
            continue
        units = [part for part in group.split("/") if part.endswith(".service") and not part.startswith("user@")]
        if units:
            return units[-1]
    return None


def _started_by(proc: Path, instance: str) -> int | None:
    """A Kafka whose daemon was killed between starting it and writing that down: it holds no lock for a second or two.

    It leads a session of its own and carries the instance, as a Kafka's children also do, in other roles.
    """
    for entry in proc.iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        if f"{INSTANCE_VARIABLE}={instance}" in _zero_separated(entry / "environ"):
            stat = _stat(proc, int(entry.name))
            if stat is not None and stat[0] == int(entry.name):
                return int(entry.name)
    return None


def _describe(
    proc: Path, pid: int | None, evidence: str, instance: str | None, *, holds_log_dir: bool
) -> ForeignProcess:
    stat = _stat(proc, pid) if pid else None
    boot = (proc / "sys/kernel/random/boot_id").read_text().strip()
    if pid is None or stat is None:
        return ForeignProcess(
            ProcessId(0, 0, boot), f"{evidence}, not visible to this user", is_kafka=False, holds_log_dir=holds_log_dir
        )
    return ForeignProcess(
        identity=ProcessId(pid, stat[1], boot),
        evidence=evidence,
        is_kafka=MAIN_CLASS in _zero_separated(proc / str(pid) / "cmdline"),
        holds_log_dir=holds_log_dir,
        ours=instance is not None and f"{INSTANCE_VARIABLE}={instance}" in _zero_separated(proc / str(pid) / "environ"),
        supervisor=supervisor(pid, proc),
    )


def _is_ours(proc: Path, pid: int, ours: ProcessId | None) -> bool:
    """Kafka is started as the leader of a session of its own; what a start script left as its child is ours too."""
    if ours is None:
        return False
    if pid == ours.pid:
        return True
    stat = _stat(proc, pid) if pid else None
    return stat is not None and stat[0] == ours.pid


def _stat(proc: Path, pid: int) -> tuple[int, int] | None:
    """Session and start time in ticks; None where the process is gone."""
    try:
        text = (proc / str(pid) / "stat").read_text()
    except OSError:
        return None
    fields = text[text.rindex(")") + 2 :].split()
    return int(fields[3]), int(fields[19])


def _zero_separated(path: Path) -> list[str]:
    try:
        return path.read_bytes().decode("utf-8", "replace").split("\0")
    except OSError:
        return []


def _listening(proc: Path, listeners: Sequence[Listener]) -> Iterator[tuple[int, int]]:
    """Port and socket inode of each listening socket that stands in the way of one of our listeners."""
    for name in ("tcp", "tcp6"):
        try:
            lines = (proc / "net" / name).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] != _LISTEN:
                continue
            address, _, port = fields[1].partition(":")
            there = _address(address)
            if any(each.port == int(port, 16) and _collide(each.host, there) for each in listeners):
                yield int(port, 16), int(fields[9])


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """/proc/net writes addresses as 32-bit words in the host's byte order."""
    raw = b"".join(struct.pack("=I", int(text[at : at + 8], 16)) for at in range(0, len(text), 8))
    address = ipaddress.ip_address(raw)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return address if mapped is None else mapped


def _collide(host: str, there: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether a listener on `host` cannot bind beside `there`. A name is not resolved, save localhost: it might."""
    if there.is_unspecified or not host:
        return True
    try:
        ours = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        return not there.is_loopback
    return ours.is_unspecified or ours == there


def _owner(proc: Path, inode: int) -> int | None:
    """The pid that has the socket open; None where it is not visible to us."""
    wanted = f"socket:[{inode}]"
    for entry in proc.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            with os.scandir(entry / "fd") as descriptors:
                if any(os.readlink(each.path) == wanted for each in descriptors):
                    return int(entry.name)
        except OSError:
            continue  # gone meanwhile, or another user's
    return None
