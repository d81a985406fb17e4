"""Slow actions, each on its adapter. Called in the effects threads; every call is bounded by its deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from bubuku.adapters.process import send_stop
from bubuku.core.actions import (
    Action,
    DropPermit,
    ElectPreferred,
    Fence,
    FindBatch,
    FormatDirs,
    JoinMarker,
    Judge,
    Outcome,
    RaiseFence,
    RecordDesired,
    RestPermit,
    Result,
    SendStop,
    SettlePermit,
    TakePermit,
    WriteChange,
)
from bubuku.core.batches import following
from bubuku.core.guard import judge
from bubuku.daemon.readings import ReaderThreads
from bubuku.ports import BrokerFiles, Changes, Coordination, Kafka, Permits, Registrations

WRITE_DEADLINE_SECONDS = 3.0
EVIDENCE_DEADLINE_SECONDS = 5.0
ELECTION_DEADLINE_SECONDS = 10.0
FORMAT_DEADLINE_SECONDS = 60.0


Handler = Callable[[Action], Outcome]


def table(
    *,
    coordination: Coordination,
    permits: Permits,
    changes: Changes,
    registrations: Registrations | None,
    files: BrokerFiles,
    kafka: Kafka,
    readers: ReaderThreads,
    cluster_id: Callable[[], str | None],
) -> dict[type, Handler]:
    """What the effects threads do for each kind of slow action. `cluster_id`: as in this host's log dirs."""
    starts = Starts(coordination, registrations, files).table()
    stops = Stops(permits, changes, kafka, cluster_id).table()
    return {kind: _then(handle, readers, AFTERWARDS.get(kind, ())) for kind, handle in (starts | stops).items()}


AFTERWARDS: dict[type, tuple[str, ...]] = {  # which readers show something else then
    RecordDesired: ("coordination",),
    JoinMarker: ("coordination",),
    FormatDirs: ("log_dirs",),
    Fence: ("registration", "cluster"),
    TakePermit: ("coordination",),
    DropPermit: ("coordination",),
    RestPermit: ("coordination",),
    SettlePermit: ("coordination",),
    WriteChange: ("coordination",),
    ElectPreferred: ("cluster",),
}


def _then(handle: Handler, readers: ReaderThreads, names: tuple[str, ...]) -> Handler:
    def run(action: Action) -> Outcome:
        try:
            return handle(action)
        finally:  # also after an error: what it has changed is not known then
            for name in names:
                getattr(readers, name).wake()

    return run


class Starts:
    """What a start needs: the records in ZooKeeper, formatted dirs, the fence."""

    def __init__(self, coordination: Coordination, registrations: Registrations | None, files: BrokerFiles) -> None:
        self._coordination, self._registrations, self._files = coordination, registrations, files

    def table(self) -> dict[type, Handler]:
        return {
            RecordDesired: self._record_desired,
            JoinMarker: self._join_marker,
            FormatDirs: self._format_dirs,
            RaiseFence: self._raise_fence,
            Fence: self._fence,
        }

    def _record_desired(self, action: Action) -> Outcome:
        assert isinstance(action, RecordDesired)
        return self._coordination.record_desired(action.node_id, action.desired, WRITE_DEADLINE_SECONDS)

    def _join_marker(self, action: Action) -> Outcome:
        assert isinstance(action, JoinMarker)
        return self._coordination.join_marker(action.cluster_id, WRITE_DEADLINE_SECONDS)

    def _format_dirs(self, action: Action) -> Outcome:
        assert isinstance(action, FormatDirs)
        return self._files.format(action.paths, action.cluster_id, FORMAT_DEADLINE_SECONDS)

    def _raise_fence(self, action: Action) -> Outcome:
        assert isinstance(action, RaiseFence)
        if self._registrations is None:
            return Outcome(Result.DONE, time.monotonic())
        return self._registrations.raise_fence(action.node_id, WRITE_DEADLINE_SECONDS)

    def _fence(self, action: Action) -> Outcome:
        assert isinstance(action, Fence)
        assert self._registrations is not None, "only what registered is fenced"
        return self._registrations.fence(action.expected, WRITE_DEADLINE_SECONDS)


