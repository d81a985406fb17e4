"""Writes the pages of docs/ that are made from the code, and the table of reasons in README.md.

Callers: `make docs`, and a unit test through `pages` that fails where a page is out of date.
"""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from bubuku.config.environment import OTHERS, VARIABLES
from bubuku.config.loading import IDLE_FEATURES
from bubuku.config.model import Config, Feature
from bubuku.core import former
from bubuku.core.gates import GATES
from bubuku.core.lifecycle import FOLLOWS, RULES
from bubuku.core.model import BrokerState
from bubuku.core.reasons import EXPLANATIONS

ROOT = Path(__file__).parents[1]
MADE = "<!-- Made by `make docs`. Change the code, not this page. -->"
BEGIN, END = "<!-- made by `make docs`: -->", "<!-- : until here -->"

STATES: dict[BrokerState, str] = {
    BrokerState.NOT_RUNNING: "No Kafka runs, and it is about to be started, or waits for what the reason says.",
    BrokerState.STARTING: "The process lives and has not got as far as serving.",
    BrokerState.RECOVERING: "Kafka loads its logs after an unclean end. It says how far it is; it is never killed.",
    BrokerState.SERVING: "The cluster lists it, and its own listener answers.",
    BrokerState.STOPPING: "It was told to stop gracefully: for a restart, to stay down, or with its daemon or host.",
    BrokerState.UNREGISTERED: "The process lives, was registered, and the cluster does not list it any more.",
    BrokerState.FROZEN: "The process lives and does not answer, or the kernel has stopped it. It is left alone.",
    BrokerState.FAILED: "Starts failed. The next one is tried by itself, later each time, up to 5 minutes.",
    BrokerState.HELD: "It is not started until somebody has mended what the reason names.",
}


def pages() -> dict[Path, str]:
    """Every page that is made, and README.md with its table replaced: path → text as it should be."""
    readme = ROOT / "README.md"
    return {
        ROOT / "docs" / "configuration.md": configuration_page(),
        ROOT / "docs" / "states.md": states_page(),
        ROOT / "docs" / "reasons.md": reasons_page(),
        ROOT / "docs" / "former.md": former_page(),
        readme: with_reasons(readme.read_text(encoding="utf-8")),
    }


# --- configuration ----------------------------------------------------------------------------------------------------


def configuration_page() -> str:
    parts = [
        "# Configuration\n",
        MADE,
        "",
        "One YAML file, named by `--config` or `$BUBUKU_CONFIG`; the environment goes over it. "
        "[config/bubuku.yaml](../config/bubuku.yaml) is a whole file to begin with.\n",
        "- `bubuku-cli config check FILE` says what is wrong, a line a problem, and exits with 2. So does the daemon.",
        "- `bubuku-cli config show FILE` prints what it comes to, defaults and environment included.",
        "- Unknown keys are errors.",
        "- Passwords stand in a file of their own (`password_file`) or in the environment, never in the YAML.\n",
    ]
    for path, model, about in sections((), Config, ""):
        parts.append(f"## {'.'.join(path) or 'At the top'}\n")
        if about:
            parts.append(about + "\n")
        parts += table(("key", "type", "default", "what"), settings(path, model))
        parts.append("")
    rows = [(f"`{v.name}`", f"`{'.'.join(v.key)}`", v.description) for v in VARIABLES]
    rows += [(f"`{name}`", "", text[0].upper() + text[1:]) for name, text in OTHERS.items()]
    parts += ["## Environment\n", "An empty variable counts as absent, save for `ZOOKEEPER_PREFIX`.\n"]
    parts += [*table(("variable", "key", "what"), rows), "", "## features\n"]
    parts += ["The names of the original's `BUKU_FEATURES`. What has no effect is said at start-up.\n"]
    parts += table(
        ("feature", "today"), [(f"`{f}`", IDLE_FEATURES.get(f, "sets `graceful_terminate`")) for f in Feature]
    )
    return "\n".join(parts) + "\n"


def sections(
    path: tuple[str, ...], model: type[BaseModel], about: str
) -> Iterator[tuple[tuple[str, ...], type[BaseModel], str]]:
    """The model and those within it, each with its path and description."""
    yield path, model, about
    for name, field in model.model_fields.items():
        inner = section_of(field)
        if inner is not None:
            yield from sections((*path, name), inner, field.description or "")


def section_of(field: FieldInfo) -> type[BaseModel] | None:
    options = (field.annotation, *get_args(field.annotation))
    return next((each for each in options if isinstance(each, type) and issubclass(each, BaseModel)), None)


def settings(path: tuple[str, ...], model: type[BaseModel]) -> Iterator[tuple[str, ...]]:
    for name, field in model.model_fields.items():
        if field.exclude:
            continue  # from the environment alone
        inner = section_of(field)
        kind = (
            f"[section](#{anchor((*path, name))})" if inner is not None else kind_of(field.annotation) + limits(field)
        )
        yield f"`{name}`", kind, default_of(field), field.description or ""


def anchor(path: tuple[str, ...]) -> str:
    """As GitHub makes it of a heading."""
    return re.sub(r"[^\w-]", "", "".join(path))


