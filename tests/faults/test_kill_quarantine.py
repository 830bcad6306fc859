"""Kill -9 between the steps of refusing and releasing a batch: each happens once, and nothing is half true."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from millrace.flow.run import find_run
from millrace.validation.release import list_quarantined
from small_project import MODEL, edit, make_rows, open_small_project, write_rows, write_small_project

SCRIPT = Path(__file__).with_name("killed_command.py")
MOST_KILLS = 12


def kill_until_done(folder, *words):
    """The command in one process after the other; how each ended."""
    codes = []
    while len(codes) <= MOST_KILLS:
        codes.append(killed_command(folder, *words))
        if codes[-1] != -signal.SIGKILL:
            break
    return codes


def killed_command(folder, *words):
    """The command in one process, killed at its next effect; how it ended."""
    command = [sys.executable, str(SCRIPT), str(folder), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120).returncode


@pytest.fixture
def folder(tmp_path):
    """The small project with one price that cannot be."""
    found = write_small_project(tmp_path / "orders")
    rows = make_rows()
    rows[5] = [*rows[5][:2], 999_999_999, *rows[5][3:]]
    write_rows(found, rows)
    return found


def counts(ledger, *kinds):
    return [len(ledger.events(kind)) for kind in kinds]


def test_refusing_and_releasing_survive_kills_after_each_effect(folder):
    refused = kill_until_done(folder, "run")
    wiring = open_small_project(folder)
    (entry,) = list_quarantined(wiring.ledger)
    told = counts(wiring.ledger, "snapshot", "quarantine", "alert", "batch_release")
    wiring.close()
    released = kill_until_done(folder, "data", "release", entry.batch, "--reason", "checked", "--by", "Ana")
    gone_on = kill_until_done(folder, "run")

    killed = -signal.SIGKILL
    # The snapshot; then the batch and its alert, which become true together.
    assert (refused, told, entry.status) == ([killed, killed, 1], [1, 1, 1, 0], "kept")
    # The release and its alert together.
    assert released == [killed, 0]
    # The batch is taken once, by the run that goes on after the kill.
    assert gone_on == [killed, 0]
    wiring = open_small_project(folder)
    assert counts(wiring.ledger, "quarantine", "batch_release", "batch_use") == [1, 1, 1]
    assert [event.body["severity"] for event in wiring.ledger.events("alert")] == ["critical", "warning"]
    (entry,) = list_quarantined(wiring.ledger)
    version = wiring.registry.get(MODEL, 1)
    assert (entry.status, entry.facts["run"]) == ("used", version.run_id)
    assert version.lineage["snapshot"]["digest"] == entry.batch
    assert wiring.ledger.verify().is_intact
    wiring.close()


def test_a_run_that_is_killed_as_it_fails_gives_its_batch_back_once(folder):
    kill_until_done(folder, "run")
    wiring = open_small_project(folder)
    (entry,) = list_quarantined(wiring.ledger)
    wiring.close()
    kill_until_done(folder, "data", "release", entry.batch, "--reason", "checked", "--by", "Ana")
    edit(folder, "from sklearn.impute", "assert X is None\n    from sklearn.impute")

    killed = -signal.SIGKILL
    taken, failed = killed_command(folder, "run"), killed_command(folder, "run")
    # The end of the run, the batch that waits again and the alert are one transaction: the kill comes after all three.
    assert (taken, failed) == (killed, killed)
    wiring = open_small_project(folder)
    (run,) = {event.body["run"] for event in wiring.ledger.events("batch_use")}
    assert find_run(wiring.ledger, run).status == "failed"
    assert [entry.status for entry in list_quarantined(wiring.ledger)] == ["released"]
    assert [event.body["severity"] for event in wiring.ledger.events("alert")] == ["critical", "warning", "warning"]
    wiring.close()

    edit(folder, "assert X is None\n    ", "")
    assert kill_until_done(folder, "run") == [killed, 0]
    wiring = open_small_project(folder)
    assert counts(wiring.ledger, "batch_release", "batch_use", "batch_return") == [1, 2, 1]
    assert [entry.status for entry in list_quarantined(wiring.ledger)] == ["used"]
    assert wiring.ledger.verify().is_intact
    wiring.close()
