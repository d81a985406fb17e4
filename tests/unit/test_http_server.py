"""The server against clients that do harm: real sockets on loopback, no client may hang it, none may stay for long."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from bubuku.core.errors import UsageError
from bubuku.core.observation import Published
from bubuku.http import connections
from bubuku.http.connections import CONNECTIONS, EXCHANGE_SECONDS, HEADER_BYTES
from bubuku.http.server import HttpServer
from tests.support import published as make
from tests.support.wait import wait_for

LOOPBACK = "127.0.0.1"
REQUEST = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
SHORT = 1.0  # an exchange's seconds in all tests but one
PATIENCE = EXCHANGE_SECONDS + 3  # until what must end has ended


def make_server(port: int = 0, health_port: int | None = 0, exchange_seconds: float = SHORT) -> HttpServer:
    now = time.monotonic
    return HttpServer(
        LOOPBACK, port, lambda: make.published(at=now()), now, make.ABOUT, health_port, LOOPBACK, exchange_seconds
    )


@pytest.fixture
def exchange_seconds() -> float:
    return SHORT


@pytest.fixture
def server(exchange_seconds: float) -> Iterator[HttpServer]:
    one = make_server(exchange_seconds=exchange_seconds)
    one.start()
    yield one
    one.stop()


@pytest.fixture
def connect(server: HttpServer) -> Iterator[Callable[..., socket.socket]]:
    """Opens client sockets, of the API unless told otherwise, and closes them in the end."""
    opened: list[socket.socket] = []

    def open_one(health: bool = False) -> socket.socket:
        address = server.health_address if health else server.api_address
        assert address is not None
        opened.append(socket.create_connection(address, timeout=PATIENCE))
        return opened[-1]

    yield open_one
    for each in opened:
        each.close()


def answered(client: socket.socket, request: bytes = REQUEST) -> tuple[int, bytes]:
    """One exchange: the status and the body."""
    client.sendall(request)
    return read_answer(client)


def read_answer(client: socket.socket) -> tuple[int, bytes]:
    received = b""
    while b"\r\n\r\n" not in received:
        piece = client.recv(65536)
        assert piece, f"closed after {received!r}"
        received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    while len(body) < length:
        piece = client.recv(65536)
        assert piece, f"closed after {received!r}"
        body += piece
    return int(head.split()[1]), body


def ended(client: socket.socket) -> bool:
    """Whether the server has closed or reset this connection; never waits."""
    client.setblocking(False)
    try:
        while client.recv(65536):
            pass
        return True
    except BlockingIOError:
        return False
    except OSError:
        return True


# --- silent, slow and greedy clients ----------------------------------------------------------------------------------


@pytest.mark.parametrize("exchange_seconds", [EXCHANGE_SECONDS])
def test_silent_clients_do_not_hang_it_and_are_ended(connect: Callable[..., socket.socket]) -> None:
    began = time.monotonic()
    silent = [connect() for _ in range(60)]
    for _ in range(20):
        at = time.monotonic()
        assert answered(connect())[0] == 200
        assert time.monotonic() - at < 1
    assert not any(ended(each) for each in silent), "ended before its time"
    wait_for(lambda: all(ended(each) for each in silent), PATIENCE, "the silent clients' end")
    assert EXCHANGE_SECONDS - 0.5 < time.monotonic() - began < PATIENCE


def test_a_client_that_trickles_its_headers_is_ended(connect: Callable[..., socket.socket]) -> None:
    began = time.monotonic()
    slow = connect()
    slow.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\nX: ")

    def trickle() -> bool:
        try:
            slow.setblocking(True)
            slow.sendall(b"x")
        except OSError:
            return True
        return ended(slow)

    wait_for(trickle, PATIENCE, "the trickling client's end", interval_seconds=0.2)
    assert time.monotonic() - began > SHORT - 0.2


def test_a_client_that_trickles_its_second_request_is_ended(connect: Callable[..., socket.socket]) -> None:
    slow = connect()
    assert answered(slow)[0] == 200
    slow.sendall(REQUEST[:-4])
    wait_for(lambda: ended(slow), PATIENCE, "the end of a half request after a whole one")


def test_a_body_that_never_comes_is_not_waited_for(connect: Callable[..., socket.socket]) -> None:
    liar = connect()
    liar.sendall(b"POST /v1/status HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nabc")
    assert read_answer(liar)[0] == 405
    wait_for(lambda: ended(liar), PATIENCE, "the end of the connection with the missing body")


def test_an_idle_connection_is_kept_for_a_while_and_then_closed(connect: Callable[..., socket.socket]) -> None:
    client = connect()
    assert answered(client)[0] == 200
    assert answered(client)[0] == 200
    wait_for(lambda: ended(client), PATIENCE, "the end of an idle connection")


def test_clients_that_do_not_read_their_answers_are_ended(
    server: HttpServer, connect: Callable[..., socket.socket]
) -> None:
    deaf = connect()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    deaf.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        for _ in range(20_000):
            deaf.send(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")

    def reset() -> bool:
        try:
            deaf.send(b"G")
        except BlockingIOError:
            return False
        except OSError:
            return True
        return False

    # the kernel takes some megabytes of answers before the first one waits for the client
    wait_for(reset, 60, "the end of a client that reads nothing")
    assert answered(connect())[0] == 200


def test_pipelined_requests_are_answered_in_order(connect: Callable[..., socket.socket]) -> None:
    client = connect()
    client.sendall(REQUEST + b"GET /nope HTTP/1.1\r\nHost: x\r\n\r\n" + REQUEST)
    received = b""
    while received.count(b"HTTP/1.1") < 3 or not received.endswith(b"}\n"):
        received += client.recv(65536)
    assert [part[1:4] for part in received.split(b"HTTP/1.1")[1:]] == [b"200", b"404", b"200"]


@pytest.mark.parametrize("exchange_seconds", [EXCHANGE_SECONDS])
def test_more_clients_than_the_cap_push_out_the_oldest_silent_ones(connect: Callable[..., socket.socket]) -> None:
    silent = [connect() for _ in range(CONNECTIONS + 20)]
    assert answered(connect())[0] == 200
    wait_for(lambda: sum(ended(each) for each in silent) == 21, 2, lambda: str([ended(each) for each in silent]))
    assert all(ended(each) for each in silent[:21]), "not the oldest were ended"


@pytest.mark.parametrize("exchange_seconds", [EXCHANGE_SECONDS])
def test_a_flood_of_one_listener_leaves_the_other_alone(connect: Callable[..., socket.socket]) -> None:
    kept = connect()
    assert answered(kept)[0] == 200
    for _ in range(CONNECTIONS + 20):
        connect(health=True)
    assert answered(kept)[0] == 200


@pytest.mark.parametrize("exchange_seconds", [EXCHANGE_SECONDS])
def test_fifty_connections_are_answered_at_once(server: HttpServer, connect: Callable[..., socket.socket]) -> None:
    clients = [connect() for _ in range(50)]
    slowest: list[float] = []

    def ask(client: socket.socket) -> None:
        for _ in range(20):
            at = time.monotonic()
            assert answered(client)[0] == 200
            slowest.append(time.monotonic() - at)

    threads = [threading.Thread(target=ask, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(slowest) == 1000
    assert sorted(slowest)[989] < 1


# --- what is not HTTP -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 64 + b"\r\n\r\n",
        b"GET /livez\r\n\r\n",
        b"GET /livez HTTP/1.1\r\n\r\n",  # no Host
        b"GET /livez HTTP/1.1\r\nHost: x\r\nX: " + b"x" * (HEADER_BYTES + 1),
        b"GET /" + b"x" * (HEADER_BYTES + 1),
    ],
)
def test_what_is_not_a_request_is_400_and_the_end(connect: Callable[..., socket.socket], garbage: bytes) -> None:
    client = connect()
    status, body = answered(client, garbage)
    assert status == 400
    assert set(json.loads(body)) == {"title", "status", "detail"}
    wait_for(lambda: ended(client), 2, "the end after a 400")
    assert answered(connect())[0] == 200


def test_garbage_after_a_request_does_no_harm(connect: Callable[..., socket.socket]) -> None:
    client = connect()
    client.sendall(REQUEST + b"\0\0\0\0\r\n\r\n")
    wait_for(lambda: ended(client), PATIENCE, "the end after garbage")
    assert answered(connect())[0] == 200


# --- probes take a shorter way ----------------------------------------------------------------------------------------


def whole_answer(client: socket.socket, request: bytes) -> tuple[bytes, list[bytes], bytes]:
    """Status line, sorted headers without the date, and what follows up to the end of the connection's answer."""
    client.sendall(request + b"GET /nope HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    received = b""
    while piece := client.recv(65536):
        received += piece
    answer, _, _ = received.partition(b"HTTP/1.1 404")
    head, _, body = answer.partition(b"\r\n\r\n")
    line, *headers = head.split(b"\r\n")
    return line, sorted(h.lower() for h in headers if not h.lower().startswith(b"date:")), body


@pytest.mark.parametrize("state", ["live", "stuck", "not yet"])
@pytest.mark.parametrize("path", ["/livez", "/readyz"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_both_ways_say_the_same(state: str, path: str, method: str) -> None:
    def published() -> Published | None:
        return None if state == "not yet" else make.published(at=time.monotonic() - (60 if state == "stuck" else 0))

    server = HttpServer(LOOPBACK, 0, published, lambda: round(time.monotonic()), make.ABOUT)
    server.start()
    try:
        assert server.api_address is not None
        answers = []
        for extra in ("", "Connection: keep-alive\r\n"):
            with socket.create_connection(server.api_address, timeout=PATIENCE) as client:
                # the first request goes alone, for what comes together is not plain
                request = f"{method} {path} HTTP/1.1\r\nHost: x\r\n{extra}\r\n".encode()
                client.sendall(request)
                wait_for(lambda c=client: c.recv(1, socket.MSG_PEEK), PATIENCE, "an answer")
                answers.append(whole_answer(client, b""))
    finally:
        server.stop()
    assert answers[0] == answers[1]
    assert (answers[0][2] == b"") is (method == "HEAD")


@pytest.mark.parametrize(
    ("request_line", "headers", "status"),
    [
        (b"GET /livez HTTP/1.1", b"Host: x\r\nContent-Length: 0\r\n", 200),
        (b"GET /livez HTTP/1.1", b"hOST: x\r\nEXPECT: 100-continue\r\n", 200),
        (b"GET /livez?verbose HTTP/1.1", b"Host: x\r\n", 200),
        (b"GET /livez HTTP/1.0", b"", 200),
        (b"GET /livez HTTP/1.1", b"Host: x\r\nHost: y\r\n", 400),
        (b"GET /livez HTTP/1.1", b"", 400),
        (b"GET /livez HTTP/1.1", b"Host: x\r\nbad header: y\r\n", 400),
        (b"GET /livez HTTP/1.1", b"Host: x\r\nX: \0\r\n", 400),
        (b"GET /livezz HTTP/1.1", b"Host: x\r\n", 404),
        (b"POST /livez HTTP/1.1", b"Host: x\r\n", 405),
        (b"get /livez HTTP/1.1", b"Host: x\r\n", 405),
    ],
)
def test_what_is_not_plain_takes_the_whole_way(
    connect: Callable[..., socket.socket], request_line: bytes, headers: bytes, status: int
) -> None:
    assert answered(connect(), request_line + b"\r\n" + headers + b"\r\n")[0] == status


def test_a_request_in_two_pieces_is_one_request(connect: Callable[..., socket.socket]) -> None:
    client = connect()
    for cut in range(1, len(REQUEST), 7):
        client.sendall(REQUEST[:cut])
        assert not select.select([client], [], [], 0.01)[0], "answered before the request was whole"
        assert answered(client, REQUEST[cut:])[0] == 200


# --- binding, starting, stopping --------------------------------------------------------------------------------------


def test_both_listeners_answer_and_the_health_port_no_more_than_health(connect: Callable[..., socket.socket]) -> None:
    status = b"GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n"
    assert answered(connect(), status)[0] == 200
    assert answered(connect(health=True))[0] == 200
    assert answered(connect(health=True), status)[0] == 404


@pytest.mark.parametrize("setting", ["api", "health_port"])
def test_a_taken_port_is_one_clear_error_and_leaves_nothing_open(setting: str) -> None:
    with socket.create_server((LOOPBACK, 0)) as holder:
        taken = holder.getsockname()[1]
        before = descriptors()
        server = make_server(port=taken) if setting == "api" else make_server(health_port=taken)
        with pytest.raises(UsageError) as caught:
            server.start()
        assert str(caught.value) == (
            f"cannot listen on 127.0.0.1:{taken} ({setting}): the port is taken; "
            "end the process that has it, or set another port"
        )
        server.stop()
        assert descriptors() == before


@pytest.mark.parametrize(("host", "says"), [("no.such.host.invalid", "api"), ("192.0.2.1", "assign")])
def test_an_address_that_is_not_ours_is_one_clear_error(host: str, says: str) -> None:
    server = HttpServer(host, 18_888, lambda: None, time.monotonic, make.ABOUT)
    with pytest.raises(UsageError, match=f"^cannot listen on {host}:18888 .*{says}"):
        server.start()


def test_it_answers_before_the_first_tick() -> None:
    server = HttpServer(LOOPBACK, 0, lambda: None, time.monotonic, make.ABOUT)
    server.start()
    try:
        assert server.api_address is not None
        assert server.health_address is None
        with socket.create_connection(server.api_address, timeout=PATIENCE) as client:
            assert answered(client)[0] == 200
            assert answered(client, REQUEST.replace(b"livez", b"readyz"))[0] == 503
    finally:
        server.stop()


def test_stop_leaves_no_thread_no_port_and_no_descriptor_even_with_clients() -> None:
    before, threads = descriptors(), threading.active_count()
    server = make_server()
    server.start()
    assert server.api_address is not None
    address = server.api_address
    idle, silent = (socket.create_connection(address, timeout=PATIENCE) for _ in range(2))
    assert answered(idle)[0] == 200
    silent.sendall(b"GET /li")
    at = time.monotonic()
    server.stop()
    assert time.monotonic() - at < 3
    idle.close()
    silent.close()
    wait_for(lambda: descriptors() == before, 2, lambda: f"{descriptors()} descriptors, {before} before")
    assert threading.active_count() == threads
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, timeout=1)
    again = make_server(port=address[1])
    again.start()
    again.stop()


def test_stop_without_start_is_nothing() -> None:
    make_server().stop()


def test_signals_stay_with_the_daemon() -> None:
    """uvicorn takes SIGTERM for itself on the main thread; here it is the daemon's."""
    import signal

    before = signal.getsignal(signal.SIGTERM)
    server = make_server()
    server.start()
    assert signal.getsignal(signal.SIGTERM) is before
    server.stop()


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_stuck_loop_is_seen_from_outside() -> None:
    stale = make.published(at=time.monotonic() - 60)
    server = HttpServer(LOOPBACK, 0, lambda: replace(stale), time.monotonic, make.ABOUT)
    server.start()
    try:
        assert server.api_address is not None
        with socket.create_connection(server.api_address, timeout=PATIENCE) as client:
            assert answered(client)[0] == 503
    finally:
        server.stop()


def test_the_bounds_are_those_that_the_documentation_names() -> None:
    assert (connections.EXCHANGE_SECONDS, connections.HEADER_BYTES, connections.CONNECTIONS) == (5.0, 16_384, 128)
