"""`bubuku-cli sandbox`: a real cluster on this machine, each broker under its own daemon.

Caller: `bubuku.cli.main`, on the main thread. Progress goes to stderr, data to stdout.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.console import RenderableType
from rich.table import Table

from bubuku.cli.output import output_option, show
from bubuku.core.errors import UsageError
from bubuku.core.model import Mode
from bubuku.sandbox import control, layout, runtimes
from bubuku.sandbox.layout import Layout
from bubuku.sandbox.status import SandboxStatus, describe


def _folder(_context: click.Context, _parameter: click.Parameter, value: Path | None) -> Path:
    return (value or layout.default_folder()).expanduser().absolute()


def _racks(_context: click.Context, _parameter: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    return None if value is None else tuple(part.strip() for part in value.split(","))


dir_option = click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    callback=_folder,
    help="Where the sandbox lives.  [default: ~/.local/state/bubuku-sandbox]",
)


@click.group()
def sandbox() -> None:
    """ZooKeeper and real Kafka brokers on loopback, each broker under its own bubuku daemon."""


@sandbox.command()
@click.option("--brokers", type=click.IntRange(1, layout.MAXIMUM_BROKERS), help="How many brokers.  [default: 3]")
@click.option(
    "--mode", type=click.Choice([mode.value for mode in Mode]), help="Who keeps Kafka's metadata.  [default: zookeeper]"
)
@click.option(
    "--kafka-version",
    help=f"[default: {runtimes.DEFAULT_ZOOKEEPER_MODE}, in KRaft {runtimes.DEFAULT_KRAFT}]",
)
@click.option(
    "--racks", callback=_racks, help="Names, separated by commas, that go round the brokers.  [default: a,b,c]"
)
@click.option("--combined", is_flag=True, default=None, help="KRaft: every node is broker and controller.")
@click.option(
    "--jolokia/--no-jolokia", default=None, help="Whether brokers carry the Jolokia agent.  [default: they do]"
)
@click.option(
    "--base-port", type=click.IntRange(1024, 65000), help="ZooKeeper's port; broker 1's is 10 higher, and so on."
)
@click.option("--fresh", is_flag=True, help="Delete the data of a stopped sandbox first.")
@click.option(
    "--wait", type=click.FloatRange(min=1), default=180.0, show_default=True, help="Seconds for all to serve."
)
@dir_option
def up(folder: Path, base_port: int | None, fresh: bool, wait: float, **options: Any) -> None:
    """Start it, and return when every broker serves. It goes on running.

    Where it runs already, that is said, and what ended of it is started again; where it was stopped, it is started
    again with its data.
    """
    chosen = {name: value for name, value in options.items() if value is not None}
    if "mode" in chosen:
        chosen["mode"] = Mode(chosen["mode"])
    made, already = control.up(folder, chosen, base_port, fresh, wait, _tell)
    if already:
        _tell(f"this sandbox runs already, in {folder}")
    document = describe(made)
    show(document, "table", table)
    click.echo("\n" + what_to_try(document))


@sandbox.command()
@click.option("--delete", "remove_data", is_flag=True, help="Delete its data too.")
@dir_option
def down(folder: Path, remove_data: bool) -> None:
    """Stop it: daemons, brokers, controllers, ZooKeeper. Its data stays for the next `up`."""
    if control.down(folder, remove_data, _tell):
        _tell(f"the sandbox in {folder} is down")
    else:
        _tell(f"no sandbox runs in {folder}")


@sandbox.command()
@output_option
@dir_option
def status(folder: Path, output: str) -> None:
    """What runs, where it listens, what it logs to."""
    show(describe(_existing(folder)), output, table)


@sandbox.command()
@click.argument("node", metavar="N|zookeeper|keeper")
@click.option("-f", "--follow", is_flag=True, help="Go on with what is written from now on.")
@click.option(
    "-n", "--lines", type=click.IntRange(0), default=50, show_default=True, help="How many of the last lines."
)
@click.option("--daemon", "which", flag_value="daemon", help="Only its daemon's log.")
@click.option("--kafka", "which", flag_value="kafka", help="Only Kafka's own log.")
@dir_option
def logs(folder: Path, node: str, follow: bool, lines: int, which: str | None) -> None:
    """The last lines of node N's logs: Kafka's own and its daemon's."""
    files = [path for path in _log_files(_existing(folder), node, which) if path.exists()]
    if not files:
        raise UsageError(f"{node} has written no log yet")
    command = ["tail", "-n", str(lines), *(["-F"] if follow else []), *map(str, files)]
    os.execvp(command[0], command)


