"""The closed list of causes: the same code in log, event, metric label and API.

A reason says why a broker was started, fenced, held back, or left alone. Each has one line of explanation, which the
documentation's table is made from (`docs/reasons.md`), and a remedy where an operator has one.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    # why a broker is (about to be) started
    FIRST_START = "first_start"
    PROCESS_DIED = "process_died"
    STOPPED_OUTSIDE = "stopped_outside"
    START_STALLED = "start_stalled"
    RESTARTED = "restarted"
    ADDRESSES_CHANGED = "addresses_changed"
    # why a running one is left alone or described
    RUNNING = "running"
    ADOPTED = "adopted"
    LOG_RECOVERY = "log_recovery"
    NOT_REGISTERED = "not_registered"
    ALL_UNREGISTERED = "all_unregistered"
    NO_ANSWER = "no_answer"
    SUSPENDED = "suspended"
    TERMINATING = "terminating"
    ADDRESSES_UNREAD = "addresses_unread"
    # why a start waits
    BACK_OFF = "back_off"
    FENCE_PENDING = "fence_pending"
    OLD_SESSION = "old_session"
    LEADERS_MOVING = "leaders_moving"
    COORDINATION_AWAY = "coordination_away"
    RECORD_UNREAD = "record_unread"
    FORMATTING = "formatting"
    STOPPED_ON_PURPOSE = "stopped_on_purpose"
    MAINTENANCE = "maintenance"
    # why a broker is held
    NODE_ID_MISMATCH = "node_id_mismatch"
    CLUSTER_ID_MISMATCH = "cluster_id_mismatch"
    LOG_DIR_EMPTY = "log_dir_empty"
    LOG_DIR_FOREIGN = "log_dir_foreign"
    LOG_DIRS_FAILED = "log_dirs_failed"
    DISK_FULL = "disk_full"
    BAD_CONFIGURATION = "bad_configuration"
    PORT_TAKEN = "port_taken"
    FOREIGN_KAFKA = "foreign_kafka"
    FOREIGN_SUPERVISOR = "foreign_supervisor"
    MEMBER_ELSEWHERE = "member_elsewhere"
    MARKER_MISSING = "marker_missing"
    FORMAT_FAILED = "format_failed"
    INVARIANT = "invariant"


@dataclass(frozen=True, slots=True)
class Explanation:
    meaning: str
    remedy: str | None = None


EXPLANATIONS: dict[Reason, Explanation] = {
    Reason.FIRST_START: Explanation("nothing ran, so the broker is started"),
    Reason.PROCESS_DIED: Explanation("the Kafka process ended by itself or was killed; it is started again"),
    Reason.STOPPED_OUTSIDE: Explanation("somebody stopped Kafka cleanly outside bubuku; it is started again"),
    Reason.START_STALLED: Explanation(
        "Kafka made no progress while starting; it had never registered, so it was ended and is started again"
    ),
    Reason.RESTARTED: Explanation("the broker was stopped for a restart that somebody asked for, and is started again"),
    Reason.ADDRESSES_CHANGED: Explanation(
        "ZooKeeper's addresses changed: a Kafka that was started with the former ones is restarted with the new ones"
    ),
    Reason.RUNNING: Explanation("the broker runs"),
    Reason.ADOPTED: Explanation("a running Kafka was taken over without a restart"),
    Reason.LOG_RECOVERY: Explanation("Kafka recovers its logs after an unclean end; it is never killed meanwhile"),
    Reason.NOT_REGISTERED: Explanation(
        "the process lives, but the cluster does not list it", "look at Kafka's log; the cluster serves without it"
    ),
    Reason.ALL_UNREGISTERED: Explanation(
        "no broker at all is registered: the fault is the cluster's, so nothing is restarted",
        "look at ZooKeeper or the controllers",
    ),
    Reason.NO_ANSWER: Explanation(
        "the process lives, but its own listener and JMX do not answer", "take a thread dump; look at its disks"
    ),
    Reason.SUSPENDED: Explanation("the kernel has the process stopped (SIGSTOP)", "continue it with SIGCONT"),
    Reason.TERMINATING: Explanation("Kafka is being stopped gracefully, as its daemon was asked to"),
    Reason.ADDRESSES_UNREAD: Explanation(
        "the list of ZooKeeper's addresses is missing, empty or malformed: the last known one stays in force",
        "mend what zookeeper.addresses_file names",
    ),
    Reason.BACK_OFF: Explanation(
        "starts failed; the next one waits (1 s doubling to 5 min)", "read Kafka's last lines"
    ),
    Reason.FENCE_PENDING: Explanation("the cluster is being told that this broker is dead, before it starts again"),
    Reason.OLD_SESSION: Explanation("whether the cluster was told is unknown, so the old session must end first"),
    Reason.LEADERS_MOVING: Explanation("the cluster still elects leaders for partitions that this broker led"),
    Reason.COORDINATION_AWAY: Explanation("ZooKeeper does not answer, and this start needs it", "look at ZooKeeper"),
    Reason.RECORD_UNREAD: Explanation(
        "which log dirs this broker had is on record in ZooKeeper alone, and could not be read yet", "look at ZooKeeper"
    ),
    Reason.FORMATTING: Explanation("KRaft log dirs that never held data are being formatted"),
    Reason.STOPPED_ON_PURPOSE: Explanation(
        "an operator stopped this broker, and it stays down, also after a restart of the daemon or the host",
        "bubuku-cli start --broker N",
    ),
    Reason.MAINTENANCE: Explanation(
        "hands off: somebody switched maintenance on, so no broker is started, stopped or moved",
        "bubuku-cli maintenance off",
    ),
    Reason.NODE_ID_MISMATCH: Explanation(
        "the log dirs belong to another node id than configured",
        "mount the right volume, or correct node_id; then restart the daemon if it is still held",
    ),
    Reason.CLUSTER_ID_MISMATCH: Explanation(
        "the log dirs belong to another Kafka cluster",
        "mount the right volume, or correct the ZooKeeper address; then restart the daemon if it is still held",
    ),
    Reason.LOG_DIR_EMPTY: Explanation(
        "a log dir that held data came up without it; starting would lose replicas",
        "mount the volume; if its data is gone for good, restart the daemon with --accept-empty",
    ),
    Reason.LOG_DIR_FOREIGN: Explanation(
        "a log dir carries another marker than the one on record", "mount the volume that belongs to this broker"
    ),
    Reason.LOG_DIRS_FAILED: Explanation("no log dir is usable", "look at the disks and mounts"),
    Reason.DISK_FULL: Explanation("the log dir's disk is full; a restart would not mend it", "free space, or grow it"),
    Reason.BAD_CONFIGURATION: Explanation(
        "Kafka refuses its configuration",
        "correct the server.properties template, and it is tried at once; what else was mended: restart the daemon",
    ),
    Reason.PORT_TAKEN: Explanation(
        "a listener's port is taken by another process", "end that process or move the port"
    ),
    Reason.FOREIGN_KAFKA: Explanation(
        "a Kafka that bubuku did not start runs on these log dirs or listeners",
        "set adopt_running: true to take it over without a restart, or stop it",
    ),
    Reason.FOREIGN_SUPERVISOR: Explanation(
        "the running Kafka belongs to a supervisor that would restart it", "hand it over first, as the message says"
    ),
    Reason.MEMBER_ELSEWHERE: Explanation(
        "another host's daemon answers for this node id", "stop the other one, or correct node_id"
    ),
    Reason.MARKER_MISSING: Explanation(
        "this ZooKeeper is not the one that this member joined (wiped, restored or another one)",
        "correct the address or prefix; for a deliberate move see docs/operations.md",
    ),
    Reason.FORMAT_FAILED: Explanation("formatting the KRaft log dirs failed", "read the message of kafka-storage"),
    Reason.INVARIANT: Explanation("a rule of the design was about to be broken; the broker is left alone", "report it"),
}
