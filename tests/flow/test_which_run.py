"""Which run goes on, which one is closed, and what a recorded end is worth."""

import os
import signal
from datetime import timedelta

import pytest

from millrace.core.clock import SystemClock
from millrace.core.errors import ProjectError
from millrace.flow.project import load_project
from millrace.flow.run import find_run, find_step, list_runs
from millrace.flow.runner import Runner
from millrace.flow.wiring import Wiring
from millrace.flow.workers import ProcessWorker

ONE = """
import pathlib
import millrace as mr
HERE = pathlib.Path(__file__).parent

def once():
    with open(HERE / "effects.txt", "a") as file:
        file.write("x")
    return 1

pipeline = mr.Pipeline("sums", [mr.Step("once", once, outputs=["n"], retry_delay="0s")])
"""


def test_a_success_on_the_record_stands_though_its_worker_died_before_saying_so(write_project, monkeypatch):
    project = load_project(write_project(ONE))
    answer = ProcessWorker.result

    def dies_first(worker):
        answer(worker)  # the step has ended and is recorded
        os.kill(worker._process.pid, signal.SIGKILL)
        monkeypatch.setattr(ProcessWorker, "result", answer)
        return answer(worker)  # the pipe is closed

    monkeypatch.setattr(ProcessWorker, "result", dies_first)
    with Runner(project, executor="fork") as runner:
        result = runner.execute(runner.start("sums", None).run_id)

    assert result.status == "succeeded"
    assert (project.root / "effects.txt").read_text() == "x"
    assert [event.body["status"] for event in runner.ledger.events("step")] == ["started", "succeeded"]


@pytest.fixture
def runner(write_project):
    with Runner(load_project(write_project()), executor="inline") as runner:
        yield runner


def test_an_interrupted_run_goes_on(runner):
    interrupted = runner.start("sums", None)

    assert runner.resume_or_start("sums", None).run_id == interrupted.run_id


def test_an_old_interrupted_run_never_replaces_a_newer_one(runner):
    interrupted = runner.start("sums", None)
    newer = runner.start("sums", None)
    runner.execute(newer.run_id)

    taken = runner.resume_or_start("sums", None)

    assert taken.run_id not in (interrupted.run_id, newer.run_id)
    assert find_run(runner.ledger, interrupted.run_id).status == "abandoned"
    assert runner.execute(interrupted.run_id).steps == {}


def test_a_run_of_other_code_or_of_yesterday_is_not_gone_on_with(runner, write_project):
    interrupted = runner.start("sums", None)
    (runner._project.root / "helper.py").write_text("CHANGED = 1\n")
    with Runner(load_project(runner._project.root), executor="inline") as changed:
        assert changed.resume_or_start("sums", None).run_id != interrupted.run_id

    class Tomorrow(SystemClock):
        def now(self):
            return super().now() + timedelta(days=1, minutes=1)

    with Runner(runner._project, executor="inline", clock=Tomorrow()) as later:
        later.resume_or_start("sums", None)
    assert [run.status for run in list_runs(later.ledger)].count("running") == 1


def test_a_module_anywhere_in_the_project_counts_as_its_code(write_project):
    folder = write_project()
    (folder / "lib").mkdir()
    (folder / ".hidden").mkdir()
    before = load_project(folder).digest
    (folder / ".hidden" / "no.py").write_text("x = 1\n")
    assert load_project(folder).digest == before

    (folder / "lib" / "steps.py").write_text("x = 1\n")
    assert load_project(folder).digest != before


def test_from_a_step_prefers_what_really_ran_to_a_replay(runner):
    real = runner.start("sums", None)
    runner.execute(real.run_id)
    replayed = runner.start("sums", None, as_of=SystemClock().now() - timedelta(days=400), is_replay=True)
    runner.execute(replayed.run_id)

    run = runner.start_from("join", "sums", None)

    assert (run.is_replay, run.parameters["base"]) == (False, real.run_id)
    assert find_step(runner.ledger, run.run_id, "left")["reused"]


def test_a_deploy_across_two_records_is_refused_before_anything_is_released(shop):
    toml = shop / "millrace.toml"
    toml.write_text(toml.read_text() + '\n[environments.staging]\nledger = "sqlite:///.millrace/other.db"\n')
    from millrace.flow.release import release

    wiring = Wiring(load_project(shop), SystemClock())
    version = wiring.get_version("1")
    before = len(wiring.ledger.events("release"))

    with pytest.raises(ProjectError, match="DEPLOY-21"):
        release(wiring, version, key="deploy-x", reason="test")
    assert len(wiring.ledger.events("release")) == before


def test_a_rollback_that_was_killed_halfway_is_finished_and_not_done_again(shop):
    from millrace.flow.release import roll_back

    wiring = Wiring(load_project(shop), SystemClock())
    first = wiring.get_version("1")
    model = first.model
    second = wiring.registry.register(
        model,
        digest="f" * 64,
        golden=first.golden,
        run_id="r2",
        metrics={},
        parameters={},
        lineage={},
        files={},
        key="r2",
    )
    wiring.releases.make("production", model, second.version, second.digest, "direct", "second", "release-2")
    wiring.registry.move_alias(model, "champion", second.version, reason="second")
    wiring.releases.rollback("production", model, reason="bad")  # and here it was killed: champion did not follow

    done = roll_back(wiring, model, reason="bad")

    assert (done.version, wiring.registry.get(model, "champion").version) == (1, 1)
    assert [release.version for release in wiring.releases.history("production", model)] == [1, 2, 1]
