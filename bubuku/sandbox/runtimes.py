"""Kafka, ZooKeeper and the Jolokia agent: jars from Maven Central, kept in a cache, and a Kafka home made of them.

Callers: the sandbox, the tests and the benchmarks; any process, any thread. What is in the cache is complete (it gets
its name by one rename) and never changes; two callers that miss the same runtime fetch it once.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bubuku.core.errors import BubukuError, TimedOutError, UnavailableError, UsageError
from bubuku.sandbox.waiting import wait_until

DEFAULT_ZOOKEEPER_MODE = "3.9.2"
DEFAULT_KRAFT = "4.3.0"
MINIMUM_JAVA = 17
FETCH_DEADLINE_SECONDS = 900.0

_VERSION = re.compile(r"\d+\.\d+\.\d+")
_POM = Path(__file__).with_name("pom.xml")
_XMLNS = "{http://maven.apache.org/POM/4.0.0}"


def cache_dir() -> Path:
    """Where the jars are kept: `$BUBUKU_CACHE`, else `~/.cache/bubuku`."""
    chosen = os.environ.get("BUBUKU_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bubuku"


def kafka_libs(version: str) -> Path:
    """The folder with Kafka's jars, fetched if the cache has none. Raises as `fetch` does."""
    return fetch("kafka-4" if major(version) >= 4 else "kafka-3", {"kafka.version": version})


def zookeeper_libs() -> Path:
    """The folder with ZooKeeper's jars. Raises as `fetch` does."""
    return fetch("zookeeper", {})


def jolokia_agent() -> Path:
    """The Jolokia agent's jar. Raises as `fetch` does."""
    return next(fetch("jolokia", {}).glob("jolokia-agent-jvm-*-javaagent.jar"))


def major(version: str) -> int:
    """The major number of a Kafka version such as 3.9.2. Raises UsageError for anything else."""
    if _VERSION.fullmatch(version) is None:
        raise UsageError(f"Kafka version {version!r}: give three numbers, such as {DEFAULT_ZOOKEEPER_MODE}")
    return int(version.split(".")[0])


def fetch(profile: str, properties: dict[str, str]) -> Path:
    """The cached folder with the jars of one profile of pom.xml, fetched from Maven Central where it is missing.

    `properties` override the profile's own, such as `kafka.version`. Raises UsageError where Maven or Java is missing,
    UnavailableError where Maven Central does not answer or has no such version, TimedOutError after 15 minutes.
    """
    cache = cache_dir()
    name = "-".join([profile, *properties.values(), _profile_digest(profile)])
    target = cache / name
    if target.is_dir():
        return target
    cache.mkdir(parents=True, exist_ok=True)
    with _locked(cache / f".{name}.lock"):
        if not target.is_dir():
            folder = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=cache))
            try:
                _copy_jars(profile, properties, folder / "libs")
                (folder / "libs").rename(target)
            finally:
                shutil.rmtree(folder, ignore_errors=True)
    return target


def java_command() -> str:
    """The `java` to run: of JAVA_HOME, else on PATH. Raises UsageError where there is none, or one older than 17."""
    home = os.environ.get("JAVA_HOME")
    found = shutil.which("java", path=f"{home}/bin") if home else shutil.which("java")
    advice = f"install Java {MINIMUM_JAVA} or newer (Debian: apt-get install default-jre-headless)"
    if found is None:
        raise UsageError(f"java was not found{f' in JAVA_HOME={home}' if home else ' on PATH'}: {advice}")
    try:
        said = subprocess.run([found, "-version"], capture_output=True, text=True, timeout=30, check=False).stderr
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UsageError(f"{found} -version failed ({error}): {advice}") from None
    version = re.search(r'version "(?:1\.)?(\d+)', said)
    if version is None or int(version.group(1)) < MINIMUM_JAVA:
        raise UsageError(f"{found} is {said.splitlines()[0] if said else 'no Java'}: {advice}")
    return found


