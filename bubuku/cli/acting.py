"""What all commands that change something share: who asks, the token, the question, and waiting for the end.

Callers: commands, on the main thread.
"""

from __future__ import annotations

import getpass
import os
import socket
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
from rich.live import Live
from rich.table import Table

from bubuku.cli import output as out
from bubuku.cli import source
from bubuku.core.errors import BubukuError, TimedOutError, UnavailableError, UsageError

TOKEN_VARIABLE = "BUBUKU_TOKEN_FILE"
SUBMIT_SECONDS = 35.0  # the guard asks the cluster first
POLL_SECONDS = 0.5
SILENCE_SECONDS = 120.0  # for so long no daemon at all may answer while an end is waited for
COLOURS = {"done": "green", "failed": "red", "cancelled": "yellow", "running": "cyan", "queued": "default"}

token_option = click.option(
    "--token-file",
    envvar=TOKEN_VARIABLE,
    type=click.Path(path_type=Path),
    help="File with the API's token; needed from another host. Default: $BUBUKU_TOKEN_FILE.",
)
yes_option = click.option("-y", "--yes", is_flag=True, help="Do not ask first.")
dry_run_option = click.option(
    "--dry-run", is_flag=True, help="Say what would be done, by the same code, and do nothing."
)
reason_option = click.option("--reason", metavar="TEXT", help="Why; it is shown and kept with the change.")
wait_option = click.option("--wait/--no-wait", default=True, show_default=True, help="Until it has ended, or just ask.")


def token(file: Path | None) -> str | None:
    """Raises UsageError where the file cannot be read."""
    if file is None:
        return None
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise UsageError(f"--token-file: {file}: {reason}") from None


def asker() -> str:
    """user@host, for those who read the change."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def sure(question: str, yes: bool) -> None:
    """Ask on a terminal; a script is taken at its word."""
    if not yes and sys.stdin.isatty():
        click.confirm(question, abort=True, err=True)


def wait(urls: Sequence[str], sequences: Sequence[int], show: Callable[[dict[str, Any]], None]) -> list[dict[str, Any]]:
    """Follow the changes until all have ended; `show` gets each state that is new. Daemons may come and go meanwhile.

    Raises TimedOutError where none of them answers for long. Ctrl-C ends the waiting, not the changes.
    """
    ended: dict[int, dict[str, Any]] = {}
    seen: dict[int, tuple[Any, ...]] = {}
    heard = time.monotonic()
    for _ in out.ticks(POLL_SECONDS):
        for sequence in (s for s in sequences if s not in ended):
            try:
                document = source.fetch(urls, f"/v1/changes/{sequence}")
            except (UnavailableError, TimedOutError) as error:
                if time.monotonic() - heard > SILENCE_SECONDS:
                    raise TimedOutError(f"{error}; the changes go on: bubuku-cli changes list") from error
                continue
            heard = time.monotonic()
            key = (document["state"], document["phase"], document["sentence"])
            if seen.get(sequence) != key:
                seen[sequence] = key
                show(document)
            if document["state"] not in ("queued", "running"):
                ended[sequence] = document
        if len(ended) == len(sequences):
            break
    return [ended[sequence] for sequence in sequences]


def follow(urls: Sequence[str], sequences: Sequence[int]) -> list[dict[str, Any]]:
    """`wait` with a display: a live table on a terminal, else a line for each step, on stderr."""
    if not sys.stderr.isatty():
        return wait(urls, sequences, lambda document: click.echo(line(document), err=True))
    latest: dict[int, dict[str, Any]] = {}
    with Live(console=out.console(width=None, stderr=True), auto_refresh=False) as live:

        def show(document: dict[str, Any]) -> None:
            latest[document["sequence"]] = document
            live.update(table(list(latest.values())), refresh=True)

        return wait(urls, sequences, show)


def line(document: dict[str, Any]) -> str:
    number = "" if document["sequence"] is None else f" {document['sequence']}"
    what = f"{document['kind']} of broker {document['broker']}"
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
            str(each["broker"]),
            f"[{COLOURS.get(state, 'default')}]{state}[/]",
            each["phase"].replace("_", " "),
            each["asked_by"],
            each["sentence"],
        )
    return found


def exit_code(documents: Sequence[dict[str, Any]]) -> int:
    """0 where all are done."""
    return 0 if all(each["state"] == "done" for each in documents) else BubukuError.exit_code
