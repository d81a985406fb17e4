"""Mistakes that would make a deliberate stop unsafe, each put into a copy of the code: the named tests must see it.

`full`: each mistake is a run of pytest of its own, on a copy of the tree. That the list still fits the code is checked
always.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PARTS = ("bubuku", "tests", "docs", "pyproject.toml")
FACTS, STOPPING = "tests/unit/core/test_stop_facts.py", "tests/unit/core/test_stop_order.py"
GUARD, OPERATIONS = "tests/unit/test_guard.py", "tests/unit/test_operations.py"
PERMIT, PROCESS = "tests/unit/test_zookeeper_permit.py", "tests/unit/test_process.py"
MODEL = "tests/model/test_permit.py"
DOCUMENT = "tests/unit/core/test_own_document.py"
PARENTS, CHANGES = "tests/unit/core/test_parents.py", "tests/unit/test_zookeeper_changes.py"


@dataclass(frozen=True, slots=True)
class Mutant:
    """`code`, which stands once in bubuku/`module`, becomes `wrong`; `caught_by`: pytest's name of a test."""

    name: str
    module: str
    code: str
    wrong: str
    caught_by: str


MUTANTS = (
    Mutant(
        "the guard always says yes",
        "core/stop_facts.py",
        "    if not verdict.allowed:\n",
        "    if False:\n",
        f"{STOPPING}::test_the_guards_no_takes_nothing_and_gives_an_entry_back",
    ),
    Mutant(
        "a verdict is as good as new for a minute",
        "core/permit.py",
        "VERDICT_SECONDS = 3.0",
        "VERDICT_SECONDS = 60.0",
        f"{STOPPING}::test_then_sigterm_not_after_three_seconds_from_the_evidence",
    ),
    Mutant(
        "SIGTERM without a look at the permit",
        "core/invariants.py",
        "        if all(entry.token != stop.token for entry in entries):\n",
        "        if False:\n",
        f"{STOPPING}::test_no_signal_without_our_entry_in_the_permit",
    ),
    Mutant(
        "SIGTERM without an intent on disk",
        "core/invariants.py",
        "    if stop is None or not stop.intended or stop.process != action.identity:\n",
        "    if stop is None:\n",
        f"{STOPPING}::test_no_signal_without_an_intent_for_this_process_and_the_entry",
    ),
    Mutant(
        "the intent is not written first",
        "core/stopping.py",
        "return memory, (Remember(replace(record, stop=intended, stop_intent=alive is not None)),)",
        "return memory, (SendStop(intended.process, obs.now + 3), Remember(replace(record, stop=intended)))"
        "  # type: ignore[arg-type]",
        f"{STOPPING}::test_then_the_intent_with_the_isrs_goes_to_disk_and_nothing_is_sent_in_that_cycle",
    ),
    Mutant(
        "a verdict on an older permit is accepted",
        "core/stop_facts.py",
        "if age >= VERDICT_SECONDS or not _same_permit(obs, outcome, known):",
        "if age >= VERDICT_SECONDS:",
        f"{FACTS}::test_a_verdict_counts_for_the_permit_that_it_was_made_on",
    ),
    Mutant(
        "metadata of before the broker served is accepted",
        "core/stop_facts.py",
        "if view is None or memory.served_since is None or obs.cluster.begun < memory.served_since:",
        "if view is None:",
        f"{FACTS}::test_metadata_of_before_it_served_tells_nothing",
    ),
    Mutant(
        "the entry goes while a partition is behind",
        "core/stop_facts.py",
        "and node_id not in p.isr and node_id not in p.offline",
        "and False",
        f"{STOPPING}::test_the_entry_stays_while_one_partition_is_behind",
    ),
    Mutant(
        "an adopted stop waits for no partition",
        "core/stop_facts.py",
        "names = known if stop.in_sync is None else stop.in_sync",
        "names = stop.in_sync or ()",
        f"{FACTS}::test_where_its_isrs_are_not_known_it_is_back_in_all_that_it_has_replicas_of",
    ),
    Mutant(
        "a change of another daemon is worked on",
        "core/change.py",
        "return change.state is ChangeState.RUNNING and change.owner == record.instance",
        "return change.state is ChangeState.RUNNING",
        f"{DOCUMENT}::test_nothing_is_done_for_a_change_of_another_instance_and_it_fails",
    ),
    Mutant(
        "a claim does not raise the epoch",
        "core/change.py",
        "        epoch=change.epoch + 1,\n",
        "",
        f"{DOCUMENT}::test_a_queued_change_is_claimed_before_anything_is_done_for_it",
    ),
    Mutant(
        "two claims of one change",
        "adapters/zookeeper/changes.py",
        'node_name(change.sequence)}", body, change.version)',
        'node_name(change.sequence)}", body, -1)',
        f"{PERMIT}::TestChanges::test_a_document_is_written_over_the_version_that_was_read",
    ),
    Mutant(
        "two workers of one parent",
        "core/parents.py",
        "parent.state is ChangeState.QUEUED or gone_for >= TAKE_OVER_SECONDS",
        "True or gone_for >= TAKE_OVER_SECONDS",
        f"{PARENTS}::test_another_members_parent_is_left_alone_while_that_one_lives",
    ),
    Mutant(
        "a parent's step without its child in the same transaction",
        "adapters/zookeeper/changes.py",
        "            for each in created:\n",
        "            for each in ():\n",
        f"{CHANGES}::test_a_parents_step_is_one_transaction_with_its_child",
    ),
    Mutant(
        "a child that is not seen yet is asked for again",
        "core/parents.py",
        "        if {child.node_id for child in children} != set(parent.asked):\n",
        "        if False:\n",
        f"{PARENTS}::test_a_child_that_was_asked_for_and_is_not_seen_yet_is_waited_for",
    ),
    Mutant(
        "a parent goes on after a child that failed",
        "core/parents.py",
        "        if failed:\n",
        "        if False:\n",
        f"{PARENTS}::test_no_further_child_after_one_that_was_not_done",
    ),
    Mutant(
        "a lost host keeps the slot for ever",
        "core/left_behind.py",
        "change.node_id is not None and gone_for(seen, change.uuid, obs.now) >= GONE_SECONDS",
        "False",
        f"{PARENTS}::TestAbandoned::test_then_it_has_failed_with_the_epoch_raised",
    ),
    Mutant(
        "a newer schema is worked on",
        "core/change.py",
        " and change.schema <= SCHEMA",
        "",
        "tests/unit/core/test_change.py::test_what_is_left_alone",
    ),
    Mutant(
        "a newer schema is written over",
        "adapters/zookeeper/changes.py",
        "if change.schema > SCHEMA:",
        "if False:",
        f"{PERMIT}::TestChanges::test_a_change_of_a_newer_daemon_is_not_written_over",
    ),
    Mutant(
        "the helper has no timer",
        "adapters/stop_helper.py",
        "    signal.setitimer(signal.ITIMER_REAL, left)\n",
        "",
        f"{PROCESS}::test_a_helper_that_is_thawed_after_its_deadline_sends_nothing",
    ),
    Mutant(
        "the helper inherits that its alarm is ignored",
        "adapters/stop_helper.py",
        "    signal.signal(signal.SIGALRM, signal.SIG_DFL)\n",
        "",
        f"{PROCESS}::test_its_timer_works_where_the_daemon_was_made_to_ignore_the_alarm",
    ),
    Mutant(
        "the helper trusts the clock of before it was frozen",
        "adapters/stop_helper.py",
        "    if left <= 0:\n        return 1\n",
        "    left = abs(left)\n    deadline += 2 * left + 60\n",
        f"{PROCESS}::test_too_late_nothing_is_sent",
    ),
    Mutant(
        "SIGTERM to whoever has the pid now",
        "adapters/process.py",
        "if identify(identity.pid) != identity or _has_ended(pidfd):",
        "if _has_ended(pidfd):",
        f"{PROCESS}::test_nothing_is_sent_to_who_is_gone_or_to_who_has_its_pid_now",
    ),
    Mutant(
        "what we stopped is not started in maintenance",
        "core/gates.py",
        "    if stop is not None and stop.intended:\n        return case.memory, None\n",
        "",
        f"{STOPPING}::test_once_it_is_down_it_is_started_again_also_in_maintenance_and_without_a_change",
    ),
    Mutant(
        "a cancelled change leaves its broker down",
        "core/permit.py",
        'lambda f: f.intended and not f.alive, Move.START),\n    Rule("unknown',
        'lambda f: f.intended and not f.alive and f.wanted, Move.START),\n    Rule("unknown',
        f"{MODEL}::test_nothing_bad_can_happen_and_all_can_end_well",
    ),
    Mutant(
        "the transaction does not check maintenance",
        "adapters/zookeeper/permit.py",
        "                transaction.check(maintenance, action.maintenance_version)\n",
        "                pass\n",
        f"{PERMIT}::TestTake::test_where_maintenance_was_switched_it_is_refused",
    ),
    Mutant(
        "the permit is written over whatever stands",
        "adapters/zookeeper/permit.py",
        "transaction.set_data(path, body, action.version)",
        "transaction.set_data(path, body)",
        f"{PERMIT}::TestTake::test_of_a_permit_that_has_changed_it_is_refused",
    ),
    Mutant(
        "entries of others are written as this version knows them",
        "adapters/zookeeper/documents.py",
        '    entries = dict(before.get("entries") or {})\n    if entry is None:',
        "    read = parse_permit(encode(before), 0)\n"
        "    entries = {str(n): asdict(e) for n, e in (read.entries if read else {}).items()}\n    if entry is None:",
        f"{PERMIT}::TestTake::test_it_says_which_version_it_made_and_copies_what_is_of_others_as_it_is",
    ),
    Mutant(
        "an entry that cannot be read is overlooked",
        "adapters/zookeeper/documents.py",
        "        if not name.isdecimal() or not isinstance(entry, dict):\n            return None\n",
        "        if not name.isdecimal() or not isinstance(entry, dict):\n            continue\n",
        f"{PERMIT}::TestPermitDocument::test_what_cannot_be_read_whole_is_not_known",
    ),
    Mutant(
        "nothing is settled after an unknown outcome",
        "core/stop_facts.py",
        "outcome.result is Result.UNKNOWN and (outcome.ended or obs.now) >= settled_at",
        "False",
        f"{STOPPING}::test_an_unknown_outcome_is_settled_before_anything_rests_on_the_permit",
    ),
    Mutant(
        "an adopted entry is not settled",
        "core/stopping.py",
        "                # not `noted`: what its writer has sent since may be on its way, and is settled first\n",
        "                memory = replace(memory, noted=entry.token)\n",
        f"{STOPPING}::test_an_entry_without_a_record_is_taken_as_a_stop_that_was_sent_and_is_settled_first",
    ),
    Mutant(
        "the permit is written in a ZooKeeper that is not ours",
        "core/stopping.py",
        "return stop_facts.is_ours(self.obs, self.meeting) and not self.facts.taking",
        "return self.meeting.connected and not self.facts.taking",
        f"{STOPPING}::test_nothing_is_written_into_a_meeting_place_that_is_not_ours",
    ),
    Mutant(
        "whose daemon has not joined this ZooKeeper is not asked",
        "core/guard.py",
        "    if evidence.joined is None:\n        return frozenset()\n",
        "    return frozenset()\n",
        f"{GUARD}::test_a_broker_that_lives_and_whose_daemon_has_not_joined_says_no",
    ),
    Mutant(
        "the guard is not told who has joined",
        "daemon/handlers.py",
        "joined=action.joined, ",
        "",
        "tests/unit/test_handlers.py::test_the_guard_is_told_who_has_joined_and_whether_ours_has_settled",
    ),
    Mutant(
        "a member of another root counts as joined",
        "core/model.py",
        "if m.marker is not None and m.marker == self.marker)",
        "if m.marker is not None)",
        f"{STOPPING}::test_who_has_joined_is_told_to_the_guard",
    ),
    Mutant(
        "a root is acknowledged before its permit knows what may go down",
        "core/stop_facts.py",
        "if stop is None or not stop.intended or stop.marker == record.marker else None",
        "if True else None",
        f"{FACTS}::test_a_root_is_acknowledged_once_its_permit_knows_what_may_go_down",
    ),
    Mutant(
        "a stop of before a wipe is not entered again",
        "core/permit.py",
        "lambda f: f.moved and not f.entry, Move.TAKE)",
        "lambda f: f.moved and not f.entry, Move.ACKNOWLEDGE)",
        f"{MODEL}::test_nothing_bad_can_happen_and_all_can_end_well",
    ),
    Mutant(
        "a stop of before a wipe is dropped",
        "core/decide.py",
        "begun = stop is not None and (stop.intended or stop.marker == marker)",
        "begun = stop is not None and stop.marker == marker",
        "tests/unit/core/test_decide_alive.py::test_who_joins_another_root_keeps_of_a_stop_what_may_have_been_sent",
    ),
    Mutant(
        "changes are asked for in a foreign root",
        "operations.py",
        "    if view.marker != joined:\n",
        "    if False:\n",
        f"{OPERATIONS}::test_nothing_is_asked_for_in_a_zookeeper_that_was_wiped_or_is_another_one",
    ),
    Mutant(
        "a broker that may come into an ISR at any time is a repair",
        "core/guard.py",
        "evidence.settled and _is_repair(p, stopping)",
        "_is_repair(p, stopping)",
        f"{GUARD}::test_a_broker_that_has_not_settled_repairs_nothing_by_its_stop",
    ),
    Mutant(
        "a state that was just entered counts as settled",
        "core/stop_facts.py",
        "return memory.state is state and obs.now - memory.since >= window",
        "return True",
        f"{FACTS}::test_a_broker_has_settled_once_it_was_as_it_is_for_long",
    ),
    Mutant(
        "a broker that runs elsewhere lies down",
        "core/stop_facts.py",
        "    return listed is not None and listed.asked_for == node_id and listed.own is None and ",
        "    return ",
        f"{FACTS}::test_a_broker_that_is_wanted_down_and_is_down_lies_down",
    ),
    Mutant(
        "a broker is held down in the cycle that starts it",
        "core/stopping.py",
        "case Move.INTEND if stop is not None and not self._starts:",
        "case Move.INTEND if stop is not None:",
        f"{STOPPING}::test_a_broker_that_is_started_in_that_very_cycle_is_not_held_down",
    ),
    Mutant(
        "what runs is taken without a verdict where it is to stay down",
        "core/permit.py",
        "lambda f: f.alive and f.verdict is Verdict.NONE, Move.JUDGE)",
        "lambda f: not f.stay_down and f.verdict is Verdict.NONE, Move.JUDGE)",
        f"{MODEL}::test_nothing_bad_can_happen_and_all_can_end_well",
    ),
    Mutant(
        "a server that lags behind tells what is in the permit",
        "core/stop_facts.py",
        "return -1 if late else _version(outcome)",
        "return -1",
        f"{FACTS}::test_a_permit_that_is_older_than_our_own_write_is_not_known",
    ),
    Mutant(
        "a stop that is taken back leaves its broker down",
        "core/stopping.py",
        "if changes.KINDS[change.kind].stops and not (change.cancel and change.uuid == stop.change):",
        "if changes.KINDS[change.kind].stops:",
        f"{STOPPING}::test_it_is_started_when_somebody_asks_for_it_or_takes_the_stop_back",
    ),
    Mutant(
        "a stop that flushes is cut short",
        "core/stopping.py",
        "if obs.now - sent >= policy.stop_deadline and silent >= policy.stop_silence:",
        "if obs.now - sent >= policy.stop_deadline:",
        f"{STOPPING}::test_a_stop_is_cut_short_after_its_deadline_and_only_where_nothing_moves",
    ),
    Mutant(
        "the record is saved after the start",
        "core/decide.py",
        "    return (newest, *others)\n",
        "    return (*others, newest)\n",
        f"{STOPPING}::test_the_record_is_saved_before_a_start_of_the_same_cycle",
    ),
)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_mistake_can_be_made(mutant: Mutant) -> None:
    assert (ROOT / "bubuku" / mutant.module).read_text(encoding="utf-8").count(mutant.code) == 1
    path, *_, test = mutant.caught_by.split("::")
    assert f"def {test}(" in (ROOT / path).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tree = tmp_path_factory.mktemp("mutants")
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, tree / part, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        else:
            shutil.copy(source, tree / part)
    return tree


@pytest.mark.full
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_it_is_caught(mutant: Mutant, copy: Path) -> None:
    path = copy / "bubuku" / mutant.module
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(mutant.code, mutant.wrong), encoding="utf-8")
    command = [sys.executable, "-B", "-m", "pytest", "-x", "-q", "-m", "not full", "-p", "no:cacheprovider"]
    environment = {**os.environ, "PYTHONPATH": str(copy)}
    try:
        run = subprocess.run(
            [*command, mutant.caught_by], cwd=copy, env=environment, capture_output=True, text=True, timeout=240
        )
    finally:
        path.write_text(text, encoding="utf-8")
    assert run.returncode == 1, f"{mutant.caught_by} let it live:\n{run.stdout}\n{run.stderr}"
