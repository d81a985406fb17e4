"""`sandbox up` and `sandbox down`: a cluster comes up and goes down as a whole.

Callers: the command line and tests, one thread. `up` and `down` of one folder exclude each other by a lock. Only `down`
ends processes: those on record by pid and start time, and those that carry the sandbox's mark.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

from bubuku.core.errors import TimedOutError, UnavailableError, UsageError
from bubuku.core.shared import ProcessId
from bubuku.sandbox import files, running, runtimes
from bubuku.sandbox.keeper import clean_environment
from bubuku.sandbox.layout import Layout, Options, check_ports, load, plan, save
from bubuku.sandbox.processes import send, stop, with_arguments
from bubuku.sandbox.status import health
from bubuku.sandbox.waiting import wait_until
from bubuku.sandbox.zookeeper import ZooKeeper

Tell = Callable[[str], None]

KEEPER_DEADLINE_SECONDS = 5.0
DAEMON_DEADLINE_SECONDS = 20.0
KAFKA_DEADLINE_SECONDS = 40.0
ZOOKEEPER_DEADLINE_SECONDS = 10.0
TOO_MANY_RESTARTS = 3
NODE_MEMORY_BYTES = 500 * 2**20  # of one Kafka with its daemon, as the sandbox runs it


def up(
    folder: Path, chosen: dict[str, Any], base_port: int | None, fresh: bool, deadline_seconds: float, tell: Tell
) -> tuple[Layout, bool]:
    """Start the sandbox in `folder`, or what is missing of it; return once every node serves.

    `chosen` are the fields of `Options` that the user gave. Returns the layout, and whether it ran already. Raises
    UsageError where the folder holds a sandbox of other options, UnavailableError (a port in use, no jars, a daemon
    that keeps ending), TimedOutError; what was started goes on then, to be looked at.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _exclusive(folder):
        layout = load(folder)
        now = running.read(folder)
        if layout is not None and now.anything():
            _same(layout, chosen, base_port, "runs already", "end it with `bubuku-cli sandbox down`")
            _mend(layout, now, tell)
            wait_serving(layout, deadline_seconds, tell)
            return layout, True
        if layout is not None and fresh:
            delete(layout)
            layout = None
        if layout is None:
            layout = plan(folder, Options(**chosen), base_port)
        else:
            _same(layout, chosen, None, "is stopped, but its data is there", "add --fresh to delete its data")
            layout = layout if base_port is None else replace(layout, base_port=base_port)
            check_ports(layout)
        _check_memory(layout)
        tell(
            f"Kafka {layout.options.kafka_version}, {layout.options.mode} mode; jars are kept in {runtimes.cache_dir()}"
        )
        runtimes.zookeeper_libs()
        files.write(layout)
        save(layout)
        _start_keeper(layout)
        wait_serving(layout, deadline_seconds, tell)
        return layout, False


def down(folder: Path, remove_data: bool, tell: Tell) -> bool:
    """End all that runs of the sandbox in `folder`: keeper, daemons, brokers, controllers, ZooKeeper, in this order.

    Returns False where nothing ran. What does not end in time is killed, and that is told.
    """
    layout = load(folder)
    if layout is None:
        return False
    with _exclusive(folder):
        found = stop_all(layout, running.read(folder), tell)
        if remove_data:
            delete(layout)
        return found


def stop_all(layout: Layout, now: running.Running, tell: Tell) -> bool:
    """End all processes of a layout, those that `now` does not name included. False: there were none."""
    stopped = _stop("the keeper", running.distinct([now.keeper]), KEEPER_DEADLINE_SECONDS, tell)
    stopped += _stop("the daemons", list(now.daemons.values()), DAEMON_DEADLINE_SECONDS, tell)
    # Brokers first: one that stops hangs when its ZooKeeper, or its controller, is gone.
    controllers = running.distinct(running.recorded_kafka(node) for node in layout.controllers)
    recorded = [running.recorded_kafka(node) for node in layout.brokers]
    marked = with_arguments(layout.mark, "kafka.Kafka")
    brokers = [process for process in running.distinct([*recorded, *marked]) if process not in controllers]
    stopped += _stop("the brokers", brokers, KAFKA_DEADLINE_SECONDS, tell)
    stopped += _stop("the controllers", controllers, KAFKA_DEADLINE_SECONDS, tell)
    rest = running.distinct([now.zookeeper, *with_arguments(layout.mark)])
    stopped += _stop("ZooKeeper", rest, ZOOKEEPER_DEADLINE_SECONDS, tell)
    return stopped > 0


def delete(layout: Layout) -> None:
    """Remove what a sandbox wrote into its folder, and the folder where nothing else is in it."""
    for path in [*(node.folder for node in layout.nodes), layout.zookeeper_dir, layout.kafka_home]:
        if path.exists():
            shutil.rmtree(path)
    for name in ("sandbox.json", "run.json", "keeper.lock", "keeper.log", "up.lock"):
        (layout.folder / name).unlink(missing_ok=True)
    if not any(layout.folder.iterdir()):
        layout.folder.rmdir()


