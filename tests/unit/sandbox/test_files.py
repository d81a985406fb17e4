"""What the nodes of a sandbox start from; the daemons' YAML is held against the daemon's own model."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from bubuku.config import load
from bubuku.core import properties
from bubuku.core.model import Mode, Role
from bubuku.sandbox.files import daemon_config, server_properties
from bubuku.sandbox.layout import Layout, Options

SHAPES = [
    Options(),
    Options(brokers=1),
    Options(mode=Mode.KRAFT, brokers=2),
    Options(mode=Mode.KRAFT, combined=True, jolokia=False),
]


def layout(options: Options, folder: Path = Path("/sandbox")) -> Layout:
    return Layout(folder, options.checked(), 21_000, "XtzWWN4bTjitpL3kfd9s5g")


@pytest.mark.parametrize("options", SHAPES, ids=str)
def test_the_daemon_takes_its_configuration(tmp_path: Path, options: Options) -> None:
    made = layout(options, tmp_path)
    for node in made.nodes:
        agent = "/cache/jolokia.jar" if options.jolokia else None
        node.folder.mkdir(parents=True)
        node.template.write_text("".join(f"{k}={v}\n" for k, v in server_properties(made, node).items()))
        node.config_file.write_text(yaml.safe_dump(daemon_config(made, node, agent)))
        config = load(node.config_file, {})
        assert (config.node_id, config.rack, config.api.port) == (node.node_id, node.rack, node.api_port)
        assert (config.kafka.mode, config.kafka.roles) == (options.mode, node.roles)
        assert config.zookeeper.addresses == (made.zookeeper_address,)
        assert config.kafka_log == node.kafka_log
        assert (config.kafka.jolokia_url is not None) == options.jolokia
        policy = config.policy()
        assert policy.endpoints == ((node.listener,) if Role.BROKER in node.roles else ())


@pytest.mark.parametrize(
    ("brokers", "replication", "min_isr"), [(1, "1", "1"), (2, "2", "1"), (3, "3", "2"), (5, "3", "2")]
)
def test_replication_fits_the_number_of_brokers(brokers: int, replication: str, min_isr: str) -> None:
    made = layout(Options(brokers=brokers))
    found = server_properties(made, made.nodes[0])
    assert found["default.replication.factor"] == found["offsets.topic.replication.factor"] == replication
    assert found["min.insync.replicas"] == found["transaction.state.log.min.isr"] == min_isr


def test_a_combined_node_listens_as_both() -> None:
    made = layout(Options(mode=Mode.KRAFT, combined=True))
    found = server_properties(made, made.nodes[0])
    assert found["listeners"] == "PLAINTEXT://127.0.0.1:21010,CONTROLLER://127.0.0.1:21011"
    assert found["advertised.listeners"] == "PLAINTEXT://127.0.0.1:21010"
    assert found["process.roles"] == "broker,controller"


def test_ids_rack_and_zookeeper_are_left_to_the_daemon() -> None:
    for options in SHAPES:
        made = layout(options)
        for node in made.nodes:
            text = "".join(f"{k}={v}\n" for k, v in server_properties(made, node).items())
            assert properties.node_id(properties.parse(text)) is None
            assert not {"broker.rack", "zookeeper.connect"} & set(server_properties(made, node))


def test_nothing_listens_beyond_loopback() -> None:
    for options in SHAPES:
        made = layout(options)
        for node in made.nodes:
            listeners = server_properties(made, node)["listeners"].split(",")
            assert all(each.split("://")[1].startswith("127.0.0.1:") for each in listeners)
