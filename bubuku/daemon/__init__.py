"""bubuku-daemon: supervises the one Kafka broker of this host."""

from __future__ import annotations

import logging
import os
import signal
import sys
from pathlib import Path

import click

from bubuku import __version__
from bubuku.adapters.state_file import JsonStateFile
from bubuku.config import check, load
from bubuku.core.errors import BubukuError, UsageError
from bubuku.daemon.wiring import Daemon

LOG = logging.getLogger(__name__)
# a reader that parses the metadata of 10,000 partitions must not keep a load balancer's probe waiting (default 5 ms)
SWITCH_SECONDS = 0.0005
BETTER_NICENESS = -15  # it needs half a percent of a core, and that at once
AUTOGROUP = Path("/proc/self/autogroup")


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--config", "path", type=click.Path(path_type=Path), help="YAML file; $BUBUKU_CONFIG otherwise.")
@click.option(
    "--accept-empty",
    is_flag=True,
    help="Start once although a log dir that held data is empty; refused unless other replicas are in sync.",
)
@click.option("--log-level", default="INFO", type=click.Choice(["DEBUG", "INFO", "WARNING"]), show_default=True)
@click.version_option(__version__)
def command(path: Path | None, accept_empty: bool, log_level: str) -> None:
    """Supervise the Kafka broker of this host. Ending the daemon does not end Kafka."""
    logging.basicConfig(level=log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    logging.getLogger("kazoo").setLevel(logging.ERROR)  # its connection's state is in our own status
    logging.getLogger("kafka").setLevel(logging.CRITICAL)  # the same: each failed reading carries its error
    sys.setswitchinterval(SWITCH_SECONDS)
    config = load(path, os.environ)
    problems = check(config)
    if problems:
        raise UsageError("\n".join(problems))
    for warning in config.warnings:
        LOG.warning("%s", warning)
    for folder in (config.state_dir, config.log_dir):
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o750)
        except OSError as error:
            raise UsageError(f"{folder}: cannot be created: {error.strerror}") from error
    state = JsonStateFile(config.state_dir)
    state.lock()
    daemon = Daemon(config, state, accept_empty, niceness=go_first())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, daemon.loop.end)
    LOG.info("bubuku %s begins", __version__)
    daemon.run()


def go_first() -> int:
    """Before any thread exists: run ahead of Kafka, which takes every core while it starts, where we are permitted to.

    The fence and the load balancer's probes are short, and wait for nobody. Returns our niceness so far, for Kafka.
    """
    before = os.getpriority(os.PRIO_PROCESS, 0)
    try:
        os.setpriority(os.PRIO_PROCESS, 0, before + BETTER_NICENESS)
        if os.getsid(0) == os.getpid() and AUTOGROUP.exists():
            # where the kernel groups by session, niceness counts within a group only; Kafka has a session of its own
            AUTOGROUP.write_text(str(BETTER_NICENESS))
    except OSError as error:
        LOG.debug("not permitted to run at a better priority than Kafka: %s", error)
    return before


def main() -> None:
    """Entry point. Exit codes: 0 told to end, 1 failed, 2 usage or configuration, 3 refused."""
    try:
        command(standalone_mode=False)
    except click.exceptions.Exit as ended:
        sys.exit(ended.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except BubukuError as error:
        print(f"bubuku-daemon: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
