"""Worlds on real Kafka: 3.9 in ZooKeeper mode, 4.x in KRaft."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from kafka.admin import KafkaAdminClient, NewTopic
from kafka.errors import KafkaError, TopicAlreadyExistsError
from kazoo.client import KazooClient

from bubuku.adapters.jolokia import JolokiaJmx
from bubuku.adapters.kafka import KafkaAdmin, KraftRegistrations
from bubuku.core.model import Mode
from bubuku.ports import Jmx, Kafka, Registrations
from bubuku.sandbox import runtimes
from bubuku.sandbox.zookeeper import ZooKeeper
from tests.support.kafka_servers import HOST, KafkaCluster, free_ports
from tests.support.wait import wait_for

T = TypeVar("T")
START_SECONDS = 60.0


class _Cluster:
    """What the worlds of real Kafka share."""

    def __init__(self, cluster: KafkaCluster, zookeeper: ZooKeeper | None = None) -> None:
        self.cluster = cluster
        self.mode = cluster.mode
        self._zookeeper = zookeeper
        self._frozen: set[int] = set()
        self._ports: list[Any] = []

    def reset(self) -> None:
        """Brokers are kept from test to test; one that a test killed is started again."""
        for node_id, server in self.cluster.servers.items():
            if server.child is None:
                self.start(node_id)

    def end_test(self) -> None:
        for node_id in tuple(self._frozen):
            self.thaw(node_id)
        for port in self._ports:
            port.close()
        self._ports.clear()

    def wait(self, condition: Callable[[], T], deadline_seconds: float, describe: str) -> T:
        return wait_for(condition, deadline_seconds, describe)

    def now(self) -> float:
        return time.monotonic()

    def start(self, node_id: int) -> None:
        self.cluster.servers[node_id].start()
        self.cluster.wait_listening([node_id])
        self.wait(lambda: self.registered(node_id), START_SECONDS, f"broker {node_id} to register")

    def kill(self, node_id: int) -> None:
        self.cluster.servers[node_id].kill()

    def freeze(self, node_id: int) -> None:
        self._frozen.add(node_id)
        self.cluster.servers[node_id].signal(signal.SIGSTOP)

    def thaw(self, node_id: int) -> None:
        self._frozen.discard(node_id)
        self.cluster.servers[node_id].signal(signal.SIGCONT)

    def address(self, node_id: int) -> str:
        return self.cluster.servers[node_id].endpoint

    def registered(self, node_id: int) -> bool:
        """As a running broker of the cluster, or another client of ZooKeeper, sees it."""
        if self._zookeeper is not None:
            return self._znode(f"/brokers/ids/{node_id}") is not None
        try:
            with self.client() as client:
                return any(b["broker_id"] == node_id for b in client.describe_cluster()["brokers"])
        except KafkaError:
            return False

    @contextmanager
    def client(self) -> Iterator[Any]:
        """kafka-python's own client, on the brokers that run."""
        servers = [s.endpoint for s in self.cluster.servers.values() if s.child is not None]
        client = KafkaAdminClient(bootstrap_servers=servers, bootstrap_timeout_ms=10_000, request_timeout_ms=10_000)
        try:
            yield client
        finally:
            client.close()

    def create_topic(self, name: str, assignment: dict[int, list[int]]) -> None:
        """Tried until a controller takes it: an earlier test may have frozen that one for a while."""

        def created() -> bool:
            try:
                with self.client() as client:
                    client.create_topics([NewTopic(name, replica_assignments=assignment)])
            except TopicAlreadyExistsError:
                return True
            except (KafkaError, RuntimeError):  # kafka-python raises the latter where it finds no controller
                return False
            return True

        self.wait(created, START_SECONDS, f"a controller to create topic {name}")

    def true_controller(self) -> int | None:
        if self._zookeeper is not None:
            found = self._znode("/controller")
            return None if found is None else int(json.loads(found)["brokerid"])
        with self.client() as client:
            return int(client.describe_metadata_quorum()["topics"][0]["partitions"][0]["leader_id"])

    def _znode(self, path: str) -> bytes | None:
        assert self._zookeeper is not None
        client = KazooClient(f"{self._zookeeper.address}/kafka")
        client.start(timeout=10)
        try:
            return bytes(client.get(path)[0]) if client.exists(path) else None
        finally:
            client.stop()
            client.close()


