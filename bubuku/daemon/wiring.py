"""Which adapter stands behind which port: the one place that knows them all. Called once by the daemon's main."""

from __future__ import annotations

import hashlib
import os
import re
import time
from dataclasses import replace
from pathlib import Path

from bubuku import __version__
from bubuku.adapters.addresses import ConfiguredAddresses, FileAddresses
from bubuku.adapters.broker_files import BrokerFiles, BrokerFilesSettings
from bubuku.adapters.jolokia import JolokiaJmx
from bubuku.adapters.kafka import ClientSettings, KafkaAdmin, KraftRegistrations
from bubuku.adapters.process import KafkaProcess, LaunchSettings
from bubuku.adapters.state_file import JsonStateFile
from bubuku.adapters.zookeeper.coordination import ZooKeeperCoordination
from bubuku.adapters.zookeeper.registrations import ZooKeeperRegistrations
from bubuku.adapters.zookeeper.session import Session, ZooKeeperSettings
from bubuku.config.environment import VARIABLES
from bubuku.config.model import Config
from bubuku.core import properties
from bubuku.core.errors import UnavailableError, UsageError
from bubuku.core.model import Member, Mode, Record, Role, disk_use
from bubuku.core.observation import About, Policy, Published
from bubuku.core.stop_facts import acknowledged
from bubuku.daemon.handlers import table
from bubuku.daemon.loop import Loop, Waker
from bubuku.daemon.readings import ReaderThreads
from bubuku.effects import Effects
from bubuku.http.server import HttpServer
from bubuku.operations import Operations
from bubuku.ports import Addresses, Registrations
from bubuku.supervisor import Supervisor
from bubuku.verdicts import Verdicts

LAUNCH_PREFIXES = ("KAFKA_", "JAVA_", "JDK_JAVA_", "JMX_")
NOT_FOR_KAFKA = {variable.name for variable in VARIABLES if variable.secret} | {"NOTIFY_SOCKET", "WATCHDOG_PID"}


class SystemClock:
    """Implements `ports.Clock`."""

    def now(self) -> float:
        return time.monotonic()

    def wall(self) -> float:
        return time.time()


