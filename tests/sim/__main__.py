"""`python -m tests.sim`: many seeds, or one with its transcript."""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import sys
import time

from tests.sim.run import Run, run


def main() -> int:
    """0: no rule was broken; 1: one was, and the command that replays it is printed."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many seeds to run (default 1000)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default 0)")
    parser.add_argument("--seed", type=int, help="replay this one, with its transcript")
    parser.add_argument("--jobs", type=int, default=multiprocessing.cpu_count(), help="processes at work")
    chosen = parser.parse_args()
    logging.disable(logging.CRITICAL)  # what a daemon says of itself is in the transcript
    if chosen.seed is not None:
        return _replay(chosen.seed)
    began = time.monotonic()
    seeds = range(chosen.first, chosen.first + chosen.seeds)
    broken: list[Run] = []
    events = 0
    with multiprocessing.Pool(chosen.jobs) as pool:
        for done in pool.imap_unordered(_without_transcript, seeds, chunksize=10):
            events += done.events
            if done.broken is not None:
                broken.append(done)
    took = time.monotonic() - began
    for each in sorted(broken, key=lambda each: each.seed)[:20]:
        print(f"seed {each.seed}: {each.broken}\n    replay: python -m tests.sim --seed {each.seed}")
    print(
        f"{chosen.seeds} seeds, {len(broken)} broken, {events} events, {took:.1f} s"
        f" ({60 * chosen.seeds / took:.0f} a minute)"
    )
    return 1 if broken else 0


def _without_transcript(seed: int) -> Run:
    done = run(seed)
    return Run(done.seed, done.broken, "", done.events, done.virtual_seconds)


def _replay(seed: int) -> int:
    done = run(seed)
    print(done.transcript, end="")
    print(f"seed {seed}: {done.broken or 'no rule was broken'}")
    return 0 if done.broken is None else 1


if __name__ == "__main__":
    sys.exit(main())
