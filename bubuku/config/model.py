"""The settings, documented beside the field: why, unit, default. docs/configuration.md is made from this file.

Purpose: one frozen, validated value that the daemon and the command line read. `bubuku.config.load` makes it.
Invariants: unknown keys are errors; no secret is in a repr, dump or error (a password is a SecretStr or a file's name).
"""

from __future__ import annotations

import math
import socket
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    PrivateAttr,
    model_validator,
)

from bubuku.config.sections import Secretive, Section
from bubuku.config.zookeeper import ZooKeeper
from bubuku.core import properties
from bubuku.core.errors import UsageError
from bubuku.core.model import Mode, Role
from bubuku.core.observation import Policy

KAFKA_LOG_NAME = "kafka-stdout.log"
SERVER_PROPERTIES_NAME = "server.properties"
DEFAULT_API_PORT = 8888


class Feature(StrEnum):
    """The names that BUKU_FEATURES knows."""

    GRACEFUL_TERMINATE = "graceful_terminate"
    USE_IP_ADDRESS = "use_ip_address"
    RESTART_ON_EXHIBITOR = "restart_on_exhibitor"
    REBALANCE_ON_START = "rebalance_on_start"
    REBALANCE_ON_BROKERS_CHANGE = "rebalance_on_brokers_change"
    BALANCE_DATA_SIZE = "balance_data_size"
    RESTART_IF_DEAD = "restart_if_dead"


def _texts(value: Any) -> Any:
    """Numbers and booleans of an environment mapping as the texts that a process sees."""
    if not isinstance(value, dict):
        return value
    return {
        key: str(item).lower() if isinstance(item, bool) else str(item) if isinstance(item, int | float) else item
        for key, item in value.items()
    }


Port = Annotated[int, Field(ge=1, le=65535)]


class KafkaClient(Secretive):
    bootstrap_servers: tuple[str, ...] = Field(
        default=(),
        description="Where bubuku's own Kafka client begins. Default: this broker's endpoints and its peers'.",
    )
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        default="PLAINTEXT", description="How bubuku's own client talks to Kafka."
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = Field(
        default=None, description="Needed with SASL_PLAINTEXT and SASL_SSL."
    )
    username: str | None = Field(default=None, description="Needed with SASL.")
    ssl_cafile: Path | None = Field(
        default=None, description="PEM of the authorities that sign the brokers' certificates."
    )
    ssl_certfile: Path | None = Field(default=None, description="PEM of the client's own certificate.")
    ssl_keyfile: Path | None = Field(default=None, description="PEM of the client's own key.")
    ssl_check_hostname: bool = Field(default=True, description="Whether the certificate must name the broker's host.")

    @model_validator(mode="after")
    def _complete(self) -> KafkaClient:
        if self.security_protocol.startswith("SASL"):
            for name in ("sasl_mechanism", "username"):
                if getattr(self, name) is None:
                    raise ValueError(f"{name} is needed with {self.security_protocol}")
            if self.password is None and self.password_file is None:
                raise ValueError("SASL needs password_file, or BUBUKU_KAFKA_PASSWORD in the environment")
        if self.ssl_keyfile is not None and self.ssl_certfile is None:
            raise ValueError("ssl_keyfile is of no use without ssl_certfile")
        return self


