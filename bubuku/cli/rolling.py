"""`bubuku-cli rolling-restart`: all brokers, or some, one after the other, as one change. Caller: click, main thread.

Exit codes as of `cli.changes`.
"""

from __future__ import annotations

from typing import Any

import click

from bubuku.cli import source
from bubuku.cli.changes import accept_option, acts, submit
from bubuku.cli.status import CLUSTER
from bubuku.core.errors import UsageError
from bubuku.core.reasons import Reason


@click.command(context_settings={"ignore_unknown_options": True})
@acts
@accept_option
@click.option("--brokers", "list_of_brokers", metavar="N,N…", help="These, as --broker for each.")
@click.option("--rack", help="Those of this rack.")
@click.option("--pending", is_flag=True, help="Those whose Kafka differs from what a start would make now.")
@click.option(
    "--parallel",
    default="1",
    show_default=True,
    metavar="N|auto",
    help="So many at once, where the guard allows it; auto: as many as it does.",
)
@click.option(
    "--cool-down", type=click.FloatRange(0, 86_400), default=0, metavar="SECONDS", help="To wait between two brokers."
)
@click.argument("former_options", nargs=-1, type=click.UNPROCESSED, metavar="")
@click.pass_context
def rolling_restart(
    ctx: click.Context,
    /,
    former_options: tuple[str, ...],
    list_of_brokers: str | None,
    rack: str | None,
    pending: bool,
    parallel: str,
    cool_down: float,
    accept_unavailable: bool,
    **options: Any,
) -> None:
    """Restart all brokers, or those that are named, one after the other, as one change.

    Who does not serve goes first, then rack by rack, the active controller last. Any daemon carries it on. It waits,
    with the reason, where something else is wrong, and goes no further where a broker does not come back.
    """
    if former_options:
        name = former_options[0].partition("=")[0][:100]
        raise UsageError(f"{name}: there is no such option; a rolling restart changes no image, instance or key")
    named = (*options["brokers"], *_ids(list_of_brokers))
    if named and (rack is not None or pending):
        raise UsageError("give brokers, or --rack or --pending")
    if not named:
        named = _chosen(options["api"], rack, pending)
    if not named and pending:
        click.echo("no restart is pending: each Kafka runs as a start would make it now", err=True)
        return
    if not named:
        raise UsageError(f"no broker is in rack {rack!r}; see: bubuku-cli status")
    options |= {"brokers": named, "parallel": _parallel(parallel), "cool_down_seconds": cool_down}
    submit(ctx, "roll", accept_unavailable, **options)


def _chosen(api: str | None, rack: str | None, pending: bool) -> tuple[int, ...]:
    """Those that are stopped on purpose stay so, and are left out."""
    rows = [row for row in source.fetch(source.addresses(api), CLUSTER)["brokers"] if "broker" in row["roles"]]
    rows = [row for row in rows if row["reason"] != Reason.STOPPED_ON_PURPOSE]
    return tuple(
        row["node_id"] for row in rows if rack in (None, row["rack"]) and (row["restart_pending"] or not pending)
    )


def _parallel(text: str) -> int:
    """
    >>> _parallel("auto"), _parallel("2")
    (0, 2)
    """
    if text != "auto" and not (text.isascii() and text.isdecimal() and 0 < int(text) < 1000):
        raise UsageError(f"--parallel: {text[:100]!r} is neither a number of brokers nor auto")
    return 0 if text == "auto" else int(text)


def _ids(text: str | None) -> list[int]:
    """
    >>> _ids("1, 2,5")
    [1, 2, 5]
    """
    parts = [part.strip() for part in (text or "").split(",") if part.strip()]
    for part in parts:
        if not (part.isascii() and part.isdecimal() and int(part) < 2**31):
            raise UsageError(f"--brokers: {part[:100]!r} is not a broker's id; give them like 1,2,5")
    return [int(part) for part in parts]
