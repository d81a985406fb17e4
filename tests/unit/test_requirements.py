"""`.ci/requirements` on machines that lack something: commands of the test's own on PATH, no package is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / ".ci" / "requirements"
NEEDED = ("bash", "sed", "head", "cat", "chmod", "touch")  # what the script and the stand-ins call


class Machine:
    """A PATH with nothing on it but what the test puts there."""

    def __init__(self, folder: Path) -> None:
        self.bin = folder / "bin"
        self.bin.mkdir()
        for name in NEEDED:
            found = shutil.which(name)
            assert found is not None
            (self.bin / name).symlink_to(found)
        self.log = folder / "apt"

    def put(self, name: str, body: str) -> None:
        path = self.bin / name
        path.write_text(f"#!{self.bin}/bash\n{body}\n")
        path.chmod(0o755)

    def user(self, number: int) -> None:
        self.put("id", f"echo {number}")

    def java(self, version: str) -> None:
        self.put("java", f"echo 'openjdk version \"{version}\" 2025-04-15' >&2")

    def python(self, name: str, *, fits: bool, venv: bool = True) -> None:
        """`-c` with a look at the version, at the modules, or a name to print."""
        self.put(
            name,
            'case "$2" in *version_info*exit*|*"sys.exit"*) exit '
            + ("0" if fits else "1")
            + ' ;; *ensurepip*) [ -e "$0.venv" ] ;; *) echo python3.11-venv ;; esac',
        )
        if venv:
            (self.bin / f"{name}.venv").touch()

    def apt(self, provides: str) -> None:
        """An apt-get that notes what it is asked for; `provides` is what an install does."""
        self.put("apt-get", f'echo "$*" >> {self.log}\n[ "$1" = update ] || {{ {provides}; }}')

    def run(self, what: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": str(self.bin), "HOME": os.environ.get("HOME", "/")}
        return subprocess.run(
            [self.bin / "bash", SCRIPT, what], env=environment, capture_output=True, text=True, timeout=30, check=False
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    made = Machine(tmp_path)
    made.user(1000)
    return made


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    return lines[0]


def test_all_there(machine: Machine) -> None:
    machine.java("17.0.15")
    machine.put("mvn", "true")
    machine.python("python3", fits=True)
    assert machine.run("java").returncode == 0
    done = machine.run("python")
    assert (done.returncode, done.stdout) == (0, f"{machine.bin}/python3\n")


@pytest.mark.parametrize("java", [None, "11.0.2", "1.8.0_402"])
def test_without_java_or_maven_a_user_is_told_what_to_install(machine: Machine, java: str | None) -> None:
    if java is not None:
        machine.java(java)
    done = machine.run("java")
    assert done.returncode == 2
    assert one_line(done).endswith("sudo apt-get install default-jre-headless maven")


def test_root_installs_what_is_missing_alone(machine: Machine) -> None:
    machine.user(0)
    machine.java("21.0.1")
    machine.apt(provides=f"touch {machine.bin}/mvn; chmod +x {machine.bin}/mvn")
    done = machine.run("java")
    assert done.returncode == 0, done.stderr
    assert machine.log.read_text().splitlines() == ["update -qq", "install -y -qq --no-install-recommends maven"]


def test_an_install_that_fails_is_said(machine: Machine) -> None:
    machine.user(0)
    machine.apt(provides="exit 100")
    done = machine.run("java")
    assert done.returncode == 1
    assert "apt-get could not install default-jre-headless maven" in done.stderr


def test_a_python_without_venv(machine: Machine) -> None:
    machine.python("python3", fits=True, venv=False)
    done = machine.run("python")
    assert done.returncode == 2
    assert one_line(done).endswith("sudo apt-get install python3.11-venv")
    machine.user(0)
    machine.apt(provides=f"touch {machine.bin}/python3.venv")
    done = machine.run("python")
    assert (done.returncode, done.stdout) == (0, f"{machine.bin}/python3\n")


def test_a_newer_python_beside_an_older_one_is_taken(machine: Machine) -> None:
    machine.python("python3", fits=False)
    machine.python("python3.12", fits=True)
    assert machine.run("python").stdout == f"{machine.bin}/python3.12\n"


def test_no_python_that_fits(machine: Machine) -> None:
    machine.python("python3", fits=False)
    done = machine.run("python")
    assert done.returncode == 2
    assert "no Python 3.11, 3.12 or 3.13" in one_line(done)
