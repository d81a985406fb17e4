"""Kafka's files on this host, on a real file system, with real processes that hold locks and listen."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bubuku.adapters.broker_files import BrokerFiles, BrokerFilesSettings, dirs, foreign
from bubuku.core.actions import Result
from bubuku.core.errors import UnavailableError, UsageError
from bubuku.core.model import ForeignProcess, Mode, Role
from bubuku.core.shared import ProcessId
from tests.support.wait import wait_for


class Host:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = [folder / "data" / "1", folder / "data" / "2"]
        self.template = folder / "template"
        self.write_template("listeners=PLAINTEXT://127.0.0.1:9092")
        self.settings = BrokerFilesSettings(
            kafka_home=folder / "kafka",
            template=self.template,
            server_properties=folder / "state" / "server.properties",
            mode=Mode.ZOOKEEPER,
            log_file=folder / "server.log",
            stdout_file=folder / "stdout.log",
            addresses=("h:2181",),
            instance="the-instance",
        )

    def write_template(self, *lines: str) -> None:
        self.template.write_text("\n".join([f"log.dirs={self.data[0]},{self.data[1]}", *lines, ""]))

    def files(self, **changes: object) -> BrokerFiles:
        return BrokerFiles(replace(self.settings, **changes))  # type: ignore[arg-type]

    def fill(self, path: Path, node_id: int = 3, cluster_id: str = "c1") -> None:
        (path / "topic-0").mkdir(parents=True)
        (path / "meta.properties").write_text(f"#\n#Sun\nbroker.id={node_id}\nversion=0\ncluster.id={cluster_id}\n")


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


# the log dirs


def test_dirs_that_are_not_there_yet_can_be_used_and_marked(host: Host) -> None:
    files = host.files()
    first, _ = files.log_dirs()
    assert (first.path, first.marker, first.holds_data, first.usable, first.error) == (
        str(host.data[0]),
        None,
        False,
        True,
        None,
    )
    assert first.total_bytes > first.free_bytes > 0
    assert first.device == host.folder.stat().st_dev
    assert not host.data[0].exists()
    files.mark([str(host.data[0])])
    marked = files.log_dirs()[0]
    assert marked.marker is not None
    assert len(marked.marker) == 36
    assert not marked.holds_data
    assert sorted(os.listdir(host.data[0])) == [dirs.MARKER_NAME]


def test_a_marker_is_never_replaced(host: Host) -> None:
    files = host.files()
    paths = [str(path) for path in host.data]
    files.mark(paths)
    before = [found.marker for found in files.log_dirs()]
    files.mark(paths)
    assert [found.marker for found in files.log_dirs()] == before
    assert len(set(before)) == 2


def test_a_dir_with_data(host: Host) -> None:
    host.fill(host.data[0])
    found, other = host.files().log_dirs()
    assert (found.holds_data, found.node_id, found.cluster_id, found.clean) == (True, 3, "c1", False)
    assert not other.holds_data
    (host.data[0] / ".kafka_cleanshutdown").write_text('{"version":0}')
    assert host.files().log_dirs()[0].clean


@pytest.mark.parametrize(
    ("name", "is_folder", "holds"),
    [
        ("topic-0", True, True),
        ("a-b.c_d-17", True, True),
        ("__cluster_metadata-0", True, True),
        ("topic-3.6a0c-delete", True, True),
        ("topic-3.6a0c-future", True, True),
        ("lost+found", True, False),
        ("topic", True, False),
        ("notes-0", False, False),
        ("recovery-point-offset-checkpoint", False, False),
    ],
)
def test_what_counts_as_data(host: Host, name: str, is_folder: bool, holds: bool) -> None:
    host.data[0].mkdir(parents=True)
    (host.data[0] / name).mkdir() if is_folder else (host.data[0] / name).write_text("")
    assert host.files().log_dirs()[0].holds_data is holds


def test_meta_properties_of_kraft_and_damaged_ones(host: Host) -> None:
    host.data[0].mkdir(parents=True)
    meta = host.data[0] / "meta.properties"
    meta.write_text("version=1\nnode.id=0\ncluster.id=MkU3OEVBNTcwNTJENDM2Qg\ndirectory.id=x\n")
    found = host.files().log_dirs()[0]
    assert (found.node_id, found.cluster_id) == (0, "MkU3OEVBNTcwNTJENDM2Qg")
    meta.write_bytes(b"\x00\xff\\u12")
    damaged = host.files().log_dirs()[0]
    assert (damaged.holds_data, damaged.node_id, damaged.cluster_id, damaged.usable) == (True, None, None, True)


def test_a_dir_that_cannot_be_used_is_a_value(host: Host) -> None:
    host.data[0].parent.mkdir()
    host.data[0].write_text("a file")
    host.template.write_text(f"log.dirs={host.data[0]},{host.data[0]}/below\n")
    a_file, below = host.files().log_dirs()
    assert (a_file.usable, a_file.error) == (False, "not a directory (ENOTDIR)")
    assert (below.usable, below.error) == (False, f"{host.data[0]} is not a directory (ENOTDIR)")


def test_the_probe_leaves_nothing(host: Host) -> None:
    host.fill(host.data[0])
    before = sorted(os.listdir(host.data[0]))
    assert host.files().log_dirs()[0].usable
    assert sorted(os.listdir(host.data[0])) == before


def test_a_metadata_dir_of_its_own_is_never_unclean(host: Host) -> None:
    metadata = host.folder / "metadata"
    host.write_template(f"metadata.log.dir={metadata}")
    for path in (*host.data, metadata):
        host.fill(path)
    assert [d.clean for d in host.files(mode=Mode.KRAFT).log_dirs()] == [False, False, True]
    controller = host.files(mode=Mode.KRAFT, roles=frozenset({Role.CONTROLLER}))
    assert [d.clean for d in controller.log_dirs()] == [False, False, False]


def test_a_marker_that_cannot_be_written_names_the_dir(host: Host) -> None:
    (host.folder / "data").write_text("a file")
    with pytest.raises(UnavailableError, match="data/1: the marker cannot be written: Not a directory"):
        host.files().mark([str(host.data[0])])


# server.properties


def test_rendering_writes_once_and_only_what_changed(host: Host) -> None:
    host.template.chmod(0o640)
    files = host.files(node_id=3, rack="a")
    assert files.render()
    text = files.settings_path.read_text()
    assert text == f"{host.template.read_text()}zookeeper.connect=h:2181\nbroker.id=3\nbroker.rack=a\n"
    assert stat.S_IMODE(files.settings_path.stat().st_mode) == 0o640
    inode = files.settings_path.stat().st_ino
    assert not files.render()
    assert files.settings_path.stat().st_ino == inode
    assert os.listdir(files.settings_path.parent) == ["server.properties"]
    host.write_template("num.io.threads=4")
    assert files.render()
    assert "num.io.threads=4" in files.settings_path.read_text()


def test_the_id_of_the_dirs_goes_before_the_configured_one(host: Host) -> None:
    host.fill(host.data[1], node_id=1001)
    files = host.files(node_id=3)
    digest = files.settings_digest()
    files.log_dirs()
    files.render()
    assert "broker.id=1001\n" in files.settings_path.read_text()
    assert files.settings_digest() == digest


def test_what_differs_from_the_written_file_is_named(host: Host) -> None:
    files = host.files()
    with pytest.raises(UnavailableError):
        files.differing()
    files.render()
    assert files.differing() == ()
    host.write_template("num.io.threads = 9", "log.retention.hours=1")
    assert files.differing() == ("listeners", "log.retention.hours", "num.io.threads")
    files.render()
    assert files.differing() == ()


def test_the_digest_follows_the_template(host: Host) -> None:
    files = host.files()
    digest = files.settings_digest()
    assert files.settings_digest() == digest
    host.write_template("num.io.threads=4")
    assert files.settings_digest() != digest


def test_bytes_that_are_not_ascii_stay(host: Host) -> None:
    host.template.write_bytes(b"# caf\xc3\xa9 \xff\nlog.dirs=/d\n")
    files = host.files()
    files.render()
    assert files.settings_path.read_bytes().startswith(b"# caf\xc3\xa9 \xff\n")


def test_a_template_that_cannot_be_read_is_named(host: Host) -> None:
    files = host.files()
    host.template.write_text("a=\\u1")
    for call in (files.settings_digest, files.render, files.log_dirs):
        with pytest.raises(UsageError, match=r"template: line 1: malformed"):
            call()
    host.template.unlink()
    with pytest.raises(UsageError, match="template: No such file or directory"):
        files.settings_digest()


def test_a_file_that_cannot_be_written_is_named(host: Host) -> None:
    (host.folder / "state").write_text("a file")
    with pytest.raises(UnavailableError, match=r"state/server\.properties"):
        host.files().render()


# Kafka's log

FIRST = "[2026-11-22 13:07:29,758] INFO Registered kafka:type=kafka.Log4jController MBean (x)\n"
FATAL = (
    "[2026-11-22 13:07:29,800] ERROR Exiting Kafka due to fatal exception (kafka.Kafka$)\n"
    "org.apache.kafka.common.config.ConfigException: Invalid value zero for configuration num.io.threads\n"
)


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def test_the_log_is_followed_from_the_restart_on(host: Host) -> None:
    log = host.settings.log_file
    append(log, FIRST + FATAL)
    files = host.files()
    files.restart_log()
    assert files.log().lines_seen == 0
    append(log, FIRST)
    assert files.log().lines_seen == 1
    append(log, FATAL[:40])
    assert files.log().lines_seen == 1  # a line is not read before its end is there
    append(log, FATAL[40:])
    view = files.log()
    assert (view.lines_seen, view.fatal) == (3, "bad_configuration")
    files.restart_log()
    assert files.log().fatal is None


def test_a_new_daemon_reads_what_the_running_kafka_said(host: Host) -> None:
    append(
        host.settings.log_file,
        FATAL + FIRST + "[x] INFO Recovering 20 logs from /d since no clean shutdown file was found\n",
    )
    view = host.files().log()
    assert (view.fatal, view.recover_total) == (None, 20)


def test_rotation_and_truncation(host: Host) -> None:
    log = host.settings.log_file
    append(log, FIRST)
    files = host.files()
    assert files.log().lines_seen == 1
    append(log, "the last line before the rotation\n")
    log.rename(host.folder / "server.log.1")
    append(log, "the first line after it\n")
    assert files.log().last_lines[-2:] == ("the last line before the rotation", "the first line after it")
    log.rename(host.folder / "server.log.2")
    assert files.log().lines_seen == 3  # between two renames there is none
    append(log, "a\nb\n")
    assert files.log().lines_seen == 5
    log.write_text("c\n")
    assert files.log().last_lines[-1] == "c"


def test_endless_lines_and_backlogs_are_bounded(host: Host) -> None:
    log = host.settings.log_file
    append(log, "")
    files = host.files()
    append(log, "x" * 3_000_000 + "\nnext\n")
    assert files.log().last_lines[-1] == "next"
    with log.open("r+b") as file:
        file.truncate(200_000_000)  # a hole
    append(log, "\nnewest\n")
    view = files.log()
    assert view.last_lines[-1] == "newest"


def test_what_a_jvm_prints_counts_while_the_log_is_silent(host: Host) -> None:
    files = host.files()
    assert host.settings.stdout_file is not None
    append(
        host.settings.stdout_file,
        "Invalid maximum heap size: -Xmx1Z\nError: Could not create the Java Virtual Machine.\n",
    )
    assert files.log().last_lines[0] == "Invalid maximum heap size: -Xmx1Z"
    append(host.settings.log_file, FIRST)
    assert files.log().lines_seen == 1


def test_a_log_that_cannot_be_read_says_so(host: Host) -> None:
    host.settings.log_file.mkdir()
    with pytest.raises(UnavailableError, match=r"server\.log: Is a directory"):
        host.files().log()


# who else is there

HOLD = """\
import fcntl, sys, time
file = open(sys.argv[1], "w")
fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
print("ready", flush=True)
time.sleep(120)
"""
WAIT = """\
import time
print("ready", flush=True)
time.sleep(120)
"""
LISTEN = """\
import socket, sys, time
held = socket.create_server((sys.argv[1], 0), family=socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET)
print(held.getsockname()[1], flush=True)
time.sleep(120)
"""

Start = Callable[..., tuple[subprocess.Popen[str], str]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a Python program; returns it with the first line that it printed. Ended after the test, by pid."""
    running: list[subprocess.Popen[str]] = []

    def make(
        program: str, *arguments: str, environment: dict[str, str] | None = None, session: bool = False
    ) -> tuple[subprocess.Popen[str], str]:
        process = subprocess.Popen(
            [sys.executable, "-c", program, *arguments],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **(environment or {})},
            start_new_session=session,
        )
        running.append(process)
        assert process.stdout is not None
        return process, process.stdout.readline().strip()

    yield make
    for process in running:
        process.kill()
        with process:
            process.wait(10)


