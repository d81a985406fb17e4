"""The loop's own part: what is done of a decision, in which order, and what is not when an act before it failed.

The ports are the simulator's, without faults; time moves when a test says so.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

import bubuku.supervisor
from bubuku.core.actions import StopGracefully
from bubuku.core.errors import InvariantError, UnavailableError
from bubuku.core.memory import Memory
from bubuku.core.model import BrokerState, Mode
from bubuku.core.observation import Decision, Observation, Policy
from bubuku.core.reasons import Reason
from bubuku.core.shared import Stop
from tests.sim.daemon import SimDaemon
from tests.sim.world import Shape, World


@pytest.fixture
def world() -> World:
    return World(1, Shape(brokers=1, mode=Mode.ZOOKEEPER))


def serving(world: World) -> SimDaemon:
    daemon = world.start_daemon(world.hosts[0])
    assert daemon is not None
    until_it_serves(world)
    return daemon


def until_it_serves(world: World) -> None:
    host = world.hosts[0]
    world.engine.run_until(world.engine.now() + 60, lambda: world.serves(host))
    assert world.serves(host), world.engine.transcript()


def decision(daemon: SimDaemon) -> Decision:
    assert daemon.decision is not None
    return daemon.decision


def test_a_first_start_is_on_disk_before_anything_rests_on_it(world: World) -> None:
    daemon = serving(world)
    record = world.hosts[0].record
    process = world.kafka(world.hosts[0])
    assert record is not None
    assert process is not None
    assert record.process == process.identity == daemon.supervisor.running
    assert record.registration is not None
    assert record.settings_digest == "settings-1"
    assert daemon.published is not None
    assert daemon.published.starts == {Reason.FIRST_START: 1}


def test_a_successor_adopts_without_a_restart(world: World) -> None:
    daemon = serving(world)
    process = world.kafka(world.hosts[0])
    daemon.die()
    world.engine.run_until(world.engine.now() + 4)
    assert world.kafka(world.hosts[0]) is process
    assert world.serves(world.hosts[0])


def test_a_successor_learns_of_an_end_that_nobody_saw(world: World) -> None:
    daemon = serving(world)
    daemon.die()
    process = world.kafka(world.hosts[0])
    assert process is not None
    process.kill()
    world.engine.run_until(world.engine.now() + 3)
    until_it_serves(world)
    record = world.hosts[0].record
    assert record is not None
    assert record.failures == 1


def test_nothing_is_fenced_while_the_end_cannot_be_written_down(world: World) -> None:
    """What comes after an act that failed rests on it."""
    serving(world)
    host = world.hosts[0]
    host.state_disk_full = True
    process = world.kafka(host)
    assert process is not None
    process.kill()
    world.engine.run_until(world.engine.now() + 0.002)
    assert world.cluster.entries, "fenced in the cycle whose save failed"
    until_it_serves(world)  # and yet it is started again


def test_a_kafka_that_cannot_be_executed_is_tried_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    daemon = world.start_daemon(world.hosts[0])
    assert daemon is not None

    def refuse() -> None:
        raise UnavailableError("java: No such file or directory")

    monkeypatch.setattr(daemon.process, "start", refuse)
    world.engine.run_until(15)
    assert (decision(daemon).state, decision(daemon).reason) == (BrokerState.FAILED, Reason.BAD_CONFIGURATION)
    assert "No such file" in decision(daemon).sentence
    monkeypatch.undo()
    until_it_serves(world)


def test_an_unsaved_start_is_no_failed_start(world: World) -> None:
    host = world.hosts[0]
    daemon = serving(world)
    process = world.kafka(host)
    assert process is not None
    process.kill()
    world.engine.run_until(world.engine.now() + 60, lambda: bool(host.processes))
    host.state_disk_full = True
    until_it_serves(world)
    host.state_disk_full = False
    world.engine.run_until(world.engine.now() + 10)
    assert host.record is not None
    assert host.record.process == daemon.supervisor.running


def test_a_broken_rule_holds_and_leaves_the_broker_alone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    daemon = serving(world)

    def break_rule(policy: Policy, memory: Memory, obs: Observation) -> tuple[Memory, Decision]:
        raise InvariantError("serving cannot follow purple")

    monkeypatch.setattr(bubuku.supervisor, "decide", break_rule)
    published = daemon.supervisor.tick()
    monkeypatch.undo()
    for again in (published, daemon.supervisor.tick()):
        assert (again.decision.state, again.decision.reason) == (BrokerState.HELD, Reason.INVARIANT)
        assert "purple" in again.decision.sentence
        assert not again.decision.actions
    process = world.kafka(world.hosts[0])
    assert process is not None
    stops = [daemon.supervisor.tick(terminate=True).decision.actions for _ in range(2)]
    assert stops == [(StopGracefully(process.identity, "the daemon was told to end and to take Kafka with it"),), ()]


def test_an_act_that_failed_is_shown_and_logged_once(world: World, caplog: pytest.LogCaptureFixture) -> None:
    host = world.hosts[0]
    host.state_disk_full = True
    daemon = world.start_daemon(host)
    if daemon is None:  # a daemon without a state file does not even begin
        host.state_disk_full = False
        daemon = world.start_daemon(host)
        host.state_disk_full = True
    assert daemon is not None
    world.engine.run_until(world.engine.now() + 10)
    assert decision(daemon).state is BrokerState.NOT_RUNNING
    assert daemon.published is not None
    assert "(Remember failed: " in daemon.published.decision.sentence
    assert len([r for r in caplog.records if "Remember failed" in r.getMessage()]) == 1
    host.state_disk_full = False
    until_it_serves(world)
    assert "failed" not in daemon.published.decision.sentence


def test_a_hold_that_lasts_is_in_no_hurry(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    daemon = serving(world)
    host = world.hosts[0]
    process = world.kafka(host)
    assert process is not None
    host.settings = replace(host.settings, template_broken=True)
    process.kill()
    hurried: list[bool] = []
    monkeypatch.setattr(daemon.supervisor._readings, "hurry", lambda busy, stopping: hurried.append(busy))
    world.engine.run_until(world.engine.now() + 30)
    assert decision(daemon).state is BrokerState.HELD
    assert hurried[-1]
    world.engine.run_until(world.engine.now() + 40)
    assert not hurried[-1]
    host.settings = replace(host.settings, template_broken=False)
    world.engine.run_until(world.engine.now() + 2)
    assert hurried[-1]


def test_a_stop_on_purpose_that_lasts_is_in_no_hurry(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    daemon = serving(world)
    process = world.kafka(world.hosts[0])
    assert process is not None
    record = daemon.supervisor.record
    stop = Stop("t", None, "stopped_on_purpose", record.process, stay_down=True, intended=True, marker=record.marker)
    daemon.supervisor._record = replace(record, stop=stop, stop_intent=True)
    process.kill()
    hurried: list[tuple[bool, bool]] = []
    monkeypatch.setattr(daemon.supervisor._readings, "hurry", lambda busy, stopping: hurried.append((busy, stopping)))
    world.engine.run_until(world.engine.now() + 30)
    assert decision(daemon).reason is Reason.STOPPED_ON_PURPOSE
    assert hurried[-1] == (True, True)
    world.engine.run_until(world.engine.now() + 40)
    assert hurried[-1] == (False, True)


def test_settings_are_made_anew_only_while_a_start_is_considered(world: World) -> None:
    daemon = serving(world)
    host = world.hosts[0]
    host.settings = replace(host.settings, template_broken=True)
    world.engine.run_until(world.engine.now() + 5)
    assert decision(daemon).state is BrokerState.SERVING
    process = world.kafka(host)
    assert process is not None
    process.kill()
    world.engine.run_until(world.engine.now() + 5)
    assert (decision(daemon).state, decision(daemon).reason) == (BrokerState.HELD, Reason.BAD_CONFIGURATION)
    host.settings = replace(host.settings, template_broken=False, revision=2)
    until_it_serves(world)
    assert host.rendered == 2


def test_events_are_told_once_and_kept(world: World) -> None:
    daemon = serving(world)
    assert daemon.published is not None
    told = [(e.state, e.reason) for e in daemon.published.events]
    assert told[-1] == (BrokerState.SERVING, Reason.RUNNING)
    assert len(told) == len([1 for before, after in zip([None, *told], told, strict=False) if before != after])
    world.engine.run_until(world.engine.now() + 20)
    assert len(daemon.published.events) == len(told)
    assert daemon.published.seconds_in_state[BrokerState.SERVING] > 15
