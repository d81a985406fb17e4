"""What a test left behind: processes, threads, sockets, pipes and pidfds that were not there before.

A process counts as the test run's if it inherited `RUN_VARIABLE`, so that one whose parent ended is found too. Those of
a `RealCluster` that is still up are none of the test's.
"""

from __future__ import annotations

import gc
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.support.cluster import ACTIVE

RUN_VARIABLE = "BUBUKU_TEST_RUN"
LIBRARY_THREADS = ("AnyIO worker thread",)  # Starlette's test client keeps them for its next use
GRACE_SECONDS = 3.0


@dataclass(frozen=True)
class Inventory:
    processes: frozenset[tuple[int, str]]
    threads: frozenset[threading.Thread]
    descriptors: frozenset[str]

    def left_behind(self, after: Inventory) -> list[str]:
        """What `after` has more, in words."""
        found = [f"process {pid} ({command})" for pid, command in sorted(after.processes - self.processes)]
        found += [f"thread {thread.name}" for thread in after.threads - self.threads if _ours(thread)]
        found += [f"descriptor {name}" for name in sorted(after.descriptors - self.descriptors)]
        return found


def _ours(thread: threading.Thread) -> bool:
    return thread.is_alive() and not thread.name.startswith(LIBRARY_THREADS)


def take(with_orphans: bool) -> Inventory:
    """What is there now. `with_orphans`: look at every process of the machine, not only at our descendants."""
    return Inventory(_processes(with_orphans), frozenset(threading.enumerate()), _descriptors())


def since(before: Inventory, with_orphans: bool) -> list[str]:
    """What was left behind since `before`; what is about to end gets a few seconds."""
    end = time.monotonic() + GRACE_SECONDS
    while True:
        left = before.left_behind(take(with_orphans))
        if not left or time.monotonic() > end:
            return left
        gc.collect()  # what only waits for its collection, such as a subprocess's pipe, is not held by anybody
        time.sleep(0.05)


def _processes(with_orphans: bool) -> frozenset[tuple[int, str]]:
    folders = [str(cluster.layout.folder) for cluster in ACTIVE]
    found = set()
    candidates = psutil.process_iter() if with_orphans else psutil.Process().children(recursive=True)
    for process in candidates:
        try:
            if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
                continue
            if with_orphans and process.environ().get(RUN_VARIABLE) != os.environ[RUN_VARIABLE]:
                continue
            command = " ".join(process.cmdline())
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        if not any(folder in command for folder in folders):
            found.add((process.pid, command[:200]))
    return frozenset(found)


def _descriptors() -> frozenset[str]:
    """Open sockets, pipes and pidfds by number and name. Plain files belong to caches and loggers too."""
    found = set()
    for number in os.listdir("/proc/self/fd"):
        try:
            name = str(Path(f"/proc/self/fd/{number}").readlink())
        except OSError:
            continue
        if name.startswith(("socket:", "pipe:", "anon_inode:[pidfd]")):
            found.add(f"{number} {name}")
    return frozenset(found)