def wait_serving(layout: Layout, deadline_seconds: float, tell: Tell) -> None:
    """Return once every node serves, telling each change of state.

    Raises UnavailableError where the keeper or a daemon keeps ending, TimedOutError saying who does not serve.
    """
    begun = time.monotonic()
    told: dict[int, str] = {}

    def all_serve() -> bool:
        ready = True
        for node in layout.nodes:
            serves, state = health(node)
            ready &= serves
            if state != told.get(node.node_id):
                told[node.node_id] = state
                tell(f"{time.monotonic() - begun:5.1f} s  {node.name}: {state}")
        if not ready:
            _check_alive(layout)
        return ready

    try:
        wait_until(all_serve, deadline_seconds, "the brokers", 0.2)
    except TimedOutError:
        missing = [f"{node.name} is {told[node.node_id]}" for node in layout.nodes if not health(node)[0]]
        raise TimedOutError(
            f"after {deadline_seconds:g} s {'; '.join(missing)}: see `bubuku-cli sandbox logs N`; "
            "what was started still runs"
        ) from None


def _check_alive(layout: Layout) -> None:
    now = running.read(layout.folder)
    for node in layout.nodes:
        if now.restarts.get(node.node_id, 0) >= TOO_MANY_RESTARTS:
            raise UnavailableError(f"the daemon of {node.name} ends again and again: {_last_line(node.daemon_log)}")
    if now.zookeeper is None and now.restarts:
        log = layout.zookeeper_log
        raise UnavailableError(f"ZooKeeper does not run; its last line in {log}: {_last_line(log)}")


def _check_memory(layout: Layout) -> None:
    """More JVMs than fit would not fail, but have the kernel kill somebody else's processes."""
    needed, there = len(layout.nodes) * NODE_MEMORY_BYTES, psutil.virtual_memory().available
    if needed > there:
        raise UsageError(
            f"{len(layout.nodes)} nodes need about {needed / 2**30:.1f} GiB of memory, and {there / 2**30:.1f} GiB are "
            "available: give fewer --brokers, or end something"
        )


def _same(layout: Layout, chosen: dict[str, Any], base_port: int | None, how: str, remedy: str) -> None:
    """Raises UsageError where what the user chose differs from what the layout has."""
    has = layout.options
    pairs = [(name, value, getattr(has, name)) for name, value in chosen.items()]
    if base_port is not None:
        pairs.append(("base_port", base_port, layout.base_port))
    for name, wanted, present in pairs:
        if wanted != present:
            raise UsageError(
                f"the sandbox in {layout.folder} {how} with --{name.replace('_', '-')} {_words(present)}, "
                f"not {_words(wanted)}: {remedy}, or give another --dir"
            )


def _words(value: object) -> str:
    return ",".join(value) if isinstance(value, tuple) else str(value)


def _mend(layout: Layout, now: running.Running, tell: Tell) -> None:
    """Start what does not run of a sandbox that runs in part."""
    if now.keeper is None:
        tell("its keeper had ended; starting one")
        _start_keeper(layout)
    elif now.zookeeper is None and not ZooKeeper(layout.zookeeper_dir, layout.zookeeper_port).answers():
        tell("its ZooKeeper had ended; starting it")
        send(now.keeper, signal.SIGUSR1)
        wait_until(
            lambda: running.read(layout.folder).zookeeper is not None, ZOOKEEPER_DEADLINE_SECONDS, "ZooKeeper to start"
        )


def _start_keeper(layout: Layout) -> None:
    """In a session of its own, so that neither the terminal's end nor Ctrl-C reaches it or what it starts."""
    with layout.keeper_log.open("ab") as output:
        keeper = subprocess.Popen(
            [sys.executable, "-m", "bubuku.sandbox.keeper", str(layout.folder)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=clean_environment(),
            cwd=layout.folder,
            start_new_session=True,
        )

    def at_work() -> bool:
        if keeper.poll() is not None:
            raise UnavailableError(f"the sandbox's keeper ended: {_last_line(layout.keeper_log)}")
        known = running.read(layout.folder).keeper
        return known is not None and known.pid == keeper.pid

    wait_until(at_work, KEEPER_DEADLINE_SECONDS * 3, f"the sandbox's keeper (log: {layout.keeper_log})")


def _stop(what: str, processes: list[ProcessId], deadline_seconds: float, tell: Tell) -> int:
    if not processes:
        return 0
    begun = time.monotonic()
    killed = stop(processes, deadline_seconds)
    if killed:
        pids = ", ".join(str(process.pid) for process in killed)
        tell(f"{what}: pid {pids} did not end within {deadline_seconds:g} s and was killed")
    tell(f"{what}: stopped in {time.monotonic() - begun:.1f} s")
    return len(processes)


@contextmanager
def _exclusive(folder: Path) -> Iterator[None]:
    held = running.lock(folder / "up.lock")
    if held is None:
        raise UnavailableError(f"another `sandbox up` or `sandbox down` is at work on {folder}; wait for it to end")
    with held:
        yield


def _last_line(path: Path) -> str:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except OSError:
        lines = []
    return lines[-1] if lines else f"nothing was written to {path}"