def identity(pid: int) -> ProcessId:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return ProcessId(pid, int(fields[19]), Path("/proc/sys/kernel/random/boot_id").read_text().strip())


def test_nobody_is_there(host: Host) -> None:
    host.fill(host.data[0])
    (host.data[0] / ".lock").write_text("")
    host.write_template("listeners=PLAINTEXT://127.0.0.1:1")
    assert host.files().foreign(None) is None


def test_who_holds_a_log_dir(host: Host, start: Start) -> None:
    host.data[1].mkdir(parents=True)
    process, _ = start(HOLD, str(host.data[1] / ".lock"))
    found = host.files().foreign(None)
    assert found == ForeignProcess(
        identity(process.pid), f"holds the lock of {host.data[1]}", is_kafka=False, holds_log_dir=True
    )
    assert host.files().foreign(identity(process.pid)) is None
    assert host.files().foreign(identity(os.getpid())) == found
    process.kill()
    process.wait(10)
    assert host.files().foreign(None) is None


def test_a_kafka_is_known_by_its_main_class_and_ours_by_its_instance(host: Host, start: Start) -> None:
    host.data[0].mkdir(parents=True)
    start(HOLD, str(host.data[0] / ".lock"), "kafka.Kafka", environment={"BUBUKU_INSTANCE": "the-instance"})
    found = host.files().foreign(None)
    assert found is not None
    assert (found.is_kafka, found.holds_log_dir, found.ours) == (True, True, True)
    other = host.files(instance="another").foreign(None)
    assert other is not None
    assert not other.ours


