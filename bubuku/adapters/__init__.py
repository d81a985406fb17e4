"""I/O, one library or one part of the outside each. Adapters import `ports` and `core`, never each other."""
