"""Runs are durable per step: they end, resume, retry and refuse as they should, wherever the steps run."""

import json

import pytest

from millrace.core.errors import Conflict, ModelError, ProjectError
from millrace.flow.artifacts import load_artifact
from millrace.flow.project import load_project
from millrace.flow.run import find_step
from millrace.flow.runner import Runner
from millrace.store.blobs import open_blobs
from millrace.store.lease import acquire

EXECUTORS = ["inline", "fork", "spawn"]


@pytest.fixture
def run_in(write_project):
    def run(executor="inline", definitions=None, events=None):
        folder = write_project(definitions) if definitions else write_project()
        project = load_project(folder)
        listen = (lambda kind, facts: events.append((kind, dict(facts)))) if events is not None else None
        with Runner(project, executor=executor, on_event=listen) as runner:
            return project, runner, runner.execute(runner.start("sums", None).run_id)

    return run


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_run_ends_with_every_output_by_reference(run_in, executor):
    project, runner, result = run_in(executor)

    assert result.status == "succeeded"
    assert list(result.steps) == ["first", "left", "right", "join"]
    blobs = open_blobs(project.settings.active.blobs)
    assert load_artifact(result.steps["join"].outputs["sum"], blobs) == 112
    assert runner.ledger.verify().is_intact


def test_a_finished_run_is_not_run_again(run_in):
    project, runner, result = run_in()

    again = runner.execute(result.run.run_id)

    assert again.steps == result.steps
    assert (project.root / "notes.txt").read_text().split() == ["first", "left", "right", "join"]


@pytest.mark.parametrize("executor", ["fork", "spawn"])
@pytest.mark.parametrize("step", ["first", "left", "join"])
def test_a_worker_that_dies_is_followed_by_another(write_project, executor, step):
    folder = write_project()
    (folder / "kill.txt").write_text(step)
    with Runner(load_project(folder), executor=executor) as runner:
        result = runner.execute(runner.start("sums", None).run_id)

    assert result.status == "succeeded"
    assert result.steps[step].attempt == 2
    failed = [e.body for e in runner.ledger.events("step") if e.body["status"] == "failed"]
    assert [(f["step"], f["error"]["code"]) for f in failed] == [(step, "RUN-10")]
    assert "SIGKILL" in failed[0]["error"]["what"]


FAILS = """
import pathlib
import millrace as mr
HERE = pathlib.Path(__file__).parent

def shaky():
    tries = HERE / "tries.txt"
    count = len(tries.read_text()) if tries.exists() else 0
    tries.write_text("x" * (count + 1))
    if count < {fails}:
        raise {error}
    return count

pipeline = mr.Pipeline("sums", [mr.Step("shaky", shaky, outputs=["n"], retries=2, retry_delay="0.01s")])
"""


def test_a_failed_step_is_tried_again(run_in):
    _, _, result = run_in(definitions=FAILS.format(fails=2, error='OSError("the network blinked")'))

    assert (result.status, result.steps["shaky"].attempt) == ("succeeded", 3)


def test_after_its_retries_a_step_fails_the_run_with_place_and_cause(run_in):
    project, _, result = run_in(definitions=FAILS.format(fails=9, error='OSError("the network is gone")'))

    assert result.status == "failed"
    error = result.steps["shaky"].error
    assert error["code"] == "PIPE-21"
    assert "the network is gone" in error["what"]
    assert error["where"].startswith(f"{project.root}/project.py:")
    assert result.steps["shaky"].attempt == 3


def test_wrong_code_is_not_tried_again(run_in):
    _, _, result = run_in(definitions=FAILS.format(fails=9, error='TypeError("wrong")'))

    assert (result.status, result.steps["shaky"].attempt) == ("failed", 1)


REFUSES = """
import millrace as mr

def gate():
    return mr.Refused("accuracy is too low", {"verdict": {"accuracy": 0.5}})

def deploy(verdict):
    raise AssertionError("must not run")

pipeline = mr.Pipeline("sums", [
    mr.Step("gate", gate, outputs=["verdict"]),
    mr.Step("deploy", deploy, {"verdict": "gate.verdict"}),
])
"""


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_refusal_is_a_result_and_never_tried_again(run_in, executor):
    _, runner, result = run_in(executor, REFUSES)

    assert (result.status, result.run.message) == ("refused", "accuracy is too low")
    assert list(result.steps) == ["gate"]
    assert result.steps["gate"].attempt == 1
    assert set(result.steps["gate"].outputs) == {"verdict"}
    assert find_step(runner.ledger, result.run.run_id, "deploy") is None


