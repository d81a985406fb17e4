"""Prometheus metrics, read from the last `Published` at each scrape.

Caller: `http.app`, in the HTTP thread. The registry is our own (nothing is registered globally), and nothing is kept
between scrapes: counters are the supervisor's own sums, so a scrape can neither miss nor repeat one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from bubuku.core.actions import Result
from bubuku.core.change import KINDS
from bubuku.core.guard import Objection
from bubuku.core.model import BrokerState
from bubuku.core.observation import About, Published
from bubuku.core.reasons import Reason
from bubuku.core.shared import ChangeState

Refusals = Callable[[], Mapping[str, int]]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

# Shown as 0 before they first happen, so that an increase() sees the first one.
START_REASONS = (
    Reason.FIRST_START,
    Reason.PROCESS_DIED,
    Reason.STOPPED_OUTSIDE,
    Reason.START_STALLED,
    Reason.RESTARTED,
)
OUTCOMES = (ChangeState.DONE, ChangeState.FAILED, ChangeState.CANCELLED)
OBJECTIONS = (*map(str, Objection), "quorum", "unknown")
FENCE_RESULTS = (Result.DONE, Result.REFUSED, Result.FAILED, Result.UNKNOWN)


class PublishedCollector(Collector):
    """Turns one `Published` into metric families. Before the first tick: what the daemon knows of itself, alone."""

    def __init__(self, published: Callable[[], Published | None], about: About, refused: Refusals) -> None:
        self._published = published
        self._about = about
        self._refused = refused

    def describe(self) -> list[Metric]:
        return []  # nothing to check names against: the registry is ours alone

    def collect(self) -> Iterator[Metric]:
        yield build_info(self._about)
        published = self._published()
        if published is None:
            return
        yield from broker(published)
        yield from loop(published)
        yield from stops(published, self._refused())
        yield from surroundings(published)


def registry(published: Callable[[], Published | None], about: About, refused: Refusals = dict) -> CollectorRegistry:
    """A registry with the daemon's own metrics and those of its process (memory, CPU, descriptors).

    `refused`: requests that it refused, by what said no.
    """
    ours = CollectorRegistry(auto_describe=False)
    ours.register(PublishedCollector(published, about, refused))
    ProcessCollector(registry=ours)
    return ours


def exposition(ours: CollectorRegistry) -> bytes:
    """The text that Prometheus scrapes."""
    return generate_latest(ours)


def build_info(about: About) -> Metric:
    family = GaugeMetricFamily(
        "bubuku_build_info", "1, with the versions as labels.", labels=["version", "kafka_version", "mode"]
    )
    family.add_metric([about.version, about.kafka_version or "", str(about.mode)], 1.0)
    return family


def broker(published: Published) -> Iterator[Metric]:
    state = GaugeMetricFamily("bubuku_broker_state", "1 for the state that the broker is in.", labels=["state"])
    seconds = CounterMetricFamily(
        "bubuku_broker_state_seconds", "Seconds that the broker spent in each state.", labels=["state"]
    )
    for one in BrokerState:
        state.add_metric([str(one)], float(published.decision.state is one))
        seconds.add_metric([str(one)], published.seconds_in_state.get(one, 0.0))
    yield state
    yield seconds

    starts = CounterMetricFamily("bubuku_broker_starts", "Starts of Kafka by this daemon.", labels=["reason"])
    for reason in dict.fromkeys((*START_REASONS, *published.starts)):
        starts.add_metric([str(reason)], float(published.starts.get(reason, 0)))
    yield starts

    fences = CounterMetricFamily(
        "bubuku_fences", "Times that the cluster was told of the broker's death.", labels=["result"]
    )
    for result in dict.fromkeys((*map(str, FENCE_RESULTS), *published.fences)):
        fences.add_metric([result], float(published.fences.get(result, 0)))
    yield fences


def stops(published: Published, refused: Mapping[str, int]) -> Iterator[Metric]:
    """Deliberate stops: changes, the permit, what said no."""
    tally, view = published.tally, published.observation.coordination.value
    changes = CounterMetricFamily(
        "bubuku_changes", "Changes that this daemon ended, by what became of them.", labels=["kind", "outcome"]
    )
    foreseen = [(kind, str(outcome)) for kind in KINDS for outcome in OUTCOMES]
    for kind, outcome in dict.fromkeys((*foreseen, *tally.changes)):
        changes.add_metric([kind, outcome], float(tally.changes.get((kind, outcome), 0)))
    yield changes

    refusals = CounterMetricFamily(
        "bubuku_refusals", "Times that a stop was refused, when asked for or when its turn came.", labels=["reason"]
    )
    sums = Counter(tally.refusals) + Counter(refused)
    for reason in dict.fromkeys((*OBJECTIONS, *sums)):
        refusals.add_metric([reason], float(sums[reason]))
    yield refusals

    permit = None if view is None else view.permit
    entry = None if permit is None or published.node_id is None else permit.entries.get(published.node_id)
    yield GaugeMetricFamily(
        "bubuku_permit_held", "1 while this broker is in the permit: it may be down.", value=float(entry is not None)
    )
    since = GaugeMetricFamily(
        "bubuku_permit_held_since_timestamp_seconds",
        "Since when it is, seconds since the epoch; absent while it is not.",
    )
    if entry is not None:
        since.add_metric([], entry.since_epoch)
    yield since
    maintenance = None if view is None else view.maintenance
    on = maintenance is not None and maintenance.holds(published.epoch)
    yield GaugeMetricFamily("bubuku_maintenance", "1 while maintenance is on.", value=float(on))


def loop(published: Published) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        "bubuku_loop_lag_seconds", "How late the loop's last tick was.", value=published.loop_lag_seconds
    )
    yield GaugeMetricFamily("bubuku_cycle_seconds", "How long the last cycle took.", value=published.cycle_seconds)
    yield GaugeMetricFamily(
        "bubuku_last_tick_timestamp_seconds",
        "When the loop last ticked, seconds since the epoch.",
        value=published.epoch,
    )


def surroundings(published: Published) -> Iterator[Metric]:
    seen = published.observation
    coordination = seen.coordination.value
    yield GaugeMetricFamily(
        "bubuku_zookeeper_connected",
        "1 while the session with ZooKeeper stands.",
        value=float(coordination is not None and coordination.connected),
    )
    free = GaugeMetricFamily("bubuku_log_dir_free_bytes", "Bytes free under a Kafka log dir.", labels=["path"])
    total = GaugeMetricFamily("bubuku_log_dir_total_bytes", "Bytes in all under a Kafka log dir.", labels=["path"])
    for log_dir in seen.log_dirs.value or ():
        if log_dir.usable:
            free.add_metric([log_dir.path], float(log_dir.free_bytes))
            total.add_metric([log_dir.path], float(log_dir.total_bytes))
    yield free
    yield total
