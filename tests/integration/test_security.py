"""bubuku's own clients against real servers that ask who they are: TLS, SASL and digest, right and wrong."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from kazoo.client import KazooClient
from kazoo.exceptions import NoAuthError
from kazoo.security import CREATOR_ALL_ACL, READ_ACL_UNSAFE

from bubuku.adapters.kafka import ClientSettings, KafkaAdmin, KraftRegistrations
from bubuku.adapters.zookeeper import Session, ZooKeeperCoordination, ZooKeeperRegistrations, ZooKeeperSettings
from bubuku.core.actions import Result
from bubuku.core.errors import RefusedError, UnavailableError
from bubuku.core.model import Member, Mode
from bubuku.sandbox.zookeeper import ZooKeeper
from tests.support.certificates import Authority, Pair
from tests.support.kafka_servers import HOST, KafkaCluster, free_ports
from tests.support.wait import wait_for

PASSWORD = "opensesame-0815"
WRONG = "letmein-4711"
KEY_PASSWORD = "keypass-1234"
MEMBER = Member(1, "kafka-1", "instance-1", ("broker",), "2.0.0", None, None, "serving", "it serves", 0.0)


@dataclass(frozen=True)
class Keys:
    """What both servers trust, and the pairs that tests use."""

    trusted: Path
    server: Pair
    elsewhere: Pair  # a server's certificate for another host
    client: Pair
    stranger: Path  # an authority that signed nothing here


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    folder = tmp_path_factory.mktemp("keys")
    authority = Authority(folder, "authority")
    return Keys(
        authority.certificate,
        authority.sign("server"),
        authority.sign("elsewhere", address=None),
        authority.sign("client", password=KEY_PASSWORD),
        Authority(folder, "stranger").certificate,
    )


class TestKafka:
    """One broker with a listener for each way in."""

    @pytest.fixture(scope="class")
    def ports(self, tmp_path_factory: pytest.TempPathFactory, keys: Keys) -> Iterator[dict[str, int]]:
        folder = tmp_path_factory.mktemp("kafka")
        names = ("TLS", "MUTUAL", "ELSEWHERE", "LOGIN", "OPENLOGIN")
        ports = dict(zip(names, free_ports(len(names)), strict=True))
        cluster = KafkaCluster(folder, Mode.KRAFT, 1)
        properties = cluster.servers[1].properties
        more = [f"{name}://{HOST}:{port}" for name, port in ports.items()]
        for key in ("listeners", "advertised.listeners"):
            properties[key] = ",".join([properties[key], *more])
        properties["listener.security.protocol.map"] += (
            ",TLS:SSL,MUTUAL:SSL,ELSEWHERE:SSL,LOGIN:SASL_SSL,OPENLOGIN:SASL_PLAINTEXT"
        )
        properties |= {
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(keys.server.both),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(keys.trusted),
            "listener.name.mutual.ssl.client.auth": "required",
            "listener.name.elsewhere.ssl.keystore.location": str(keys.elsewhere.both),
            "listener.name.elsewhere.ssl.keystore.type": "PEM",
            "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
        }
        for listener in ("login", "openlogin"):
            prefix = f"listener.name.{listener}"
            scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
            plain = f'org.apache.kafka.common.security.plain.PlainLoginModule required user_bubuku="{PASSWORD}";'
            properties[f"{prefix}.plain.sasl.jaas.config"] = plain
            properties[f"{prefix}.scram-sha-256.sasl.jaas.config"] = scram
            properties[f"{prefix}.scram-sha-512.sasl.jaas.config"] = scram
        users = [f"SCRAM-SHA-{bits}=[name=bubuku,password={PASSWORD}]" for bits in (256, 512)]
        try:
            cluster.start(*(part for user in users for part in ("--add-scram", user)))
            plain_text = KafkaAdmin([cluster.servers[1].endpoint])
            wait_for(lambda: _live(plain_text), 30, "the broker to serve")
            plain_text.close()
            yield ports
        finally:
            cluster.stop()

    def right(self, keys: Keys) -> dict[str, tuple[str, ClientSettings]]:
        """name → (listener, settings that fit it)."""
        tls = ClientSettings("SSL", ca_file=str(keys.trusted))
        login = ClientSettings(
            "SASL_SSL",
            ca_file=str(keys.trusted),
            sasl_mechanism="PLAIN",
            sasl_username="bubuku",
            sasl_password=PASSWORD,
        )
        return {
            "tls": ("TLS", tls),
            "mutual": (
                "MUTUAL",
                replace(
                    tls,
                    cert_file=str(keys.client.certificate),
                    key_file=str(keys.client.key),
                    key_password=KEY_PASSWORD,
                ),
            ),
            "unverified name": ("ELSEWHERE", replace(tls, verify_hostname=False)),
            "plain": ("LOGIN", login),
            "scram-256": ("LOGIN", replace(login, sasl_mechanism="SCRAM-SHA-256")),
            "scram-512": ("LOGIN", replace(login, sasl_mechanism="SCRAM-SHA-512")),
            "scram without tls": (
                "OPENLOGIN",
                replace(login, security_protocol="SASL_PLAINTEXT", sasl_mechanism="SCRAM-SHA-512"),
            ),
        }

    @pytest.mark.parametrize(
        "how", ["tls", "mutual", "unverified name", "plain", "scram-256", "scram-512", "scram without tls"]
    )
    def test_right(self, ports: dict[str, int], keys: Keys, how: str) -> None:
        listener, settings = self.right(keys)[how]
        address = f"{HOST}:{ports[listener]}"
        port = KafkaAdmin([address], settings, own_endpoint=address)
        registrations = KraftRegistrations([address], lambda: 1, settings)
        try:
            cluster = port.cluster(None, 5.0)
            assert [(b.host, b.port) for b in cluster.brokers] == [(HOST, ports[listener])]
            assert cluster.controller_id == 1
            assert port.answers(5.0)
            own = registrations.view(5.0).own
            assert own is not None
            assert own.endpoints == (address,)
        finally:
            port.close()
            registrations.close()

    @pytest.mark.parametrize(
        ("how", "changes", "told"),
        [
            ("tls", {"ca_file": "stranger"}, "TLS settings do not fit"),
            ("unverified name", {"verify_hostname": True}, "TLS settings do not fit"),
            ("mutual", {"cert_file": None, "key_file": None, "key_password": None}, "TLS settings do not fit"),
            ("plain", {"sasl_password": WRONG}, "user or password"),
            ("plain", {"sasl_username": "nobody"}, "user or password"),
            ("scram-256", {"sasl_password": WRONG}, "user or password"),
            ("scram-512", {"sasl_password": WRONG}, "user or password"),
            ("scram without tls", {"security_protocol": "PLAINTEXT"}, "no answer"),
            ("tls", {"security_protocol": "PLAINTEXT"}, "does not answer"),
        ],
    )
    def test_wrong(
        self,
        ports: dict[str, int],
        keys: Keys,
        how: str,
        changes: dict[str, Any],
        told: str,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """Unavailable within the deadline, in one line that names the server and no secret."""
        listener, settings = self.right(keys)[how]
        if changes.get("ca_file") == "stranger":
            changes = {"ca_file": str(keys.stranger)}
        address = f"{HOST}:{ports[listener]}"
        port = KafkaAdmin([address], replace(settings, **changes), own_endpoint=address)
        caplog.set_level("DEBUG")
        try:
            begun = time.monotonic()
            with pytest.raises(UnavailableError, match=address) as refused:
                port.cluster(None, 3.0)
            assert time.monotonic() - begun < 3.5
        finally:
            port.close()
        said = str(refused.value) + repr(settings) + caplog.text
        assert told in str(refused.value)
        assert "\n" not in str(refused.value)
        assert not any(secret in said for secret in (PASSWORD, WRONG, KEY_PASSWORD))

    def test_refused_credentials_do_not_look_like_a_dead_broker(self, ports: dict[str, int], keys: Keys) -> None:
        listener, settings = self.right(keys)["scram-256"]
        port = KafkaAdmin([], replace(settings, sasl_password=WRONG), own_endpoint=f"{HOST}:{ports[listener]}")
        try:
            with pytest.raises(UnavailableError, match="refuses"):
                port.answers(3.0)
        finally:
            port.close()


class TestZooKeeper:
    """One server with an open port, where digest and SASL clients prove who they are, and a TLS port."""

    @pytest.fixture(scope="class")
    def addresses(self, tmp_path_factory: pytest.TempPathFactory, keys: Keys) -> Iterator[dict[str, str]]:
        folder = tmp_path_factory.mktemp("zookeeper")
        plain, secure = free_ports(2)
        jaas = folder / "jaas.conf"
        jaas.write_text(
            f'Server {{ org.apache.zookeeper.server.auth.DigestLoginModule required user_bubuku="{PASSWORD}"; }};\n'
        )
        server = ZooKeeper(
            folder / "server",
            plain,
            properties={
                "authProvider.sasl": "org.apache.zookeeper.server.auth.SASLAuthenticationProvider",
                "secureClientPort": str(secure),
                "secureClientPortAddress": HOST,
                "serverCnxnFactory": "org.apache.zookeeper.server.NettyServerCnxnFactory",
                "ssl.keyStore.location": str(keys.server.both),
                "ssl.keyStore.type": "PEM",
                "ssl.trustStore.location": str(keys.trusted),
                "ssl.trustStore.type": "PEM",
            },
            jvm_options=(f"-Djava.security.auth.login.config={jaas}",),
        )
        server.start()
        try:
            yield {"plain": f"{HOST}:{plain}", "secure": f"{HOST}:{secure}"}
        finally:
            server.stop()

    @pytest.fixture
    def sessions(self) -> Iterator[list[Session]]:
        opened: list[Session] = []
        yield opened
        for session in opened:
            session.close()

    def settings(self, addresses: dict[str, str], keys: Keys, how: str) -> ZooKeeperSettings:
        prefix = f"/{how}"
        if how == "digest":
            return ZooKeeperSettings(addresses["plain"], prefix, digest=f"bubuku:{PASSWORD}")
        if how == "sasl":
            return ZooKeeperSettings(addresses["plain"], prefix, sasl_username="bubuku", sasl_password=PASSWORD)
        return ZooKeeperSettings(
            addresses["secure"],
            prefix,
            tls=True,
            ca_file=str(keys.trusted),
            cert_file=str(keys.client.certificate),
            key_file=str(keys.client.key),
            key_password=KEY_PASSWORD,
        )

    @pytest.mark.parametrize("how", ["digest", "sasl", "tls"])
    def test_right(self, addresses: dict[str, str], keys: Keys, sessions: list[Session], how: str) -> None:
        settings = self.settings(addresses, keys, how)
        one, two = (_coordination(settings, sessions) for _ in range(2))
        one.publish(MEMBER, 3.0)
        assert one.join_marker("cluster-a", 3.0).result is Result.DONE
        wait_for(lambda: two.view(1, 3.0).members == (MEMBER,), 5, "the member, as another daemon sees it")
        with pytest.raises(RefusedError, match="kafka-1"):
            two.publish(replace(MEMBER, instance="another"), 3.0)
        registrations = ZooKeeperRegistrations(sessions[0], lambda: 1)
        assert registrations.raise_fence(1, 3.0).result is Result.DONE
        twin = ZooKeeperRegistrations(sessions[1], lambda: 1)
        assert twin.raise_fence(1, 3.0).result is Result.DONE, "another daemon with the same credentials may"

    @pytest.mark.parametrize("how", ["digest", "sasl"])
    def test_what_bubuku_keeps_is_protected_from_others(
        self, addresses: dict[str, str], keys: Keys, sessions: list[Session], how: str
    ) -> None:
        settings = self.settings(addresses, keys, how)
        _coordination(settings, sessions).join_marker("cluster-a", 3.0)
        marker = f"/{how}/bubuku/v2/marker"
        stranger = KazooClient(addresses["plain"])
        stranger.start(timeout=10)
        try:
            assert json.loads(stranger.get(marker)[0])["cluster_id"] == "cluster-a", "anybody may read"
            with pytest.raises(NoAuthError):
                stranger.set(marker, b"{}")
            assert {acl.id.scheme for acl in stranger.get_acls(marker)[0]} == {how, "world"}
            stranger.ensure_path(f"/{how}/brokers/ids")  # the prefix itself stays open: it is Kafka's
        finally:
            stranger.stop()
            stranger.close()

    def test_a_client_without_the_right_is_told(
        self, addresses: dict[str, str], keys: Keys, sessions: list[Session]
    ) -> None:
        settings = self.settings(addresses, keys, "digest")
        _coordination(settings, sessions).join_marker("cluster-a", 3.0)
        for other in (None, f"bubuku:{WRONG}"):
            stranger = _coordination(replace(settings, digest=other), sessions)
            with pytest.raises(UnavailableError, match="does not permit") as refused:
                stranger.publish(MEMBER, 3.0)
            assert WRONG not in str(refused.value)

    def test_a_fence_without_the_right_did_not_happen(
        self, addresses: dict[str, str], keys: Keys, sessions: list[Session]
    ) -> None:
        """Kafka with zookeeper.set.acl: its znodes belong to its own user."""
        settings = replace(self.settings(addresses, keys, "digest"), prefix="/acl")
        kafka = KazooClient(addresses["plain"], auth_data=[("digest", f"kafka:{WRONG}")])
        kafka.start(timeout=10)
        try:
            acl = CREATOR_ALL_ACL + READ_ACL_UNSAFE
            kafka.create("/acl/brokers", b"", makepath=True)
            kafka.create("/acl/brokers/ids", b"", acl=acl)
            content = b'{"endpoints":["PLAINTEXT://a:9092"]}'
            kafka.create("/acl/brokers/ids/1", content, acl=acl, ephemeral=True)
            _coordination(settings, sessions)
            bubuku = ZooKeeperRegistrations(sessions[-1], lambda: 1)
            own = bubuku.view(3.0).own
            assert own is not None
            outcome = bubuku.fence(own, 3.0)
            assert outcome.result is Result.FAILED
            assert "permit" in outcome.detail
            assert kafka.exists("/acl/brokers/ids/1")
            _coordination(replace(settings, digest=f"kafka:{WRONG}"), sessions)
            as_kafka = ZooKeeperRegistrations(sessions[-1], lambda: 1)
            # bubuku's own fence node belongs to the daemon that made it first, so daemons share one user.
            assert as_kafka.raise_fence(1, 3.0).result is Result.FAILED
        finally:
            kafka.stop()
            kafka.close()

    @pytest.mark.parametrize(
        ("how", "changes"),
        [
            ("sasl", {"sasl_password": WRONG}),
            ("sasl", {"sasl_username": "nobody"}),
            ("tls", {"ca_file": "stranger"}),
            ("tls", {"cert_file": None, "key_file": None, "key_password": None}),
            ("tls", {"tls": False}),
        ],
    )
    def test_wrong(
        self,
        addresses: dict[str, str],
        keys: Keys,
        sessions: list[Session],
        caplog: pytest.LogCaptureFixture,
        how: str,
        changes: dict[str, Any],
    ) -> None:
        """It never connects, says so, goes on trying, and tells no secret."""
        caplog.set_level("DEBUG")
        if changes.get("ca_file") == "stranger":
            changes = {"ca_file": str(keys.stranger)}
        settings = replace(self.settings(addresses, keys, how), **changes)
        session = Session(settings)
        sessions.append(session)
        port = ZooKeeperCoordination(session)
        port.start()
        seen = _connected_within(port, 2.0)
        assert not seen
        with pytest.raises(UnavailableError, match="does not answer") as refused:
            port.publish(MEMBER, 0.5)
        said = str(refused.value) + caplog.text
        assert not any(secret in said for secret in (PASSWORD, WRONG, KEY_PASSWORD))


def _coordination(settings: ZooKeeperSettings, sessions: list[Session]) -> ZooKeeperCoordination:
    session = Session(settings)
    sessions.append(session)
    port = ZooKeeperCoordination(session)
    port.start()
    wait_for(lambda: port.view(1, 1.0).connected, 15, "a connection to ZooKeeper")
    return port


def _connected_within(port: ZooKeeperCoordination, seconds: float) -> bool:
    """Whether it was connected for long enough to read anything."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if port.view(1, 0.2).connected:
            return True
        time.sleep(0.05)
    return False


def _live(port: KafkaAdmin) -> bool:
    try:
        return port.cluster(None, 2.0).live() == {1}
    except UnavailableError:
        return False
