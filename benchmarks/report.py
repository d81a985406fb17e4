"""The table that `make bench` prints, and the JSON that it leaves. Pure, but for `save`."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

OUT = Path("out")


@dataclass(frozen=True, slots=True)
class Row:
    """One measured figure. `reached` None: it has no target of its own and is printed for comparison.

    `samples` are the single rounds behind `measured`, in the unit of the figure.
    """

    group: str
    what: str
    target: str
    measured: str
    reached: bool | None
    beside: str = ""  # the same without bubuku
    samples: dict[str, Any] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        return {True: "reached", False: "MISSED", None: "–"}[self.reached]


def table(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table, columns aligned."""
    lines = [["what", "to reach", "measured", "verdict", "without bubuku"]]
    lines += [[f"{r.group}: {r.what}", r.target, r.measured, r.verdict, r.beside] for r in rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join("| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |" for line in lines)


def save(rows: Sequence[Row], settings: dict[str, Any], folder: Path = OUT) -> Path:
    """Write all figures, with what they were measured on, to `folder`/bench-<time>.json."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"bench-{time.strftime('%Y%m%d-%H%M%S')}.json"
    document = {
        "machine": {"cores": os.cpu_count(), "platform": platform.platform(), "python": platform.python_version()},
        "settings": settings,
        "rows": [asdict(row) | {"verdict": row.verdict} for row in rows],
    }
    path.write_text(json.dumps(document, indent=1, default=str) + "\n", encoding="utf-8")
    return path


def seconds(value: float | None) -> str:
    """A duration for people."""
    if value is None:
        return "–"
    if value < 0.1:
        return f"{value * 1000:.1f} ms"
    return f"{value:.2f} s" if value < 10 else f"{value:.1f} s"
