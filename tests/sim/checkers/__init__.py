"""One rule a file. A checker is made with the world, listens to its events, and raises `RuleBrokenError`."""

from __future__ import annotations

from collections.abc import Callable

from tests.sim.checkers.back_off import back_off
from tests.sim.checkers.ends_accounted import ends_accounted
from tests.sim.checkers.fences import fences
from tests.sim.checkers.foreign_root import foreign_root
from tests.sim.checkers.min_isr import min_isr
from tests.sim.checkers.newer_documents import newer_documents
from tests.sim.checkers.no_loss import no_loss
from tests.sim.checkers.old_session import old_session
from tests.sim.checkers.one_kafka import one_kafka
from tests.sim.checkers.one_stop_each import one_stop_each
from tests.sim.checkers.own_dirs import own_dirs
from tests.sim.checkers.parents_whole import parents_whole
from tests.sim.checkers.permitted import permitted
from tests.sim.checkers.signals import no_signals
from tests.sim.checkers.started_again import started_again
from tests.sim.world import World

CHECKERS: tuple[Callable[[World], None], ...] = (
    one_kafka,
    old_session,
    fences,
    no_signals,
    own_dirs,
    back_off,
    no_loss,
    ends_accounted,
    min_isr,
    permitted,
    one_stop_each,
    parents_whole,
    started_again,
    newer_documents,
    foreign_root,
)
