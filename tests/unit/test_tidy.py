"""Style as a test: what nobody should have to remember. What exceeds a limit today is listed, and may only shrink."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bubuku.core.lifecycle import RULES
from bubuku.core.reasons import EXPLANATIONS, Reason

ROOT = Path(__file__).parents[2]
PURE = ("core", "changes", "planning")
LINES, TABLE_LINES, FUNCTION_LINES, METHODS = 400, 700, 70, 15  # tests are tables of cases, and may be longer

# A ratchet: what is longer than it should be, and by how much at most. Shrink it, never let it grow.
LONGER_MODULES: dict[str, int] = {}
LONGER_FUNCTIONS: dict[str, int] = {}
MORE_METHODS = {
    "bubuku/adapters/zookeeper/coordination.py:ZooKeeperCoordination": 19,
    "bubuku/adapters/zookeeper/session.py:Session": 16,
}

IMPURE = """asyncio datetime fcntl glob http io kafka kazoo logging multiprocessing os pathlib pickle psutil random
requests secrets select shutil signal socket sqlite3 ssl subprocess sys tempfile threading time urllib uuid"""
NO_CALLS = {"open", "print", "input", "eval", "exec", "__import__", "breakpoint"}
# In the daemon waiting is a state, or ends with a condition. These two run in the command line alone.
MAY_SLEEP = {"bubuku/sandbox/waiting.py", "bubuku/cli/output.py"}
NO_NAMES = {"utils", "util", "helpers", "helper", "managers", "manager", "misc", "common"}
WORDS = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
WORKPLACE = re.compile(r"(?<![\w.])/(work|tmp/team)/|\.venv-probe")


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


CODE = sources("bubuku")
ALL = sources("bubuku", "tests", "benchmarks", "docs")
PURE_CODE = sources(*(f"bubuku/{folder}" for folder in PURE))


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module


def called(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func)


@pytest.mark.parametrize("path", PURE_CODE, ids=name)
def test_the_core_is_pure(path: Path) -> None:
    tree = parsed(path)
    assert not {module.split(".")[0] for module in imported(tree)} & set(IMPURE.split())
    assert not set(called(tree)) & NO_CALLS
    ours = {module for module in imported(tree) if module.startswith("bubuku.")}
    assert all(module.split(".")[1] in PURE for module in ours), ours


def test_modules_are_short() -> None:
    over = {}
    for path in ALL:
        lines = len(path.read_text().splitlines())
        usual = TABLE_LINES if path.name.startswith("test_") else LINES
        if lines > LONGER_MODULES.get(name(path), usual):
            over[name(path)] = lines
    assert not over, f"make a folder of each: {over}"


def test_functions_are_short() -> None:
    over = {}
    for path in CODE:
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                key = f"{name(path)}:{node.name}"
                if lines > LONGER_FUNCTIONS.get(key, FUNCTION_LINES):
                    over[key] = lines
    assert not over


def test_classes_have_few_methods() -> None:
    over = {}
    for path in CODE:
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.ClassDef):
                methods = sum(isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef) for item in node.body)
                key = f"{name(path)}:{node.name}"
                if methods > MORE_METHODS.get(key, METHODS):
                    over[key] = methods
    assert not over


def test_the_ratchet_holds_no_dead_entries() -> None:
    for module, lines in LONGER_MODULES.items():
        assert LINES < len((ROOT / module).read_text().splitlines()) <= lines, f"{module} may leave the list"


@pytest.mark.parametrize("path", CODE, ids=name)
def test_nobody_sleeps(path: Path) -> None:
    if name(path) not in MAY_SLEEP:
        assert not {call for call in called(parsed(path)) if call in ("time.sleep", "sleep", "asyncio.sleep")}


def test_every_module_says_what_it_is_for() -> None:
    silent = [name(path) for path in CODE if path.read_text().strip() and ast.get_docstring(parsed(path)) is None]
    assert not silent


def test_broad_excepts_stay_at_the_boundaries() -> None:
    """Each says why, on its line."""
    silent = []
    for path in CODE:
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if re.search(r"except Exception\b", line) and "#" not in line:
                silent.append(f"{name(path)}:{number}")
    assert not silent


def test_names_say_what_is_in_them() -> None:
    assert not [name(path) for path in ALL if path.stem in NO_NAMES or path.parent.name in NO_NAMES]


def test_nothing_is_left_for_later_and_no_workplace_is_told() -> None:
    here = Path(__file__).resolve()
    told = []
    for path in tracked():
        if path.resolve() == here:
            continue
        text = path.read_text(errors="replace")
        told += [f"{name(path)}: {match.group(0)}" for match in (WORDS.search(text), WORKPLACE.search(text)) if match]
    assert not told


def tracked() -> list[Path]:
    """All that git keeps; without git (a source distribution) the code alone."""
    asked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=30)
    if asked.returncode != 0:
        return ALL
    found = [ROOT / each for each in asked.stdout.split("\0") if each]
    return [path for path in found if path.is_file() and path.suffix not in {".png", ".gz", ".jar"}]


def test_each_reason_is_explained_and_each_explanation_has_its_reason() -> None:
    assert set(EXPLANATIONS) == set(Reason)
    assert all(explanation.meaning for explanation in EXPLANATIONS.values())


def test_each_reason_is_used() -> None:
    """A code that nothing gives is a promise to operators that nothing keeps."""
    text = "\n".join(path.read_text() for path in CODE if path.name != "reasons.py")
    unused = [reason.name for reason in Reason if not re.search(rf"\bReason\.{reason.name}\b", text)]
    assert not unused


def test_each_rule_of_the_lifecycle_gives_a_known_reason() -> None:
    assert all(rule.reason in EXPLANATIONS for rule in RULES)
