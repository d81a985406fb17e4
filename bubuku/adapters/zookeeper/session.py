"""One ZooKeeper session of this daemon, shared by `coordination` and `registrations`.

Purpose: connect, stay connected for ever, and bound every call. kazoo's own calls block without bound while the
connection is suspended, so everything here goes through `x_async(...).get(timeout=...)`.
Callers: reader and effects threads; kazoo's threads call the listeners, which must not block.
Invariants: `start` returns at once. A client that gave up (refused credentials, a name that no resolver takes), or has
had no connection for long, is replaced by a fresh one. No secret is in a repr, a log line or an error. A call that
raised `TimedOutError` may still be executed by the server later, one that raised `UnavailableError` was not.
"""

from __future__ import annotations

import importlib.util
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from kazoo.client import KazooClient
from kazoo.exceptions import (
    BadVersionError,
    ConnectionLoss,
    KazooException,
    NoAuthError,
    NodeExistsError,
    NoNodeError,
    NotEmptyError,
    OperationTimeoutError,
    SessionExpiredError,
)
from kazoo.handlers.threading import KazooTimeoutError
from kazoo.protocol.states import KazooState, KeeperState
from kazoo.security import CREATOR_ALL_ACL, OPEN_ACL_UNSAFE, READ_ACL_UNSAFE

from bubuku.core.errors import TimedOutError, UnavailableError, UsageError

_LOG = logging.getLogger(__name__)

# At debug level kazoo logs what it sends, credentials included; below ERROR, a line for each try of an absent server.
logging.getLogger("kazoo").setLevel(logging.ERROR)

_REVIVE_SECONDS = 10.0  # a client that has had no connection loop for so long is replaced…
_PATIENCE_SECONDS = 60.0  # …and one that has had no connection for so long…
_PATIENCE_TIMEOUTS = 3.0  # …and for so many session time-outs
_EXPECTED = (NoNodeError, NodeExistsError, BadVersionError, NotEmptyError)  # answers that callers act upon


@dataclass(frozen=True, slots=True)
class ZooKeeperSettings:
    """Where ZooKeeper is and how to talk to it."""

    hosts: str  # "a:2181,b:2181"
    prefix: str = ""  # Kafka's chroot ("/kafka"); created where it is absent
    session_timeout_seconds: float = 10.0
    tls: bool = False
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    key_password: str | None = field(default=None, repr=False)
    verify_hostname: bool = True
    digest: str | None = field(default=None, repr=False)  # "user:password", ZooKeeper's digest scheme
    sasl_username: str | None = None  # SASL DIGEST-MD5
    sasl_password: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.prefix and (not self.prefix.startswith("/") or self.prefix.endswith("/") or "//" in self.prefix):
            raise UsageError(
                f"ZooKeeper prefix {self.prefix!r} must look like /kafka: a leading slash, none at the end"
            )
        if (self.sasl_username is None) != (self.sasl_password is None):
            raise UsageError("ZooKeeper SASL needs both a user name and a password")
        if self.digest is not None and ":" not in self.digest:
            raise UsageError("ZooKeeper digest credentials must look like user:password")
        if self.sasl_username is not None and importlib.util.find_spec("puresasl") is None:
            raise UsageError("ZooKeeper SASL needs the Python package pure-sasl; install it, or remove the SASL user")


class ConnectionState(StrEnum):
    CONNECTED = "connected"
    SUSPENDED = "suspended"  # the session may still live on the server
    LOST = "lost"  # there is no session


_STATES = {
    KazooState.CONNECTED: ConnectionState.CONNECTED,
    KazooState.SUSPENDED: ConnectionState.SUSPENDED,
    KazooState.LOST: ConnectionState.LOST,
}


