"""uvicorn's h11 protocol with bounds: no client can hold a connection, or all of them, for long.

Caller: asyncio, in the HTTP thread. uvicorn itself has a keep-alive time-out alone: a client that connects and sends
nothing, sends a byte now and then, or does not read its answer, would stay for ever. Here

- an exchange (from the connection's start, or a request's first byte, to the answer's last byte handed to the kernel)
  ends within `EXCHANGE_SECONDS`, else the connection is aborted; a path whose answer has to be asked for elsewhere may
  be given more, once a request;
- a request's headers are at most `HEADER_BYTES`, else 400;
- a listener has at most `CONNECTIONS` connections: one more, and the oldest that waits for its client is aborted.

And a plain request for a probe is answered here, from the bytes as they came, with what the application would say: it
costs a sixth of the whole way through h11, a task and the routing, and load balancers ask while Kafka's start has the
cores. Whatever is not plain takes the whole way.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import struct
from collections.abc import Callable, Mapping
from typing import Any

import h11
from starlette.responses import Response
from uvicorn.protocols.http.h11_impl import STATUS_PHRASES, H11Protocol

from bubuku.http.documents import problem

EXCHANGE_SECONDS = 5.0
HEADER_BYTES = 16_384
LINGER_ZERO = struct.pack("ii", 1, 0)
CONNECTIONS = 128  # a listener; far above what probes, scrapes and people need, far below the descriptors' limit
# A whole request without a body. Headers that change how a message is framed or what comes after it are not plain.
PLAIN = re.compile(rb"(GET|HEAD) (/[a-z]+) HTTP/1\.1\r\n((?:[!-9;-~]+:[ -~\t]*\r\n)+)\r\n")
NOT_PLAIN = re.compile(
    rb"^(?:connection|content-length|expect|transfer-encoding|upgrade):", re.IGNORECASE | re.MULTILINE
)
HOST = re.compile(rb"^host:", re.IGNORECASE | re.MULTILINE)

Probe = Callable[[str], Response | None]  # a path's answer; None: no probe has this path


class BoundedProtocol(H11Protocol):
    """One connection. Invariant: while it is open, a timer is armed that ends it, ours or uvicorn's keep-alive's."""

    exchange_seconds = EXCHANGE_SECONDS
    probe: Probe
    patience: Mapping[str, float] = {}  # path, or the folder that it is in → seconds; never changed

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.timeout_keep_alive = self.exchange_seconds  # type: ignore[assignment]  # call_later takes a float
        self._deadline: asyncio.TimerHandle | None = None
        self._opened_at = self.loop.time()
        self._aborted = False
        self._waited_for: object = None  # the cycle that was given its path's patience

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._arm()
        self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)
        self._unset_keepalive_if_required()  # uvicorn leaves it armed after an error

    def data_received(self, data: bytes) -> None:
        if self._between_requests() and (answer := self._plain_answer(data)) is not None:
            self._disarm()
            self._unset_keepalive_if_required()
            self.transport.write(answer)
            self._arm()  # until the next request
            return
        if self._deadline is None:
            self._arm()
        super().data_received(data)
        self._be_patient()

    def on_response_complete(self) -> None:
        self._disarm()
        super().on_response_complete()  # may begin the next, pipelined request
        busy = self.cycle is not None and not self.cycle.response_complete
        if busy or self.transport.is_closing() or self.transport.get_write_buffer_size() > 0:
            self._arm()
            self._be_patient()

    def timeout_keep_alive_handler(self) -> None:
        self.abort()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002
        document = problem(400, "bad request", f"not an HTTP request, or its headers exceed {HEADER_BYTES} bytes")
        body = json.dumps(document).encode() + b"\n"
        headers = [
            (b"content-type", b"application/problem+json"),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        events = [h11.Response(status_code=400, headers=headers, reason=b"Bad Request"), h11.Data(data=body)]
        try:
            for event in [*events, h11.EndOfMessage()]:
                self.transport.write(self.conn.send(event) or b"")
        except h11.LocalProtocolError:  # in the middle of another answer: nothing more can be said
            self.abort()
            return
        self.transport.close()

    def abort(self) -> None:
        """End the connection at once, whatever is unsent: by a reset, else the kernel would keep the answers that the
        client does not read, megabytes of them, for minutes."""
        self._aborted = True
        if (bound := self.transport.get_extra_info("socket")) is not None:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
        self.transport.abort()

    def _arm(self, seconds: float | None = None) -> None:
        self._disarm()
        self._deadline = self.loop.call_later(self.exchange_seconds if seconds is None else seconds, self.abort)

    def _be_patient(self) -> None:
        """Once a request: more bytes of the same one earn it nothing."""
        cycle = self.cycle
        if cycle is None or cycle.response_complete or cycle is self._waited_for:
            return
        path = cycle.scope["path"]
        seconds = self.patience.get(path, self.patience.get(path.rpartition("/")[0]))
        if seconds is not None:
            self._waited_for = cycle
            self._arm(seconds)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _between_requests(self) -> bool:
        """Nothing of another request or answer is under way, in h11 or in the transport."""
        idle = self.conn.our_state is h11.IDLE and self.conn.their_state is h11.IDLE
        clear = not self.conn.trailing_data[0] and self.transport.get_write_buffer_size() == 0
        return idle and clear and not self.transport.is_closing()

    def _plain_answer(self, data: bytes) -> bytes | None:
        found = PLAIN.fullmatch(data)
        if found is None or NOT_PLAIN.search(found[3]) or len(HOST.findall(found[3])) != 1 or len(data) > HEADER_BYTES:
            return None
        answer = type(self).probe(found[2].decode())
        if answer is None:
            return None
        status = answer.status_code
        lines = [b"HTTP/1.1 %d %s" % (status, STATUS_PHRASES[status])]
        lines += [b"%s: %s" % header for header in (*self.server_state.default_headers, *answer.raw_headers)]
        return b"\r\n".join([*lines, b"", b"" if found[1] == b"HEAD" else bytes(answer.body)])

    def _waits_for_client(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _make_room(self) -> None:
        if len(self.connections) <= CONNECTIONS:
            return
        port = None if self.server is None else self.server[1]
        peers = [
            c
            for c in self.connections
            if isinstance(c, BoundedProtocol) and not c._aborted and (c.server or (None, None))[1] == port
        ]
        if len(peers) > CONNECTIONS:
            idle = [c for c in peers if c._waits_for_client()]
            min(idle, key=lambda c: c._opened_at).abort()  # `self` is idle, so there is one


def bounded(exchange_seconds: float, probe: Probe, patience: Mapping[str, float]) -> type[BoundedProtocol]:
    """The protocol with this bound of an exchange, and of the pause between two, and these probes.

    `patience`: path, or the folder that it is in → the bound in seconds that it has instead.
    """
    fields = {"exchange_seconds": exchange_seconds, "probe": staticmethod(probe), "patience": patience}
    return type("BoundedProtocol", (BoundedProtocol,), fields)