class Daemon:
    """All parts of one daemon, built from its configuration. `run` returns when it was told to end.

    `state` is locked by the caller; `niceness` is what Kafka runs at. Raises UsageError where the configuration does
    not fit this host.
    """

    def __init__(self, config: Config, state: JsonStateFile, accept_empty: bool, niceness: int) -> None:
        self._config = config
        self._waker = Waker()
        self._clock = SystemClock()
        record = state.load()
        listeners = own_listeners(config)
        policy = config.policy(accept_empty=accept_empty)
        self._first_node_id = record.node_id if record.node_id is not None else policy.node_id
        source = addresses_source(config)
        addresses = first_addresses(config, record, source)
        self._session = Session(zookeeper_settings(config, addresses))
        self._coordination = ZooKeeperCoordination(self._session, lambda: self._readers.coordination.wake())
        self._clients = client_settings(config)
        self._servers = config.kafka.client.bootstrap_servers or listeners
        self._listener = listeners[0] if listeners else None
        self._kafka = KafkaAdmin(self._servers, self._clients, self._listener)
        registrations = self._registrations(policy)
        self._advised: list[KafkaAdmin | KraftRegistrations] = [self._kafka]
        if isinstance(registrations, KraftRegistrations):
            self._advised.append(registrations)
        self._jmx = JolokiaJmx(config.kafka.jolokia_url) if config.kafka.jolokia_url is not None else None
        self._process = KafkaProcess(launch_settings(config, record, niceness))
        self._files = BrokerFiles(files_settings(config, record, addresses))
        self._readers = ReaderThreads(
            files=self._files,
            registrations=registrations,
            kafka=self._kafka,
            jmx=self._jmx,
            coordination=self._coordination,
            addresses=source,
            running=lambda: self._supervisor.running,
            node_id=self.node_id,
            member=self._member,
            met=self._met,
            wake=self._waker.wake,
        )
        handlers = table(
            coordination=self._coordination,
            permits=self._coordination.permits,
            changes=self._coordination.changes,
            registrations=registrations,
            files=self._files,
            kafka=self._kafka,
            readers=self._readers,
            cluster_id=self._cluster_id,
        )
        self._effects = Effects(handlers, self._waker.wake)
        self._supervisor = Supervisor(
            policy=lambda: self._policy(accept_empty),
            process=self._process,
            files=self._files,
            state=state,
            readings=self._readers,
            slow=self._effects,
            clock=self._clock,
            move=lambda found: self._session.move(",".join(found)),
        )
        self._about = About(
            host=config.host,
            mode=config.kafka.mode,
            roles=tuple(sorted(str(role) for role in config.kafka.roles)),
            version=__version__,
            kafka_version=kafka_version(config.kafka.dir),
            rack=config.rack,
            started_epoch=self._clock.wall(),
        )
        self._http = self._http_server()
        patience = config.graceful_terminate_seconds
        self.loop = Loop(self._supervisor, self._waker, self._process.exit_fd, config.graceful_terminate, patience)

    def published(self) -> Published | None:
        return self._supervisor.published

    def node_id(self) -> int | None:
        published = self.published()
        return published.node_id if published is not None else self._first_node_id

    def run(self) -> None:
        """Serve HTTP before anything else is up, then supervise until told to end. Kafka goes on."""
        self._http.start()
        try:
            self._coordination.start()
            self._supervisor.begin()
            self._readers.start()
            self.loop.run()
        finally:
            self._http.stop()
            self._readers.stop(2.0)
            self._effects.stop(2.0)
            self._coordination.close()
            self._kafka.close()
            self._waker.close()

    def _cluster_id(self) -> str | None:
        """As in this host's meta.properties; where they were not read yet, as it is on record."""
        dirs = self._readers.log_dirs.latest.value or ()
        found = next((each.cluster_id for each in dirs if each.cluster_id is not None), None)
        return found if found is not None else self._supervisor.record.cluster_id

    def _member_ids(self) -> tuple[int, ...]:
        view = self._readers.coordination.latest.value
        return () if view is None else tuple(member.node_id for member in view.members)

    def _joined(self) -> frozenset[int]:
        view = self._readers.coordination.latest.value
        return frozenset() if view is None else view.joined

    def _http_server(self) -> HttpServer:
        api, permits, changes = self._config.api, self._coordination.permits, self._coordination.changes
        verdicts = Verdicts(
            self._kafka, self._cluster_id, permitted=self._permitted, members=self._member_ids, joined=self._joined
        )
        operations = Operations(
            permits,
            changes,
            verdicts,
            view=lambda: self._readers.coordination.latest,
            cluster=lambda: self._readers.cluster.latest,
            clock=self._clock,
            marker=lambda: self._supervisor.record.marker,
        )
        return HttpServer(
            api.host,
            api.port,
            self.published,
            self._clock.now,
            self._about,
            api.health_port,
            safe_to_stop=verdicts.safe_to_stop,
            operations=operations,
            token=self._config.token(),
        )

    def _permitted(self) -> frozenset[int]:
        """Raises UnavailableError where the permit cannot be read: who is in it is not guessed."""
        view = self._readers.coordination.latest.value
        if view is None or not view.connected or view.permit is None:
            raise UnavailableError("who is in the permit is not known: ZooKeeper does not answer, or it cannot be read")
        return frozenset(view.permit.entries)

    def _registrations(self, policy: Policy) -> Registrations | None:
        if Role.BROKER not in policy.roles:
            return None
        if policy.mode is Mode.ZOOKEEPER:
            return ZooKeeperRegistrations(self._session, self.node_id, lambda: self._readers.registration.wake())
        return KraftRegistrations(self._servers, self.node_id, self._clients)

    def _policy(self, accept_empty: bool) -> Policy:
        """As the template stands now, our listener with it. Loop thread. Raises UsageError."""
        listeners = own_listeners(self._config)
        self._listener = listeners[0] if listeners else None
        self._kafka.listen_at(self._listener)
        policy = self._config.policy(accept_empty=accept_empty)
        return replace(policy, launch=launched_with(self._config))

    def _met(self, members: tuple[Member, ...]) -> None:
        """Peers' brokers can be asked even where the configuration names none, and our own is dead. Reader thread."""
        servers = [m.kafka_server for m in members if m.kafka_server is not None and "broker" in m.roles]
        for client in self._advised:
            client.suggest(servers)

    def _member(self) -> Member | None:
        published, node_id = self.published(), self.node_id()
        if node_id is None or published is None:
            return None
        about, decision, record = self._about, published.decision, self._supervisor.record
        used, total = disk_use(published.observation.log_dirs.value or ())
        return Member(
            node_id=node_id,
            host=about.host,
            instance=record.instance,
            roles=about.roles,
            version=about.version,
            api_url=api_url(self._config),
            rack=about.rack,
            state=decision.state.value,
            sentence=decision.sentence,
            since_epoch=published.since_epoch,
            reason=decision.reason.value,
            kafka_version=about.kafka_version,
            # rounded, because each change is a write to ZooKeeper
            disk_used_bytes=_rounded(used) if used is not None else None,
            disk_total_bytes=total,
            restarts=sum(published.starts.values()),
            pending=decision.pending,
            note=None if decision.note is None else decision.note.sentence,
            note_due_epoch=None if decision.note is None else decision.note.due_epoch,
            kafka_server=self._listener if Role.BROKER in self._config.kafka.roles else None,
            marker=acknowledged(record),
        )