def make_kafka_home(folder: Path, version: str) -> Path:
    """Make `folder` a Kafka home as the distribution has it, as far as bubuku uses it, and return it.

    It has bin/kafka-server-start.sh and bin/kafka-storage.sh, libs/ (a link into the cache) and config/ for logging.
    As in the distribution, Kafka logs to `$LOG_DIR/server.log`, and KAFKA_HEAP_OPTS, KAFKA_JVM_PERFORMANCE_OPTS and
    KAFKA_OPTS go to the JVM. Done twice, it is the same. Raises as `fetch` does.
    """
    libs = kafka_libs(version)
    for name in ("bin", "config"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    link = folder / "libs"
    if link.is_symlink():
        link.unlink()
    link.symlink_to(libs)
    if major(version) >= 4:
        logging_option = "-Dlog4j2.configurationFile=$home/config/log4j2.properties"
        (folder / "config" / "log4j2.properties").write_text(_LOG4J2, encoding="utf-8")
    else:
        logging_option = "-Dlog4j.configuration=file:$home/config/log4j.properties"
        (folder / "config" / "log4j.properties").write_text(_LOG4J, encoding="utf-8")
    _script(folder / "bin" / "kafka-server-start.sh", _SERVER_START.replace("@LOGGING@", logging_option))
    _script(folder / "bin" / "kafka-storage.sh", _STORAGE)
    return folder


def main(arguments: list[str]) -> int:
    """`python -m bubuku.sandbox.runtimes FOLDER VERSION`: a Kafka home and the Jolokia agent, for an image."""
    folder, version = arguments
    try:
        print(make_kafka_home(Path(folder), version))
        print(jolokia_agent())
    except BubukuError as error:
        print(f"bubuku: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _script(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)


def _profile_digest(profile: str) -> str:
    """Changes when the profile does, so that a cache of before is not taken for what the pom says now."""
    root = ElementTree.parse(_POM).getroot()
    for element in root.iter(f"{_XMLNS}profile"):
        if element.findtext(f"{_XMLNS}id") == profile:
            properties = root.find(f"{_XMLNS}properties")
            parts = [element] if properties is None else [element, properties]
            text = "".join(ElementTree.canonicalize(ElementTree.tostring(p), strip_text=True) for p in parts)
            return hashlib.sha256(text.encode()).hexdigest()[:8]
    raise ValueError(f"pom.xml has no profile {profile}")


def _copy_jars(profile: str, properties: dict[str, str], libs: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise UsageError("mvn was not found on PATH: install Maven (Debian: apt-get install maven)")
    java_command()
    command = [maven, "-q", "-B", "-f", str(_POM.resolve()), "-P", profile]
    command += [f"-D{name}={value}" for name, value in properties.items()]
    command += ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={libs}"]
    wanted = " ".join([profile, *properties.values()])
    try:
        done = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=FETCH_DEADLINE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise TimedOutError(f"Maven did not fetch {wanted} within {FETCH_DEADLINE_SECONDS:g} s") from None
    if done.returncode != 0:
        errors = [line for line in done.stdout.splitlines() if line.startswith("[ERROR]")] or [done.stdout.strip()]
        raise UnavailableError(f"Maven could not fetch {wanted} from Maven Central: {errors[0][:400]}")
    if not libs.is_dir() or not any(libs.glob("*.jar")):
        raise UnavailableError(f"Maven fetched no jars for {wanted}")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:

        def acquired() -> bool:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

        wait_until(acquired, FETCH_DEADLINE_SECONDS, f"another process that fetches the same jars ({path})", 0.2)
        yield


# The jars hold no shell scripts. `*` is quoted because java itself expands it; `exec`, so that the pid is Kafka's own.
_SERVER_START = """\
#!/usr/bin/env bash
# Starts Kafka on the server.properties given, as the distribution's script of this name does.
set -eu
[ $# -ge 1 ] || { echo "usage: $0 server.properties" >&2; exit 1; }
home=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
logs=${LOG_DIR:-$home/logs}
mkdir -p "$logs"
java=java
[ -z "${JAVA_HOME:-}" ] || java=$JAVA_HOME/bin/java
# the three are lists of options
# shellcheck disable=SC2086
exec "$java" ${KAFKA_HEAP_OPTS:--Xmx1G -Xms1G} \\
    ${KAFKA_JVM_PERFORMANCE_OPTS:--server -XX:+UseG1GC -XX:MaxGCPauseMillis=20 -Djava.awt.headless=true} \\
    "-Dkafka.logs.dir=$logs" "@LOGGING@" \\
    ${KAFKA_OPTS:-} -cp "$home/libs/*" kafka.Kafka "$@"
"""

_STORAGE = """\
#!/usr/bin/env bash
# Kafka's storage tool: random-uuid | format -t CLUSTER_ID -c server.properties | info -c server.properties
set -eu
home=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
java=java
[ -z "${JAVA_HOME:-}" ] || java=$JAVA_HOME/bin/java
exec "$java" -Xmx256M -XX:TieredStopAtLevel=1 -Djava.awt.headless=true -cp "$home/libs/*" kafka.tools.StorageTool "$@"
"""

_LOG4J = """\
log4j.rootLogger=INFO, file
log4j.appender.file=org.apache.log4j.RollingFileAppender
log4j.appender.file.File=${kafka.logs.dir}/server.log
log4j.appender.file.MaxFileSize=64MB
log4j.appender.file.MaxBackupIndex=3
log4j.appender.file.layout=org.apache.log4j.PatternLayout
log4j.appender.file.layout.ConversionPattern=[%d] %p %m (%c)%n
log4j.logger.state.change.logger=WARN
log4j.logger.kafka.request.logger=WARN
log4j.logger.org.apache.zookeeper=WARN
"""

_LOG4J2 = """\
shutdownHook = disable
status = warn
appender.file.type = RollingFile
appender.file.name = file
appender.file.fileName = ${sys:kafka.logs.dir}/server.log
appender.file.filePattern = ${sys:kafka.logs.dir}/server.log.%i
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = [%d] %p %m (%c)%n
appender.file.policies.type = Policies
appender.file.policies.size.type = SizeBasedTriggeringPolicy
appender.file.policies.size.size = 64MB
appender.file.strategy.type = DefaultRolloverStrategy
appender.file.strategy.max = 3
rootLogger.level = info
rootLogger.appenderRef.file.ref = file
logger.state.name = state.change.logger
logger.state.level = warn
"""

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
