"""The HTTP server: two listeners, one thread of its own.

Caller: the daemon's main thread (`start`, `stop`), before it connects to anything. The full API listens where `api`
says (loopback unless told otherwise); the health listener, where one is configured, on all interfaces for load
balancers, with `/livez`, `/readyz` and `/health` alone. Ports are bound in `start` itself, so that a taken one is the
caller's error and not a line in a thread's log. Connections are bounded by `http.connections`.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import threading
from collections.abc import Callable
from typing import Any

from uvicorn.config import Config
from uvicorn.server import Server

from bubuku.core.errors import UsageError
from bubuku.core.observation import About, Published
from bubuku.http.app import PATIENCE, Source, application, probes
from bubuku.http.connections import EXCHANGE_SECONDS, HEADER_BYTES, BoundedProtocol, bounded
from bubuku.http.safe_to_stop import Ask
from bubuku.operations import Operations

BACKLOG = 512
STOP_SECONDS = 3.0


class HttpServer:
    """Answers from `published()`, the supervisor's last cycle (None before the first), at any time from `start` on.

    `host`, `port`: the API's listener; port 0 takes a free one. `health_port`: None for no health listener.
    `now`: the same monotonic clock, seconds, as the supervisor's. `exchange_seconds`: the time that a client has for a
    request and its answer. `safe_to_stop`: who judges, `operations`: who takes requests that change
    something, if they carry `token` (asked in threads of their own); None: nobody here.
    """

    def __init__(
        self,
        host: str,
        port: int,
        published: Callable[[], Published | None],
        now: Callable[[], float],
        about: About,
        health_port: int | None = None,
        health_host: str = "0.0.0.0",
        exchange_seconds: float = EXCHANGE_SECONDS,
        safe_to_stop: Ask | None = None,
        operations: Operations | None = None,
        token: str | None = None,
    ) -> None:
        self._api = (host, port)
        self._health = None if health_port is None else (health_host, health_port)
        self._published = published
        self._now = now
        self._about = about
        self._exchange_seconds = exchange_seconds
        self._judge, self._operations, self._token = safe_to_stop, operations, token
        self._server: Server | None = None
        self._thread: threading.Thread | None = None
        self.api_address: tuple[str, int] | None = None  # as bound, from `start` on
        self.health_address: tuple[str, int] | None = None

    def start(self) -> None:
        """Bind, listen, and answer from now on. Raises UsageError naming the address that cannot be bound."""
        sockets = [listen(*self._api, setting="api")]
        self.api_address = address(sockets[0])
        if self._health is not None:
            try:
                sockets.append(listen(*self._health, setting="health_port"))
            except UsageError:
                sockets[0].close()
                raise
            self.health_address = address(sockets[1])
        source = Source(
            self._published, self._now, self._about, self._now(), self._judge, self._operations, self._token
        )
        health_port = None if self.health_address is None else self.health_address[1]
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # a client's faults are not the operator's
        self._server = Server(
            configuration(application(source, health_port), bounded(self._exchange_seconds, probes(source), PATIENCE))
        )
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": sockets}, name="http", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End within `STOP_SECONDS`: listeners close at once, answers under way are finished. Safe without `start`."""
        if self._server is None or self._thread is None:
            return
        self._server.should_exit = True
        self._thread.join(STOP_SECONDS)
        self._server = self._thread = None


def configuration(app: Any, protocol: type[BoundedProtocol]) -> Config:
    return Config(
        app,
        http=protocol,
        ws="none",
        loop="asyncio",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_graceful_shutdown=1,
        h11_max_incomplete_event_size=HEADER_BYTES,
    )


def listen(host: str, port: int, setting: str) -> socket.socket:
    """A listening socket. Raises UsageError that names the address and the setting that it comes from."""
    where = f"{host}:{port} ({setting})"
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, bind_to = found[0]
        bound = socket.socket(family, kind, protocol)
    except OSError as error:
        raise UsageError(f"cannot listen on {where}: {error.strerror or error}") from error
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(bind_to)
        bound.listen(BACKLOG)
        bound.setblocking(False)
    except OSError as error:
        bound.close()
        if error.errno == errno.EADDRINUSE:
            message = f"cannot listen on {where}: the port is taken; end the process that has it, or set another port"
            raise UsageError(message) from error
        raise UsageError(f"cannot listen on {where}: {os.strerror(error.errno or 0)}") from error
    return bound


def address(bound: socket.socket) -> tuple[str, int]:
    name = bound.getsockname()
    return str(name[0]), int(name[1])
