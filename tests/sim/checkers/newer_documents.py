"""What a newer daemon has written is kept: in the permit each entry of others, and each field that is not known."""

from __future__ import annotations

import json

from tests.sim.events import RuleBrokenError
from tests.sim.world import World


def newer_documents(world: World) -> None:
    def written(before: bytes, after: bytes, node_ids: set[int]) -> None:
        old, new = json.loads(before), json.loads(after)
        lost = old.keys() - new.keys()
        if lost:
            raise RuleBrokenError(f"the permit lost {', '.join(sorted(lost))}, which its writer does not know")
        for name, entry in old.get("entries", {}).items():
            if int(name) not in node_ids and new["entries"].get(name) != entry:
                raise RuleBrokenError(f"the permit's entry of broker {name} was altered by another's write")

    world.zookeeper.text_listeners.append(written)