def table(document: SandboxStatus) -> RenderableType:
    made = Table(box=None, header_style="bold", pad_edge=False)
    columns: dict[str, Callable[[Any], object]] = {
        "NODE": lambda n: n["node_id"],
        "ROLES": lambda n: ",".join(n["roles"]),
        "RACK": lambda n: n["rack"] or "-",
        "STATE": lambda n: n["state"],
        "LISTENER": lambda n: n["listener"],
        "API": lambda n: n["api_url"],
        "KAFKA PID": lambda n: n["kafka_pid"] or "-",
        "DAEMON PID": lambda n: n["daemon_pid"] or "-",
        "DAEMON RESTARTS": lambda n: n["daemon_restarts"],
    }
    for column in columns:
        made.add_column(column, overflow="fold")
    for node in [*document["brokers"], *document["controllers"]]:
        made.add_row(*(str(cell(node)) for cell in columns.values()))
    zookeeper = document["zookeeper"]
    pid = "not running" if zookeeper["pid"] is None else f"pid {zookeeper['pid']}"
    made.title = (
        f"Kafka {document['kafka_version']}, {document['mode']} mode, in {document['dir']}\n"
        f"ZooKeeper {zookeeper['address']} ({pid}); keeper "
        + ("not running" if document["keeper_pid"] is None else f"pid {document['keeper_pid']}")
    )
    made.title_justify, made.title_style = "left", ""
    return made


def what_to_try(document: SandboxStatus) -> str:
    """The next steps, with this sandbox's own numbers."""
    program = "bubuku-cli" if shutil.which("bubuku-cli") else _beside_python()
    where = "" if document["dir"] == str(layout.default_folder()) else f" --dir {document['dir']}"
    first = document["brokers"][0]
    commands = [
        (f"{program} status -w --api {first['api_url']}", "every broker of the cluster, live"),
        (f"kill -9 {first['kafka_pid']}", "end broker 1's Kafka, and see it come back"),
        (f"kill -9 {first['daemon_pid']}", "end its daemon: Kafka runs on, and the next daemon takes it over"),
        (f"curl -s {first['api_url']}/v1/status", "what its daemon sees; also /livez, /readyz, /v1/cluster, /metrics"),
        (f"{program} sandbox logs 1 -f{where}", "what Kafka and its daemon write"),
        (f"{program} sandbox down{where}", "end it; its data stays"),
    ]
    lines = [f"  {command}\n      {why}" for command, why in commands]
    return f"Clients connect to {document['bootstrap_servers']}. What to try next:\n" + "\n".join(lines)


def _beside_python() -> str:
    """How to call this program where its virtual environment is not on PATH."""
    path = Path(sys.executable).with_name("bubuku-cli")
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _existing(folder: Path) -> Layout:
    made = layout.load(folder)
    if made is None:
        raise UsageError(f"there is no sandbox in {folder}: start one with `bubuku-cli sandbox up`")
    return made


def _log_files(made: Layout, name: str, which: str | None) -> list[Path]:
    if name == "keeper":
        return [made.keeper_log]
    if name == "zookeeper":
        return [made.zookeeper_log]
    if not name.isdigit():
        raise UsageError(f"{name!r} is not a node: give its number, zookeeper or keeper")
    node = made.node(int(name))
    return {"kafka": [node.kafka_log], "daemon": [node.daemon_log]}.get(which or "", [node.kafka_log, node.daemon_log])


def _tell(line: str) -> None:
    click.echo(line, err=True)
