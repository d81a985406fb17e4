"""The live display of changes that are followed on a terminal: a bar for each asked-for change, a row for each at work.

Caller: `cli.acting`, main thread. A bar is drawn from documents alone, so it is right again after reconnecting.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from bubuku.cli.change_table import table

# How far a broker's own change is by its phase, of 1: how long each took in the restarts that were measured, roughly.
PHASES: dict[str, float] = {
    "queued": 0.0,
    "waiting": 0.0,
    "refused": 0.0,
    "checking": 0.02,
    "stopping": 0.05,
    "stopped": 0.2,
    "starting": 0.2,
    "catching_up": 0.55,
    "settling": 0.6,
}


class Display:
    """What is known of the changes that were asked for, by their numbers."""

    def __init__(self, sequences: list[int]) -> None:
        self._bars = Progress(
            TextColumn("change {task.fields[number]}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %  {task.fields[phase]}"),
            TimeElapsedColumn(),
            auto_refresh=False,
        )
        self._tasks: dict[int, TaskID] = {
            sequence: self._bars.add_task("", total=1.0, number=sequence, phase="") for sequence in sequences
        }
        self._documents: dict[int, dict[str, Any]] = {}

    def show(self, document: dict[str, Any]) -> RenderableType:
        """All of it, with this change, or this child of one, as it is now."""
        self._documents[document["sequence"]] = document
        for sequence, task in self._tasks.items():
            found = self._documents.get(sequence)
            if found is not None:
                children = [each for each in self._documents.values() if each["parent"] == found["uuid"]]
                phase = found["phase"].replace("_", " ")
                self._bars.update(task, completed=done_of(found, children), phase=phase)
        return Group(table([self._documents[each] for each in sorted(self._documents)]), self._bars)


def done_of(document: dict[str, Any], children: Sequence[dict[str, Any]] = ()) -> float:
    """How much of a change is done, of 1.

    >>> done_of({"state": "running", "phase": "settling"})
    0.6
    >>> children = [{"state": "done"}, {"state": "running", "phase": "stopping"}]
    >>> done_of({"state": "running", "phase": "working", "brokers": [1, 2]}, children)
    0.525
    """
    if document["state"] not in ("queued", "running"):
        return 1.0
    if children:
        return sum(done_of(child) for child in children) / len(document["brokers"])
    return PHASES.get(document["phase"], 0.0)