def test_our_own_start_is_found_before_it_holds_a_lock(host: Host, start: Start) -> None:
    """Its daemon was killed before it wrote it down, and a JVM takes the lock only after a second or two."""
    environment = {"BUBUKU_INSTANCE": "the-instance"}
    start(WAIT, environment=environment)  # no leader of a session: something that a Kafka started
    assert host.files().foreign(None) is None
    process, _ = start(WAIT, environment=environment, session=True)
    found = host.files().foreign(None)
    assert found is not None
    assert (found.identity, found.ours, found.holds_log_dir) == (identity(process.pid), True, False)
    assert host.files().foreign(identity(process.pid)) is None
    assert host.files(instance="another").foreign(None) is None


def test_a_child_of_our_start_script_is_ours(host: Host, start: Start) -> None:
    host.data[0].mkdir(parents=True)
    script = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {HOLD!r}, sys.argv[1]])"
    parent, _ = start(script, str(host.data[0] / ".lock"), session=True)
    try:
        assert host.files().foreign(identity(parent.pid)) is None
        found = host.files().foreign(None)
        assert found is not None
        assert found.identity.pid != parent.pid
    finally:
        os.killpg(parent.pid, signal.SIGKILL)


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


LISTENING = [
    ("127.0.0.1", "127.0.0.1", True),
    ("127.0.0.1", "", True),
    ("127.0.0.1", "0.0.0.0", True),
    ("127.0.0.1", "localhost", True),
    ("127.0.0.1", "127.0.0.2", False),
    ("127.0.0.1", "kafka-1.example.org", False),
    ("0.0.0.0", "127.0.0.2", True),
    ("0.0.0.0", "kafka-1.example.org", True),
]
LISTENING_IPV6 = [("::", "127.0.0.1", True), ("::1", "[::1]", True), ("::1", "127.0.0.1", False)]


