"""Errors named by whose fault they are, each with the exit code and HTTP status that it becomes.

Exit codes, everywhere: 0 done, 1 failed, 2 usage, 3 refused as unsafe, 4 timed out.
"""

from __future__ import annotations


class BubukuError(Exception):
    """Base: the message is one clear line for an operator."""

    exit_code = 1
    http_status = 500


class UsageError(BubukuError):
    """What was asked, or configured, is wrong: it names the input and what to do."""

    exit_code = 2
    http_status = 400


class RefusedError(BubukuError):
    """It could be done, but not safely. The message carries the reason."""

    exit_code = 3
    http_status = 409


class TimedOutError(BubukuError):
    """It was not known within its deadline; it may still happen."""

    exit_code = 4
    http_status = 504


class UnavailableError(BubukuError):
    """Something outside (ZooKeeper, Kafka, the disk) does not answer or answered with an error."""

    exit_code = 1
    http_status = 503


class InvariantError(BubukuError):
    """A rule of the design was about to be broken: the daemon holds and leaves the broker alone."""

    exit_code = 1
    http_status = 500
