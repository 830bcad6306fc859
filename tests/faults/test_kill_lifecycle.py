"""Kill -9 in every step of the real pipeline, twice: the run goes on, and nothing is trained or released twice."""

import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from millrace.flow.run import list_runs
from small_project import MODEL, STEPS, live_servers, millrace, open_small_project, write_small_project

SCRIPT = Path(__file__).with_name("killed_lifecycle.py")
MOST_KILLS = 40


@pytest.fixture
def fresh(tmp_path):
    """The small project with live servers of staging and production, nothing run yet."""
    folder = write_small_project(tmp_path / "orders")
    with live_servers(folder):
        yield folder


def kill_until_done(folder, where):
    """Run in one process after the other, each killed at the next point; the exit codes."""
    codes = []
    while len(codes) <= MOST_KILLS:
        command = [sys.executable, str(SCRIPT), str(folder), where]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
        codes.append(ended.returncode)
        if ended.returncode != -signal.SIGKILL:
            assert ended.returncode == 0, ended.stdout + ended.stderr
            break
    return codes


def check_one_of_everything(folder):
    wiring = open_small_project(folder)
    ledger = wiring.ledger
    (run,) = list_runs(ledger)

    assert run.status == "succeeded"
    ended = Counter(e.body["step"] for e in ledger.events("step", run.run_id) if e.body["status"] == "succeeded")
    assert ended == Counter(STEPS)
    assert not [e for e in ledger.events("step") if e.body["status"] == "failed"]
    assert [version.version for version in wiring.registry.versions(MODEL)] == [1]
    for stage in ("staging", "production"):
        assert [(release.number, release.version) for release in wiring.releases.history(stage, MODEL)] == [(1, 1)]
    assert {alias.alias: (alias.version, alias.generation) for alias in wiring.registry.aliases(MODEL)} == {
        "challenger": (1, 1),
        "champion": (1, 1),
    }
    decided = Counter((e.body["verdict"]["rule"], e.body["verdict"]["outcome"]) for e in ledger.events("decision"))
    assert decided == {
        ("validation.suite", "pass"): 1,
        ("gate.threshold", "pass"): 1,
        ("gate.beats_baseline", "pass"): 1,
        ("gate.no_regression", "pass"): 1,
        ("gate.latency", "pass"): 1,
        ("gate.robustness", "pass"): 1,
        ("deploy.smoke", "pass"): 3,
    }
    assert not ledger.events("alert")
    assert ledger.verify().is_intact
    wiring.close()


def test_a_run_killed_before_and_after_every_step_ends_as_if_it_never_was(fresh):
    codes = kill_until_done(fresh, "steps")

    assert codes == [-signal.SIGKILL] * (2 * len(STEPS)) + [0]
    check_one_of_everything(fresh)
    # Each step was begun three times, and ended once.
    wiring = open_small_project(fresh)
    (run,) = list_runs(wiring.ledger)
    begun = Counter(e.body["step"] for e in wiring.ledger.events("step", run.run_id) if e.body["status"] == "started")
    wiring.close()
    assert begun == Counter(STEPS * 3)


def test_a_run_killed_after_each_of_its_effects_has_each_effect_once(fresh):
    codes = kill_until_done(fresh, "effects")

    # The snapshot, nine verdicts, the version, two aliases, two releases.
    assert codes == [-signal.SIGKILL] * 15 + [0]
    check_one_of_everything(fresh)


def test_after_the_kills_the_next_run_is_a_new_one(fresh):
    (fresh / "killed.txt").write_text(
        "\n".join(f"{when} {step}" for when in ("before", "after") for step in STEPS[:-2])
    )
    codes = kill_until_done(fresh, "steps")
    again = millrace(fresh, "run")

    assert (len(codes), again.returncode) == (5, 0)
    wiring = open_small_project(fresh)
    assert [run.status for run in list_runs(wiring.ledger)] == ["succeeded", "succeeded"]
    assert [r.version for r in wiring.releases.history("production", MODEL)] == [1, 1]
    assert wiring.ledger.verify().is_intact
    wiring.close()