def _rounded(size_bytes: int, step: int = 100 << 20) -> int:
    return size_bytes // step * step


def api_url(config: Config) -> str:
    """Where this daemon's API can be asked: by this host's name where it listens on all interfaces."""
    host = config.host if config.api.host in ("0.0.0.0", "::", "") else config.api.host
    return f"http://[{host}]:{config.api.port}" if ":" in host else f"http://{host}:{config.api.port}"


def addresses_source(config: Config) -> Addresses:
    path = config.zookeeper.addresses_file
    return ConfiguredAddresses(config.zookeeper.addresses) if path is None else FileAddresses(path)


def first_addresses(config: Config, record: Record, source: Addresses) -> tuple[str, ...]:
    """Where a daemon begins: the list that is configured, else the one that is in force, else what can be read.

    Raises UsageError where there is none of them.
    """
    known = config.zookeeper.addresses or record.addresses
    if known:
        return known
    try:
        return source.read()
    except UnavailableError as error:
        raise UsageError(f"zookeeper.addresses_file: {error}") from None


def zookeeper_settings(config: Config, addresses: tuple[str, ...]) -> ZooKeeperSettings:
    """Raises UsageError where a password file cannot be read."""
    section = config.zookeeper
    auth, tls = section.auth, section.tls
    secret = auth.secret() if auth is not None else None
    password = secret.get_secret_value() if secret is not None else None
    return ZooKeeperSettings(
        hosts=",".join(addresses),
        prefix=section.chroot,
        session_timeout_seconds=section.session_timeout_seconds,
        tls=tls is not None,
        ca_file=str(tls.cafile) if tls is not None and tls.cafile is not None else None,
        cert_file=str(tls.certfile) if tls is not None and tls.certfile is not None else None,
        key_file=str(tls.keyfile) if tls is not None and tls.keyfile is not None else None,
        verify_hostname=tls.verify if tls is not None else True,
        digest=f"{auth.username}:{password}" if auth is not None and auth.scheme == "digest" else None,
        sasl_username=auth.username if auth is not None and auth.scheme == "sasl" else None,
        sasl_password=password if auth is not None and auth.scheme == "sasl" else None,
    )


