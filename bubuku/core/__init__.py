"""The pure core: what is seen goes in, what to do comes out. No I/O, no clock, no randomness."""
