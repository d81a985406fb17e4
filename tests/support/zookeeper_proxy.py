"""A TCP proxy before ZooKeeper that can hold a client's transaction on its way, as a slow network would.

Caller: one test at a time. It serves one connection after another until `close`.
"""

from __future__ import annotations

import socket
import struct
import threading

_MULTI = 14  # ZooKeeper's operation code of a transaction


class ZooKeeperProxy:
    def __init__(self, port: int) -> None:
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._holding = threading.Event()  # transactions wait while it is set
        self._released = threading.Event()
        self._held_xid: int | None = None
        self.delivered = False  # the held transaction was answered
        self._sockets: list[socket.socket] = []
        self._threads = [self._thread(self._accept)]

    def hold_transactions(self) -> None:
        self._holding.set()

    @property
    def holds(self) -> bool:
        """Whether a transaction waits here now."""
        return self._held_xid is not None

    def release(self) -> None:
        self._holding.clear()
        self._released.set()

    def close(self) -> None:
        self.release()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for one in self._sockets:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # its other end closed it already
        for thread in self._threads:
            thread.join(5)
        for one in self._sockets:
            one.close()

    def _thread(self, target: object, *arguments: object) -> threading.Thread:
        thread = threading.Thread(target=target, args=arguments, name="zookeeper-proxy", daemon=True)  # type: ignore[arg-type]
        thread.start()
        return thread

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._port), 5)
            except OSError:
                return
            server.settimeout(None)
            self._sockets += [client, server]
            self._threads += [self._thread(self._upstream, client, server), self._thread(self._back, server, client)]

    def _upstream(self, client: socket.socket, server: socket.socket) -> None:
        first = True
        while (frame := _frame(client)) is not None:
            if not first and len(frame) >= 12:
                xid, operation = struct.unpack(">ii", frame[4:12])
                if operation == _MULTI and self._holding.is_set():
                    self._held_xid = xid
                    self._released.wait(60)
            first = False
            try:
                server.sendall(frame)
            except OSError:
                return

    def _back(self, server: socket.socket, client: socket.socket) -> None:
        first = True
        while (frame := _frame(server)) is not None:
            if not first and struct.unpack(">i", frame[4:8])[0] == self._held_xid:
                self.delivered = True
            first = False
            try:
                client.sendall(frame)
            except OSError:
                return


def _frame(source: socket.socket) -> bytes | None:
    """One length-prefixed message, prefix included; None at the end."""
    head = _exactly(source, 4)
    if head is None:
        return None
    body = _exactly(source, struct.unpack(">i", head)[0])
    return None if body is None else head + body


def _exactly(source: socket.socket, size: int) -> bytes | None:
    data = b""
    while len(data) < size:
        try:
            piece = source.recv(size - len(data))
        except OSError:
            return None
        if not piece:
            return None
        data += piece
    return data
