"""Scripted clusters on the simulator. Beside each story is its transcript: a change of behaviour shows as a diff."""
