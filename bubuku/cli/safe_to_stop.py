"""`bubuku-cli safe-to-stop`: may these brokers be stopped now, all at once? Nothing is stopped by asking.

Caller: click, on the main thread. The data is `/v1/safe-to-stop` of the first daemon that answers (`cli.source`).
Exit codes: 0 yes, 3 no, 1 nobody can tell, 2 there is no such broker.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import click
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from bubuku.cli import output as out
from bubuku.cli import source
from bubuku.cli.status import api_option, listed
from bubuku.core.errors import RefusedError

ANSWER_SECONDS = 35.0  # more than the daemon allows itself


@click.command("safe-to-stop")
@click.option(
    "--broker",
    "brokers",
    type=click.IntRange(0, 2**31 - 1),
    multiple=True,
    required=True,
    metavar="N",
    help="Which one; again for a set that would be down at once.",
)
@click.option("--accept-unavailable", is_flag=True, help="Let partitions become unavailable that cannot be kept so.")
@api_option
@out.output_option
@click.pass_context
def safe_to_stop(
    ctx: click.Context, brokers: tuple[int, ...], accept_unavailable: bool, api: str | None, output: str
) -> None:
    """Whether brokers may be stopped now, or which partitions say no and why.

    Exit codes: 0 yes, 3 no, 1 nobody can tell, 2 there is no such broker.
    """
    query: list[tuple[str, Any]] = [("broker", broker) for broker in brokers]
    if accept_unavailable:
        query.append(("accept_unavailable", "true"))
    path = f"/v1/safe-to-stop?{urlencode(query)}"
    document = source.fetch(source.addresses(api), path, ANSWER_SECONDS)
    out.show(document, output, view)
    if not document["safe"]:
        ctx.exit(RefusedError.exit_code)


def view(document: dict[str, Any]) -> RenderableType:
    """The verdict, then a table of the partitions that say no."""
    lines: list[RenderableType] = [Text(line) for line in summary(document)]
    if document["blocked"]:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for heading in ("TOPIC", "PARTITION", "LEFT IN SYNC", "NEEDED", "WHY"):
            table.add_column(heading, no_wrap=True)
        for row in document["blocked"]:
            why = row["objection"].replace("_", " ")
            table.add_row(row["topic"], str(row["partition"]), listed(row["left"]), str(row["needed"]), why)
        lines += [Text(), table]
        more = document["blocked_total"] - len(document["blocked"])
        if more > 0:
            lines.append(Text(f"and {more} more"))
    return Group(*lines)


def summary(document: dict[str, Any]) -> list[str]:
    if document["safe"]:
        lines = [document["sentence"]]
        if document["accepted_unavailable"]:
            lines.append(f"{counted(document['accepted_unavailable'])} will be unavailable meanwhile, as accepted")
        return lines
    ids = document["brokers"]
    lines = [f"broker{'' if len(ids) == 1 else 's'} {listed(ids)} may not be stopped now"]
    if document["blocked_total"]:
        total = document["blocked_total"]
        lines.append(f"{counted(total)} {'says' if total == 1 else 'say'} no")
    return lines + [document[key] for key in ("quorum", "unknown") if document[key] is not None]


def counted(partitions: int) -> str:
    return f"{partitions} partition{'' if partitions == 1 else 's'}"