@pytest.mark.parametrize(("there", "ours", "taken"), LISTENING + LISTENING_IPV6 * has_ipv6())
def test_who_listens_where_kafka_would(host: Host, start: Start, there: str, ours: str, taken: bool) -> None:
    process, port = start(LISTEN, there)
    host.write_template(f"listeners=PLAINTEXT://{ours}:{port},SSL://{ours}:1")
    found = host.files().foreign(None)
    if not taken:
        assert found is None
        return
    assert found == ForeignProcess(identity(process.pid), f"listens on port {port}", is_kafka=False)
    assert host.files().foreign(identity(os.getpid())) is None, "our own broker's listener is not looked for"


def test_a_connection_is_no_listener(host: Host) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        accepted, _ = server.accept()
        port = client.getsockname()[1]
        host.write_template(f"listeners=PLAINTEXT://127.0.0.1:{port}")
        assert host.files().foreign(None) is None
        client.close()
        accepted.close()


def systemctl(folder: Path, text: str) -> str:
    path = folder / "systemctl"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("group", "says", "wanted"),
    [
        ("0::/system.slice/kafka.service", "Restart=always", "kafka.service"),
        ("0::/system.slice/kafka.service/payload", "Restart=on-failure", "kafka.service"),
        ("1:name=systemd:/system.slice/kafka.service", "Restart=always", "kafka.service"),
        ("3:cpu:/system.slice/kafka.service", "Restart=always", None),
        ("0::/system.slice/kafka.service", "Restart=no", None),
        ("0::/system.slice/kafka.service", "", None),
        ("0::/system.slice/bubuku.service", "Restart=always", None),
        ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/x.scope", "Restart=always", None),
        ("0::/user.slice/session-1.scope", "Restart=always", None),
    ],
)
def test_a_supervisor_is_a_unit_that_would_restart(tmp_path: Path, group: str, says: str, wanted: str | None) -> None:
    for name, text in (("7", group), ("self", "0::/system.slice/bubuku.service")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "cgroup").write_text(f"{text}\n")
    assert foreign.supervisor(7, tmp_path, systemctl(tmp_path, f"echo '{says}'")) == wanted


