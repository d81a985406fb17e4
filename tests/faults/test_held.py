"""What a restart cannot mend: held with the reason, not fenced where it was known before, started when it is mended."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from bubuku.sandbox.keeper import clean_environment
from bubuku.sandbox.processes import wait_gone, with_arguments
from tests.faults.modes import both_modes
from tests.support.cluster import RealCluster, tail
from tests.support.faults import Broker, follower, let_pass, lives, nothing_lost, workload
from tests.support.kafka_servers import free_ports
from tests.support.wait import wait_for

STAYS_SECONDS = 3.0


def _stays_held(victim: Broker, reason: str) -> None:
    """Held for good: nothing is started, nothing fenced."""
    before = victim.status()
    let_pass(victim.cluster, STAYS_SECONDS, "a start that must not be")
    after = victim.status()
    assert (after["state"], after["reason"]) == ("held", reason), after["sentence"]
    assert (after["starts"], after["fences"]) == (before["starts"], before["fences"])
    assert after["remedy"]


@both_modes
def test_a_setting_that_kafka_refuses_holds_until_the_template_is_mended(cluster: RealCluster) -> None:
    victim = follower(cluster)
    with workload(cluster) as load:
        with victim.template(num_io_threads="zero"):
            before = cluster.kill_kafka(victim.node_id)
            shown = victim.wait("held", "bad_configuration")
            assert "num.io.threads" in shown["sentence"]
            _stays_held(victim, "bad_configuration")
        victim.wait_restarted(before)
        nothing_lost(load)


@pytest.mark.full
@both_modes
def test_without_a_template_it_is_held_and_not_fenced(cluster: RealCluster) -> None:
    victim = follower(cluster)
    template = victim.node.template
    fences = victim.status()["fences"]
    with workload(cluster) as load:
        template.rename(template.with_suffix(".away"))
        try:
            before = cluster.kill_kafka(victim.node_id)
            shown = victim.wait("held", "bad_configuration")
            assert str(template) in shown["sentence"]
            assert shown["fences"] == fences, "harm 4: what is held must not be fenced"
            _stays_held(victim, "bad_configuration")
        finally:
            template.with_suffix(".away").rename(template)
        victim.wait_restarted(before)
        nothing_lost(load)


def _take(cluster: RealCluster, port: int) -> socket.socket:
    """Listen there, as soon as the kernel has closed the killed Kafka's own socket."""
    taken: list[socket.socket] = []

    def free() -> bool:
        try:
            taken.append(socket.create_server(("127.0.0.1", port)))
        except OSError:
            return False
        return True

    cluster.wait_for(free, 10, f"port {port} to be free")
    return taken[0]


@both_modes
def test_a_taken_port_holds_until_it_is_free(cluster: RealCluster) -> None:
    victim = follower(cluster)
    port = victim.node.listener_port
    assert port is not None
    with workload(cluster) as load:
        before = victim.kill_both()
        with _take(cluster, port):
            victim.start_daemon()
            shown = victim.wait("held", "port_taken")
            assert str(os.getpid()) in shown["sentence"]
            assert str(port) in shown["sentence"]
            assert shown["fences"] == {}, "harm 4: what is held must not be fenced"
            _stays_held(victim, "port_taken")
        victim.wait_restarted(before)
        nothing_lost(load)


@both_modes
@pytest.mark.parametrize(
    ("key", "reason", "value"),
    [
        ("cluster.id", "cluster_id_mismatch", "AAAAAAAAAAAAAAAAAAAAAA"),
        pytest.param("id", "node_id_mismatch", "77", marks=pytest.mark.full),
    ],
)
@pytest.mark.full
def test_the_log_dir_of_another_broker_holds(cluster: RealCluster, key: str, reason: str, value: str) -> None:
    victim = follower(cluster)
    meta = victim.data / "meta.properties"
    with workload(cluster) as load:
        before = victim.kill_both()
        text = meta.read_text()
        lines = [
            line.partition("=")[0] + "=" + value if line.partition("=")[0].endswith(key) else line
            for line in text.splitlines()
        ]
        meta.write_text("\n".join(lines) + "\n")
        try:
            victim.start_daemon()
            shown = victim.wait("held", reason)
            assert value in shown["sentence"]
            assert shown["fences"] == {}, "harm 4: what is held must not be fenced"
            _stays_held(victim, reason)
        finally:
            meta.write_text(text)
        victim.wait_restarted(before)
        nothing_lost(load)


