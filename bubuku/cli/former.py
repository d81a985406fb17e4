"""The commands of the original Bubuku: those that go on working, and for the others one line that names the successor.

Caller: click, on the main thread. The table is `core.former`. A command that is gone takes any options, as an old
script gives them, and exits with 2.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import click
from rich.table import Table

from bubuku.cli import acting, source
from bubuku.cli import output as out
from bubuku.cli.change_table import table as table_of
from bubuku.cli.changes import CHANGES, cancel
from bubuku.cli.status import CLUSTER, api_option
from bubuku.core import former
from bubuku.core.errors import UsageError

ANY_OPTIONS = {"ignore_unknown_options": True, "allow_extra_args": True}
broker_option = click.option("--broker", type=click.IntRange(0, 2**31 - 1), help="Of this broker alone.")


def renamed(words: str) -> None:
    click.echo(f"`{words}` is now: {former.command(words).successor}", err=True)


def gone(words: str) -> NoReturn:
    raise UsageError(f"`{words}` is the original bubuku's; its successor: {former.command(words).successor}")


def _is_gone(words: str) -> click.Command:
    @click.command(words.rpartition(" ")[2], context_settings=ANY_OPTIONS, add_help_option=False)
    def command() -> None:
        gone(words)

    command.help = f"Former name; its successor: {former.command(words).successor}."
    return command


rebalance = _is_gone("rebalance")
swap_fat_slim = _is_gone("swap_fat_slim")
migrate = _is_gone("migrate")
preferred_replica_election = _is_gone("preferred-replica-election")


@click.group()
def validate() -> None:
    """Former name: validate replication."""


validate.add_command(_is_gone("validate replication"))


@click.group()
def actions() -> None:
    """Former name of `changes`."""


@actions.command("list")
@broker_option
@api_option
@out.output_option
def list_actions(broker: int | None, api: str | None, output: str) -> None:
    """The open changes."""
    renamed("actions list")
    out.show({"changes": _open(api, broker)}, output, _table)


@actions.command("delete")
@click.option("--action", required=True, help="The kind: restart, stop, start.")
@broker_option
@acting.dry_run_option
@acting.yes_option
@acting.token_option
@api_option
@out.output_option
def delete_actions(
    action: str, broker: int | None, dry_run: bool, yes: bool, token_file: Path | None, api: str | None, output: str
) -> None:
    """Cancel all open changes of a kind."""
    renamed("actions delete")
    urls, token = source.addresses(api), acting.token(token_file)
    found = [each["sequence"] for each in _open(api, broker) if each["kind"] == action]
    if found and not dry_run:
        acting.sure(f"Cancel {len(found)} open change{'' if len(found) == 1 else 's'} of kind {action}?", yes)
    cancelled = [cancel(urls, sequence, token, dry_run) for sequence in found]
    if dry_run:
        click.echo(acting.DRY_RUN, err=True)
    out.show({"changes": cancelled}, output, _table)


def _open(api: str | None, broker: int | None) -> list[dict[str, Any]]:
    document = source.fetch(source.addresses(api), f"{CHANGES}?ended=0", acting.SUBMIT_SECONDS)
    return [each for each in document["changes"] if broker is None or each["broker"] == broker]


def _table(document: dict[str, Any]) -> Table | str:
    return table_of(document["changes"]) if document["changes"] else "no changes"


@click.command()
@api_option
@out.output_option
def stats(api: str | None, output: str) -> None:
    """The disks of each broker, as the original showed them."""
    renamed("stats")
    rows = [
        {
            "broker": row["node_id"],
            "host": row["host"],
            "free_kb": _free_kb(row),
            "used_kb": _kb(row["disk_used_bytes"]),
        }
        for row in source.fetch(source.addresses(api), CLUSTER)["brokers"]
        if "broker" in row["roles"]
    ]
    out.show({"brokers": rows}, output, _disks)


def _free_kb(row: dict[str, Any]) -> int | None:
    used, total = row["disk_used_bytes"], row["disk_total_bytes"]
    return None if used is None or total is None else _kb(total - used)


def _kb(count: int | None) -> int | None:
    return None if count is None else count // 1024


def _disks(document: dict[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("Address", "Broker Id", "Free kb", "Used kb"):
        table.add_column(heading, no_wrap=True)
    for row in document["brokers"]:
        table.add_row(row["host"], str(row["broker"]), str(row["free_kb"]), str(row["used_kb"]))
    return table
