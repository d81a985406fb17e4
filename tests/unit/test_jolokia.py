"""bubuku.adapters.jolokia against an agent that answers what the test says."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from bubuku.adapters.jolokia import JolokiaJmx
from bubuku.core.errors import UnavailableError
from bubuku.core.model import JmxView

ABSENT = {"status": 404, "error": "javax.management.InstanceNotFoundException"}


def ok(value: Any) -> dict[str, Any]:
    return {"status": 200, "value": value}


@contextmanager
def agent(answers: Any, status: int = 200, delay_seconds: float = 0.0) -> Iterator[JolokiaJmx]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            assert [one["type"] for one in asked] == ["read"] * 4
            if delay_seconds:
                stopped.wait(delay_seconds)
            body = answers if isinstance(answers, bytes) else json.dumps(answers).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None: ...

    stopped = threading.Event()
    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, name="agent")
    thread.start()
    jmx = JolokiaJmx(f"http://127.0.0.1:{server.server_port}/jolokia")
    try:
        yield jmx
    finally:
        stopped.set()
        jmx.close()
        server.shutdown()
        thread.join()
        server.server_close()


def test_all_that_kafka_shows() -> None:
    by_dir = {
        "kafka.log:dir=/data/1,name=remainingLogsToRecover,type=LogManager": {"Value": 40},
        "kafka.log:dir=/data/2,name=remainingLogsToRecover,type=LogManager": {"Value": 2},
    }
    with agent([ok(2), ok(by_dir), ok("follower"), ok(1234)]) as jmx:
        assert jmx.view(2.0) == JmxView(2, 42, "follower", 1234)


def test_what_kafka_does_not_show_is_none() -> None:
    with agent([ABSENT, ABSENT, ABSENT, ok(7)]) as jmx:
        assert jmx.view(2.0) == JmxView(None, None, None, 7)


def test_values_of_another_kind_are_none() -> None:
    with agent([ok("running"), ok({"x": {"Value": None}}), ok(3), ok(None)]) as jmx:
        assert jmx.view(2.0) == JmxView()


@pytest.mark.parametrize(
    ("answers", "status"),
    [
        ([ok(1)], 200),
        ({"status": 200}, 200),
        (b"<html>", 200),
        ([{"status": 500, "error": "broken"}, ABSENT, ABSENT, ABSENT], 200),
        ([ok(3)] * 4, 403),
    ],
)
def test_any_other_answer_is_unavailable(answers: Any, status: int) -> None:
    with agent(answers, status) as jmx, pytest.raises(UnavailableError, match="Jolokia at http"):
        jmx.view(2.0)


def test_silence_is_bounded() -> None:
    with agent([ok(3)] * 4, delay_seconds=5.0) as jmx:
        begun = time.monotonic()
        with pytest.raises(UnavailableError):
            jmx.view(0.6)
        assert time.monotonic() - begun < 1.0


def test_nobody_listens() -> None:
    jmx = JolokiaJmx("http://127.0.0.1:1/jolokia")
    with pytest.raises(UnavailableError, match="does not answer"):
        jmx.view(1.0)
