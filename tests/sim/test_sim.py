"""Some seeds in each test run. BUBUKU_SEED=n runs that one alone; `make sim SEEDS=100000` runs many."""

from __future__ import annotations

import os

import pytest

from tests.sim.run import run

SEEDS = range(130)
BATCH = 26


def batches() -> list[list[int]]:
    one = os.environ.get("BUBUKU_SEED")
    if one is not None:
        return [[int(one)]]
    return [list(SEEDS[at : at + BATCH]) for at in range(0, len(SEEDS), BATCH)]


@pytest.mark.parametrize("seeds", batches(), ids=lambda seeds: f"{seeds[0]}-{seeds[-1]}")
def test_seeds(seeds: list[int]) -> None:
    for seed in seeds:
        done = run(seed)
        if done.broken is not None:
            last = "\n".join(done.transcript.splitlines()[-40:])
            pytest.fail(f"seed {seed}: {done.broken}\nreplay it: make sim SEED={seed}\n{last}", pytrace=False)


def test_the_same_seed_gives_the_same_run() -> None:
    assert run(5).transcript == run(5).transcript
