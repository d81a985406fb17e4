"""`bubuku-cli restart`, `stop`, `start` and `changes`: ask for changes, follow them, cancel them.

Caller: click, on the main thread. The data is `/v1/changes` of the first daemon that answers (`cli.source`).
Exit codes: 0 done, 1 failed or cancelled, 2 usage, 3 refused as unsafe, 4 timed out.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from bubuku.cli import acting, source
from bubuku.cli import output as out
from bubuku.cli.change_table import plan_lines, table
from bubuku.cli.status import api_option, listed
from bubuku.core.errors import BubukuError, UsageError

CHANGES = "/v1/changes"
VERBS = {"restart": "Restart", "stop": "Stop", "start": "Start", "roll": "Roll"}


brokers_option = click.option(
    "--broker",
    "brokers",
    type=click.IntRange(0, 2**31 - 1),
    multiple=True,
    metavar="N",
    help="Which one; again for more: they go one after the other.",
)
accept_option = click.option(
    "--accept-unavailable", is_flag=True, help="Let partitions become unavailable that cannot be kept so."
)


def acts(command: Any) -> Any:
    """The options of all commands that ask for a change."""
    for option in (
        out.output_option,
        api_option,
        acting.token_option,
        acting.wait_option,
        acting.yes_option,
        acting.dry_run_option,
        acting.reason_option,
        brokers_option,
    ):
        command = option(command)
    return command


@click.command()
@acts
@accept_option
@click.pass_context
def restart(ctx: click.Context, /, accept_unavailable: bool, **options: Any) -> None:
    """Restart brokers, one after the other.

    Each is stopped only when the guard allows it, started, and waited for until it is back in all its in-sync replica
    sets and has stayed there; then preferred leaders are elected.
    """
    submit(ctx, "restart", accept_unavailable, **options)


@click.command()
@acts
@accept_option
@click.pass_context
def stop(ctx: click.Context, /, accept_unavailable: bool, **options: Any) -> None:
    """Stop brokers when the guard allows it, and keep them stopped, whatever restarts."""
    submit(ctx, "stop", accept_unavailable, **options)


@click.command()
@acts
@click.pass_context
def start(ctx: click.Context, /, **options: Any) -> None:
    """Start brokers that were stopped on purpose."""
    submit(ctx, "start", False, **options)


def submit(
    ctx: click.Context,
    kind: str,
    accept_unavailable: bool,
    *,
    brokers: tuple[int, ...],
    reason: str | None,
    dry_run: bool,
    yes: bool,
    wait: bool,
    token_file: Path | None,
    api: str | None,
    output: str,
    **more: Any,
) -> None:
    """`more`: further fields of the request."""
    urls, token = source.addresses(api), acting.token(token_file)
    ids = list(dict.fromkeys(brokers))
    if not ids:  # the original took this host's
        raise UsageError(f"which broker? name it: bubuku-cli {kind} --broker N")
    if not dry_run:
        acting.sure(f"{VERBS[kind]} broker{'' if len(ids) == 1 else 's'} {listed(ids)}?", yes)
    wanted = {
        "kind": kind,
        "brokers": ids,
        "reason": reason,
        "by": acting.asker(),
        "accept_unavailable": accept_unavailable,
        "dry_run": dry_run,
        **more,
    }
    answer = source.ask(urls, "POST", CHANGES, wanted, token, acting.SUBMIT_SECONDS)
    if answer["plan"] is not None:
        click.echo("\n".join(plan_lines(answer["plan"])), err=True)
    if dry_run:
        for verdict in answer["verdicts"]:
            click.echo(f"now: {verdict['sentence']}", err=True)
        click.echo(acting.DRY_RUN, err=True)
    elif wait:
        answer["changes"] = acting.follow(urls, [each["sequence"] for each in answer["changes"]])
    out.show(answer, output, lambda d: table(d["changes"]))
    if wait and not dry_run:
        ctx.exit(acting.exit_code(answer["changes"]))


def pause(paused: bool, sequence: int, token_file: Path | None, api: str | None, output: str) -> None:
    urls, token = source.addresses(api), acting.token(token_file)
    document = source.ask(urls, "PATCH", f"{CHANGES}/{sequence}", {"paused": paused}, token, acting.WRITE_SECONDS)
    out.show(document, output, lambda d: table([d]))


@click.group()
def changes() -> None:
    """What was asked for, and what became of it."""


@changes.command("list")
@click.option("--ended", type=click.IntRange(0, 500), default=20, show_default=True, help="So many that have ended.")
@api_option
@out.output_option
def list_changes(ended: int, api: str | None, output: str) -> None:
    """The open changes, then the newest of those that have ended."""
    document = source.fetch(source.addresses(api), f"{CHANGES}?ended={ended}", acting.SUBMIT_SECONDS)
    out.show(document, output, lambda d: table(d["changes"]) if d["changes"] else "no changes")


@changes.command("show")
@click.argument("sequence", type=click.IntRange(0))
@click.option("-w", "--watch", is_flag=True, help="Follow it until it has ended.")
@api_option
@out.output_option
@click.pass_context
def show_change(ctx: click.Context, sequence: int, watch: bool, api: str | None, output: str) -> None:
    """One change."""
    urls = source.addresses(api)
    document = source.fetch(urls, f"{CHANGES}/{sequence}", acting.SUBMIT_SECONDS)
    if watch:
        document = acting.follow(urls, [sequence])[0]
    out.show(document, output, lambda d: table([d, *d["children"]]))
    if watch:
        ctx.exit(acting.exit_code([document]))


@changes.command("cancel")
@click.argument("sequence", type=click.IntRange(0))
@acting.dry_run_option
@acting.yes_option
@acting.wait_option
@acting.token_option
@api_option
@out.output_option
@click.pass_context
def cancel_change(
    ctx: click.Context,
    sequence: int,
    dry_run: bool,
    yes: bool,
    wait: bool,
    token_file: Path | None,
    api: str | None,
    output: str,
) -> None:
    """End a change. A broker that it has stopped already is started again first."""
    urls, token = source.addresses(api), acting.token(token_file)
    if not dry_run:
        acting.sure(f"Cancel change {sequence}?", yes)
    document = cancel(urls, sequence, token, dry_run)
    if dry_run:
        click.echo(acting.DRY_RUN, err=True)
    elif wait:
        document = acting.follow(urls, [sequence])[0]
    out.show(document, output, lambda d: table([d]))
    if wait and not dry_run:
        ctx.exit(0 if document["state"] == "cancelled" else BubukuError.exit_code)


def cancel(urls: Sequence[str], sequence: int, token: str | None, dry_run: bool) -> dict[str, Any]:
    query = "?dry_run=true" if dry_run else ""
    return source.ask(urls, "DELETE", f"{CHANGES}/{sequence}{query}", None, token, acting.WRITE_SECONDS)


@changes.command("pause")
@click.argument("sequence", type=click.IntRange(0))
@acting.token_option
@api_option
@out.output_option
def pause_change(**options: Any) -> None:
    """Let a roll end what is at work, and ask for nothing more."""
    pause(True, **options)


@changes.command("resume")
@click.argument("sequence", type=click.IntRange(0))
@acting.token_option
@api_option
@out.output_option
def resume_change(**options: Any) -> None:
    """Let a paused roll go on."""
    pause(False, **options)
