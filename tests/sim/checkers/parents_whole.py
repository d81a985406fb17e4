"""A parent asks for each of its brokers once, for so many at a time as it may, ends with all, leaves nothing behind."""

from __future__ import annotations

from collections import Counter

from bubuku.core.shared import Change, ChangeState
from tests.sim.events import RuleBrokenError
from tests.sim.world import World

LOOK_SECONDS = 1.0


def parents_whole(world: World) -> None:
    def look() -> None:
        world.engine.after(LOOK_SECONDS, look)
        if world.zookeeper.wiped:
            return
        root = world.zookeeper.root
        parents = [c for c in root.changes.values() if c.node_id is None]
        for parent in parents:
            _check(parent, [c for c in root.changes.values() if c.parent == parent.uuid])
        standing = {parent.uuid for parent in parents}
        for change in root.changes.values():
            if change.parent is not None and change.parent not in standing:
                raise RuleBrokenError(f"change {change.sequence} was left by its parent")
        for parent in (c for c in root.history.values() if c.node_id is None):
            _check_ended(parent, [c for c in root.history.values() if c.parent == parent.uuid])

    look()


def _check(parent: Change, children: list[Change]) -> None:
    twice = [node for node, times in Counter(c.node_id for c in children).items() if times > 1]
    if twice:
        raise RuleBrokenError(f"change {parent.sequence} asked twice for {twice}")
    standing = [c.node_id for c in children if c.state.is_open]
    if parent.parallel and len(standing) > parent.parallel:
        raise RuleBrokenError(f"change {parent.sequence} has {standing} at work at once")
    strangers = {c.node_id for c in children} - set(parent.nodes)
    if strangers:
        raise RuleBrokenError(f"change {parent.sequence} of {parent.nodes} asked for {strangers}")


def _check_ended(parent: Change, children: list[Change]) -> None:
    _check(parent, children)
    if any(c.state.is_open for c in children):
        raise RuleBrokenError(f"change {parent.sequence} ended before what it had asked for")
    done = [c.node_id for c in children if c.state is ChangeState.DONE]
    if parent.state is ChangeState.DONE and sorted(map(str, done)) != sorted(map(str, parent.nodes)):
        raise RuleBrokenError(f"change {parent.sequence} is done, and of {parent.nodes} only {done} are")
