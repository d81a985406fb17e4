"""What the fault tests share: a node's daemon and broker as one handle, a watch over all daemons, a cluster that lasts.

Callers: tests/faults. Every wait has a deadline and tells, where it fails, what was seen.
"""

from __future__ import annotations

import dataclasses
import json
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any

import requests
import yaml

from benchmarks.view import admin_client
from benchmarks.workload import Result, Workload
from bubuku.adapters.kafka import KafkaAdmin
from bubuku.adapters.process import identify
from bubuku.core.errors import UnavailableError
from bubuku.core.model import Cluster, Mode
from bubuku.core.shared import ProcessId
from bubuku.sandbox import files
from bubuku.sandbox.layout import Node, Options
from bubuku.sandbox.processes import alive
from tests.support.cluster import RealCluster, tail

SESSION_SECONDS = 6.0
"""After so long without its broker the cluster would act by itself: what is faster was the fence."""

SETTINGS = {
    Mode.ZOOKEEPER: {"zookeeper.session.timeout.ms": "6000"},
    Mode.KRAFT: {"broker.session.timeout.ms": "6000", "broker.heartbeat.interval.ms": "1000"},
}
RECOVERY_SECONDS = 90.0


@dataclasses.dataclass(frozen=True, slots=True)
class Broker:
    """One node of a cluster: its daemon's word, its Kafka, its files."""

    cluster: RealCluster
    node_id: int

    @property
    def node(self) -> Node:
        return self.cluster.layout.node(self.node_id)

    @property
    def data(self) -> Path:
        return self.node.folder / "data"

    def status(self) -> dict[str, Any]:
        """`/v1/status`; {} where the daemon does not answer."""
        code, document = self.cluster.get(self.node_id, "/v1/status")
        return document if code == 200 else {}

    def process(self) -> ProcessId:
        """Kafka's process, which must live."""
        found = self.cluster.kafka(self.node_id)
        assert found is not None, f"no Kafka runs for node {self.node_id}"
        return found

    def wait(self, state: str, reason: str | None = None, deadline_seconds: float = RECOVERY_SECONDS) -> dict[str, Any]:
        """Until the daemon shows this state (and reason); what it shows then."""
        found: dict[str, Any] = {}

        def there() -> bool:
            found.clear()
            found.update(self.status())
            return found.get("state") == state and reason in (None, found.get("reason"))

        what = f"node {self.node_id} to be {state}" + (f" ({reason})" if reason is not None else "")
        self.cluster.wait_for(there, deadline_seconds, what)
        return found

    def wait_restarted(self, before: ProcessId, deadline_seconds: float = RECOVERY_SECONDS) -> dict[str, Any]:
        """Until another process than `before` serves."""

        def serves() -> dict[str, Any]:
            found = self.status()
            process = found.get("process") or {"pid": before.pid}
            return found if found.get("state") == "serving" and process["pid"] != before.pid else {}

        what = f"node {self.node_id} to serve with another process than {before.pid}"
        return self.cluster.wait_for(serves, deadline_seconds, what)

    def wait_forked(self, before: ProcessId, deadline_seconds: float = RECOVERY_SECONDS) -> ProcessId:
        """Until another Kafka than `before` was started, whatever it does."""

        def started() -> ProcessId | None:
            found = self.cluster.kafka(self.node_id)
            return None if found == before else found

        return self.cluster.wait_for(started, deadline_seconds, f"node {self.node_id} to start a Kafka") or before

    def kill_daemon(self) -> None:
        self.cluster.stop_daemon(self.node_id, signal.SIGKILL)

    def kill_both(self) -> ProcessId:
        """kill -9 of the daemon and of Kafka, the daemon first, so that it cannot act. Which Kafka it was."""
        self.kill_daemon()
        return self.cluster.kill_kafka(self.node_id)

    def start_daemon(self, *arguments: str) -> int:
        return self.cluster.start_daemon(self.node_id, *arguments)

    def configure(self, **keys: Any) -> None:
        """Write top keys of the daemon's YAML; the next daemon reads them."""
        document = yaml.safe_load(self.node.config_file.read_text(encoding="utf-8"))
        self.node.config_file.write_text(yaml.safe_dump(document | keys, sort_keys=False), encoding="utf-8")

    @contextmanager
    def template(self, **changes: str) -> Iterator[None]:
        """server.properties' template with these keys (underscores for dots) for as long as the context."""
        before = self.node.template.read_text(encoding="utf-8")
        more = "".join(f"{key.replace('_', '.')}={value}\n" for key, value in changes.items())
        self.node.template.write_text(before + more, encoding="utf-8")
        try:
            yield
        finally:
            self.node.template.write_text(before, encoding="utf-8")

    def daemon_log(self, lines: int = 200) -> str:
        return tail(self.node.daemon_log, lines)


