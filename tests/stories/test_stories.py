"""The stories. `make story S=name` runs one, with REWRITE=1 it writes the transcript anew."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bubuku.core.model import Mode
from tests.sim.host import Volume
from tests.stories.script import Story

FOLDER = Path(__file__).parent


def first_start() -> Story:
    story = Story(fresh=True)
    story.world.start_all()
    story.until_all_serve()
    return story


def first_start_in_kraft() -> Story:
    """The log dirs are formatted first."""
    story = Story(fresh=True, mode=Mode.KRAFT, brokers=1, dirs=2)
    story.world.start_all()
    story.until_all_serve()
    return story


def kill_9_of_a_follower() -> Story:
    story = Story().settled()
    story.kill_kafka(2)
    story.until_all_serve()
    return story


def kill_9_in_kraft() -> Story:
    story = Story(mode=Mode.KRAFT).settled()
    story.kill_kafka(2)
    story.until_all_serve()
    return story


def without_instant_failover() -> Story:
    story = Story(instant_failover=False).settled()
    story.kill_kafka(2)
    story.until_all_serve()
    return story


def clean_stop_outside() -> Story:
    """Never fenced; started again."""
    story = Story(mode=Mode.KRAFT).settled()
    process = story.world.kafka(story.host(2))
    assert process is not None
    story.engine.say("somebody", "sends SIGTERM to Kafka on host-2")
    process.sigterm()
    story.until_all_serve()
    return story


def crash_loop_backs_off() -> Story:
    story = Story(brokers=1).settled()
    host = story.host(1)
    host.port_taken = True
    story.engine.say("host-1", "something takes Kafka's port for a minute, unseen")
    story.kill_kafka(1)
    story.passes(60)
    host.port_taken = False
    story.engine.say("host-1", "the port is free again")
    story.until_all_serve()
    return story


def bad_configuration_held() -> Story:
    """Not looped over: held until the template changes."""
    story = Story(brokers=1).settled()
    host = story.host(1)
    host.settings = replace(host.settings, refused_by_kafka=True, revision=2)
    story.kill_kafka(1)
    story.passes(120)
    story.engine.say("operator", "mends the template")
    host.settings = replace(host.settings, refused_by_kafka=False, revision=3)
    story.until_all_serve()
    return story


def daemon_killed() -> Story:
    """Its successor adopts the running Kafka."""
    story = Story(brokers=1).settled()
    daemon = story.world.daemons[story.host(1)]
    assert daemon is not None
    daemon.die()
    story.passes(10)
    assert story.world.serves(story.host(1))
    return story


def both_killed() -> Story:
    story = Story().settled()
    daemon = story.world.daemons[story.host(2)]
    assert daemon is not None
    daemon.die()
    story.kill_kafka(2)
    story.until_all_serve()
    return story


def host_reboot() -> Story:
    story = Story().settled()
    story.world.host_down(story.host(2))
    story.passes(40)
    story.world.host_up(story.host(2))
    story.until_all_serve()
    return story


def zookeeper_down_a_minute() -> Story:
    """A broker that works goes on; one that dies meanwhile waits for ZooKeeper."""
    story = Story().settled()
    story.world.zookeeper.set_up(False)
    story.passes(20)
    story.kill_kafka(3)
    story.passes(40)
    story.world.zookeeper.set_up(True)
    story.until_all_serve()
    return story


def zookeeper_down_in_kraft() -> Story:
    """A broker that has its record needs no ZooKeeper."""
    story = Story(mode=Mode.KRAFT).settled()
    story.world.zookeeper.set_up(False)
    story.passes(20)
    story.kill_kafka(3)
    story.until_all_serve()
    return story


def empty_log_dir_held() -> Story:
    story = Story(dirs=2).settled()
    host = story.host(2)
    story.world.host_down(host)
    host.mounts = {**host.mounts, "/data/2": Volume("mount-point")}
    story.world.host_up(host)
    story.passes(60)
    story.engine.say("operator", "mounts the volume of /data/2")
    host.mounts = dict(host.fstab)
    story.until_all_serve()
    return story


def empty_log_dir_and_the_state_file_lost() -> Story:
    """ZooKeeper knows what the dirs held."""
    story = Story().settled()
    host = story.host(2)
    story.world.host_down(host)
    host.mounts, host.record = {"/data/1": Volume("mount-point")}, None
    story.world.host_up(host)
    story.passes(60)
    host.mounts = dict(host.fstab)
    story.until_all_serve()
    return story


def foreign_kafka_held() -> Story:
    story = Story(brokers=1)
    process = story.world.start_kafka_by_hand(story.host(1))
    story.passes(10)
    story.world.start_all()
    story.passes(60)
    story.engine.say("operator", "stops it")
    process.sigterm()
    story.until_all_serve()
    return story


def foreign_kafka_adopted() -> Story:
    """No restart; its dirs are marked and on record from then on, and it is started again when it dies."""
    story = Story(brokers=1)
    host = story.host(1)
    host.settings.adopt_running = True
    story.world.start_kafka_by_hand(host)
    story.passes(10)
    story.world.start_all()
    story.passes(60)
    story.kill_kafka(1)
    story.until_all_serve()
    return story


def foreign_kafka_of_another_supervisor() -> Story:
    story = Story(brokers=1)
    host = story.host(1)
    host.settings.adopt_running = True
    host.systemd_restarts_foreign = True
    story.world.start_kafka_by_hand(host)
    story.passes(10)
    story.world.start_all()
    story.passes(20)
    story.engine.say("operator", "hands it over")
    host.systemd_restarts_foreign = False
    story.passes(10)
    assert story.world.serves(host)
    return story


def disk_full_held_then_freed() -> Story:
    story = Story().settled()
    host = story.host(2)
    host.disk_full = True
    story.kill_kafka(2)
    story.passes(90)
    story.engine.say("operator", "frees space on host-2")
    host.disk_full = False
    story.until_all_serve()
    return story


def power_cut() -> Story:
    return _power_cut(Mode.ZOOKEEPER)


def power_cut_in_kraft() -> Story:
    return _power_cut(Mode.KRAFT)


def _power_cut(mode: Mode) -> Story:
    story = Story(mode=mode).settled()
    story.engine.say("power", "is cut")
    for host in story.world.hosts:
        story.world.host_down(host)
    story.world.zookeeper.set_up(False)
    story.passes(30)
    story.engine.say("power", "is back")
    for host in story.world.hosts:
        story.world.host_up(host)
    story.passes(5)
    story.world.zookeeper.set_up(True)
    story.until_all_serve()
    return story


def second_daemon_held() -> Story:
    """Another host, configured by mistake with the node id of host-2."""
    story = Story().settled()
    twin = story.world.add_twin(story.host(2))
    story.world.start_daemon(twin)
    story.passes(30)
    story.world.host_down(story.host(2))
    story.passes(40)
    assert not twin.processes
    return story


def fence_outcome_unknown() -> Story:
    """Its reply was lost: the fence is sent again, which is harmless, and the start waits until it is known."""
    story = Story().settled()
    story.world.fates = lambda _rng: "reply lost"
    story.kill_kafka(2)
    story.passes(1)
    story.world.fates = lambda _rng: "done"
    story.until_all_serve()
    return story


def fence_outcome_unknown_in_kraft() -> Story:
    """A late one would break the next incarnation: the old session must end first."""
    story = Story(mode=Mode.KRAFT).settled()
    story.world.fates = lambda _rng: "late"
    story.kill_kafka(2)
    story.passes(1)
    story.world.fates = lambda _rng: "done"
    story.until_all_serve()
    return story


def daemon_killed_with_a_fence_under_way() -> Story:
    """In KRaft its successor cannot know what became of it."""
    story = Story(mode=Mode.KRAFT).settled()
    story.world.fates = lambda _rng: "late"
    story.kill_kafka(2)
    story.passes(0.5)
    daemon = story.world.daemons[story.host(2)]
    assert daemon is not None
    daemon.die()
    story.world.fates = lambda _rng: "done"
    story.until_all_serve()
    return story


def frozen_beyond_its_session() -> Story:
    """It is left alone: it registers again by itself."""
    story = Story().settled()
    process = story.world.kafka(story.host(2))
    assert process is not None
    process.suspend()
    story.passes(25)
    process.resume()
    story.until_all_serve()
    return story


def killed_in_mid_recovery() -> Story:
    story = Story(brokers=1).settled()
    story.kill_kafka(1)
    story.passes(3)
    story.kill_kafka(1)
    story.until_all_serve()
    return story


def wiped_zookeeper_held() -> Story:
    story = Story().settled()
    story.world.zookeeper.wipe()
    story.passes(5)
    story.kill_kafka(2)
    story.passes(40)
    story.world.zookeeper.restore()
    story.until_all_serve()
    return story


def graceful_terminate() -> Story:
    """systemctl restart of a daemon that takes Kafka with it."""
    story = Story().settled()
    daemon = story.world.daemons[story.host(2)]
    assert daemon is not None
    daemon.terminate()
    story.passes(2)
    story.until_all_serve()
    return story


def restart_of_a_broker() -> Story:
    """Under the permit; its leaders come back to it."""
    story = Story().settled()
    story.asks("restart", 2)
    story.until_changes_end()
    return story


def three_restarts_at_once() -> Story:
    """One after the other."""
    story = Story(mode=Mode.KRAFT).settled()
    story.asks("restart", 1, 2, 3)
    story.until_changes_end()
    return story


def restart_cancelled_between_stop_and_start() -> Story:
    """It is started again all the same."""
    story = Story().settled()
    story.asks("restart", 2)
    story.passes_until_down(2)
    story.cancels(0)
    story.until_changes_end()
    story.until_all_serve()
    return story


def stop_and_start() -> Story:
    """Stopped on purpose it stays down, also under the next daemon, and holds back what its absence makes unsafe."""
    story = Story().settled()
    story.asks("stop", 2)
    story.passes_until_down(2)
    daemon = story.world.daemons[story.host(2)]
    assert daemon is not None
    daemon.die()
    story.passes(30)
    story.asks("restart", 3)
    story.passes(20)
    story.asks("start", 2)
    story.until_changes_end()
    return story


def restart_refused_below_min_isr() -> Story:
    """At once, where somebody asks for it; while it is queued, until it is safe."""
    story = Story().settled()
    host = story.host(3)
    story.world.host_down(host)
    story.passes(30)
    story.asks("restart", 2)
    story.world.host_up(host)
    story.until_all_serve()
    story.asks("restart", 1, 2)
    story.passes_until_down(1)
    story.world.host_down(host)
    story.passes(60)
    story.world.host_up(host)
    story.until_changes_end()
    return story


def stop_that_hangs() -> Story:
    """Kafka waits for its ZooKeeper for ever while it stops: in the end it is killed, and started again."""
    story = Story().settled()
    story.asks("restart", 2)
    process = story.world.kafka(story.host(2))
    assert process is not None
    story.engine.run_until(story.engine.now() + 60.0, lambda: process.stopping_at is not None)
    story.world.zookeeper.set_up(False)
    story.passes(60)
    story.world.zookeeper.set_up(True)
    story.until_changes_end()
    story.until_all_serve()
    return story


def unlisted_on_its_way_back() -> Story:
    """Its change fails, and the others go where the guard lets them; its own daemon restarts it once more."""
    story = Story(brokers=4).settled()
    story.asks("restart", 2)
    story.passes_until_down(2)
    story.until_all_serve()
    story.asks("restart", 4)
    process = story.world.kafka(story.host(2))
    assert process is not None
    story.engine.say("kafka", "loses the registration of broker 2, which never registers again")
    process.deaf = True
    story.world.cluster.remove(story.world.cluster.entries[2])
    story.until_changes_end()
    story.until_all_serve()
    return story


def zookeeper_addresses_changed() -> Story:
    """Acted on after 180 s, one broker after the other; a list in another order is the same."""
    story = Story()
    story.addresses("zk-1:2181", "zk-2:2181")
    story.settled()
    story.addresses("zk-2:2181", "zk-1:2181")
    story.passes(200)
    story.addresses("zk-1:2181", "zk-3:2181")
    story.passes(100)
    daemon = story.world.daemons[story.host(3)]
    assert daemon is not None
    daemon.die()  # its successor counts anew
    story.passes(290)
    return story


def maintenance() -> Story:
    """Nothing new is stopped or started; what was being restarted comes back."""
    story = Story().settled()
    story.asks("restart", 1, 2)
    story.passes_until_down(1)
    story.maintenance(on=True)
    story.passes(30)
    story.kill_kafka(3)
    story.passes(20)
    story.maintenance(on=False)
    story.until_changes_end()
    story.until_all_serve()
    return story


STORIES: tuple[Callable[[], Story], ...] = (
    first_start,
    first_start_in_kraft,
    kill_9_of_a_follower,
    kill_9_in_kraft,
    without_instant_failover,
    clean_stop_outside,
    crash_loop_backs_off,
    bad_configuration_held,
    daemon_killed,
    both_killed,
    host_reboot,
    zookeeper_down_a_minute,
    zookeeper_down_in_kraft,
    empty_log_dir_held,
    empty_log_dir_and_the_state_file_lost,
    foreign_kafka_held,
    foreign_kafka_adopted,
    foreign_kafka_of_another_supervisor,
    disk_full_held_then_freed,
    power_cut,
    power_cut_in_kraft,
    second_daemon_held,
    fence_outcome_unknown,
    fence_outcome_unknown_in_kraft,
    daemon_killed_with_a_fence_under_way,
    frozen_beyond_its_session,
    killed_in_mid_recovery,
    wiped_zookeeper_held,
    graceful_terminate,
    restart_of_a_broker,
    three_restarts_at_once,
    restart_cancelled_between_stop_and_start,
    stop_and_start,
    restart_refused_below_min_isr,
    stop_that_hangs,
    unlisted_on_its_way_back,
    zookeeper_addresses_changed,
    maintenance,
)


@pytest.mark.parametrize("tell", STORIES, ids=lambda tell: tell.__name__)
def test_story(tell: Callable[[], Story]) -> None:
    told = tell().transcript()
    path = FOLDER / f"{tell.__name__}.txt"
    if os.environ.get("BUBUKU_REWRITE"):
        path.write_text(told)
    expected = path.read_text() if path.exists() else ""
    if told != expected:
        diff = "".join(
            difflib.unified_diff(expected.splitlines(True), told.splitlines(True), path.name, "as told now", n=2)
        )
        pytest.fail(f"{diff}\nif that is meant: make story S={tell.__name__} REWRITE=1", pytrace=False)


def test_each_transcript_has_its_story() -> None:
    assert {path.stem for path in FOLDER.glob("*.txt")} == {tell.__name__ for tell in STORIES}