HANGS = """
import pathlib, time
import millrace as mr
HERE = pathlib.Path(__file__).parent

def hang():
    if not (HERE / "hung.txt").exists():
        (HERE / "hung.txt").write_text("x")
        time.sleep(600)
    return 1

pipeline = mr.Pipeline("sums", [mr.Step("hang", hang, outputs=["n"], timeout="1s", retry_delay="0s")])
"""


def test_a_step_that_overstays_is_ended_and_tried_again(run_in):
    _, runner, result = run_in("fork", HANGS)

    assert (result.status, result.steps["hang"].attempt) == ("succeeded", 2)
    failed = [e.body["error"]["code"] for e in runner.ledger.events("step") if e.body["status"] == "failed"]
    assert failed == ["RUN-11"]


CACHED = """
import pathlib
import millrace as mr
HERE = pathlib.Path(__file__).parent

def make():
    return 7

def slow(n):
    with open(HERE / "slow.txt", "a") as file:
        file.write("x")
    return n * 2

pipeline = mr.Pipeline("sums", [
    mr.Step("make", make, outputs=["n"]),
    mr.Step("slow", slow, {"n": "make.n"}, ["m"], cached=True),
])
"""


def test_the_same_code_on_the_same_inputs_is_used_again_until_either_changes(run_in):
    project, runner, _ = run_in(definitions=CACHED)
    again = runner.execute(runner.start("sums", None).run_id)

    assert again.steps["slow"].cached
    assert (project.root / "slow.txt").read_text() == "x"

    (project.root / "project.py").write_text(CACHED.replace("n * 2", "n * 3"))
    with Runner(load_project(project.root), executor="inline") as changed:
        result = changed.execute(changed.start("sums", None).run_id)
    assert not result.steps["slow"].cached


def test_a_cached_result_whose_bytes_are_gone_is_made_again(run_in):
    project, runner, first = run_in(definitions=CACHED)
    digest = first.steps["slow"].outputs["m"].digest
    open_blobs(project.settings.active.blobs).get_file(digest).unlink()

    again = runner.execute(runner.start("sums", None).run_id)

    assert not again.steps["slow"].cached
    assert (project.root / "slow.txt").read_text() == "xx"


def test_a_run_from_a_step_takes_what_came_before_from_the_last_run(run_in):
    project, runner, _ = run_in()

    run = runner.start_from("right", "sums", None)
    result = runner.execute(run.run_id)

    assert result.status == "succeeded"
    notes = (project.root / "notes.txt").read_text().split()
    assert notes == ["first", "left", "right", "join", "right", "join"]
    with pytest.raises(ProjectError, match="right"):
        runner.start_from("rihgt", "sums", None)


def test_a_run_from_a_step_needs_an_earlier_run(write_project):
    with Runner(load_project(write_project()), executor="inline") as runner, pytest.raises(ModelError, match="RUN-02"):
        runner.start_from("join", "sums", None)


def test_two_runs_at_once_are_one_too_many(write_project):
    project = load_project(write_project())
    with Runner(project, executor="inline") as runner:
        run = runner.start("sums", None)
        acquire(runner.ledger.database, "run:sums/")
        with pytest.raises(Conflict, match="LEASE-01"):
            runner.execute(run.run_id)
    assert not (project.root / "notes.txt").exists()


def test_progress_is_told_as_it_happens(run_in):
    events = []
    run_in(events=events)

    told = [(facts["step"], facts["status"]) for kind, facts in events if kind == "step"]
    assert told[0] == ("first", "started")
    assert told[-1] == ("join", "succeeded")
    assert json.dumps(events, default=str)


BAD = """
import millrace as mr

def f(a, b): return a

mr.Pipeline("sums", [
    mr.Step("one", f, {"a": "two.out", "b": "one.ou"}, ["out"]),
    mr.Step("two", f, {"a": "one.out", "c": "one.out"}, ["out"]),
    mr.Step("Two!", f, {"a": "one.out", "b": "one.out"}, ["out"]),
])
"""


def test_every_mistake_of_a_pipeline_is_told_at_once(write_project):
    with pytest.raises(ProjectError) as caught:
        load_project(write_project(BAD))

    codes = [finding.code for finding in caught.value.findings]
    assert {"PIPE-04", "PIPE-07", "PIPE-08", "PIPE-09"} <= set(codes)
    assert "did you mean 'one.out'?" in str(caught.value)
    assert "project.py:" in str(caught.value)


def test_steps_that_wait_for_each_other_are_refused(write_project):
    circle = """
import millrace as mr
def f(a): return a
mr.Pipeline("sums", [mr.Step("one", f, {"a": "two.x"}, ["x"]), mr.Step("two", f, {"a": "one.x"}, ["x"])])
"""
    with pytest.raises(ProjectError, match="PIPE-02"):
        load_project(write_project(circle))
