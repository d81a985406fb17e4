"""`python -m tests.sim`: many seeds, or one with its transcript."""

from __future__ import annotations

import argparse
import gc
import logging
import multiprocessing
import sys
import time
from collections import Counter
from dataclasses import replace

from tests.sim.covered import Row, report
from tests.sim.run import Run, run

FEW_COLLECTIONS = (100_000, 50, 50)  # a world is one knot of references, and is let go of as a whole


def main() -> int:
    """0: no rule was broken, and every row was taken; 1: else, with the command that replays what broke."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many seeds to run (default 1000)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default 0)")
    parser.add_argument("--seed", type=int, help="replay this one, with its transcript")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after so long, with what was run")
    parser.add_argument("--jobs", type=int, default=multiprocessing.cpu_count(), help="processes at work")
    chosen = parser.parse_args()
    if chosen.seed is not None:
        _begin()
        return _replay(chosen.seed)
    began = time.monotonic()
    seeds = range(chosen.first, chosen.first + chosen.seeds)
    broken: list[Run] = []
    ran, events, taken = 0, 0, Counter[Row]()
    with multiprocessing.Pool(chosen.jobs, _begin) as pool:
        for done in pool.imap_unordered(_without_transcript, seeds, chunksize=10):
            ran += 1
            events += done.events
            taken.update(done.covered)
            if done.broken is not None:
                broken.append(done)
                print(f"seed {done.seed}: {done.broken}", file=sys.stderr, flush=True)
            if time.monotonic() - began >= chosen.seconds:
                break
    took = time.monotonic() - began
    table, complete = report(taken, ran)
    print(table)
    for each in sorted(broken, key=lambda each: each.seed)[:20]:
        print(f"seed {each.seed}: {each.broken}\n    replay: python -m tests.sim --seed {each.seed}")
    print(f"{ran} seeds, {len(broken)} broken, {events} events, {took:.1f} s ({ran / took:.1f} a second)")
    return 1 if broken or not complete else 0


def _begin() -> None:
    logging.disable(logging.CRITICAL)  # what a daemon says of itself is in the transcript
    gc.set_threshold(*FEW_COLLECTIONS)


def _without_transcript(seed: int) -> Run:
    return replace(run(seed), transcript="")


def _replay(seed: int) -> int:
    done = run(seed)
    print(done.transcript, end="")
    print(f"seed {seed}: {done.broken or 'no rule was broken'}")
    return 0 if done.broken is None else 1


if __name__ == "__main__":
    sys.exit(main())
