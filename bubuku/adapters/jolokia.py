"""`ports.Jmx` through the Jolokia agent inside the Kafka process: a few numbers in one HTTP request.

Caller: one reader thread. Invariants: one POST a call, on a kept connection; never through a proxy; an MBean that is
not there (Kafka registers them while it starts) is None, not an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import requests

from bubuku.core.errors import UnavailableError
from bubuku.core.model import JmxView

_NOT_FOUND = 404

# In this order in request and answer.
_READS: tuple[dict[str, str], ...] = (
    {"type": "read", "mbean": "kafka.server:type=KafkaServer,name=BrokerState", "attribute": "Value"},
    {"type": "read", "mbean": "kafka.log:type=LogManager,name=remainingLogsToRecover,*", "attribute": "Value"},
    {"type": "read", "mbean": "kafka.server:type=raft-metrics", "attribute": "current-state"},
    {"type": "read", "mbean": "java.lang:type=Runtime", "attribute": "Uptime"},
)


class JolokiaJmx:
    """`url` is the agent's, such as http://127.0.0.1:8778/jolokia."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/") + "/"
        self._http = requests.Session()
        self._http.trust_env = False

    def view(self, deadline_seconds: float) -> JmxView:
        """Kafka's numbers; None for each that Kafka does not show now. Raises UnavailableError without an answer."""
        half = deadline_seconds / 2
        try:
            response = self._http.post(self._url, json=_READS, timeout=(half, half), allow_redirects=False)
            response.raise_for_status()
            answers = response.json()
        except (requests.RequestException, ValueError) as error:
            raise UnavailableError(f"Jolokia at {self._url} does not answer: {type(error).__name__}") from error
        if not isinstance(answers, list) or len(answers) != len(_READS):
            raise UnavailableError(f"Jolokia at {self._url} gave something else than {len(_READS)} answers")
        state, remaining, raft, uptime = map(self._value, answers)
        return JmxView(
            broker_state=_integer(state),
            remaining_logs=_sum(remaining),
            raft_state=raft if isinstance(raft, str) else None,
            process_uptime_ms=_integer(uptime),
        )

    def close(self) -> None:
        self._http.close()

    def _value(self, answer: Any) -> Any:
        """One read's value; None where the MBean is not there. Raises UnavailableError for any other error."""
        status = answer.get("status") if isinstance(answer, Mapping) else None
        if status == _NOT_FOUND:
            return None
        if status != 200:
            text = answer.get("error", answer) if isinstance(answer, Mapping) else answer
            raise UnavailableError(f"Jolokia at {self._url} answered: {str(text)[:200]}")
        return answer.get("value")


def _integer(value: Any) -> int | None:
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _sum(by_log_dir: Any) -> int | None:
    """The values of an MBean that exists once a log dir: {"…,dir=/data/1": {"Value": 3}, …}."""
    if not isinstance(by_log_dir, Mapping):
        return None
    counts = [_integer(one.get("Value")) for one in by_log_dir.values() if isinstance(one, Mapping)]
    known = [count for count in counts if count is not None]
    return sum(known) if known else None