def kind_of(annotation: Any) -> str:
    """A type in an operator's words."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return kind_of(args[0])
    if origin is Literal:
        return ", ".join(f"`{each}`" for each in args)
    if origin in (Union, types.UnionType):
        return kind_of(next(each for each in args if each is not type(None)))
    if origin is tuple:
        return f"list of {kind_of(args[0])}"
    if origin is dict:
        return "mapping"
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return "[feature](#features)" if annotation is Feature else ", ".join(f"`{each}`" for each in annotation)
    return {Path: "path", str: "text", int: "whole number", float: "number", bool: "true, false"}[annotation]


def limits(field: FieldInfo) -> str:
    """The bounds of a number; fields of the type Port have theirs within it."""
    found = {type(each).__name__: each for each in field.metadata}
    low, high = found.get("Ge"), found.get("Le")
    if low is not None and high is not None:
        return f", {low.ge} to {high.le}"
    return f", from {low.ge}" if low is not None else ", above 0" if "Gt" in found else ""


def default_of(field: FieldInfo) -> str:
    if field.is_required():
        return "**needed**"
    if section_of(field) is not None:
        return ""
    if field.default_factory is not None:
        return "" if field.default_factory in (dict, list, tuple) else "this host's full name"
    value = field.default
    if value is None or value == ():
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return ", ".join(f"`{each}`" for each in value)
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


# --- states and reasons -----------------------------------------------------------------------------------------------


def states_page() -> str:
    order = list(BrokerState)
    follows = [
        (f"`{before}`", *("–" if after is before else "yes" if after in FOLLOWS[before] else "" for after in order))
        for before in order
    ]
    rules = [
        (str(n), rule.name, f"`{rule.state}`", f"`{rule.reason}`", re.sub(r"{.*?}", "…", rule.sentence))
        for n, rule in enumerate(RULES, start=1)
    ]
    gates = [(str(n), f"`{gate.__name__}`", first_line(gate)) for n, gate in enumerate(GATES, start=1)]
    return "\n".join(
        [
            "# A broker's states\n",
            MADE,
            "",
            *table(("state", "what it means"), [(f"`{state}`", STATES[state]) for state in order]),
            "",
            "Two more words stand in `/v1/cluster`, where no daemon speaks for a broker: `missing` (Kafka lists it, "
            "but no daemon answers for it; `bubuku-cli status` says `daemon missing`) and `unknown` (ZooKeeper was "
            "never read).\n",
            "## How a running process is told apart\n",
            "Read from the top; the first row that applies names the state (`RULES` in `bubuku/core/lifecycle.py`).\n",
            *table(("", "the process…", "state", "reason", "sentence"), rules),
            "",
            "## What may follow what\n",
            "Checked after each decision (`FOLLOWS`); a breach holds the broker with the reason `invariant`.\n",
            *table(("from \\ to", *(f"`{state}`" for state in order)), follows),
            "",
            "## From not running to a start\n",
            "Read from the top (`GATES` in `bubuku/core/gates.py`). One that is not passed gives the state and "
            "the reason, and nothing below it happens.\n",
            *table(("", "gate", "what it is about"), gates),
            "",
        ]
    )


def reasons_page() -> str:
    rows = [(f"`{r}`", e.meaning, e.remedy or "") for r, e in EXPLANATIONS.items()]
    return "\n".join(
        [
            "# Reasons\n",
            MADE,
            "",
            "The closed list of causes. The same code stands in the log, in events, in `/v1/status` and in the label "
            "of `bubuku_broker_starts_total`.\n",
            *table(("reason", "what it means", "what to do"), rows),
            "",
        ]
    )


def former_page() -> str:
    commands = [(f"`{row.words}`", "yes" if row.works else "exit code 2", row.successor) for row in former.COMMANDS]
    paths = [(f"`{row.path}{'…' if row.path.endswith('/') else ''}`", row.successor) for row in former.PATHS]
    return "\n".join(
        [
            "# Former names\n",
            MADE,
            "",
            "What users of the original Bubuku type, and what has become of it. What does not work names its successor "
            "in one line on stderr and exits with 2, whatever options it is given. Configuration by the original's "
            "environment names is in [configuration.md](configuration.md#environment).\n",
            *table(("bubuku-cli", "works", "successor"), commands),
            "",
            "The original answered on its health port. Its paths are 410 on both ports, with a problem document whose "
            "`detail` names the successor.\n",
            *table(("path", "successor"), paths),
            "",
        ]
    )


def with_reasons(readme: str) -> str:
    """README.md with the reasons that ask for somebody's hand between its two marks."""
    rows = [(f"`{r}`", e.meaning, e.remedy) for r, e in EXPLANATIONS.items() if e.remedy is not None]
    lines = table(("reason", "what it means", "what to do"), rows)
    head, mark, rest = readme.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not mark or not end:
        raise SystemExit(f"README.md: the marks {BEGIN} and {END} are not there")
    return head + BEGIN + "\n" + "\n".join(lines) + "\n" + END + tail


def first_line(function: Any) -> str:
    return (inspect.getdoc(function) or "").splitlines()[0]


def table(heading: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    """A Markdown table's lines."""
    names = list(heading)
    lines = [names, ["---"] * len(names), *(list(row) for row in rows)]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]


def main() -> None:
    for path, text in pages().items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
