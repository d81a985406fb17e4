"""How commands show data: a table for people, JSON or YAML for programs; once, or again whenever it changes.

Callers: commands, on the main thread. Data goes to stdout alone. Piped, a table is plain text that nothing cuts off.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import click
import yaml
from rich.console import Console, RenderableType
from rich.live import Live

from bubuku.core.errors import TimedOutError, UnavailableError

FORMATS = ("table", "json", "yaml")
WIDE = 10_000  # columns: rich cuts what is wider, a terminal wraps it
WATCH_SECONDS = 1.0

output_option = click.option(
    "-o", "--output", type=click.Choice(FORMATS), default="table", show_default=True, help="How to show it."
)


def console(width: int | None = WIDE, stderr: bool = False) -> Console:
    """stdout (or stderr), without colours where it is no terminal. Nothing is cut, unless `width` is None: the
    terminal's own. Texts are shown as they are: what operators and daemons write is no markup."""
    terminal = (sys.stderr if stderr else sys.stdout).isatty()
    return Console(
        width=width, highlight=False, markup=False, emoji=False, no_color=None if terminal else True, stderr=stderr
    )


def dump(document: Any, output: str) -> str:
    """`document` as JSON or YAML, with a line's end."""
    if output == "json":
        return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, default_flow_style=False)


def show(document: Any, output: str, table: Callable[[Any], RenderableType]) -> None:
    if output == "table":
        print_plain(table(document))
    else:
        click.echo(dump(document, output), nl=False)


def print_plain(renderable: RenderableType) -> None:
    """Rich pads every line of a table to its width; a pipe gets lines without that."""
    to = console()
    if to.is_terminal:
        to.print(renderable)
        return
    with to.capture() as captured:
        to.print(renderable)
    click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))


def ticks(seconds: float = WATCH_SECONDS) -> Iterator[None]:
    """One at once, then one every so many seconds, until the user ends it."""
    while True:
        yield None
        time.sleep(seconds)


def watch(
    fetch: Callable[[], Any],
    output: str,
    table: Callable[[Any], RenderableType],
    volatile: frozenset[str],
    each: Iterable[None],
) -> None:
    """Fetch and show at every tick of `each`: redrawn on a terminal, else printed when more than `volatile` changed.

    The first fetch must succeed; later an error is said on stderr, once, until it is over. Ctrl-C ends it.
    """
    live = Live(console=console(width=None), auto_refresh=False) if output == "table" and sys.stdout.isatty() else None
    shown: Any = None
    trouble = ""
    try:
        if live is not None:
            live.start()
        for _ in each:
            try:
                document = fetch()
            except (UnavailableError, TimedOutError) as error:
                if shown is None:
                    raise
                if str(error) != trouble:
                    trouble = str(error)
                    click.echo(trouble, err=True)
                continue
            trouble = ""
            if live is not None:
                live.update(table(document), refresh=True)
            elif lasting(document, volatile) != shown:
                show_next(document, output, table, first=shown is None)
            shown = lasting(document, volatile)
    except KeyboardInterrupt:
        return
    finally:
        if live is not None:
            live.stop()


def show_next(document: Any, output: str, table: Callable[[Any], RenderableType], first: bool) -> None:
    """One more of a series: JSON a line each, YAML documents, tables with an empty line between."""
    if output == "json":
        click.echo(json.dumps(document, ensure_ascii=False))
        return
    if not first:
        click.echo("---" if output == "yaml" else "")
    show(document, output, table)
    sys.stdout.flush()


def lasting(document: Any, volatile: frozenset[str]) -> Any:
    """`document` without the fields that change with every look."""
    if isinstance(document, dict):
        return {k: lasting(v, volatile) for k, v in document.items() if k not in volatile}
    if isinstance(document, list):
        return [lasting(v, volatile) for v in document]
    return document


def duration(seconds: float) -> str:
    """Two units at most: "42s", "3m 5s", "2h 10m", "4d 3h". Never negative: clocks of hosts differ."""
    left = max(0, int(seconds))
    parts: list[tuple[int, str]] = []
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count or parts or unit == "s":
            parts.append((count, unit))
    return " ".join(f"{count}{unit}" for count, unit in parts[:2] if count or len(parts) == 1)
