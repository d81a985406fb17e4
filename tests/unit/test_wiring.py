"""What the daemon makes of its configuration for the parts that it wires."""

from __future__ import annotations

from pathlib import Path

import pytest

from bubuku.config.model import Config
from bubuku.daemon.wiring import api_url, child_environment


def config(**api: object) -> Config:
    return Config.model_validate(
        {
            "mode": "static",
            "host": "kafka-1",
            "kafka": {"dir": Path("/opt/kafka"), "settings": Path("/t"), "environment": {"KAFKA_OPTS": "-Da=b"}},
            "zookeeper": {"addresses": "z:2181"},
            "api": api,
        }
    )


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8888"),
        ("0.0.0.0", "http://kafka-1:8888"),
        ("::", "http://kafka-1:8888"),
        ("::1", "http://[::1]:8888"),
    ],
)
def test_peers_are_told_an_address_that_can_be_asked(host: str, url: str) -> None:
    assert api_url(config(host=host)) == url


def test_kafka_inherits_no_secret_and_no_line_to_systemd(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BUBUKU_KAFKA_PASSWORD", "BUBUKU_ZOOKEEPER_PASSWORD", "NOTIFY_SOCKET", "KAFKA_HEAP_OPTS"):
        monkeypatch.setenv(name, "x")
    found = child_environment(config())
    assert found["KAFKA_HEAP_OPTS"] == "x"
    assert found["KAFKA_OPTS"] == "-Da=b"
    assert not {"BUBUKU_KAFKA_PASSWORD", "BUBUKU_ZOOKEEPER_PASSWORD", "NOTIFY_SOCKET"} & set(found)
