"""`bubuku-cli`: the root of the command line.

Caller: the console script, and tests through `cli`. Commands are a table of names and where they are; a command's
module is imported when it is called, so that `status` does not wait for what the sandbox needs.

Exit codes, everywhere: 0 done, 1 failed, 2 usage, 3 refused as unsafe, 4 timed out. Data goes to stdout, messages to
stderr. An error of ours is its one line and its exit code, never a traceback.
"""

from __future__ import annotations

import importlib
from typing import Any

import click
from click.shell_completion import get_completion_class

from bubuku import __version__
from bubuku.core.errors import BubukuError

PROGRAM = "bubuku-cli"

# name → module, attribute, and the line that `--help` shows without importing it
COMMANDS: dict[str, tuple[str, str, str]] = {
    "status": ("bubuku.cli.status", "status", "Every broker of the cluster, and what is going on."),
    "cluster": ("bubuku.cli.status", "cluster", "The cluster as a whole: `cluster show`."),
    "safe-to-stop": ("bubuku.cli.safe_to_stop", "safe_to_stop", "Whether brokers may be stopped now, or why not."),
    "restart": ("bubuku.cli.changes", "restart", "Restart brokers, one after the other, never hurting a client."),
    "rolling-restart": (
        "bubuku.cli.rolling",
        "rolling_restart",
        "Restart all brokers, as one change.",
    ),
    "stop": ("bubuku.cli.changes", "stop", "Stop a broker, and keep it stopped."),
    "start": ("bubuku.cli.changes", "start", "Start a broker that was stopped on purpose."),
    "changes": ("bubuku.cli.changes", "changes", "What was asked for, and what became of it: list, show, cancel."),
    "maintenance": ("bubuku.cli.maintenance", "maintenance", "Hands off: nothing is started, stopped or moved."),
    "permit": ("bubuku.cli.maintenance", "permit", "Which brokers may be down now: show, release."),
    "config": ("bubuku.cli.config", "config", "Check and show the daemon's configuration."),
    "sandbox": ("bubuku.cli.sandbox", "sandbox", "A real cluster under bubuku on this machine."),
    "completion": ("bubuku.cli.main", "completion", "The shell's completion script."),
}

# commands of the original Bubuku: in the help under a heading of their own
FORMER: dict[str, tuple[str, str, str]] = {
    "actions": ("bubuku.cli.former", "actions", "list, delete: now `changes list` and `changes cancel`."),
    "stats": ("bubuku.cli.former", "stats", "Disks: now in `status`."),
    "rebalance": ("bubuku.cli.former", "rebalance", "Not there yet."),
    "swap_fat_slim": ("bubuku.cli.former", "swap_fat_slim", "Not there yet."),
    "migrate": ("bubuku.cli.former", "migrate", "Not there yet."),
    "preferred-replica-election": ("bubuku.cli.former", "preferred_replica_election", "Part of each `restart`."),
    "validate": ("bubuku.cli.former", "validate", "Now in `cluster show`."),
}


class LazyGroup(click.Group):
    """A group whose commands come from `COMMANDS`, and whose `BubukuError`s become a line and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        where = COMMANDS.get(cmd_name) or FORMER.get(cmd_name)
        if where is None:
            return None
        module, attribute, _ = where
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, _, line) in COMMANDS.items()])
        with formatter.section("Former names"):
            formatter.write_dl([(name, line) for name, (_, _, line) in FORMER.items()])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BubukuError as error:
            click.echo(f"{PROGRAM}: {error}", err=True)
            ctx.exit(error.exit_code)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name=PROGRAM)
def cli() -> None:
    """Operate Kafka clusters that bubuku supervises. Any daemon of a cluster answers for all of it.

    Exit codes: 0 done, 1 failed, 2 usage, 3 refused as unsafe, 4 timed out.
    """


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of SHELL, e.g. `source <(bubuku-cli completion bash)`."""
    found = get_completion_class(shell)
    assert found is not None  # click has these three
    click.echo(found(cli, {}, PROGRAM, f"_{PROGRAM.upper().replace('-', '_')}_COMPLETE").source())


def main() -> None:
    """The console script `bubuku-cli`."""
    cli.main(prog_name=PROGRAM)


if __name__ == "__main__":
    main()
