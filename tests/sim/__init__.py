"""A deterministic simulator of whole clusters: the real `Supervisor` on in-memory ports, a virtual clock, seeded faults.

`python -m tests.sim --seeds 1000` runs many seeds; `--seed N` replays one and prints its transcript.
"""
