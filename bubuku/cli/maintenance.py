"""`bubuku-cli maintenance` and `bubuku-cli permit`: hands off, and which brokers may be down now.

Caller: click, on the main thread. The data is `/v1/maintenance` and `/v1/permit`.
"""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from bubuku.cli import acting, source
from bubuku.cli import output as out
from bubuku.cli.status import api_option, maintenance_line

MAINTENANCE, PERMIT = "/v1/maintenance", "/v1/permit"
UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class Duration(click.ParamType[float]):
    """90s, 30m, 2h, 1d → seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", str(value))
        if found is None or float(found[1]) <= 0:
            self.fail(f"{value!r} is not a duration like 90s, 30m, 2h or 1d", param, ctx)
        return float(found[1]) * UNITS[found[2]]


@click.group()
def maintenance() -> None:
    """Hands off: while it is on, daemons watch and report, and start, stop and move nothing."""


@maintenance.command("on")
@acting.reason_option
@click.option(
    "--for", "seconds", type=Duration(), metavar="DURATION", help="Until it ends by itself: 90s, 30m, 2h, 1d."
)
@acting.dry_run_option
@acting.yes_option
@acting.token_option
@api_option
def switch_on(
    reason: str | None, seconds: float | None, dry_run: bool, yes: bool, token_file: Path | None, api: str | None
) -> None:
    """Switch it on. A broker that we have stopped already is started again all the same."""
    wanted = {"on": True, "by": acting.asker(), "reason": reason, "for_seconds": seconds, "dry_run": dry_run}
    switch(wanted, "Switch maintenance on: no broker that dies is started again?", yes, token_file, api)
    lasting = "" if seconds is None else f" for {out.duration(seconds)}"
    click.echo(acting.DRY_RUN if dry_run else f"maintenance is on{lasting}", err=True)


@maintenance.command("off")
@acting.dry_run_option
@acting.yes_option
@acting.token_option
@api_option
def switch_off(dry_run: bool, yes: bool, token_file: Path | None, api: str | None) -> None:
    """Switch it off. Brokers that died meanwhile are started, and changes that waited go on."""
    wanted = {"on": False, "by": acting.asker(), "dry_run": dry_run}
    switch(wanted, "Switch maintenance off: brokers are started, and changes go on?", yes, token_file, api)
    click.echo(acting.DRY_RUN if dry_run else "maintenance is off", err=True)


def switch(wanted: dict[str, Any], question: str, yes: bool, token_file: Path | None, api: str | None) -> None:
    urls, token = source.addresses(api), acting.token(token_file)
    if not wanted["dry_run"]:
        acting.sure(question, yes)
    source.ask(urls, "POST", MAINTENANCE, wanted, token, acting.WRITE_SECONDS)


@maintenance.command("show")
@api_option
@out.output_option
def show_maintenance(api: str | None, output: str) -> None:
    """Whether it is on, since when and why."""
    out.show(source.fetch(source.addresses(api), MAINTENANCE), output, maintenance_line)


@click.group()
def permit() -> None:
    """The one permit: which brokers are down on purpose, or may go down at any instant."""


@permit.command("show")
@api_option
@out.output_option
def show_permit(api: str | None, output: str) -> None:
    """Who is in it, since when, and for what."""
    out.show(source.fetch(source.addresses(api), PERMIT), output, permit_view)


def permit_view(document: dict[str, Any]) -> Table | str:
    if not document["entries"]:
        return "nobody is in the permit"
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("BROKER", "HOST", "SINCE", "IN WORK", "WHY"):
        table.add_column(heading, no_wrap=True)
    for each in document["entries"]:
        since = f"{out.duration(time.time() - each['since_epoch'])} ago"
        table.add_row(str(each["broker"]), each["host"], since, "yes" if each["working"] else "no", each["why"])
    return table


@permit.command("release")
@click.option("--broker", "node", type=click.IntRange(0, 2**31 - 1), required=True, metavar="N", help="Whose entry.")
@acting.dry_run_option
@acting.yes_option
@acting.token_option
@api_option
def release(node: int, dry_run: bool, yes: bool, token_file: Path | None, api: str | None) -> None:
    """Take a broker's entry out, whose host is lost for good. Its own daemon does so by itself otherwise."""
    urls, token = source.addresses(api), acting.token(token_file)
    if not dry_run:
        acting.sure(f"Is broker {node} surely not being stopped any more, by anybody?", yes)
    query = "?dry_run=true" if dry_run else ""
    source.ask(urls, "DELETE", f"{PERMIT}/{node}{query}", None, token, acting.WRITE_SECONDS)
    click.echo(acting.DRY_RUN if dry_run else f"broker {node} is not in the permit any more", err=True)
