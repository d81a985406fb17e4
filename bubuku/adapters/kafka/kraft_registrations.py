"""`ports.Registrations` in KRaft: who is registered by metadata, and the fence by UnregisterBroker.

Callers: one reader thread (`view`), the effects threads (`fence`, `raise_fence`).
Invariants: the request is sent once, to another live broker (which forwards it to the controller), and only when the
registration that stands right before has the expected endpoints, and the controller has answered right before: that
broker would carry a request that a frozen controller does not answer to the next one, up to a minute later, when our
broker's next incarnation has registered. KRaft has no condition on that request, so a fence whose outcome is UNKNOWN
all the same is settled by waiting before the broker is started again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from bubuku.adapters.kafka.link import ClientSettings
from bubuku.adapters.kafka.messages import UnregisterBrokerRequest
from bubuku.adapters.kafka.servers import Servers
from bubuku.core.actions import Outcome, Result
from bubuku.core.errors import TimedOutError, UnavailableError
from bubuku.core.model import BrokerNode, Registration, RegistrationView

_UNREGISTER = 64  # api key
_UNKNOWN_BROKER = 102  # BROKER_ID_NOT_REGISTERED
_TIMED_OUT = 7  # REQUEST_TIMED_OUT: it may have happened, or happen yet
_LEAST_SECONDS = 0.25  # with less time left the outcome would often be unknown


class KraftRegistrations:
    """Who is registered, and the fence. `node_id` says who we are, None as long as nobody knows."""

    def __init__(
        self, servers: Sequence[str], node_id: Callable[[], int | None], settings: ClientSettings | None = None
    ) -> None:
        """`servers` is a list of "host:port" of brokers. Raises UsageError."""
        settings = settings or ClientSettings()
        self._servers = Servers(servers, settings)
        self._fencing = Servers(servers, settings)  # connections of its own: a fence never waits behind a reading
        self._node_id = node_id

    def suggest(self, servers: Sequence[str]) -> None:
        """Where other daemons say that their brokers are: all that is known after our own died with our daemon."""
        self._servers.suggest(servers)
        self._fencing.suggest(servers)

    def view(self, deadline_seconds: float) -> RegistrationView:
        """Who is registered and not fenced, as another live broker sees it where there is one. Raises UnavailableError.

        `controller_id` is None: no broker is the controller in KRaft.
        """
        node_id = self._node_id()
        server, metadata = self._servers.metadata(node_id, time.monotonic() + deadline_seconds, all_topics=False)
        brokers = metadata.brokers
        self._fencing.learn(brokers)
        self._fencing.prefer(server)
        own = next((b for b in brokers if b.node_id == node_id), None)
        others = sum(b.node_id != node_id for b in brokers)
        return RegistrationView(None if own is None else _registration(own), others, asked_for=node_id)

    def raise_fence(self, node_id: int, deadline_seconds: float) -> Outcome:
        """KRaft keeps nothing to raise: DONE at once."""
        now = time.monotonic()
        return Outcome(Result.DONE, now, now, "nothing to raise in KRaft")

    def fence(self, expected: Registration, deadline_seconds: float) -> Outcome:
        """Unregister a broker proven dead, if what stands has the expected endpoints.

        DONE: the controller did it, or the broker was fenced or gone already. REFUSED: another one has this id.
        FAILED: known not to have happened. UNKNOWN: no reply.
        """
        begun = time.monotonic()
        until = begun + deadline_seconds
        try:
            server, metadata = self._fencing.metadata(expected.node_id, until, all_topics=False)
        except UnavailableError as error:
            return _ended(begun, Result.FAILED, f"not sent: {error}")
        standing = next((b for b in metadata.brokers if b.node_id == expected.node_id), None)
        if standing is None:
            return _ended(begun, Result.DONE, "the cluster had fenced it already")
        if _endpoint(standing) not in expected.endpoints:
            detail = f"broker {expected.node_id} is registered at {_endpoint(standing)}, which is not ours"
            return _ended(begun, Result.REFUSED, detail)
        if not self._fencing.is_other(server, expected.node_id):
            return _ended(begun, Result.FAILED, "not sent: no other broker answers")
        if self._fencing.quorum_leader(server, until) is None:
            return _ended(begun, Result.FAILED, "not sent: the controller does not answer")
        if until - time.monotonic() < _LEAST_SECONDS:
            return _ended(begun, Result.FAILED, "not sent: the controller answered too late")
        return self._unregister(begun, server, expected.node_id, until)

    def close(self) -> None:
        self._servers.close()
        self._fencing.close()

    def _unregister(self, begun: float, server: str, node_id: int, until: float) -> Outcome:
        link = self._fencing.link(server)
        if not link.supports(_UNREGISTER):
            return _ended(begun, Result.FAILED, f"not sent: Kafka at {server} does not offer UnregisterBroker")
        try:
            answer = link.ask(UnregisterBrokerRequest(broker_id=node_id, version=0), until)
        except TimedOutError as error:
            return _ended(begun, Result.UNKNOWN, str(error))
        except UnavailableError as error:
            return _ended(begun, Result.FAILED, f"not sent: {error}")
        if answer.error_code == 0:
            return _ended(begun, Result.DONE, "unregistered")
        if answer.error_code == _UNKNOWN_BROKER:
            return _ended(begun, Result.DONE, "the broker was not registered any more")
        if answer.error_code == _TIMED_OUT:
            return _ended(begun, Result.UNKNOWN, f"the controller gave Kafka at {server} no answer in time")
        detail = f"Kafka at {server} refused to unregister broker {node_id}: error {answer.error_code}"
        return _ended(begun, Result.FAILED, f"{detail}, {answer.error_message or 'without a message'}")


def _endpoint(node: BrokerNode) -> str:
    return f"{node.host}:{node.port}"


def _registration(node: BrokerNode) -> Registration:
    return Registration(node.node_id, (_endpoint(node),))


def _ended(begun: float, result: Result, detail: str) -> Outcome:
    return Outcome(result, begun, time.monotonic(), detail)
