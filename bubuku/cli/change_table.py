"""Changes as people read them: a line each, or a table. Callers: commands, on the main thread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from bubuku.cli.output import duration
from bubuku.core.guard import named

COLOURS = {"done": "green", "failed": "red", "cancelled": "yellow", "running": "cyan", "queued": ""}


def line(document: dict[str, Any]) -> str:
    number = "" if document["sequence"] is None else f" {document['sequence']}"
    what = f"{document['kind']} of {named(document['brokers'])}"
    return f"change{number}: {what}: {document['phase'].replace('_', ' ')}: {document['sentence']}"


def table(documents: Sequence[dict[str, Any]]) -> Table:
    found = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("CHANGE", "KIND", "BROKER", "STATE", "PHASE", "ASKED BY", "WHAT IS GOING ON"):
        found.add_column(heading, no_wrap=heading != "WHAT IS GOING ON")
    for each in documents:
        state = each["state"]
        found.add_row(
            "" if each["sequence"] is None else str(each["sequence"]),
            each["kind"],
            ", ".join(map(str, each["brokers"])),
            Text(state, style=COLOURS.get(state, "")),
            each["phase"].replace("_", " "),
            each["asked_by"],
            each["sentence"],
        )
    return found


def plan_lines(plan: dict[str, Any]) -> list[str]:
    """A roll's order, a line each, and how long it may take."""
    why = {turn["broker"]: turn["why"] for turn in plan["turns"]}
    lines = [
        f"{n}. {named(batch)}: {'; '.join(dict.fromkeys(why[broker] for broker in batch))}"
        for n, batch in enumerate(plan["batches"], 1)
    ]
    if plan["seconds"] is not None:
        lines.append(f"about {duration(plan['seconds'])}, as the last restarts took")
    return lines
