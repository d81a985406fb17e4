"""What a sandbox is made of: its nodes, their ports and their folders; kept in `sandbox.json`.

Callers: the sandbox and the tests, any thread. A layout is immutable: a sandbox that is stopped and started again has
the same nodes on the same ports with the same data.
"""

from __future__ import annotations

import base64
import json
import os
import random
import socket
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from bubuku.core.errors import UnavailableError, UsageError
from bubuku.core.model import Mode, Role
from bubuku.sandbox import runtimes

HOST = "127.0.0.1"
FILE_NAME = "sandbox.json"
FIRST_CONTROLLER_ID = 100
MAXIMUM_BROKERS = 50

# A node's ports are these offsets from `base_port + 10 * (its place, from 1)`; ZooKeeper's is `base_port` itself.
_STRIDE = 10
_LISTENER, _CONTROLLER, _API, _JOLOKIA = range(4)
_AUTOMATIC_PORTS_FROM = 10_000
_AUTOMATIC_TRIES = 200


@dataclass(frozen=True, slots=True)
class Options:
    """What the user chooses. `kafka_version` empty: the default of the mode. `racks` go round the brokers."""

    brokers: int = 3
    mode: Mode = Mode.ZOOKEEPER
    kafka_version: str = ""
    racks: tuple[str, ...] = ("a", "b", "c")
    combined: bool = False  # KRaft: every node is broker and controller; else one controller of its own
    jolokia: bool = True

    def checked(self) -> Options:
        """The same with the version filled in. Raises UsageError for what cannot be."""
        default = runtimes.DEFAULT_ZOOKEEPER_MODE if self.mode is Mode.ZOOKEEPER else runtimes.DEFAULT_KRAFT
        chosen = replace(self, kafka_version=self.kafka_version or default)
        major = runtimes.major(chosen.kafka_version)
        if not 1 <= self.brokers <= MAXIMUM_BROKERS:
            raise UsageError(f"--brokers {self.brokers}: give 1 to {MAXIMUM_BROKERS}")
        if self.mode is Mode.ZOOKEEPER and major >= 4:
            raise UsageError(
                f"--kafka-version {chosen.kafka_version} has no ZooKeeper mode any more: add --mode kraft, or take "
                f"{runtimes.DEFAULT_ZOOKEEPER_MODE}"
            )
        if self.mode is Mode.KRAFT and tuple(map(int, chosen.kafka_version.split("."))) < (3, 3, 0):
            raise UsageError(f"--kafka-version {chosen.kafka_version}: KRaft is ready for use from 3.3.0 on")
        if self.combined and self.mode is Mode.ZOOKEEPER:
            raise UsageError("--combined is about KRaft's controllers: add --mode kraft")
        if not self.racks or not all(self.racks):
            raise UsageError("--racks: give names separated by commas, such as a,b,c")
        return chosen


@dataclass(frozen=True, slots=True)
class Node:
    """One Kafka process with its daemon. `folder` holds all that is theirs."""

    node_id: int
    roles: tuple[Role, ...]
    rack: str | None
    folder: Path
    listener_port: int | None  # None: a controller of its own
    controller_port: int | None
    api_port: int
    jolokia_port: int | None

    @property
    def is_broker(self) -> bool:
        return Role.BROKER in self.roles

    @property
    def name(self) -> str:
        return f"{'broker' if self.is_broker else 'controller'} {self.node_id}"

    @property
    def listener(self) -> str:
        return f"{HOST}:{self.listener_port if self.listener_port is not None else self.controller_port}"

    @property
    def api_url(self) -> str:
        return f"http://{HOST}:{self.api_port}"

    @property
    def config_file(self) -> Path:
        return self.folder / "bubuku.yaml"

    @property
    def template(self) -> Path:
        return self.folder / "server.properties.template"

    @property
    def state_dir(self) -> Path:
        return self.folder / "state"

    @property
    def log_dir(self) -> Path:
        return self.folder / "logs"

    @property
    def kafka_log(self) -> Path:
        return self.log_dir / "server.log"

    @property
    def daemon_log(self) -> Path:
        return self.log_dir / "daemon.log"

    def ports(self) -> Iterator[tuple[int, str]]:
        """Each port that this node listens on, and whose it is, in words."""
        if self.listener_port is not None:
            yield self.listener_port, f"{self.name}'s listener"
        if self.controller_port is not None:
            yield self.controller_port, f"{self.name}'s controller listener"
        yield self.api_port, f"the API of {self.name}'s daemon"
        if self.jolokia_port is not None:
            yield self.jolokia_port, f"{self.name}'s Jolokia agent"


