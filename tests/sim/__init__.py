"""A deterministic simulator of whole clusters: the real `Supervisor`, in-memory ports, a virtual clock, faults.

`python -m tests.sim --seeds 1000` runs many seeds; `--seed N` replays one and prints its transcript.
"""
