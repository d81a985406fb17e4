"""The cache of jars and the Kafka home, with a Maven that is a script of the test's own."""

from __future__ import annotations

import os
import subprocess
import threading
from pathlib import Path

import pytest

from bubuku.core.errors import UnavailableError, UsageError
from bubuku.sandbox import runtimes

MAVEN = """\
#!/usr/bin/env bash
echo call >> "$CALLS"
[ -z "${FAIL:-}" ] || { echo "[ERROR] $FAIL"; exit 1; }
for argument; do case "$argument" in -DoutputDirectory=*) out=${argument#*=} ;; esac; done
mkdir -p "$out"
touch "$out/kafka.jar" "$out/jolokia-agent-jvm-2.2.9-javaagent.jar"
"""
JAVA = """\
#!/usr/bin/env bash
if [ "${1:-}" = -version ]; then echo "openjdk version \\"$JAVA_VERSION\\" 2025-04-15" >&2; exit 0; fi
printf '%s\\n' "$@"
"""


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with Maven and Java of the test's, and an empty cache."""
    for name, text in (("mvn", MAVEN), ("java", JAVA)):
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    monkeypatch.setenv("JAVA_VERSION", "17.0.15")
    monkeypatch.setenv("BUBUKU_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    return tmp_path


def calls(machine: Path) -> int:
    path = machine / "calls"
    return len(path.read_text().splitlines()) if path.exists() else 0


def test_fetched_once(machine: Path) -> None:
    first = runtimes.kafka_libs("3.9.2")
    assert first.parent == machine / "cache"
    assert (first / "kafka.jar").exists()
    assert runtimes.kafka_libs("3.9.2") == first
    assert calls(machine) == 1
    assert runtimes.kafka_libs("3.8.1") != first
    assert calls(machine) == 2


def test_two_at_once_fetch_once(machine: Path) -> None:
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(runtimes.kafka_libs("4.3.0"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(found) == 4
    assert len(set(found)) == 1
    assert calls(machine) == 1


def test_what_failed_leaves_nothing_that_looks_complete(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAIL", "Could not find artifact org.apache.kafka:kafka_2.13:jar:3.9.99")
    with pytest.raises(UnavailableError, match=r"kafka-3 3\.9\.99 from Maven Central: .*Could not find artifact"):
        runtimes.kafka_libs("3.9.99")
    assert [path.name for path in (machine / "cache").iterdir() if path.is_dir()] == []
    monkeypatch.delenv("FAIL")
    assert (runtimes.kafka_libs("3.9.99") / "kafka.jar").exists()


@pytest.mark.parametrize(
    ("version", "fits"), [("17.0.15", True), ("21", True), ("1.8.0_402", False), ("11.0.2", False)]
)
def test_java_17_or_newer(machine: Path, monkeypatch: pytest.MonkeyPatch, version: str, fits: bool) -> None:
    monkeypatch.setenv("JAVA_VERSION", version)
    if fits:
        assert runtimes.java_command() == str(machine / "bin" / "java")
    else:
        with pytest.raises(UsageError, match=f"{version}.*install Java 17"):
            runtimes.java_command()


def test_a_java_home_without_java_is_named(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", "/nowhere")
    with pytest.raises(UsageError, match="JAVA_HOME=/nowhere"):
        runtimes.java_command()


@pytest.mark.parametrize(("version", "logging"), [("3.9.2", "-Dlog4j.configuration="), ("4.3.0", "-Dlog4j2.")])
def test_a_kafka_home_starts_kafka(machine: Path, version: str, logging: str) -> None:
    home = runtimes.make_kafka_home(machine / "home", version)
    assert runtimes.make_kafka_home(machine / "home", version) == home
    environment = {
        **os.environ,
        "LOG_DIR": str(machine / "logs"),
        "KAFKA_HEAP_OPTS": "-Xmx1M",
        "KAFKA_OPTS": "-Da=b -Dc=d",
    }
    done = subprocess.run(
        [home / "bin" / "kafka-server-start.sh", "/etc/server.properties"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    arguments = done.stdout.splitlines()
    assert {"-Xmx1M", "-Da=b", "-Dc=d", f"-Dkafka.logs.dir={machine / 'logs'}"} <= set(arguments)
    assert arguments[-4:] == ["-cp", f"{home}/libs/*", "kafka.Kafka", "/etc/server.properties"]
    assert any(argument.startswith(logging) for argument in arguments)
    assert (home / "libs" / "kafka.jar").exists()
