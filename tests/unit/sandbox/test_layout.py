"""Nodes, ports and folders of a sandbox, and what may not be asked of it."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from bubuku.core.errors import UnavailableError, UsageError
from bubuku.core.model import Mode
from bubuku.sandbox.layout import Layout, Options, check_ports, load, plan, save

BASE = 21_000


def layout(options: Options, folder: Path = Path("/sandbox")) -> Layout:
    return Layout(folder, options.checked(), BASE, "XtzWWN4bTjitpL3kfd9s5g")


def test_racks_go_round_the_brokers() -> None:
    made = layout(Options(brokers=5, racks=("a", "b")))
    assert [(node.node_id, node.rack) for node in made.nodes] == [(1, "a"), (2, "b"), (3, "a"), (4, "b"), (5, "a")]


@pytest.mark.parametrize(
    ("options", "roles", "voters"),
    [
        (Options(brokers=2), {1: "broker", 2: "broker"}, ""),
        (
            Options(brokers=2, mode=Mode.KRAFT),
            {1: "broker", 2: "broker", 100: "controller"},
            "100@127.0.0.1:21031",
        ),
        (
            Options(brokers=2, mode=Mode.KRAFT, combined=True),
            {1: "broker,controller", 2: "broker,controller"},
            "1@127.0.0.1:21011,2@127.0.0.1:21021",
        ),
    ],
    ids=["zookeeper", "a-controller-of-its-own", "combined"],
)
def test_roles_and_voters(options: Options, roles: dict[int, str], voters: str) -> None:
    made = layout(options)
    assert {node.node_id: ",".join(node.roles) for node in made.nodes} == roles
    assert made.quorum_voters == voters
    assert [node.node_id for node in made.brokers] == [1, 2]
    assert [node.node_id for node in made.controllers] == [n for n, role in roles.items() if role == "controller"]


def test_no_port_is_given_twice() -> None:
    made = layout(Options(brokers=50, mode=Mode.KRAFT, combined=True))
    ports = [port for port, _ in made.ports()]
    assert len(ports) == len(set(ports)) == 1 + 50 * 4


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (Options(kafka_version="4.3.0"), "--kafka-version 4.3.0 has no ZooKeeper mode"),
        (Options(kafka_version="3.2.3", mode=Mode.KRAFT), "KRaft is ready for use from 3.3.0"),
        (Options(kafka_version="3.9"), "'3.9': give three numbers"),
        (Options(kafka_version="3.9.2;id"), "give three numbers"),
        (Options(combined=True), "--combined is about KRaft"),
        (Options(brokers=0), "--brokers 0"),
        (Options(racks=("a", "")), "--racks"),
    ],
)
def test_what_does_not_fit_together_is_refused(options: Options, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        options.checked()


def test_the_version_follows_the_mode() -> None:
    assert Options().checked().kafka_version == "3.9.2"
    assert Options(mode=Mode.KRAFT).checked().kafka_version == "4.3.0"
    assert Options(mode=Mode.KRAFT, kafka_version="3.9.2").checked().kafka_version == "3.9.2"


def test_kept_and_read_again(tmp_path: Path) -> None:
    assert load(tmp_path) is None
    made = layout(Options(mode=Mode.KRAFT, racks=("x",), jolokia=False), tmp_path / "new")
    save(made)
    assert load(tmp_path / "new") == made


def test_an_unreadable_file_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "sandbox.json").write_text("{")
    with pytest.raises(UnavailableError, match=f"sandbox.json cannot be read .* remove {tmp_path}"):
        load(tmp_path)


def test_automatic_ports_are_free_and_below_those_of_outgoing_connections(tmp_path: Path) -> None:
    made = plan(tmp_path, Options(), None)
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert all(port < lowest for port, _ in made.ports())
    check_ports(made)


def test_a_port_in_use_is_named_with_what_needs_it(tmp_path: Path) -> None:
    made = plan(tmp_path, Options(), None)
    node = made.brokers[1]
    with (
        socket.create_server(("127.0.0.1", node.api_port)),
        pytest.raises(UnavailableError, match=f"port {node.api_port} .* the API of broker 2's daemon .* in use"),
    ):
        plan(tmp_path, Options(), made.base_port)


def test_a_path_with_blanks_is_refused() -> None:
    with pytest.raises(UsageError, match="blanks"):
        plan(Path("/tmp/my sandbox"), Options(), None)


def test_a_node_that_is_not_there() -> None:
    with pytest.raises(UsageError, match="there is no node 9 in this sandbox; it has 1, 2, 3"):
        layout(Options()).node(9)