class Kafka(Section):
    dir: Path = Field(description="Kafka's home: `bin/` and `libs/` are in it. It may be read-only.")
    settings: Path = Field(
        description="Template of server.properties. bubuku sets the ids, the rack and ZooKeeper's address in a copy of "
        "it (`<state_dir>/server.properties`) and leaves all else as it is."
    )
    mode: Mode = Field(default=Mode.ZOOKEEPER, description="Who keeps Kafka's metadata: `zookeeper` or `kraft`.")
    roles: Annotated[tuple[Role, ...], Field(min_length=1)] = Field(
        default=(Role.BROKER,), description="In KRaft `broker`, `controller` or both, as `process.roles` says."
    )
    cluster_id: str | None = Field(
        default=None, description="KRaft: the id that new log dirs are formatted with. ZooKeeper mode needs none."
    )
    log_file: Path | None = Field(
        default=None,
        description="Kafka's own log, which bubuku follows for progress and causes of failure. "
        f"Default: what Kafka prints, kept as `<log_dir>/{KAFKA_LOG_NAME}`.",
    )
    start_command: Annotated[tuple[str, ...], Field(min_length=1)] | None = Field(
        default=None,
        description="What starts Kafka, as a list; it must end in `exec`, so that the process is Kafka's own. "
        "Default: `<dir>/bin/kafka-server-start.sh <state_dir>/server.properties`.",
    )
    environment: Annotated[dict[str, str], BeforeValidator(_texts)] = Field(
        default_factory=dict,
        repr=False,  # it may hold secrets
        description="Added to Kafka's environment, for example KAFKA_HEAP_OPTS.",
    )
    jolokia_url: str | None = Field(
        default=None,
        description="Where Kafka's Jolokia agent answers, for example http://127.0.0.1:8778/jolokia. "
        "Without it, states come from the process, the registration, the Admin protocol and the log.",
    )
    client: KafkaClient = Field(default_factory=KafkaClient, description="bubuku's own Kafka client.")

    @model_validator(mode="after")
    def _roles_fit(self) -> Kafka:
        if self.mode is Mode.ZOOKEEPER and self.roles != (Role.BROKER,):
            raise ValueError("roles other than [broker] need mode: kraft")
        return self


class Api(Section):
    host: str = Field(default="127.0.0.1", description="Address that the API binds to.")
    token_file: Path | None = Field(
        default=None,
        description="File with the bearer token that requests which change something must carry. "
        "Without it they are taken from loopback alone.",
    )
    port: Port = Field(default=DEFAULT_API_PORT, description="The API's port. 8889 where health_port takes 8888.")
    health_port: Port | None = Field(
        default=None,
        description="Read-only health (/livez, /readyz, /health) on all interfaces, for load balancers. Absent: none.",
    )

    @model_validator(mode="before")
    @classmethod
    def _make_room(cls, data: Any) -> Any:
        """The original's health port and its API were one; HEALTH_PORT=8888 alone must keep working."""
        if isinstance(data, dict) and "port" not in data and str(data.get("health_port")) == str(DEFAULT_API_PORT):
            return {**data, "port": DEFAULT_API_PORT + 1}
        return data

    @model_validator(mode="after")
    def _differ(self) -> Api:
        if self.health_port == self.port:
            raise ValueError(f"health_port and port are both {self.port}; they must differ")
        return self


class StartupTimeout(Section):
    type: Literal["linear", "progressive", "none"] = Field(
        default="linear",
        description="How the deadline grows after a start that made no progress: by `step` seconds (linear), by "
        "`step` times itself (progressive), or there is no deadline (none).",
    )
    initial_seconds: float = Field(default=300.0, gt=0, description="Without progress for so long, a start has failed.")
    step: float | None = Field(
        default=None, ge=0, description="60 (seconds) where linear, 0.5 (a factor) where progressive."
    )

    @property
    def effective_step(self) -> float:
        if self.step is not None:
            return self.step
        return 0.5 if self.type == "progressive" else 60.0


