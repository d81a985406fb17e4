"""Work that waits for ZooKeeper or Kafka, beside the event loop: a thread a request, of which there are few.

Caller: handlers that ask more than the last `Published`. Invariant: at most `MOST` such threads, each of which ends by
the deadlines of what it calls; a client that asks for one more is told so.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from starlette.exceptions import HTTPException

from bubuku.core.errors import BubukuError

T = TypeVar("T")
MOST = 8


class Threads:
    """One for all handlers of a server."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way = 0

    async def run(self, work: Callable[[], T]) -> T:
        """What `work` returns. Its BubukuErrors become HTTP errors; 503 where `MOST` are under way."""
        with self._lock:
            if self._under_way >= MOST:
                raise HTTPException(
                    503, f"{MOST} such questions are being answered already; ask again in a few seconds"
                )
            self._under_way += 1
        future: Future[T] = Future()
        future.add_done_callback(self._ended)
        try:
            threading.Thread(target=_run, args=(work, future), name="request", daemon=True).start()
        except RuntimeError as error:  # the host has no thread left
            future.cancel()
            raise HTTPException(503, f"no thread can be started for it: {error}; ask again") from error
        try:
            return await asyncio.wrap_future(future)
        except BubukuError as error:
            raise HTTPException(error.http_status, str(error)) from error

    def _ended(self, _: Future[Any]) -> None:
        with self._lock:
            self._under_way -= 1


def _run(work: Callable[[], T], future: Future[T]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = work()
    except Exception as error:  # noqa: BLE001 - the request's boundary is where the future is awaited
        future.set_exception(error)
    else:
        future.set_result(result)
