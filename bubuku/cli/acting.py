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

from bubuku.cli import output as out
from bubuku.cli import source
from bubuku.cli.change_table import line
from bubuku.cli.progress import Display
from bubuku.core.errors import BubukuError, TimedOutError, UnavailableError, UsageError

TOKEN_VARIABLE = "BUBUKU_TOKEN_FILE"
SUBMIT_SECONDS = 45.0  # the guard asks the cluster first: more than the daemon allows itself
POLL_SECONDS = 0.5
REFRESHES_A_SECOND = 2
SILENCE_SECONDS = 120.0  # for so long no daemon at all may answer while an end is waited for
WRITE_SECONDS = 20.0
DRY_RUN = "dry run: nothing was asked for"
GOES_ON = "what was asked for goes on: bubuku-cli changes list"

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
        found = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise UsageError(f"--token-file: {file}: {reason}") from None
    if not (found and found.isascii() and found.isprintable()):
        raise UsageError(f"--token-file: {file} is not a token: one line of ASCII characters")
    return found


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


def wait(
    urls: Sequence[str],
    sequences: Sequence[int],
    show: Callable[[dict[str, Any]], None],
    say: Callable[[str], None],
) -> list[dict[str, Any]]:
    """Follow the changes until all have ended. Daemons may come and go meanwhile.

    `show` gets each state that is new, also of what they have asked for; `say` a line when nobody answers, once, until
    somebody does. Raises TimedOutError where none of them answers for long.
    """
    ended: dict[int, dict[str, Any]] = {}
    seen: dict[int, tuple[Any, ...]] = {}
    heard, silent = time.monotonic(), False
    for _ in out.ticks(POLL_SECONDS):
        for sequence in (s for s in sequences if s not in ended):
            try:
                document = source.fetch(urls, f"/v1/changes/{sequence}")
            except (UnavailableError, TimedOutError) as error:
                if time.monotonic() - heard > SILENCE_SECONDS:
                    raise TimedOutError(f"{error}; {GOES_ON}") from error
                if not silent:
                    say(f"{error}; still waiting")
                    silent = True
                break  # the others would not be answered either
            heard, silent = time.monotonic(), False
            for each in (document, *document["children"]):
                key = (each["state"], each["phase"], each["sentence"])
                if seen.get(each["sequence"]) != key:
                    seen[each["sequence"]] = key
                    show(each)
            if document["state"] not in ("queued", "running"):
                ended[sequence] = document
        if len(ended) == len(sequences):
            break
    return [ended[sequence] for sequence in sequences]


def follow(urls: Sequence[str], sequences: Sequence[int]) -> list[dict[str, Any]]:
    """`wait` with a display: live bars and a table on a terminal, else a line for each step, on stderr.

    Ctrl-C ends the waiting, not the changes.
    """
    try:
        return _followed(urls, sequences)
    except KeyboardInterrupt:
        click.echo(f"not waited for any longer; {GOES_ON}", err=True)
        raise click.exceptions.Exit(BubukuError.exit_code) from None


def _followed(urls: Sequence[str], sequences: Sequence[int]) -> list[dict[str, Any]]:
    if not sys.stderr.isatty():
        return wait(
            urls,
            sequences,
            lambda document: click.echo(line(document), err=True),
            lambda text: click.echo(text, err=True),
        )
    display = Display(list(sequences))
    with Live(console=out.console(width=None, stderr=True), refresh_per_second=REFRESHES_A_SECOND) as live:
        return wait(urls, sequences, lambda document: live.update(display.show(document)), live.console.print)


def exit_code(documents: Sequence[dict[str, Any]]) -> int:
    """0 where all are done."""
    return 0 if all(each["state"] == "done" for each in documents) else BubukuError.exit_code
