"""kill -9 in the middle of firing, again and again: nothing is lost and nothing happens twice."""

import os
import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

from millrace.store.ledger import Ledger

WINDOWS = 120
WORKER = Path(__file__).with_name("fire_until_killed.py")


def _wait_for_progress(ledger, worker, seq):
    """Wait until the worker has written event number `seq`, or is done."""
    while worker.poll() is None:
        if ledger.database.read("SELECT 1 FROM event WHERE seq >= ?", (seq,)):
            return


def test_killed_while_firing_nothing_is_lost_and_nothing_doubled(tmp_path):
    url = f"sqlite:///{tmp_path}/ledger.db"
    ledger = Ledger.open(url)
    dice, kills = random.Random(7), 0
    for _ in range(500):
        worker = subprocess.Popen([sys.executable, str(WORKER), url, str(WINDOWS)])
        head = ledger.database.read("SELECT seq FROM head")[0][0]
        _wait_for_progress(ledger, worker, head + dice.randint(1, 20))
        if worker.poll() is None:
            os.kill(worker.pid, signal.SIGKILL)
        if worker.wait(60) == 0:
            break
        assert worker.returncode == -signal.SIGKILL
        kills += 1
    else:
        raise AssertionError("the loop never ended")
    bad = [number for number in range(1, WINDOWS + 1) if number % 3 != 0]
    fired = [event.body["verdict"]["evidence"]["number"] for event in ledger.events("trigger", "m")]
    started = [event.body["run_id"] for event in ledger.events("retrain_started", "m")]
    finished = [event.body["run_id"] for event in ledger.events("retrain_finished", "m")]
    served = Counter(key for event in ledger.events("retrain_finished", "m") for key in event.body["reasons"])

    assert kills >= 15
    assert fired == bad  # 0 lost, 0 duplicate, in order
    assert len(ledger.events("evaluation", "m")) == WINDOWS
    assert len(started) == len(set(started))
    assert started == finished
    assert served == Counter(event.key for event in ledger.events("trigger", "m"))  # each led to exactly one run
    assert ledger.verify().is_intact
    ledger.close()