def test_no_systemctl_or_a_hanging_one_is_no_supervisor(tmp_path: Path) -> None:
    for name in ("7", "self"):
        (tmp_path / name).mkdir()
    (tmp_path / "7" / "cgroup").write_text("0::/system.slice/kafka.service\n")
    assert foreign.supervisor(7, tmp_path, str(tmp_path / "nothing")) is None
    began = time.monotonic()
    assert foreign.supervisor(7, tmp_path, systemctl(tmp_path, "exec sleep 60")) is None
    assert time.monotonic() - began < 10
    assert foreign.supervisor(8, tmp_path, systemctl(tmp_path, "echo Restart=always")) is None


# KRaft's format


def tool(host: Host, text: str, name: str = "kafka-storage.sh") -> None:
    path = host.settings.kafka_home / "bin" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_format_runs_the_storage_tool_on_the_rendered_file(host: Host) -> None:
    tool(host, f'test -s "$5" && echo "$@" > {host.folder}/arguments')  # it reads the file, which nobody made before
    outcome = host.files(mode=Mode.KRAFT).format([str(path) for path in host.data], "the-id", 10)
    assert (outcome.result, outcome.detail) == (Result.DONE, "")
    assert outcome.ended is not None
    assert outcome.begun <= outcome.ended
    wanted = f"format -t the-id -c {host.settings.server_properties} --ignore-formatted\n"
    assert (host.folder / "arguments").read_text() == wanted


def test_format_without_the_script_uses_the_class(host: Host) -> None:
    tool(host, f'echo "$@" > {host.folder}/arguments', "kafka-run-class.sh")
    assert host.files().format([], "i", 10).result is Result.DONE
    assert (host.folder / "arguments").read_text().startswith("kafka.tools.StorageTool format -t i ")


def test_format_refuses_a_dir_with_data(host: Host) -> None:
    host.fill(host.data[1])
    outcome = host.files().format([str(path) for path in host.data], "i", 10)
    assert (outcome.result, outcome.detail) == (
        Result.REFUSED,
        f"{host.data[1]}: holds data already; it is never formatted",
    )


def test_format_says_why_it_failed(host: Host) -> None:
    assert "has neither" in host.files().format([], "i", 10).detail
    tool(
        host,
        "echo 'log4j:WARN x'; echo 'Exception: Invalid cluster.id in: x' >&2; echo '\tat a.b(C.java:1)' >&2; exit 1",
    )
    outcome = host.files().format([], "i", 10)
    assert (outcome.result, outcome.detail) == (Result.FAILED, "Exception: Invalid cluster.id in: x")
    tool(host, "exit 3")
    assert host.files().format([], "i", 10).detail.endswith("kafka-storage.sh exited 3")


def test_format_is_ended_at_its_deadline_with_all_that_it_started(host: Host) -> None:
    tool(host, f"sleep 120 & echo $! > {host.folder}/child; wait")
    outcome = host.files().format([], "i", 1.0)
    assert outcome.result is Result.UNKNOWN
    assert outcome.detail.endswith("did not end within 1 s")
    child = int((host.folder / "child").read_text())
    wait_for(
        lambda: not Path(f"/proc/{child}").exists() or "\nState:\tZ" in Path(f"/proc/{child}/status").read_text(),
        10,
        f"the end of {child}",
    )
