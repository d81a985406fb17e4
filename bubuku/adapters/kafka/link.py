"""Connections to single Kafka servers, each driven by the thread that asks, within that call's deadline.

Purpose: kafka-python's clients bootstrap from a random server and wait without a bound of the caller's; here a request
goes to a chosen server, no thread runs between calls, and a connection that failed once is replaced by a fresh one.
Callers: `admin` and `kraft_registrations`, from reader and effects threads. Invariants: UnavailableError means that the
request was not sent, TimedOutError that it may have been executed. No secret is in a repr, a log line or an error.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import kafka.errors as kafka_errors
from kafka.net.manager import KafkaConnectionManager
from kafka.net.selector import NetworkSelector

from bubuku.core.errors import TimedOutError, UnavailableError, UsageError

# At debug level kafka-python logs SASL tokens, passwords among them; above it, one line for each refused connection of
# those that this module reports itself.
logging.getLogger("kafka").setLevel(logging.CRITICAL)

_LARGEST_ANSWER_BYTES = 200_000_000
_PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """How bubuku's own Kafka clients connect."""

    security_protocol: str = "PLAINTEXT"
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    key_password: str | None = field(default=None, repr=False)
    verify_hostname: bool = True
    sasl_mechanism: str | None = None
    sasl_username: str | None = None
    sasl_password: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.security_protocol not in _PROTOCOLS:
            raise UsageError(f"Kafka security protocol {self.security_protocol!r} is none of {', '.join(_PROTOCOLS)}")
        if self.security_protocol.startswith("SASL_"):
            if self.sasl_mechanism not in _MECHANISMS:
                raise UsageError(f"Kafka SASL mechanism {self.sasl_mechanism!r} is none of {', '.join(_MECHANISMS)}")
            if self.sasl_username is None or self.sasl_password is None:
                raise UsageError("Kafka SASL needs both a user name and a password")

    def options(self) -> dict[str, Any]:
        """As kafka-python names them."""
        sasl = self.security_protocol.startswith("SASL_")
        return {
            "security_protocol": self.security_protocol,
            "ssl_cafile": self.ca_file,
            "ssl_certfile": self.cert_file,
            "ssl_keyfile": self.key_file,
            "ssl_password": self.key_password,
            "ssl_check_hostname": self.verify_hostname,
            "sasl_mechanism": self.sasl_mechanism if sasl else None,
            "sasl_plain_username": self.sasl_username if sasl else None,
            "sasl_plain_password": self.sasl_password if sasl else None,
        }


class RefusedClientError(UnavailableError):
    """The server answers, but not to us: TLS or SASL settings do not fit."""


class Link:
    """One server, and the connection to it while there is one. Thread-safe; calls wait for each other."""

    def __init__(self, server: str, settings: ClientSettings) -> None:
        self.server = server
        self._settings = settings
        self._lock = threading.Lock()
        self._net: Any = None
        self._manager: Any = None
        self._connection: Any = None

    def ask(self, request: Any, until: float) -> Any:
        """The server's answer to a kafka-python request, before monotonic `until`.

        Raises UnavailableError (not sent), RefusedClientError (it refuses our credentials), TimedOutError (sent, and
        no answer). A connection that the server closed while it was idle is replaced.
        """
        if not self._lock.acquire(timeout=max(0.0, until - time.monotonic())):
            raise UnavailableError(f"Kafka at {self.server} is busy with an earlier request")
        try:
            if self._manager is not None:
                self._net.poll(timeout_ms=0)  # notices now whether the server closed the connection while it was idle
                if self._connection is None or self._connection.closed:
                    self._drop()
            if self._manager is None:
                self._open()
            return self._exchange(request, until)
        finally:
            self._lock.release()

    def supports(self, api_key: int) -> bool:
        """Whether the server offers this API; known once it has answered."""
        manager = self._manager
        data = None if manager is None else manager.broker_version_data
        return data is not None and data.api_versions is not None and api_key in data.api_versions

    def close(self) -> None:
        """Drop the connection; the next call makes a fresh one."""
        with self._lock:
            self._drop()

    def _exchange(self, request: Any, until: float) -> Any:
        sent = False

        async def exchange() -> Any:
            nonlocal sent
            left_ms = max(1.0, (until - time.monotonic()) * 1000)
            node = self._manager.cluster.bootstrap_brokers()[0].node_id
            connection = self._manager.get_connection(node, timeout_ms=left_ms, refresh_metadata_on_err=False)
            self._connection = connection
            await connection
            if connection.closed:
                raise kafka_errors.KafkaConnectionError("the connection was closed")
            sent = True
            left_ms = max(1.0, (until - time.monotonic()) * 1000)
            return await connection.send_request(request, request_timeout_ms=left_ms)

        future = self._net.call_soon_with_future(exchange)
        self._net.poll(timeout_ms=max(0.0, (until - time.monotonic()) * 1000), future=future)
        if future.is_done and future.exception is None:
            return future.value
        error = future.exception if future.is_done else None
        logging_in = self._logging_in()
        self._drop()
        raise self._translated(error, sent, logging_in)

    def _logging_in(self) -> bool:
        """Whether the server had told its versions, and the SASL exchange was next."""
        sasl = self._settings.security_protocol.startswith("SASL_")
        return sasl and self._connection is not None and self._connection.broker_version_data is not None

    def _translated(
        self, error: BaseException | None, sent: bool, logging_in: bool
    ) -> UnavailableError | TimedOutError:
        if isinstance(error, kafka_errors.IncompatibleBrokerVersion):
            return UnavailableError(f"Kafka at {self.server} does not offer this request: {error}")
        if isinstance(error, kafka_errors.KafkaError | OSError | ValueError | None):
            text = "no answer in time" if error is None else str(error) or type(error).__name__
            if sent:
                return TimedOutError(f"Kafka at {self.server} gave no answer: {text}")
            refused = (kafka_errors.SaslAuthenticationFailedError, kafka_errors.UnsupportedSaslMechanismError)
            # kafka-python drops the server's reason where the end of the connection comes with it.
            if isinstance(error, refused) or (logging_in and isinstance(error, kafka_errors.KafkaConnectionError)):
                return RefusedClientError(
                    f"Kafka at {self.server} refuses our SASL mechanism, user or password: {text}"
                )
            if "[SSL: " in text and "EOF" not in text:
                return RefusedClientError(f"Kafka at {self.server} and our TLS settings do not fit: {text}")
            return UnavailableError(f"Kafka at {self.server} does not answer: {text}")
        raise error  # a fault of ours, or KeyboardInterrupt

    def _open(self) -> None:
        self._net = NetworkSelector(client_id="bubuku")
        self._manager = KafkaConnectionManager(
            self._net,
            client_id="bubuku",
            bootstrap_servers=[self.server],
            receive_message_max_bytes=_LARGEST_ANSWER_BYTES,
            **self._settings.options(),
        )

    def _drop(self) -> None:
        manager, net, connection = self._manager, self._net, self._connection
        self._manager = self._net = self._connection = None
        if manager is None:
            return
        if connection is not None and not connection.closed:
            connection.close(kafka_errors.KafkaConnectionError("dropped"))  # with an error: unsent bytes are discarded
        manager.close()
        net.poll(timeout_ms=0)
        net.close()
