"""What the guard rests on, asked of the cluster: every answer is begun after the call.

Caller: `KafkaAdmin.evidence`, on a reader or worker thread; the questions to several brokers run beside each other in
a pool that ends with the call, on connections that are closed with it. Invariants: all is done by the deadline; what
could not be had is said in `Evidence.missing`, in a sentence that names who did not answer, and is never guessed.

The order matters: who answers; reassignments and the contents of disks; metadata; then reassignments, disks and
settings again. So a reassignment that begins or ends meanwhile is seen at least once, and a topic that is created or
deleted meanwhile is not taken for metadata that is not whole.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from kafka.protocol.admin import DescribeLogDirsRequest, ListPartitionReassignmentsRequest
from kafka.protocol.metadata import ApiVersionsRequest

from bubuku.adapters.kafka import settings_asked
from bubuku.adapters.kafka.link import ClientSettings, Link
from bubuku.adapters.kafka.messages import DESCRIBE_QUORUM, Metadata, metadata_request
from bubuku.adapters.kafka.quorum import ask_quorum
from bubuku.adapters.kafka.servers import Servers
from bubuku.core.errors import TimedOutError, UnavailableError
from bubuku.core.evidence import Key, Moves, combine, not_shown
from bubuku.core.guard import Evidence, Quorum, named
from bubuku.core.model import Partition

T = TypeVar("T")
_AT_ONCE = 16  # questions beside each other
_PING_SECONDS = 2.0  # a broker that takes longer for its simplest answer does not count as alive
_CONTROLLER_SECONDS = 3.0
_NOT_CONTROLLER = 41
_WITNESSES = 2

Decode = Callable[[bytes], tuple[Partition, ...]]


@dataclass(frozen=True, slots=True)
class Question:
    """`stopping` and `permitted` are node ids. `cluster_id`: whose metadata it must be; None: unknown.

    `planning`: as in `ports.Kafka.evidence`."""

    stopping: frozenset[int]
    permitted: frozenset[int]
    cluster_id: str | None
    planning: bool = False

    @property
    def leaving(self) -> frozenset[int]:
        """Those whose word does not count like that of brokers that stay."""
        return frozenset() if self.planning else self.stopping


@dataclass(frozen=True, slots=True)
class _View:
    """What one broker said."""

    node_id: int
    metadata: Metadata
    partitions: tuple[Partition, ...]


@dataclass(slots=True)
class _Missing:
    """Sentences, each once."""

    sentences: dict[str, None] = field(default_factory=dict)

    def add(self, sentence: str) -> None:
        self.sentences[sentence] = None

    def __str__(self) -> str:
        return "; ".join(self.sentences)


def gather(
    bootstrap: Sequence[str], settings: ClientSettings, question: Question, decode: Decode, deadline_seconds: float
) -> Evidence:
    """Raises UnavailableError where no broker answers at all."""
    servers = Servers(bootstrap, settings)
    try:
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="evidence") as pool:
            return _Gathering(servers, pool, question, decode, time.monotonic() + deadline_seconds).evidence()
    finally:
        servers.close()


class _Gathering:
    """One call's questions. `until` is the monotonic time by which all of them have ended."""

    def __init__(
        self, servers: Servers, pool: ThreadPoolExecutor, question: Question, decode: Decode, until: float
    ) -> None:
        self._servers, self._pool, self._question = servers, pool, question
        self._decode, self._until = decode, until
        self._missing = _Missing()
        self._endpoints: dict[int, str] = {}
        self._controller: int | None = None

    def evidence(self) -> Evidence:
        begun = time.monotonic()
        question, missing = self._question, self._missing
        _, first = self._servers.metadata(min(question.leaving, default=None), self._until, all_topics=False)
        self._endpoints = {b.node_id: f"{b.host}:{b.port}" for b in first.brokers}
        self._controller = first.controller_id
        answered = self._answered()
        asked, other = self._anyone(answered)
        kraft = self._link(asked).supports(DESCRIBE_QUORUM)
        before = self._pool.submit(self._moves, kraft, asked)
        on_disk = {b: self._pool.submit(self._on_disk, b) for b in question.leaving & answered}
        asked_quorum = self._pool.submit(ask_quorum, self._link(other), other, self._until) if kraft else None
        moves = [self._had(before, "running reassignments are not known")]
        quorum = None if asked_quorum is None else self._had(asked_quorum, "the controllers' quorum is not known")
        hosted = {
            b: self._had(future, f"what is on the disks of broker {b} is not known") for b, future in on_disk.items()
        }
        views = self._views(answered)
        if moves[0] is not None:
            after = self._pool.submit(self._moves, kraft, asked)
            moves.append(self._had(after, "running reassignments are not known"))
        shapes = combine([v.partitions for v in views], [m for m in moves if m is not None], question.stopping)
        min_isr = self._min_isr(shapes, views)
        self._check_disks(hosted, views)
        return Evidence(
            partitions=tuple(p for p in shapes if p.topic not in min_isr.deleted),
            min_isr=min_isr.values,
            permitted=question.permitted,
            answered=answered,
            quorum=None if quorum is None or question.stopping.isdisjoint(quorum.voters) else quorum,
            missing=str(missing) or None,
            alone=bool(views) and views[0].node_id in question.leaving,
            known=self._known(views, quorum),
            begun=begun,
        )

    # --- who answers --------------------------------------------------------------------------------------------------

    def _answered(self) -> frozenset[int]:
        """The registered brokers that answer the simplest of requests themselves."""
        until = min(self._until, time.monotonic() + _PING_SECONDS)
        pings = {b: self._pool.submit(self._link(b).ask, ApiVersionsRequest(version=0), until) for b in self._endpoints}
        return frozenset(b for b, ping in pings.items() if _outcome(ping)[1] is None)

    def _anyone(self, answered: frozenset[int]) -> tuple[int, int]:
        """Whom to ask what any broker knows: two, where there are two. Raises UnavailableError."""
        if not answered:
            who = f"{named(self._endpoints)} {'is' if len(self._endpoints) == 1 else 'are'} registered"
            raise UnavailableError(
                f"no Kafka broker answers in time: {who if self._endpoints else 'none is registered'}"
            )
        ranked = self._ranked(answered)
        return ranked[0], ranked[-1]

    def _ranked(self, answered: Iterable[int]) -> list[int]:
        """Those that stay first, then those that may go down at any time, then those that are to stop."""
        stopping, permitted = self._question.leaving, self._question.permitted
        return sorted(answered, key=lambda b: (b in stopping, b in permitted, b))

    # --- metadata -----------------------------------------------------------------------------------------------------

    def _views(self, answered: frozenset[int]) -> list[_View]:
        """By two brokers that stay; by fewer, or by one that is to stop, only with a word about it in `missing`."""
        stopping = self._question.leaving
        views = self._ask_views([b for b in self._ranked(answered) if b not in stopping])
        registered = frozenset(self._endpoints).union(*({b.node_id for b in v.metadata.brokers} for v in views))
        others = registered - stopping
        if len(views) < min(_WITNESSES, len(others)):
            told = named(v.node_id for v in views) + " alone" if views else "none"
            self._missing.add(
                f"of the other brokers ({', '.join(map(str, sorted(others)))}) {told} tells the cluster's metadata, "
                f"and {_WITNESSES if len(others) > 1 else 1} must"
            )
        if not views:
            views = self._ask_views(sorted(answered & stopping))[:1]
        if not views:
            self._missing.add("no broker tells the cluster's metadata")
        for view in views:
            self._check_view(view)
        return views

    def _ask_views(self, candidates: list[int]) -> list[_View]:
        """The first two of the candidates that tell all metadata."""
        found: list[tuple[int, Metadata]] = []
        left = list(candidates)
        while left and len(found) < _WITNESSES:
            now, left = left[: _WITNESSES - len(found)], left[_WITNESSES - len(found) :]
            asked = [(b, self._pool.submit(self._link(b).ask, metadata_request(True), self._until)) for b in now]
            for b, future in asked:
                metadata, _ = _outcome(future)
                if metadata is not None:
                    found.append((b, metadata))
        views: list[_View] = []
        for b, metadata in sorted(found, key=lambda each: each[0]):
            same = next((v for v in views if v.metadata.topics == metadata.topics), None)
            views.append(_View(b, metadata, same.partitions if same is not None else self._decode(metadata.topics)))
        return views

    def _check_view(self, view: _View) -> None:
        expected, found = self._question.cluster_id, view.metadata.cluster_id
        if expected is None:
            self._missing.add("the cluster id of this host's log dirs is not known, so no metadata can be trusted")
        elif found != expected:
            self._missing.add(
                f"broker {view.node_id} is of cluster {found}, and this host's log dirs are of {expected}"
            )
        if view.node_id not in {b.node_id for b in view.metadata.brokers}:
            self._missing.add(f"broker {view.node_id} does not know of itself yet, so its metadata is not whole")

    # --- the rest -----------------------------------------------------------------------------------------------------

    def _moves(self, kraft: bool, asked: int) -> Moves:
        """Running reassignments, as the controller tells. In KRaft any broker asks it for us."""
        until = min(self._until, time.monotonic() + _CONTROLLER_SECONDS)
        controller = asked if kraft else self._controller
        if controller is None or controller not in self._endpoints:
            raise UnavailableError("the cluster has no controller")
        left_ms = max(1, int((until - time.monotonic()) * 1000))
        request = ListPartitionReassignmentsRequest(timeout_ms=left_ms, topics=None)
        answer = self._link(controller).ask(request, until)
        if answer.error_code == _NOT_CONTROLLER:
            raise UnavailableError("the controller has just moved, ask again")
        if answer.error_code != 0:
            raise UnavailableError(
                f"the controller answers with error {answer.error_code} {answer.error_message or ''}"
            )
        return {
            (topic.name, p.partition_index): (tuple(p.adding_replicas), tuple(p.removing_replicas))
            for topic in answer.topics
            for p in topic.partitions
        }

    def _on_disk(self, broker: int) -> frozenset[Key]:
        """The partitions on a broker's disks, as far as these are readable."""
        answer = self._link(broker).ask(DescribeLogDirsRequest(topics=None), self._until)
        return frozenset(
            (topic.name, p.partition_index)
            for log_dir in answer.results
            if log_dir.error_code == 0
            for topic in log_dir.topics
            for p in topic.partitions
        )

    def _check_disks(self, hosted: Mapping[int, frozenset[Key] | None], views: list[_View]) -> None:
        """All that is on the disks of the brokers that are to stop must be in the metadata, or be deleted by now."""
        if not views:
            return
        for broker in sorted(self._question.leaving.intersection(self._endpoints)):
            seen = hosted.get(broker)
            if seen is None:
                if len(views) < _WITNESSES:
                    self._missing.add(f"what is on the disks of broker {broker} cannot be compared: it does not answer")
                continue
            absent = not_shown(seen, [v.partitions for v in views])
            if absent:
                again = self._had(self._pool.submit(self._on_disk, broker), f"the disks of broker {broker} changed")
                absent = [key for key in absent if again is None or key in again]
            if absent:
                topic, partition = absent[0]
                more = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
                self._missing.add(
                    f"{topic}-{partition}{more} is on the disks of broker {broker}, but not in the metadata"
                )

    def _min_isr(self, shapes: Iterable[Partition], views: list[_View]) -> settings_asked.MinIsr:
        topics = sorted({p.topic for p in shapes})
        asked = [self._pool.submit(settings_asked.min_isr, self._link(v.node_id), topics, self._until) for v in views]
        told = [self._had(future, "min.insync.replicas is not known") for future in asked]
        return settings_asked.highest([each for each in told if each is not None])

    def _known(self, views: list[_View], quorum: Quorum | None) -> frozenset[int]:
        """Every node that the cluster has heard of."""
        ids = set(self._endpoints) | self._question.permitted | (quorum.voters if quorum is not None else set())
        for view in views:
            ids.update(b.node_id for b in view.metadata.brokers)
            ids.update(*{p.replicas for p in view.partitions})
        return frozenset(ids)

    def _link(self, broker: int) -> Link:
        return self._servers.link(self._endpoints[broker])

    def _had(self, asked: Future[T], without: str) -> T | None:
        try:
            return asked.result()
        except (UnavailableError, TimedOutError) as error:
            self._missing.add(f"{without}: {error}")
            return None


def _outcome(asked: Future[T]) -> tuple[T | None, UnavailableError | TimedOutError | None]:
    """(answer, None) or (None, why there is none). Questions are bounded by themselves."""
    try:
        return asked.result(), None
    except (UnavailableError, TimedOutError) as error:
        return None, error
