"""Copies what `make bench` measured into README.md: `python -m docs.measured out/bench-*.json`.

Caller: a person, after `make bench`. Of several files the last one that has a figure counts. Nothing is computed here.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from benchmarks.report import Row, table
from docs.generate import ROOT

BEGIN, END = "<!-- from `make bench`: -->", "<!-- : as far as here -->"


def rows(files: list[Path]) -> list[Row]:
    """The newest of each figure, in the order of their groups."""
    found: dict[tuple[str, str], Row] = {}
    for file in files:
        document = json.loads(file.read_text(encoding="utf-8"))
        for each in document["rows"]:
            each.pop("verdict")
            found[each["group"], each["what"]] = Row(**each)
    groups = list(dict.fromkeys(group for group, _ in found))
    return sorted(found.values(), key=lambda row: groups.index(row.group))


def main() -> int:
    files = sorted(Path(name) for name in sys.argv[1:])
    if not files:
        print("usage: python -m docs.measured out/bench-*.json", file=sys.stderr)
        return 2
    readme = ROOT / "README.md"
    head, _, rest = readme.read_text(encoding="utf-8").partition(BEGIN)
    _, _, tail = rest.partition(END)
    readme.write_text(f"{head}{BEGIN}\n{table(rows(files))}\n{END}{tail}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