@contextmanager
def _foreign_kafka(victim: Broker) -> Iterator[subprocess.Popen[bytes]]:
    """The same broker, started by hand."""
    document = yaml.safe_load(victim.node.config_file.read_text(encoding="utf-8"))
    script = victim.cluster.layout.kafka_home / "bin" / "kafka-server-start.sh"
    with (victim.node.log_dir / "by-hand.log").open("ab") as output:
        child = subprocess.Popen(
            [str(script), str(victim.node.state_dir / "server.properties")],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=clean_environment() | document["kafka"]["environment"],
            start_new_session=True,
        )
    try:
        yield child
    finally:
        child.kill()
        child.wait(10)


@both_modes
def test_a_foreign_kafka_is_held_and_with_adopt_running_adopted(cluster: RealCluster) -> None:
    victim = follower(cluster)
    settings = str(victim.node.state_dir / "server.properties")
    with workload(cluster) as load:
        victim.kill_daemon()
        stopped = cluster.signal_kafka(victim.node_id, signal.SIGTERM)  # cleanly: nothing of it stands in the way
        assert not wait_gone([stopped], 60)
        with _foreign_kafka(victim) as foreign:
            log = victim.node.log_dir / "by-hand.log"
            wait_for(lambda: _listens(victim), 60, lambda: f"the foreign Kafka to listen: {tail(log, 20)}")
            victim.start_daemon()
            shown = victim.wait("held", "foreign_kafka")
            assert str(foreign.pid) in shown["sentence"]
            assert str(victim.data) in shown["sentence"]
            _stays_held(victim, "foreign_kafka")
            assert [process.pid for process in with_arguments(settings)] == [foreign.pid]

            victim.configure(adopt_running=True)
            cluster.stop_daemon(victim.node_id)
            victim.start_daemon()
            shown = victim.wait("serving")
            assert shown["process"]["adopted"]
            assert shown["starts"] == {}
            assert shown["fences"] == {}
            adopted = victim.process()
            assert adopted.pid == foreign.pid
            assert [process.pid for process in with_arguments(settings)] == [foreign.pid]
        # from now on it is supervised like one of its own
        assert victim.wait_restarted(adopted)["fences"] == {"done": 1}
        nothing_lost(load)


def _listens(victim: Broker) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", victim.node.listener_port or 0)) == 0


@both_modes
def test_a_second_daemon_with_the_same_node_id_is_held(cluster: RealCluster, tmp_path: Path) -> None:
    first = follower(cluster)
    before, status = first.process(), first.status()
    second = _second_daemon(first, tmp_path)
    url = f"http://127.0.0.1:{second['api']['port']}/v1/status"
    with (tmp_path / "daemon.log").open("ab") as output:
        child = subprocess.Popen(
            [sys.executable, "-m", "bubuku.daemon", "--config", str(tmp_path / "bubuku.yaml")],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=clean_environment(),
        )
    try:

        def shown() -> dict[str, Any]:
            try:
                found: dict[str, Any] = requests.get(url, timeout=5).json()
            except (requests.RequestException, ValueError):
                return {}
            return found if found.get("state") == "held" else {}

        held = wait_for(shown, 30, lambda: f"the second daemon to be held: {(tmp_path / 'daemon.log').read_text()}")
        assert held["reason"] == "member_elsewhere"
        let_pass(cluster, STAYS_SECONDS, "a start that must not be")
        assert shown()["starts"] == {}
        assert not (tmp_path / "data").exists() or not any((tmp_path / "data").iterdir())
        assert first.status()["state"] == "serving"
    finally:
        child.send_signal(signal.SIGTERM)
        assert child.wait(20) == 0
    assert first.process() == before
    assert first.status()["starts"] == status["starts"]