class Config(Section):
    mode: Literal["amazon", "static"] = Field(
        default="amazon",
        description="`static`: all is in this file. `amazon` (the original's default) is not available yet.",
    )
    node_id: int | None = Field(
        default=None,
        ge=0,
        description="The broker's id. meta.properties in the log dirs decides where it exists, and another id here "
        "holds the broker. Default: the template's; in ZooKeeper mode Kafka generates one.",
    )
    rack: str | None = Field(default=None, min_length=1, description="broker.rack. Default: the template's.")
    host: str = Field(
        default_factory=socket.getfqdn, min_length=1, description="This host's name for its peers and for clients."
    )
    state_dir: Path = Field(
        default=Path("/var/lib/bubuku"), description="What outlives the daemon; a folder of its own."
    )
    log_dir: Path = Field(default=Path("/var/log/bubuku"), description="Logs: the daemon's, and what Kafka prints.")
    kafka: Kafka
    zookeeper: ZooKeeper
    api: Api = Field(default_factory=Api)
    adopt_running: bool = Field(
        default=False,
        description="Take over a Kafka that runs already and that bubuku did not start, without a restart.",
    )
    instant_failover: bool = Field(
        default=True,
        description="Tell the cluster at once that the local broker died, on proof, instead of its time-out.",
    )
    graceful_terminate: bool = Field(
        default=False,
        description="SIGTERM to the daemon stops Kafka too. Otherwise Kafka goes on for the next daemon to adopt.",
    )
    graceful_terminate_seconds: float = Field(
        default=60.0,
        ge=0,
        description="How long a daemon that ends with its Kafka, or whose host shuts down, waits for the guard's "
        "leave. Then, or at a second SIGTERM, Kafka is stopped gracefully all the same.",
    )
    features: tuple[Feature, ...] = Field(default=(), description="BUKU_FEATURES of the original Bubuku.")
    free_space_diff_threshold_mb: int = Field(
        default=50_000, ge=1, description="For the feature balance_data_size: the imbalance, in MB, that it acts on."
    )
    startup_timeout: StartupTimeout = Field(default_factory=StartupTimeout)
    stability_seconds: float = Field(
        default=30.0,
        ge=0,
        description="After a restart the broker stays in all its in-sync replica sets for so long, "
        "before the next one may go.",
    )

    _warnings: tuple[str, ...] = PrivateAttr(default=())

    @property
    def warnings(self) -> tuple[str, ...]:
        """One line each for what is accepted but has no effect yet; to be logged once at start-up."""
        return self._warnings

    @property
    def server_properties(self) -> Path:
        """The rendered file that Kafka is started on."""
        return self.state_dir / SERVER_PROPERTIES_NAME

    @property
    def kafka_log(self) -> Path:
        """The log that is followed."""
        return self.kafka.log_file if self.kafka.log_file is not None else self.kafka_stdout

    @property
    def kafka_stdout(self) -> Path:
        """Where what Kafka prints is kept."""
        return self.log_dir / KAFKA_LOG_NAME

    @property
    def start_command(self) -> tuple[str, ...]:
        if self.kafka.start_command is not None:
            return self.kafka.start_command
        return (str(self.kafka.dir / "bin" / "kafka-server-start.sh"), str(self.server_properties))

    def token(self) -> str | None:
        """What requests that change something must carry; None: none is configured. Raises UsageError naming the file
        where it cannot be read, or is no token: one line of ASCII characters."""
        path = self.api.token_file
        if path is None:
            return None
        try:
            found = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
            raise UsageError(f"api.token_file: {path}: {reason}") from None
        if not (found and found.isascii() and found.isprintable()):
            raise UsageError(f"api.token_file: {path} must hold a token: one line of ASCII characters")
        return found

    def template(self) -> str:
        """The template's text. Raises UsageError naming the file where it cannot be read."""
        try:
            return self.kafka.settings.read_text(encoding=properties.ENCODING)
        except OSError as error:
            raise UsageError(f"kafka.settings: {self.kafka.settings}: {error.strerror}") from None

    def policy(self, *, accept_empty: bool = False) -> Policy:
        """What decisions read, from the settings and the template as it stands now.

        Raises UsageError where the template cannot be read or parsed.
        """
        settings = properties.parse(
            properties.rendered(
                self.template(),
                mode=self.kafka.mode,
                roles=frozenset(self.kafka.roles),
                node_id=self.node_id,
                rack=self.rack,
            )
        )
        serves = Role.BROKER in self.kafka.roles
        timeout = self.startup_timeout
        return Policy(
            mode=self.kafka.mode,
            roles=frozenset(self.kafka.roles),
            node_id=self.node_id if self.node_id is not None else properties.node_id(settings),
            host=self.host,
            cluster_id=self.kafka.cluster_id,
            endpoints=properties.advertised_endpoints(settings, self.host) if serves else (),
            instant_failover=self.instant_failover,
            adopt_running=self.adopt_running,
            accept_empty=accept_empty,
            unclean_election=properties.unclean_election(settings),
            jmx=self.kafka.jolokia_url is not None,
            startup_timeout=math.inf if timeout.type == "none" else timeout.initial_seconds,
            startup_step=timeout.effective_step,
            startup_progressive=timeout.type == "progressive",
            session_timeout=properties.session_timeout_seconds(settings, self.kafka.mode),
            stability=self.stability_seconds,
            addresses_given=self.zookeeper.addresses_file is None,
            addresses_settle=self.zookeeper.addresses_settle_seconds,
        )
