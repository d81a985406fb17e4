"""Writes docs/permit-model.md: what goes wrong without each rule and mechanism of the permit, as the model finds it.

Callers: `make docs`, and a test that fails where the page is out of date. Apart from `docs.generate`, because it
searches for some seconds.
"""

from __future__ import annotations

from pathlib import Path

from tests.model.cases import MECHANISMS, ROWS, Case, found

PAGE = Path(__file__).with_name("permit-model.md")
HEAD = """# Why each rule of the permit is there

<!-- Made by `make docs`. Change the code, not this page. -->

The order in which a broker is stopped is a table of rules (`bubuku/core/permit.py`). `tests/model` runs these very
rules on one to three hosts, through every order in which their steps, ZooKeeper's, and faults can come: daemons that
die or freeze, lost connections and what they carried, brokers that die or hang, hosts that are replaced, a ZooKeeper
that is wiped, operators that cancel, switch maintenance or release an entry. With all of them nothing bad can happen,
and from wherever it gets to, all can end well. With one left out, it goes wrong like this: the shortest way there, a
line a step, hosts numbered from 0.
"""


def page() -> str:
    parts = [HEAD, "## Mechanisms\n"]
    parts += [section(case, case.name) for case in MECHANISMS]
    parts.append("## Rules, in the order of the table\n")
    parts += [section(case, f"{number}. {case.name}") for number, case in enumerate(ROWS, start=1)]
    return "\n".join(parts)


def section(case: Case, title: str) -> str:
    result = found(case)
    assert result.violation is not None, f"{case.name}: nothing goes wrong without it"
    ends = f"→ {result.violation}"
    return "\n".join([f"### {title}\n", case.why + "\n", "```text", *result.trace, ends, "```\n"])


def main() -> None:
    text = page()
    if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text:
        PAGE.write_text(text, encoding="utf-8")
        print(f"wrote docs/{PAGE.name}")


if __name__ == "__main__":
    main()