def brokers(cluster: RealCluster) -> list[Broker]:
    return [Broker(cluster, node.node_id) for node in cluster.layout.brokers]


def metadata(cluster: RealCluster) -> Cluster | None:
    """What a living broker says of the cluster now; None where none answers."""
    admin = KafkaAdmin(cluster.layout.bootstrap_servers)
    try:
        return admin.cluster(None, 10.0)
    except UnavailableError:
        return None
    finally:
        admin.close()


def wait_in_sync(cluster: RealCluster) -> None:
    """Until every replica is in sync."""

    def in_sync() -> bool:
        view = metadata(cluster)
        return view is not None and all(len(p.isr) == len(p.replicas) for p in view.partitions)

    cluster.wait_for(in_sync, RECOVERY_SECONDS, "all replicas to be in sync")


def controller(cluster: RealCluster) -> Broker:
    """ZooKeeper mode: the controller; KRaft: the quorum's leader."""
    found: list[int] = []

    def known() -> bool:
        view = metadata(cluster)
        found[:] = [] if view is None or view.controller_id is None else [view.controller_id]
        return bool(found)

    cluster.wait_for(known, RECOVERY_SECONDS, "the cluster to have a controller")
    return Broker(cluster, found[0])


def follower(cluster: RealCluster) -> Broker:
    """A broker that is not the controller."""
    leader = controller(cluster).node_id
    return next(broker for broker in brokers(cluster) if broker.node_id != leader)


def zookeeper(cluster: RealCluster) -> ProcessId:
    """The ZooKeeper server's process, which must live."""
    child = cluster.zookeeper.child
    process = None if child is None else identify(child.pid)
    assert process is not None, "ZooKeeper does not run"
    return process


def let_pass(cluster: RealCluster, seconds: float, what: str) -> None:
    """A fault that has to last: until so long has passed since now."""
    begun = time.monotonic()
    cluster.wait_for(lambda: time.monotonic() - begun >= seconds, seconds + 5, what)


@dataclasses.dataclass(frozen=True, slots=True)
class Look:
    """What one daemon said at one moment (monotonic); `state` None: it did not answer."""

    at: float
    seconds: float
    state: str | None
    reason: str | None = None
    pid: int | None = None
    fences: Mapping[str, int] = dataclasses.field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.state or 'no answer'} ({self.reason}, pid {self.pid}, fences {dict(self.fences)})"


class Watch:
    """Asks daemons for `/v1/status` again and again, each in a thread of its own, for as long as the context."""

    def __init__(self, watched: Sequence[Broker], interval_seconds: float = 0.1) -> None:
        self._looks: dict[int, list[Look]] = {broker.node_id: [] for broker in watched}
        self._interval = interval_seconds
        self._ending = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(broker,), daemon=True) for broker in watched]

    def __enter__(self) -> Watch:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join(10)
        if error is not None:
            error.add_note(self.describe())

    def looks(self, node_id: int) -> list[Look]:
        return list(self._looks[node_id])

    def states(self, node_id: int) -> list[str | None]:
        """The states in their order, each named once while it lasts."""
        states = [look.state for look in self.looks(node_id)]
        return [state for i, state in enumerate(states) if i == 0 or states[i - 1] != state]

    def down(self, node_id: int) -> tuple[float, float]:
        """From when to when it did not serve (monotonic); it did at the begin and at the end."""
        looks = [look.at for look in self.looks(node_id) if look.state not in (None, "serving")]
        return min(looks), max(looks)

    def pids(self, node_id: int) -> set[int]:
        return {look.pid for look in self.looks(node_id) if look.pid is not None}

    def describe(self) -> str:
        lines = []
        for node_id, looks in self._looks.items():
            lines.append(f"--- what the daemon of {node_id} said")
            for i, look in enumerate(looks):
                if i == 0 or str(looks[i - 1]) != str(look):
                    lines.append(f"{look.at - looks[0].at:7.2f} s  {look}")
        return "\n".join(lines)

    def _run(self, broker: Broker) -> None:
        url = broker.node.api_url + "/v1/status"
        with requests.Session() as session:
            while not self._ending.wait(self._interval):
                begun = time.monotonic()
                try:
                    answer = session.get(url, timeout=5)
                    document = answer.json() if answer.ok else None  # it begins: it has decided nothing yet
                except (requests.RequestException, ValueError):
                    document = None
                taken = time.monotonic() - begun
                if document is None:
                    look = Look(begun, taken, None)
                else:
                    pid = (document["process"] or {}).get("pid")
                    look = Look(begun, taken, document["state"], document["reason"], pid, document["fences"])
                self._looks[broker.node_id].append(look)