class Session:
    """A KazooClient that is always there. Thread-safe."""

    def __init__(self, settings: ZooKeeperSettings) -> None:
        """`settings` are checked here: raises UsageError."""
        self._settings = settings
        self._lock = threading.Lock()
        self._listeners: list[Callable[[], None]] = []
        self._client: Any = self._build()
        self._started = False
        self._closed = False
        self._opened_at = self._lost_at = 0.0
        self._ready_for: int | None = None  # the session that has seen the prefix exist

    def start(self) -> None:
        """Begin to connect, and retry for ever. Returns at once."""
        with self._lock:
            if self._started or self._closed:
                return
            self._started = True
            self._opened_at = time.monotonic()
            self._client.start_async()

    def close(self, deadline_seconds: float = 3.0) -> None:
        """End the session. Where the server does not answer, it is left to its time-out after `deadline_seconds`."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            client = self._client
        _end(client, deadline_seconds)

    def move(self, hosts: str, deadline_seconds: float = 0.0) -> None:
        """Meet at these hosts ("a:2181,b:2181") from now on. Returns once the old session has ended, or the deadline.

        A new session, and not kazoo's `set_hosts`: that keeps the connection to a server which may be none of them.
        What was sent and not answered has an unknown outcome, as after any loss of the connection.
        """
        with self._lock:
            if self._closed or hosts == self._settings.hosts:
                return
            self._settings = replace(self._settings, hosts=hosts)
            old = self._client
            self._client = self._build()
            self._opened_at = time.monotonic()
            if self._started:
                self._client.start_async()
        self._notify(KazooState.LOST)
        _end(old, deadline_seconds)

    @property
    def state(self) -> ConnectionState:
        return _STATES.get(self._client.state, ConnectionState.LOST)

    @property
    def session_id(self) -> int | None:
        """ZooKeeper's id of our session; None while not connected."""
        identity = self._client.client_id
        return None if identity is None else int(identity[0])

    @property
    def hosts(self) -> str:
        return self._settings.hosts

    def path(self, *parts: str | int) -> str:
        """The full path of a node under the prefix."""
        return "/".join((self._settings.prefix, *map(str, parts)))

    def add_listener(self, changed: Callable[[], None]) -> None:
        """`changed` is called from kazoo's thread at each change of the connection; it must not block."""
        with self._lock:
            self._listeners.append(changed)

    def client(self) -> Any:
        """The connected KazooClient. Raises UnavailableError where there is no connection now."""
        client = self._client
        if client.connected:
            return client
        self._revive(client)
        raise UnavailableError(f"ZooKeeper at {self._settings.hosts} does not answer ({self.state.value})")

    def call(self, begin: Callable[[Any], Any], until: float, doing: str) -> Any:
        """Send one request (`begin` returns kazoo's async result) and wait for its answer until monotonic `until`.

        Raises UnavailableError where it was not sent, or was answered with an error; TimedOutError where no answer
        came, so that it may have happened or happen yet; kazoo's NoNodeError, NodeExistsError, BadVersionError and
        NotEmptyError as they are.
        """
        return self.gather({"": begin}, until, doing)[""]

    def gather(self, begins: dict[str, Callable[[Any], Any]], until: float, doing: str) -> dict[str, Any]:
        """Send several requests at once. Like `call`, except that a NoNodeError becomes None in the answer."""
        client = self.client()
        if until <= time.monotonic():
            raise UnavailableError(f"no time left for {doing}")
        pending = {key: begin(client) for key, begin in begins.items()}
        answers: dict[str, Any] = {}
        for key, result in pending.items():
            try:
                answers[key] = result.get(timeout=max(0.0, until - time.monotonic()))
            except NoNodeError:
                if key == "":
                    raise
                answers[key] = None
            except _EXPECTED:
                raise
            except (KazooTimeoutError, ConnectionLoss, SessionExpiredError, OperationTimeoutError) as error:
                raise TimedOutError(f"ZooKeeper at {self._settings.hosts} gave no answer to {doing}") from error
            except NoAuthError as error:
                raise UnavailableError(f"ZooKeeper does not permit {doing}: check ACLs and credentials") from error
            except KazooException as error:
                raise UnavailableError(f"ZooKeeper refused {doing}: {error!r}") from error
        return answers

    def ensure(self, path: str, until: float) -> None:
        """Create `path` and what is above it. The prefix is Kafka's, so it stays open to Kafka's own user."""
        session_id = self.session_id
        if self._settings.prefix and (session_id is None or self._ready_for != session_id):
            prefix = self._settings.prefix
            self.call(lambda c: c.ensure_path_async(prefix, acl=OPEN_ACL_UNSAFE), until, f"creating {prefix}")
            self._ready_for = session_id
        self.call(lambda c: c.ensure_path_async(path), until, f"creating {path}")

    def _build(self) -> Any:
        s = self._settings
        sasl = None
        if s.sasl_username is not None:
            sasl = {"mechanism": "DIGEST-MD5", "username": s.sasl_username, "password": s.sasl_password}
        protected = s.digest is not None or sasl is not None
        try:
            client = KazooClient(
                hosts=s.hosts,
                timeout=s.session_timeout_seconds,
                default_acl=(CREATOR_ALL_ACL + READ_ACL_UNSAFE) if protected else None,
                auth_data=None if s.digest is None else [("digest", s.digest)],
                sasl_options=sasl,
                connection_retry={"max_tries": -1, "delay": 0.1, "backoff": 2, "max_delay": 2.0},
                use_ssl=s.tls,
                ca=s.ca_file,
                certfile=s.cert_file,
                keyfile=s.key_file,
                keyfile_password=s.key_password,
                check_hostname=s.verify_hostname and s.tls,
            )
        except ValueError as error:
            raise UsageError(f"ZooKeeper address {s.hosts!r} is not host:port[,host:port...]: {error}") from None
        client.add_listener(self._notify)
        return client

    def _notify(self, state: KazooState) -> None:
        if state != KazooState.CONNECTED:
            self._lost_at = time.monotonic()
        for changed in tuple(self._listeners):
            changed()

    def _revive(self, client: Any) -> None:
        """Begin again, now and then: kazoo's loop ends for good on refused credentials and on unforeseen errors, and it
        shows servers the last transaction that it saw, so that those which were wiped or restored refuse it for ever.
        """
        has_ended = client.client_state in (KeeperState.CLOSED, KeeperState.AUTH_FAILED)
        patience = max(_PATIENCE_SECONDS, _PATIENCE_TIMEOUTS * self._settings.session_timeout_seconds)
        with self._lock:
            if self._closed or not self._started or client is not self._client or client.connected:
                return
            since = self._opened_at if has_ended else max(self._opened_at, self._lost_at)
            if time.monotonic() - since < (_REVIVE_SECONDS if has_ended else patience):
                return
            self._client = self._build()
            self._opened_at = time.monotonic()
            self._client.start_async()
        if has_ended:
            what = "refuses our credentials, or its address cannot be used; trying again"
        else:
            what = f"has not let us in for {patience:.0f} s; trying again, with a new session"
        _LOG.warning("ZooKeeper at %s %s", self._settings.hosts, what)
        self._notify(KazooState.LOST)
        _end(client, 0.0)


def _end(client: Any, deadline_seconds: float) -> None:
    """kazoo's stop() joins its threads without bound, so it runs aside and is waited for only so long."""

    def stop() -> None:
        try:
            client.stop()
            client.close()
        except (KazooException, OSError, AttributeError) as error:
            _LOG.debug("closing a ZooKeeper client: %r", error)

    aside = threading.Thread(target=stop, name="zookeeper-close", daemon=True)
    aside.start()
    aside.join(deadline_seconds)
