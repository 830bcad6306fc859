"""Kill -9 at any instant: the next start goes on, and no step's effect happens twice."""

import random
import signal
import subprocess
import sys
import time

import pytest

from millrace.flow.project import load_project
from millrace.flow.run import list_runs
from millrace.store.ledger import Ledger

ORDER = ["first", "left", "right", "join"]


def millrace(folder, *words):
    command = [sys.executable, "-m", "millrace", *words, "--project", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def finish(folder):
    """Run again until the run ends; the ledger."""
    again = millrace(folder, "run", "--pipeline", "sums")
    assert again.returncode == 0, again.stderr
    return Ledger.open(load_project(folder).settings.active.ledger)


def check_whole(ledger, folder):
    runs = list_runs(ledger)
    assert [run.status for run in runs] == ["succeeded"]
    assert ledger.verify().is_intact
    assert [event.body for event in ledger.events("effect")] == [{"sum": 112}]
    for step in ORDER:
        ended = [e for e in ledger.events("step") if (e.body["step"], e.body["status"]) == (step, "succeeded")]
        assert len(ended) == 1


@pytest.mark.parametrize("step", ORDER)
@pytest.mark.parametrize("executor", ["inline", "fork", "spawn"])
def test_a_coordinator_killed_in_any_step_is_followed_by_one_that_goes_on(write_project, executor, step):
    folder = write_project()
    (folder / "kill.txt").write_text(step if executor == "inline" else f"{step} coordinator")

    killed = millrace(folder, "run", "--pipeline", "sums", "--executor", executor)

    assert killed.returncode == -signal.SIGKILL
    check_whole(finish(folder), folder)
    notes = (folder / "notes.txt").read_text().split()
    for other in ORDER[: ORDER.index(step)]:
        if other != "left" or executor == "inline":  # a parallel neighbour may have died with the coordinator
            assert notes.count(other) == 1


def test_random_kills_leave_a_run_that_ends_right(write_project):
    folder = write_project()
    command = [sys.executable, "-m", "millrace", "run", "--pipeline", "sums", "--project", str(folder)]
    chance = random.Random(7)
    killed = 0
    for _ in range(12):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(0.1 + chance.random() * 0.25)
        process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL

    ledger = finish(folder)
    assert killed >= 3
    assert ledger.verify().is_intact
    runs = list_runs(ledger)
    assert {run.status for run in runs} == {"succeeded"}
    assert len(ledger.events("effect")) == len(runs)
