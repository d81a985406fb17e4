"""`bubuku-cli config`: check a configuration, and show what it comes to. No daemon and no network is needed."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import click
import yaml

from bubuku.config import check, check_addresses, load
from bubuku.core.errors import UsageError

_MASK = "********"
_SECRETIVE = re.compile("PASSWORD|SECRET|TOKEN|CREDENTIAL", re.IGNORECASE)
_FILE = click.argument("file", required=False, type=click.Path(path_type=Path))


@click.group()
def config() -> None:
    """Check and show the daemon's configuration. FILE defaults to $BUBUKU_CONFIG."""


@config.command("check")
@_FILE
def check_command(file: Path | None) -> None:
    """Check FILE, the environment over it, and what they name on this host: exit 0, or 2 with one line a problem."""
    try:
        loaded = load(file, os.environ)
        problems = [*check(loaded), *check_addresses(loaded)]
    except UsageError as error:
        loaded, problems = None, str(error).splitlines()
    for warning in loaded.warnings if loaded is not None else ():
        click.echo(f"warning: {warning}", err=True)
    for problem in problems:
        click.echo(problem, err=True)
    if problems:
        raise SystemExit(UsageError.exit_code)
    click.echo("OK")


@config.command("show")
@_FILE
@click.option("-o", "--output", type=click.Choice(["yaml", "json"]), default="yaml", show_default=True)
def show_command(file: Path | None, output: str) -> None:
    """Show the effective configuration, defaults and environment included. Passwords are masked."""
    try:
        loaded = load(file, os.environ)
    except UsageError as error:
        for problem in str(error).splitlines():
            click.echo(problem, err=True)
        raise SystemExit(UsageError.exit_code) from None
    data = loaded.model_dump(mode="json")
    if loaded.kafka.client.password is not None:
        data["kafka"]["client"]["password"] = _MASK
    if loaded.zookeeper.auth is not None and loaded.zookeeper.auth.password is not None:
        data["zookeeper"]["auth"]["password"] = _MASK
    environment = data["kafka"]["environment"]
    # the name tells, or the value: KAFKA_OPTS with -Djavax.net.ssl.keyStorePassword=…
    data["kafka"]["environment"] = {k: _MASK if _SECRETIVE.search(f"{k}={v}") else v for k, v in environment.items()}
    if output == "json":
        click.echo(json.dumps(data, indent=2))
    else:
        click.echo(yaml.safe_dump(data, sort_keys=False).rstrip())
