"""The adapter of Kafka's files against a real Kafka: format, locks, markers, progress, causes of failure."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

import pytest
from kafka.admin import KafkaAdminClient, NewTopic

from bubuku.adapters.broker_files import BrokerFiles, BrokerFilesSettings
from bubuku.core.actions import Result
from bubuku.core.model import LogView, Mode, Role
from bubuku.core.reasons import Reason
from bubuku.core.shared import ProcessId
from tests.support.kafka_servers import HOST, KafkaCluster, KafkaServer
from tests.support.wait import wait_for

PARTITIONS = 12


def adapter(server: KafkaServer) -> BrokerFiles:
    return BrokerFiles(
        BrokerFilesSettings(
            kafka_home=server.home,
            template=server.write(),
            server_properties=server.folder / "rendered" / "server.properties",
            mode=Mode.KRAFT,
            roles=frozenset({Role.BROKER, Role.CONTROLLER}),
            log_file=server.log_file,
            stdout_file=server.folder / "stdout",
            node_id=server.node_id,
        )
    )


def identity(pid: int) -> ProcessId:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return ProcessId(pid, int(fields[19]), Path("/proc/sys/kernel/random/boot_id").read_text().strip())


def serve(server: KafkaServer, files: BrokerFiles) -> None:
    files.restart_log()
    server.start()
    wait_for(server.listens, 60, lambda: f"Kafka to listen:\n{server.last_lines()}")


def fails(server: KafkaServer, files: BrokerFiles) -> LogView:
    """Start Kafka, wait for its end, and read its log."""
    files.restart_log()
    server.start()
    assert server.child is not None
    assert server.child.wait(60) != 0
    return files.log()


@pytest.mark.parametrize("version", ["4.3.0", pytest.param("3.9.2", marks=pytest.mark.full)])
def test_the_life_of_a_broker_as_its_files_tell_it(tmp_path: Path, version: str) -> None:
    cluster = KafkaCluster(
        tmp_path, Mode.KRAFT, 1, version=version, properties={"log.dirs": f"{tmp_path}/data-a,{tmp_path}/data-b"}
    )
    (server,) = cluster.servers.values()
    files = adapter(server)
    paths = [found.path for found in files.log_dirs()]
    try:
        files.mark(paths)
        files.render()
        formatted = files.format(paths, cluster.cluster_id, 60)
        assert formatted.result is Result.DONE, formatted.detail
        found = files.log_dirs()
        assert [(d.node_id, d.cluster_id, d.holds_data) for d in found] == [(1, cluster.cluster_id, True)] * 2
        assert None not in [d.marker for d in found]
        assert files.format(paths, cluster.cluster_id, 60).result is Result.REFUSED

        serve(server, files)
        assert server.child is not None
        other = files.foreign(None)
        assert other is not None
        assert (other.identity, other.is_kafka, other.holds_log_dir) == (identity(server.child.pid), True, True)
        assert files.foreign(other.identity) is None
        client = KafkaAdminClient(bootstrap_servers=server.endpoint)
        client.create_topics([NewTopic("topic", PARTITIONS, 1)])
        client.close()
        wait_for(lambda: len(list(tmp_path.glob("data-*/topic-*"))) == PARTITIONS, 30, "the partitions' folders")

        server.kill()
        assert files.foreign(None) is None
        assert [d.clean for d in files.log_dirs()] == [False, False]
        serve(server, files)
        view = wait_for(
            lambda: (v := files.log()).recovered == PARTITIONS and v, 30, lambda: f"recovery: {files.log()}"
        )
        assert (view.recover_total, view.fatal) == (PARTITIONS, None)
        server.signal(signal.SIGTERM)
        server.child.wait(60)
        assert [d.clean for d in files.log_dirs()] == [True, True]

        with socket.create_server((HOST, server.port)):
            assert fails(server, files).fatal == Reason.PORT_TAKEN.value
        server.properties["num.io.threads"] = "zero"
        view = fails(server, files)
        assert view.fatal == Reason.BAD_CONFIGURATION.value
        assert "Invalid value zero for configuration num.io.threads" in (view.fatal_line or "")
        server.properties |= {"num.io.threads": "2", "node.id": "2"}
        server.properties["controller.quorum.voters"] = server.properties["controller.quorum.voters"].replace(
            "1@", "2@"
        )
        assert fails(server, files).fatal == Reason.NODE_ID_MISMATCH.value
    finally:
        cluster.stop()
