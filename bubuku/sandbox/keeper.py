"""The sandbox's keeper: one process that starts ZooKeeper and the daemons, and starts again a daemon that ends.

Started by `sandbox up` in a session of its own: `python -m bubuku.sandbox.keeper FOLDER`. It stands for systemd with
`Restart=always` and never touches a Kafka process. One thread.

SIGTERM ends it and leaves all else running, for `sandbox down` to end in order, or for a new keeper to take over: a
process that `run.json` names and that lives is watched, not started again. SIGUSR1: start what does not run. ZooKeeper
is started again only then, so that its loss can be tried.
"""

from __future__ import annotations

import logging
import math
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import IO

from bubuku.adapters.process import boot_id, identify
from bubuku.config.environment import CONFIG_VARIABLE, VARIABLES
from bubuku.core.errors import BubukuError
from bubuku.core.shared import ProcessId
from bubuku.sandbox import running
from bubuku.sandbox.layout import Layout, Node, load
from bubuku.sandbox.processes import alive
from bubuku.sandbox.running import Running
from bubuku.sandbox.zookeeper import ZooKeeper

log = logging.getLogger("keeper")

RESTART_SECONDS = 0.1  # systemd's own default
BACK_OFF_SECONDS = 1.0  # for one that did not live for STEADY_SECONDS
STEADY_SECONDS = 5.0


def clean_environment(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """`environ` without what would go over a daemon's YAML, or reach a Kafka that the YAML describes."""
    taken = {variable.name for variable in VARIABLES} | {CONFIG_VARIABLE, "LOG_DIR"}
    return {name: value for name, value in environ.items() if name not in taken and not name.startswith("KAFKA_")}


def spawn_daemon(node: Node, arguments: Sequence[str] = (), within: Sequence[str] = ()) -> subprocess.Popen[bytes]:
    """Start a node's daemon, in a session of its own; what it prints is appended to its log.

    `arguments` are the daemon's own, `within` is a command that executes it.
    """
    with node.daemon_log.open("ab") as output:
        return subprocess.Popen(
            [*within, sys.executable, "-m", "bubuku.daemon", "--config", str(node.config_file), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=clean_environment(),
            cwd=node.folder,
            start_new_session=True,
        )


@dataclass(slots=True)
class Watch:
    """One process to keep: running (`descriptor` is its pidfd), or to be started at `start_at` (monotonic)."""

    name: str
    spawn: Callable[[], subprocess.Popen[bytes]]
    restart: bool
    process: ProcessId | None = None
    child: subprocess.Popen[bytes] | None = None  # None: taken over from an earlier keeper
    descriptor: int | None = None
    since: float = 0.0
    start_at: float = 0.0
    restarts: int = 0

    def take(self, process: ProcessId | None, child: subprocess.Popen[bytes] | None) -> None:
        """Watch a process; one that has ended already counts as such at the next look."""
        if process is None:
            return
        try:
            descriptor = os.pidfd_open(process.pid)
        except ProcessLookupError:
            return
        if child is None and not alive(process):
            os.close(descriptor)
            return
        self.process, self.child, self.descriptor = process, child, descriptor
        self.since = time.monotonic()

    def start(self) -> None:
        child = self.spawn()
        # a child that ended already is a zombie until it is waited for: `reap` will find it
        self.take(identify(child.pid) or ProcessId(child.pid, 0, boot_id()), child)
        log.info("%s was started, pid %d", self.name, child.pid)

    def reap(self) -> None:
        """Notice the end of the process."""
        if self.process is None or self.descriptor is None or alive(self.process):
            return
        code = "unknown" if self.child is None else self.child.wait()
        os.close(self.descriptor)
        pause = RESTART_SECONDS if time.monotonic() - self.since >= STEADY_SECONDS else BACK_OFF_SECONDS
        again = f"is started again in {pause:g} s" if self.restart else "stays down until `sandbox up`"
        log.warning("%s (pid %d) ended with code %s; it %s", self.name, self.process.pid, code, again)
        self.process = self.child = self.descriptor = None
        self.restarts += 1
        self.start_at = time.monotonic() + pause if self.restart else math.inf


class Keeper:
    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        server = ZooKeeper(layout.zookeeper_dir, layout.zookeeper_port, jvm_options=(layout.mark,))
        self._zookeeper = Watch("ZooKeeper", server.spawn, restart=False)
        self._daemons = {
            node.node_id: Watch(f"the daemon of {node.name}", partial(spawn_daemon, node), restart=True)
            for node in layout.nodes
        }
        self._watches = (self._zookeeper, *self._daemons.values())
        self._ending = False

    def run(self) -> None:
        """Until SIGTERM. Raises BubukuError where something cannot be executed at all."""
        wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake_write)
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGUSR1, self._on_signal)
        before = running.read(self._layout.folder)
        self._zookeeper.take(before.zookeeper, None)
        for node_id, watch in self._daemons.items():
            watch.take(before.daemons.get(node_id), None)
        while not self._ending:
            for watch in self._watches:
                if watch.process is None and time.monotonic() >= watch.start_at:
                    watch.start()
            self._write()
            self._wait(wake_read)
            for watch in self._watches:
                watch.reap()

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGTERM:
            self._ending = True
        else:
            self._zookeeper.start_at = 0.0

    def _wait(self, wake_read: int) -> None:
        """Until a process ends, a signal comes, or a start is due."""
        poll = select.poll()
        poll.register(wake_read, select.POLLIN)
        for watch in self._watches:
            if watch.descriptor is not None:
                poll.register(watch.descriptor, select.POLLIN)
        due = min((watch.start_at for watch in self._watches if watch.process is None), default=math.inf)
        poll.poll(None if due == math.inf else max(0.0, due - time.monotonic()) * 1000 + 1)
        with suppress(BlockingIOError):
            os.read(wake_read, 512)

    def _write(self) -> None:
        daemons = {node_id: watch.process for node_id, watch in self._daemons.items() if watch.process is not None}
        restarts = {node_id: watch.restarts for node_id, watch in self._daemons.items()}
        running.write(self._layout.folder, Running(identify(os.getpid()), self._zookeeper.process, daemons, restarts))


def hold(folder: Path) -> IO[str] | None:
    """The lock of a living keeper."""
    return running.lock(folder / "keeper.lock")


def main(arguments: list[str]) -> int:
    folder = Path(arguments[0])
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    layout = load(folder)
    if layout is None:
        log.error("%s holds no sandbox", folder)
        return 2
    held = hold(folder)
    if held is None:
        log.error("another keeper runs for %s", folder)
        return 1
    try:
        Keeper(layout).run()
    except BubukuError as error:
        log.error("%s", error)
        return error.exit_code
    finally:
        held.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