class RealKafka(_Cluster):
    """Implements `worlds.KafkaWorld`."""

    def port(self, own: int | None = None, servers: tuple[int, ...] = (1, 2, 3)) -> Kafka:
        port = KafkaAdmin([self.address(n) for n in servers], own_endpoint=None if own is None else self.address(own))
        self._ports.append(port)
        return port


class RealKraftRegistrations(_Cluster):
    """Implements `worlds.RegistrationWorld`. Broker 1 is the controller as well, so it is never killed."""

    def port(self, node_id: int | None) -> Registrations:
        port = KraftRegistrations(self.cluster.endpoints, lambda: node_id)
        self._ports.append(port)
        return port

    def register(self, node_id: int) -> None:
        if self.cluster.servers[node_id].child is None:
            self.start(node_id)
        self.wait(lambda: self.registered(node_id), START_SECONDS, f"broker {node_id} to register")

    def cut(self) -> None:
        for node_id in (1, 2):
            self.freeze(node_id)

    def restore(self) -> None:
        for node_id in (1, 2):
            self.thaw(node_id)


class RealJmx(_Cluster):
    """Implements `worlds.JmxWorld`: one broker, which tests start themselves."""

    def __init__(self, cluster: KafkaCluster, agent_port: int) -> None:
        super().__init__(cluster)
        self._agent_port = agent_port
        self.formatted = False

    def reset(self) -> None:
        pass

    def end_test(self) -> None:
        super().end_test()
        self.cluster.servers[1].kill()

    def port(self) -> Jmx:
        port = JolokiaJmx(f"http://{HOST}:{self._agent_port}/jolokia")
        self._ports.append(port)
        return port

    def start(self, node_id: int = 1) -> None:
        if not self.formatted:
            self.cluster.format()
            self.formatted = True
        self.cluster.servers[node_id].start()

    def kill(self, node_id: int = 1) -> None:
        super().kill(node_id)

    def freeze(self, node_id: int = 1) -> None:
        super().freeze(node_id)

    def thaw(self, node_id: int = 1) -> None:
        super().thaw(node_id)

    def fill(self, partitions: int) -> None:
        self.create_topic("filled", {p: [1] for p in range(partitions)})
        data = self.cluster.servers[1].folder / "data"
        self.wait(lambda: len(list(data.glob("filled-*"))) == partitions, 60, "its logs to be on disk")


@contextmanager
def _kraft(folder: Path) -> Iterator[KafkaCluster]:
    cluster = KafkaCluster(folder, Mode.KRAFT, 3)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


@contextmanager
def kraft_mode(folder: Path) -> Iterator[RealKafka]:
    with _kraft(folder) as cluster:
        yield _ready(RealKafka(cluster))


@contextmanager
def kraft_registrations(folder: Path) -> Iterator[RealKraftRegistrations]:
    with _kraft(folder) as cluster:
        yield _ready(RealKraftRegistrations(cluster))


@contextmanager
def zookeeper_mode(folder: Path) -> Iterator[RealKafka]:
    with ExitStack() as ends:
        zookeeper = ZooKeeper(folder / "zookeeper", free_ports(1)[0])
        ends.callback(zookeeper.stop)
        zookeeper.start()
        cluster = KafkaCluster(folder, Mode.ZOOKEEPER, 3, zookeeper=f"{zookeeper.address}/kafka")
        ends.callback(cluster.stop)
        cluster.start()
        yield _ready(RealKafka(cluster, zookeeper))


@contextmanager
def jmx(folder: Path) -> Iterator[RealJmx]:
    port = free_ports(1)[0]
    agent = f"-javaagent:{runtimes.jolokia_agent()}=port={port},host={HOST},discoveryEnabled=false"
    cluster = KafkaCluster(folder, Mode.KRAFT, 1, environment={"KAFKA_OPTS": agent})
    try:
        yield RealJmx(cluster, port)
    finally:
        cluster.stop()


C = TypeVar("C", bound=_Cluster)


def _ready(world: C) -> C:
    def all_registered() -> bool:
        return all(world.registered(node_id) for node_id in world.cluster.servers)

    world.wait(all_registered, START_SECONDS, "all brokers to register")
    return world