@dataclass(frozen=True, slots=True)
class Layout:
    """A whole sandbox. `cluster_id` is what KRaft formats with; in ZooKeeper mode Kafka makes its own."""

    folder: Path
    options: Options
    base_port: int
    cluster_id: str

    @property
    def zookeeper_port(self) -> int:
        return self.base_port

    @property
    def zookeeper_address(self) -> str:
        return f"{HOST}:{self.zookeeper_port}"

    @property
    def zookeeper_dir(self) -> Path:
        return self.folder / "zookeeper"

    @property
    def zookeeper_log(self) -> Path:
        return self.zookeeper_dir / "zookeeper.log"

    @property
    def kafka_home(self) -> Path:
        return self.folder / "kafka-home"

    @property
    def keeper_log(self) -> Path:
        return self.folder / "keeper.log"

    @property
    def mark(self) -> str:
        """A JVM argument by which every process of this sandbox can be known."""
        return f"-Dbubuku.sandbox={self.folder}"

    @property
    def nodes(self) -> tuple[Node, ...]:
        options = self.options
        kraft = options.mode is Mode.KRAFT
        both = (Role.BROKER, Role.CONTROLLER)
        broker_roles = both if options.combined else (Role.BROKER,)
        nodes = [
            _node(self, n, n, broker_roles, options.racks[(n - 1) % len(options.racks)])
            for n in range(1, options.brokers + 1)
        ]
        if kraft and not options.combined:
            nodes.append(_node(self, options.brokers + 1, FIRST_CONTROLLER_ID, (Role.CONTROLLER,), None))
        return tuple(nodes)

    @property
    def brokers(self) -> tuple[Node, ...]:
        return tuple(node for node in self.nodes if node.is_broker)

    @property
    def controllers(self) -> tuple[Node, ...]:
        """The nodes that are controllers and nothing else."""
        return tuple(node for node in self.nodes if not node.is_broker)

    @property
    def bootstrap_servers(self) -> tuple[str, ...]:
        return tuple(node.listener for node in self.brokers)

    @property
    def quorum_voters(self) -> str:
        """KRaft's controller.quorum.voters."""
        voters = [node for node in self.nodes if node.controller_port is not None]
        return ",".join(f"{node.node_id}@{HOST}:{node.controller_port}" for node in voters)

    def node(self, node_id: int) -> Node:
        """Raises UsageError where there is none of this id."""
        for node in self.nodes:
            if node.node_id == node_id:
                return node
        known = ", ".join(str(node.node_id) for node in self.nodes)
        raise UsageError(f"there is no node {node_id} in this sandbox; it has {known}")

    def ports(self) -> Iterator[tuple[int, str]]:
        yield self.zookeeper_port, "ZooKeeper"
        for node in self.nodes:
            yield from node.ports()


def _node(layout: Layout, place: int, node_id: int, roles: tuple[Role, ...], rack: str | None) -> Node:
    first = layout.base_port + _STRIDE * place
    is_broker = Role.BROKER in roles
    return Node(
        node_id=node_id,
        roles=roles,
        rack=rack,
        folder=layout.folder / f"{'broker' if is_broker else 'controller'}-{node_id}",
        listener_port=first + _LISTENER if is_broker else None,
        controller_port=first + _CONTROLLER if Role.CONTROLLER in roles else None,
        api_port=first + _API,
        jolokia_port=first + _JOLOKIA if layout.options.jolokia else None,
    )


def save(layout: Layout) -> None:
    """Keep it in its folder, which is made if need be."""
    document = asdict(layout.options) | {"base_port": layout.base_port, "cluster_id": layout.cluster_id}
    layout.folder.mkdir(parents=True, exist_ok=True)
    fresh = layout.folder / f".{FILE_NAME}.new"
    fresh.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    fresh.replace(layout.folder / FILE_NAME)


def load(folder: Path) -> Layout | None:
    """The layout kept in `folder`; None where there is none. Raises UnavailableError where it cannot be read."""
    path = folder / FILE_NAME
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        base_port, cluster_id = document.pop("base_port"), document.pop("cluster_id")
        options = Options(**{**document, "mode": Mode(document["mode"]), "racks": tuple(document["racks"])})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UnavailableError(f"{path} cannot be read ({error}); remove {folder} if nothing of it runs") from None
    return Layout(folder, options, base_port, cluster_id)


def plan(folder: Path, options: Options, base_port: int | None) -> Layout:
    """A new layout in `folder`, on free ports where `base_port` is None. Nothing is written.

    Raises UsageError where the options do not fit together, UnavailableError naming a port that is in use.
    """
    options = options.checked()
    if any(character.isspace() for character in str(folder)):
        raise UsageError(f"--dir {folder}: Kafka's start script cannot take a path with blanks")
    cluster_id = _new_cluster_id()
    if base_port is not None:
        layout = Layout(folder, options, base_port, cluster_id)
        check_ports(layout)
        return layout
    highest = _first_ephemeral_port() - _STRIDE * (options.brokers + 2)
    for _ in range(_AUTOMATIC_TRIES):
        layout = Layout(folder, options, random.randrange(_AUTOMATIC_PORTS_FROM, highest, _STRIDE), cluster_id)
        if all(port_is_free(port) for port, _ in layout.ports()):
            return layout
    raise UnavailableError("no free ports were found on 127.0.0.1; choose some with --base-port")


def check_ports(layout: Layout) -> None:
    """Raises UnavailableError naming the first port of `layout` that is in use, UsageError for one that cannot be."""
    for port, owner in layout.ports():
        if not 1024 <= port <= 65535:
            raise UsageError(f"--base-port {layout.base_port}: {owner} would get port {port}; give one from 1024 on")
        if not port_is_free(port):
            raise UnavailableError(
                f"port {port} on {HOST}, which {owner} needs, is already in use; "
                "end what listens there, or choose other ports with --base-port"
            )


def port_is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Kafka does: TIME_WAIT is no hindrance
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def default_folder() -> Path:
    """`$XDG_STATE_HOME/bubuku-sandbox`, by default in ~/.local/state."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "bubuku-sandbox"


def _first_ephemeral_port() -> int:
    """Below it no outgoing connection takes a port that a broker wants back after its restart."""
    try:
        return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="utf-8").split()[0])
    except (OSError, ValueError):
        return 32768


def _new_cluster_id() -> str:
    """A UUID as Kafka writes them; it may not begin with a dash, which its tools would take for an option."""
    while True:
        text = base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
        if not text.startswith("-"):
            return text