def own_listeners(config: Config) -> tuple[str, ...]:
    """Where this host's own Kafka can be asked ("host:port"), with the protocol that our client speaks.

    A dedicated controller is asked on its controller listener. Raises UsageError for a template that cannot be read.
    """
    template = properties.parse(config.template())
    if Role.BROKER not in config.kafka.roles:
        found = properties.controller_listeners(template)
    else:
        found = properties.listeners(template, "advertised.listeners") or properties.listeners(template)
        inner = {listener.name for listener in properties.controller_listeners(template)}
        found = tuple(listener for listener in found if listener.name not in inner)
    pairs = (pair.partition(":") for pair in (template.get("listener.security.protocol.map") or "").split(","))
    protocols = {name.strip().upper(): protocol.strip().upper() for name, _, protocol in pairs}
    spoken = config.kafka.client.security_protocol
    return tuple(
        properties.Listener(each.name, each.host or config.host, each.port).endpoint
        for each in found
        if protocols.get(each.name.upper(), each.name.upper()) == spoken
    )


def client_settings(config: Config) -> ClientSettings:
    """Raises UsageError where a password file cannot be read."""
    client = config.kafka.client
    secret = client.secret()
    sasl = client.security_protocol.startswith("SASL")
    return ClientSettings(
        security_protocol=client.security_protocol,
        ca_file=str(client.ssl_cafile) if client.ssl_cafile is not None else None,
        cert_file=str(client.ssl_certfile) if client.ssl_certfile is not None else None,
        key_file=str(client.ssl_keyfile) if client.ssl_keyfile is not None else None,
        verify_hostname=client.ssl_check_hostname,
        sasl_mechanism=client.sasl_mechanism if sasl else None,
        sasl_username=client.username if sasl else None,
        sasl_password=secret.get_secret_value() if sasl and secret is not None else None,
    )


def files_settings(config: Config, record: Record, addresses: tuple[str, ...]) -> BrokerFilesSettings:
    return BrokerFilesSettings(
        kafka_home=config.kafka.dir,
        template=config.kafka.settings,
        server_properties=config.server_properties,
        mode=config.kafka.mode,
        log_file=config.kafka_log,
        stdout_file=config.kafka_stdout,
        roles=frozenset(config.kafka.roles),
        node_id=config.node_id,
        rack=config.rack,
        addresses=addresses,
        zookeeper_prefix=config.zookeeper.chroot,
        instance=record.instance,
        environment=child_environment(config),
    )


def child_environment(config: Config) -> dict[str, str]:
    """The daemon's own, less its secrets and its line to systemd, and what the configuration adds."""
    inherited = {name: value for name, value in os.environ.items() if name not in NOT_FOR_KAFKA}
    return {**inherited, **config.kafka.environment}


def launch_settings(config: Config, record: Record, niceness: int) -> LaunchSettings:
    """The instance in Kafka's environment lets a successor know its own Kafka."""
    return LaunchSettings(
        command=config.start_command,
        environment={**child_environment(config), "BUBUKU_INSTANCE": record.instance},
        output=config.kafka_stdout,
        directory=config.state_dir,
        niceness=niceness,
    )


def launched_with(config: Config) -> dict[str, str]:
    """What a start of Kafka rests on beside server.properties, as digests: it may hold secrets."""
    environment = child_environment(config)
    kept = {name: environment[name] for name in environment if name.startswith(LAUNCH_PREFIXES)}
    kept["start command"] = "\0".join(config.start_command)
    kept["Kafka's version"] = kafka_version(config.kafka.dir) or "?"
    return {name: hashlib.sha256(value.encode()).hexdigest()[:16] for name, value in kept.items()}


def kafka_version(home: Path) -> str | None:
    """As the broker's jar is named (libs/kafka_2.13-3.9.2.jar); None where there is none."""
    names = (re.fullmatch(r"kafka_[\d.]+-([\w.]+?)\.jar", path.name) for path in (home / "libs").glob("kafka_*.jar"))
    return next((match.group(1) for match in names if match is not None), None)