@contextmanager
def workload(cluster: RealCluster, **options: Any) -> Iterator[Workload]:
    """acks=all records beside the fault. The test ends it with `nothing_lost`."""
    chosen = {"rate": 100.0, "partitions": 6} | options
    servers = cluster.layout.bootstrap_servers
    with Workload(servers, log=cluster.layout.folder / "workload.log", **chosen) as running:
        yield running
    with admin_client(cluster.layout) as admin:
        admin.delete_topics([running.topic])  # the next test finds an empty cluster


def one_at_a_time(watch: Watch, *down: Broker) -> None:
    """No two of these brokers were down at the same moment."""
    spans = sorted(watch.down(broker.node_id) for broker in down)
    assert all(ended <= begun for (_, ended), (begun, _) in pairwise(spans)), watch.describe()


def nothing_lost(running: Workload) -> Result:
    """Every acknowledged record is there, and none failed within the client's patience."""
    result = running.finish()
    assert result.acknowledged > 0, result
    assert result.missing == 0, result
    assert result.failed == 0, result
    return result


ENDS_WITHOUT_DELAY = 1  # a test may end a broker twice more before its next start waits


class KeptCluster:
    """One cluster for many tests; one that a failed test leaves, or that cannot be mended, is not used again."""

    def __init__(self, folder: Path, options: Options) -> None:
        self._folder, self._options, self._made = folder, options, 0
        self._cluster: RealCluster | None = None

    def healthy(self) -> RealCluster:
        """All daemons up with their own settings, all brokers serving, all replicas in sync, no start held back."""
        if self._cluster is not None and self._ends(self._cluster) > ENDS_WITHOUT_DELAY:
            self.discard()
        if self._cluster is None:
            self._made += 1
            cluster = RealCluster(self._folder / str(self._made), self._options, SETTINGS[self._options.mode])
            cluster.__enter__()
            self._cluster = cluster
        else:
            self._mend(self._cluster)
        wait_in_sync(self._cluster)
        return self._cluster

    def discard(self) -> None:
        if self._cluster is not None:
            self._cluster.close()
            self._cluster = None

    def _ends(self, cluster: RealCluster) -> int:
        """How often in a row the broker with the most ends has ended: later starts are held back, as they should be."""
        documents = [node.state_dir / "state.json" for node in cluster.layout.nodes]
        records = [json.loads(path.read_text(encoding="utf-8"))["record"] for path in documents if path.exists()]
        return max((int(record["failures"]) for record in records), default=0)

    def _mend(self, cluster: RealCluster) -> None:
        wanted = {node.node_id: node.config_file for node in cluster.layout.nodes}
        before = {node_id: path.read_text(encoding="utf-8") for node_id, path in wanted.items()}
        files.write(cluster.layout, SETTINGS[self._options.mode])
        for node_id, path in wanted.items():
            if before[node_id] != path.read_text(encoding="utf-8") and cluster.daemon_pid(node_id) is not None:
                cluster.stop_daemon(node_id)
            if cluster.daemon_pid(node_id) is None:
                cluster.start_daemon(node_id)
        cluster.wait_serving()


def lives(process: ProcessId) -> bool:
    return alive(process)