def _second_daemon(first: Broker, folder: Path) -> dict[str, Any]:
    """The configuration of a daemon on "another host": all is its own but the node id."""
    document: dict[str, Any] = yaml.safe_load(first.node.config_file.read_text(encoding="utf-8"))
    api, listener = free_ports(2)
    text = first.node.template.read_text(encoding="utf-8")
    text = text.replace(str(first.data), str(folder / "data")).replace(f":{first.node.listener_port}", f":{listener}")
    (folder / "template").write_text(text, encoding="utf-8")
    document["kafka"] |= {"settings": str(folder / "template"), "log_file": str(folder / "server.log")}
    del document["kafka"]["jolokia_url"]
    document |= {
        "state_dir": str(folder / "state"),
        "log_dir": str(folder / "logs"),
        "host": "another-host.example",
        "api": {"host": "127.0.0.1", "port": api},
    }
    (folder / "bubuku.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    return document


@both_modes
def test_a_second_daemon_on_the_same_state_dir_is_refused(cluster: RealCluster) -> None:
    first = follower(cluster)
    before = first.process()
    ended = subprocess.run(
        [sys.executable, "-m", "bubuku.daemon", "--config", str(first.node.config_file)],
        capture_output=True,
        text=True,
        timeout=30,
        env=clean_environment(),
        check=False,
    )
    assert ended.returncode == 3, ended
    lines = ended.stderr.strip().splitlines()
    assert len(lines) == 1, ended.stderr
    assert str(cluster.daemon_pid(first.node_id)) in lines[0]
    assert str(first.node.state_dir) in lines[0]
    assert lives(before)


@both_modes
def test_a_log_dir_that_comes_up_empty_holds_and_no_follower_is_truncated(cluster: RealCluster) -> None:
    victim = follower(cluster)
    away = victim.data.with_name("data-away")
    with workload(cluster) as load:
        before = victim.kill_both()
        victim.data.rename(away)
        victim.data.mkdir()
        victim.start_daemon()
        shown = victim.wait("held", "log_dir_empty")
        assert str(victim.data) in shown["sentence"]
        assert shown["fences"] == {}, "harm 4: what is held must not be fenced"
        _stays_held(victim, "log_dir_empty")
        assert not list(victim.data.glob("*-0")), "Kafka was started on the empty dir"
        shutil.rmtree(victim.data)
        away.rename(victim.data)
        victim.wait_restarted(before)
        nothing_lost(load)


@pytest.mark.full
@both_modes
def test_accept_empty_where_others_are_in_sync(cluster: RealCluster) -> None:
    victim = follower(cluster)
    with workload(cluster) as load:
        before = victim.kill_both()
        shutil.rmtree(victim.data)
        victim.data.mkdir()
        victim.start_daemon("--accept-empty")
        victim.wait_restarted(before)
        cluster.stop_daemon(victim.node_id)
        victim.start_daemon()  # what was accepted once is on record
        assert victim.wait("serving")["starts"] == {}
        nothing_lost(load)


@pytest.mark.full
@both_modes
def test_accept_empty_is_refused_for_the_last_replica_in_sync(cluster: RealCluster) -> None:
    victim = follower(cluster)
    away = victim.data.with_name("data-away")
    with workload(cluster, placement=[[victim.node_id]] * 2, min_isr=1) as load:
        let_pass(cluster, 1, "some records to be written")
        before = victim.kill_both()
        victim.data.rename(away)
        victim.data.mkdir()
        victim.start_daemon("--accept-empty")

        def refused() -> bool:
            return "refused" in victim.status().get("sentence", "")

        cluster.wait_for(refused, 60, "--accept-empty to be refused")
        shown = victim.wait("held", "log_dir_empty")
        assert load.topic in shown["sentence"]
        _stays_held(victim, "log_dir_empty")
        shutil.rmtree(victim.data)
        away.rename(victim.data)
        victim.wait_restarted(before)
        nothing_lost(load)