class Stops:
    """What a deliberate stop needs: the guard, the permit, the signal, the election, the change's document."""

    def __init__(self, permits: Permits, changes: Changes, kafka: Kafka, cluster_id: Callable[[], str | None]) -> None:
        self._permits, self._changes, self._kafka, self._cluster_id = permits, changes, kafka, cluster_id

    def table(self) -> dict[type, Handler]:
        return {
            Judge: self._judge,
            FindBatch: self._find_batch,
            TakePermit: self._take_permit,
            DropPermit: self._drop_permit,
            RestPermit: self._rest_permit,
            SettlePermit: self._settle_permit,
            SendStop: self._send_stop,
            ElectPreferred: self._elect,
            WriteChange: self._write_change,
        }

    def _judge(self, action: Action) -> Outcome:
        """Evidence begun now, and the guard's word on it."""
        assert isinstance(action, Judge)
        begun, node_id = time.monotonic(), action.node_id
        stopping = frozenset({node_id})
        evidence = self._kafka.evidence(stopping, action.permitted, self._cluster_id(), EVIDENCE_DEADLINE_SECONDS)
        evidence = replace(evidence, joined=action.joined, settled=action.settled)
        verdict = judge(stopping, evidence, action.accept_unavailable)
        in_sync = tuple(dict.fromkeys(f"{p.topic}-{p.partition}" for p in evidence.partitions if node_id in p.isr))
        data = {"verdict": verdict, "in_sync": in_sync, "version": action.version}
        return Outcome(Result.DONE, begun, time.monotonic(), data=data)

    def _find_batch(self, action: Action) -> Outcome:
        """Evidence on all that are left, begun now, and the guard's word on each of them in turn."""
        assert isinstance(action, FindBatch)
        begun, order = time.monotonic(), frozenset(action.order)
        evidence = self._kafka.evidence(
            order, action.permitted, self._cluster_id(), EVIDENCE_DEADLINE_SECONDS, planning=True
        )
        evidence = replace(evidence, joined=action.joined)
        batch = following(action.order, action.alone, evidence, action.limit, action.accept_unavailable)
        return Outcome(Result.DONE, begun, time.monotonic(), data={"step": action.step, "batch": batch})

    def _take_permit(self, action: Action) -> Outcome:
        assert isinstance(action, TakePermit)
        return self._permits.take(action, WRITE_DEADLINE_SECONDS)

    def _drop_permit(self, action: Action) -> Outcome:
        assert isinstance(action, DropPermit)
        return self._permits.drop(action.node_id, action.token, WRITE_DEADLINE_SECONDS)

    def _rest_permit(self, action: Action) -> Outcome:
        assert isinstance(action, RestPermit)
        return self._permits.rest(action.node_id, action.token, WRITE_DEADLINE_SECONDS)

    def _settle_permit(self, action: Action) -> Outcome:
        assert isinstance(action, SettlePermit)
        return self._permits.settle(WRITE_DEADLINE_SECONDS)

    def _send_stop(self, action: Action) -> Outcome:
        assert isinstance(action, SendStop)
        return send_stop(action.identity, action.deadline)

    def _elect(self, action: Action) -> Outcome:
        assert isinstance(action, ElectPreferred)
        begun = time.monotonic()
        self._kafka.elect_preferred(action.partitions, ELECTION_DEADLINE_SECONDS)
        return Outcome(Result.DONE, begun, time.monotonic())

    def _write_change(self, action: Action) -> Outcome:
        assert isinstance(action, WriteChange)
        return self._changes.write(action.change, WRITE_DEADLINE_SECONDS, action.created, action.children)
