"""Writes what the nodes of a sandbox start from: the Kafka home, server.properties templates, the daemons' YAML.

Callers: `sandbox up` and the tests, before anything runs. Writing twice gives the same files; data is left alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from bubuku.core.model import Mode, Role
from bubuku.sandbox import runtimes
from bubuku.sandbox.layout import HOST, Layout, Node

HEAP = "-Xmx512M -Xms256M"
# Brokers of a sandbox share a few cores and live for minutes: what C2 and G1 do beside them never pays back, and would
# be most of the work while one of them starts.
JVM_OPTIONS = "-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Djava.awt.headless=true"


def write(
    layout: Layout,
    settings: Mapping[str, str] | None = None,
    daemon: Mapping[str, Any] | None = None,
) -> None:
    """Write all files of all nodes. `settings` go over server.properties, `daemon` over the top keys of the YAML.

    Fetches Kafka's jars where the cache has none; raises as `runtimes.fetch` does.
    """
    runtimes.make_kafka_home(layout.kafka_home, layout.options.kafka_version)
    agent = str(runtimes.jolokia_agent()) if layout.options.jolokia else None
    for node in layout.nodes:
        for folder in (node.state_dir, node.log_dir, node.folder / "data"):
            folder.mkdir(parents=True, exist_ok=True)
        lines = [f"{key}={value}\n" for key, value in (server_properties(layout, node) | dict(settings or {})).items()]
        node.template.write_text("".join(lines), encoding="utf-8")
        document = daemon_config(layout, node, agent) | dict(daemon or {})
        node.config_file.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")


def server_properties(layout: Layout, node: Node) -> dict[str, str]:
    """The template of one node; ids, rack and ZooKeeper's address are the daemon's to fill in."""
    replication = min(3, layout.options.brokers)
    min_isr = max(1, replication - 1)
    properties = {
        "log.dirs": str(node.folder / "data"),
        "default.replication.factor": str(replication),
        "min.insync.replicas": str(min_isr),
        # a broker that has just come back would make a topic while it knows fewer brokers than there are
        "auto.create.topics.enable": "false",
        "offsets.topic.replication.factor": str(replication),
        "offsets.topic.num.partitions": "8",
        "transaction.state.log.replication.factor": str(replication),
        "transaction.state.log.min.isr": str(min_isr),
        "transaction.state.log.num.partitions": "8",
        "num.recovery.threads.per.data.dir": "2",
        "num.network.threads": "3",
        "num.io.threads": "4",
        "log.cleaner.dedupe.buffer.size": "16777216",
        "group.initial.rebalance.delay.ms": "0",
        "controlled.shutdown.enable": "true",
    }
    client = f"PLAINTEXT://{HOST}:{node.listener_port}"
    if layout.options.mode is Mode.ZOOKEEPER:
        return {"listeners": client, "advertised.listeners": client} | properties
    controller = f"CONTROLLER://{HOST}:{node.controller_port}"
    listeners = [client] * node.is_broker + [controller] * (Role.CONTROLLER in node.roles)
    properties |= {
        "process.roles": ",".join(node.roles),
        "listeners": ",".join(listeners),
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "controller.quorum.voters": layout.quorum_voters,
    }
    if node.is_broker:
        properties |= {"advertised.listeners": client, "inter.broker.listener.name": "PLAINTEXT"}
    return properties


def daemon_config(layout: Layout, node: Node, jolokia_agent: str | None) -> dict[str, Any]:
    """The YAML of one node's daemon."""
    options = [layout.mark]
    if jolokia_agent is not None:
        options.append(f"-javaagent:{jolokia_agent}=port={node.jolokia_port},host={HOST},discoveryEnabled=false")
    kafka: dict[str, Any] = {
        "dir": str(layout.kafka_home),
        "settings": str(node.template),
        "mode": layout.options.mode.value,
        "roles": [role.value for role in node.roles],
        "log_file": str(node.kafka_log),
        "environment": {
            "KAFKA_HEAP_OPTS": HEAP,
            "KAFKA_JVM_PERFORMANCE_OPTS": JVM_OPTIONS,
            "KAFKA_OPTS": " ".join(options),
            "LOG_DIR": str(node.log_dir),
        },
        "client": {"bootstrap_servers": list(layout.bootstrap_servers)},
    }
    if layout.options.mode is Mode.KRAFT:
        kafka["cluster_id"] = layout.cluster_id
    if jolokia_agent is not None:
        kafka["jolokia_url"] = f"http://{HOST}:{node.jolokia_port}/jolokia"
    document: dict[str, Any] = {
        "mode": "static",
        "node_id": node.node_id,
        "host": HOST,
        "state_dir": str(node.state_dir),
        "log_dir": str(node.log_dir),
        "kafka": kafka,
        "zookeeper": {"addresses": layout.zookeeper_address, "prefix": "/"},
        "api": {"host": HOST, "port": node.api_port},
    }
    if node.rack is not None:
        document["rack"] = node.rack
    return document
