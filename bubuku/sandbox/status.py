"""What a sandbox looks like now: for `sandbox status`, people and programs.

Callers: the command line and tests, one thread. Each daemon is asked with a deadline of seconds; nothing is changed.
"""

from __future__ import annotations

from typing import Any, TypedDict

import requests

from bubuku.core.shared import ProcessId
from bubuku.sandbox import running
from bubuku.sandbox.layout import Layout, Node
from bubuku.sandbox.processes import with_arguments

ANSWER_SECONDS = 5.0


class LogFiles(TypedDict):
    kafka: str
    daemon: str


class NodeStatus(TypedDict):
    """One Kafka process and its daemon. A pid is null where nothing runs."""

    node_id: int
    roles: list[str]
    rack: str | None
    state: str
    kafka_pid: int | None
    daemon_pid: int | None
    daemon_restarts: int
    api_url: str
    listener: str
    log_files: LogFiles


class ZooKeeperStatus(TypedDict):
    address: str
    pid: int | None


class SandboxStatus(TypedDict):
    """`controllers` are the nodes that are controllers and nothing else. `bootstrap_servers` is as Kafka writes it."""

    mode: str
    kafka_version: str
    dir: str
    running: bool
    keeper_pid: int | None
    bootstrap_servers: str
    zookeeper: ZooKeeperStatus
    brokers: list[NodeStatus]
    controllers: list[NodeStatus]


def describe(layout: Layout) -> SandboxStatus:
    """The sandbox as it is now."""
    now = running.read(layout.folder)
    zookeeper = running.distinct(
        [now.zookeeper, *with_arguments(layout.mark, "org.apache.zookeeper.server.quorum.QuorumPeerMain")]
    )
    nodes = {node.node_id: _node(node, now) for node in layout.nodes}
    return {
        "mode": str(layout.options.mode),
        "kafka_version": layout.options.kafka_version,
        "dir": str(layout.folder),
        "running": now.anything(),
        "keeper_pid": _pid(now.keeper),
        "bootstrap_servers": ",".join(layout.bootstrap_servers),
        "zookeeper": {"address": layout.zookeeper_address, "pid": zookeeper[0].pid if zookeeper else None},
        "brokers": [nodes[node.node_id] for node in layout.brokers],
        "controllers": [nodes[node.node_id] for node in layout.controllers],
    }


def health(node: Node) -> tuple[bool, str]:
    """Whether the node serves (`/readyz`), and its state with the daemon's sentence."""
    ready = _get(node.api_url + "/readyz")
    answer = _get(node.api_url + "/v1/status") if ready is not None else None
    if ready is None or answer is None:
        return False, "no answer from its daemon"
    words = [str(answer[1][key]) for key in ("state", "sentence") if answer[1].get(key)]
    return ready[0] == 200, ": ".join(words) or str(answer[1].get("detail", f"HTTP {answer[0]}"))


def _node(node: Node, now: running.Running) -> NodeStatus:
    daemon = now.daemons.get(node.node_id)
    answer = None if daemon is None else _get(node.api_url + "/v1/status")
    state = "no daemon" if daemon is None else "no answer" if answer is None else str(answer[1].get("state", "unknown"))
    return {
        "node_id": node.node_id,
        "roles": [role.value for role in node.roles],
        "rack": node.rack,
        "state": state,
        "kafka_pid": _pid(running.recorded_kafka(node)),
        "daemon_pid": _pid(daemon),
        "daemon_restarts": now.restarts.get(node.node_id, 0),
        "api_url": node.api_url,
        "listener": node.listener,
        "log_files": {"kafka": str(node.kafka_log), "daemon": str(node.daemon_log)},
    }


def _pid(process: ProcessId | None) -> int | None:
    return None if process is None else process.pid


def _get(url: str) -> tuple[int, dict[str, Any]] | None:
    """Code and JSON document; None where nothing answers."""
    with requests.Session() as session:
        session.trust_env = False  # a proxy from the environment is not meant for loopback
        try:
            answer = session.get(url, timeout=ANSWER_SECONDS)
        except requests.RequestException:
            return None
    try:
        document = answer.json()
    except requests.JSONDecodeError:
        document = None
    return answer.status_code, document if isinstance(document, dict) else {}
