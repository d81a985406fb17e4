"""A TCP proxy on loopback that looks at what clients send, so that a test can act right before a certain request.

Callers: fault tests, as a context manager. One thread for new connections, one a connection; all end with the context.
"""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Callable
from types import TracebackType

HOST = "127.0.0.1"
PIECE_BYTES = 1 << 16


class Proxy:
    """Passes everything on. Before the first bytes of a client that `matches` are passed on, `act` is called."""

    def __init__(self, target_port: int, matches: Callable[[bytes], bool], act: Callable[[], None]) -> None:
        self._target_port, self._matches, self._act = target_port, matches, act
        self._listener = socket.create_server((HOST, 0))
        self._ending = threading.Event()
        self._threads = [threading.Thread(target=self._accept, name="proxy", daemon=True)]
        self.acted = threading.Event()

    @property
    def address(self) -> str:
        return f"{HOST}:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Proxy:
        self._threads[0].start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join(10)
        self._listener.close()

    def _accept(self) -> None:
        while not self._ending.is_set():
            if not select.select([self._listener], [], [], 0.1)[0]:
                continue
            client, _ = self._listener.accept()
            thread = threading.Thread(target=self._pass_on, args=(client,), name="proxy-connection", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _pass_on(self, client: socket.socket) -> None:
        with client:
            try:
                server = socket.create_connection((HOST, self._target_port), 5)
            except OSError:
                return
            with server:
                other = {client: server, server: client}
                while not self._ending.is_set():
                    for source in select.select([client, server], [], [], 0.1)[0]:
                        try:
                            piece = source.recv(PIECE_BYTES)
                            if source is client and not self.acted.is_set() and self._matches(piece):
                                self.acted.set()
                                self._act()
                            if not piece:
                                return
                            other[source].sendall(piece)
                        except OSError:
                            return
