"""The contract suite: one set of tests a port, run on the real adapters and on the simulator's in-memory ones alike.

A test speaks through the port and through a *world* (`worlds.py`): the other side of the port, which can be cut off,
killed, or looked at. Add an implementation in `implementations.py`.
"""
