"""One start that is being considered, and what a gate says of it. Pure data, for `core.gates` and `core.fencing`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bubuku.core import identity
from bubuku.core.actions import Action
from bubuku.core.memory import Memory
from bubuku.core.model import BrokerState, CoordinationView, Exit, LogDir, Mode, Role
from bubuku.core.observation import Observation, Policy
from bubuku.core.reasons import Reason

NEVER = float("-inf")  # a reading that was not made yet
PROCESSES_AGE_SECONDS = 10.0  # what is known of other processes is not older where a start or a fence rests on it


@dataclass(frozen=True, slots=True)
class Stop:
    state: BrokerState
    reason: Reason
    sentence: str
    actions: tuple[Action, ...] = ()


@dataclass(frozen=True, slots=True)
class Case:
    """One start that is being considered."""

    policy: Policy
    memory: Memory
    obs: Observation

    @property
    def dirs(self) -> tuple[LogDir, ...]:
        return self.obs.log_dirs.value or ()

    @property
    def meeting(self) -> CoordinationView | None:
        view = self.obs.coordination.value
        return view if view is not None and view.connected else None

    @property
    def node_id(self) -> int | None:
        return identity.node_id(self.policy, self.obs.record, self.dirs)

    @property
    def ended(self) -> Exit | None:
        return self.obs.process.exit

    @property
    def ended_at(self) -> float:
        return self.ended.at if self.ended is not None else NEVER

    @property
    def quiet_since(self) -> float:
        """Since when no Kafka runs on our log dirs: neither ours, nor one that somebody else had started."""
        alone = self.memory.alone_since
        return self.ended_at if alone is None else max(self.ended_at, alone)

    @property
    def accepts_empty(self) -> bool:
        """Once: for the first start of a daemon that was told so, never for a later one."""
        return self.policy.accept_empty and self.memory.process is None

    @property
    def zookeeper(self) -> bool:
        return self.policy.mode is Mode.ZOOKEEPER

    @property
    def broker(self) -> bool:
        return Role.BROKER in self.policy.roles


Gate = Callable[[Case], tuple[Memory, Stop | None]]


def wait(reason: Reason, sentence: str, *actions: Action) -> Stop:
    return Stop(BrokerState.NOT_RUNNING, reason, sentence, actions)


def held(reason: Reason, sentence: str) -> Stop:
    return Stop(BrokerState.HELD, reason, sentence)
