"""The names that the original Bubuku's users know, and what has become of each: commands and HTTP paths.

Callers: `cli.former` and `http.former`; the table of docs/api.md is made from it. Pure. A name of which `works` is
true goes on working; any other is one line that names its successor, and exit code 2 or HTTP 410.
"""

from __future__ import annotations

from dataclasses import dataclass

KAFKAS = "Kafka's own bin/"


@dataclass(frozen=True, slots=True)
class FormerCommand:
    words: str
    successor: str
    works: bool = False


@dataclass(frozen=True, slots=True)
class FormerPath:
    """`path` without a trailing slash; one that ends in "/" is everything under it."""

    path: str
    successor: str


COMMANDS: tuple[FormerCommand, ...] = (
    FormerCommand("actions list", "bubuku-cli changes list", works=True),
    FormerCommand("actions delete", "bubuku-cli changes cancel NUMBER", works=True),
    FormerCommand("stats", "bubuku-cli status, column DISK", works=True),
    FormerCommand("restart", "bubuku-cli restart --broker N", works=True),
    FormerCommand("rolling-restart", "bubuku-cli rolling-restart, which changes no image, instance or key", works=True),
    FormerCommand("rebalance", f"none yet; until then {KAFKAS}kafka-reassign-partitions.sh"),
    FormerCommand("swap_fat_slim", f"none yet; until then {KAFKAS}kafka-reassign-partitions.sh"),
    FormerCommand("migrate", f"none yet; until then {KAFKAS}kafka-reassign-partitions.sh"),
    FormerCommand(
        "preferred-replica-election",
        f"part of each bubuku-cli restart; of all partitions at any time: {KAFKAS}kafka-leader-election.sh",
    ),
    FormerCommand(
        "validate replication",
        "bubuku-cli cluster show for how many are under-replicated; which: "
        f"{KAFKAS}kafka-topics.sh --describe --under-replicated-partitions",
    ),
)

PATHS: tuple[FormerPath, ...] = (
    FormerPath("/api/controller/queue", "GET /v1/changes on the API's port"),
    FormerPath("/api/controller/queue/", "DELETE /v1/changes/{number} on the API's port"),
    FormerPath("/api/disk_stats", "GET /v1/status on the API's port: disks"),
    FormerPath("/api/metrics", "GET /metrics on the API's port"),
    FormerPath("/api/state", "GET /v1/status on the API's port: state"),
    FormerPath("/api/stop", 'POST /v1/changes on the API\'s port: {"kind": "stop", "brokers": [1]}'),
)


def path(asked: str) -> FormerPath | None:
    """The row of a path that was asked for.

    >>> [p.path if p else None for p in map(path, ("/api/state/", "/api/controller/queue/restart", "/api/other"))]
    ['/api/state', '/api/controller/queue/', None]
    """
    bare = asked.rstrip("/")
    for row in PATHS:
        if bare == row.path or (row.path.endswith("/") and bare.startswith(row.path)):
            return row
    return None


def command(words: str) -> FormerCommand:
    return next(row for row in COMMANDS if row.words == words)
