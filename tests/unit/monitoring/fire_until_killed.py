"""The monitor's loop as a process of its own, for test_crash.py to kill: judge, fire, claim, run, finish."""

import sys
from datetime import UTC, datetime, timedelta

from millrace.core.clock import ManualClock, to_text
from millrace.core.verdict import Verdict
from millrace.monitoring.evaluation import conclude_window
from millrace.monitoring.firing import Reason, claim, finish
from millrace.monitoring.windows import next_window
from millrace.store.ledger import Ledger

START = datetime(2024, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def is_bad(number: int) -> bool:
    """Which windows show a degraded model."""
    return number % 3 != 0


def main(url: str, windows: int) -> None:
    ledger = Ledger.open(url, ManualClock(START))
    until = START + windows * HOUR
    while (window := next_window(ledger, "m", "labels", length=HOUR, mature_until=until, begin=START)) is not None:
        number = (window.end - START) // HOUR
        verdict = Verdict("monitor.degradation", "fail" if is_bad(number) else "pass", "judged", {"number": number})
        reasons = [Reason("degradation", verdict, to_text(window.end), timedelta(0))] if verdict.is_fail else []
        conclude_window(ledger, window, [verdict], reasons)
        if number % 2 == 0:  # every other window the loop gets round to retraining: others merge meanwhile
            run(ledger)
    run(ledger)


def run(ledger: Ledger) -> None:
    retrain = claim(ledger, "m")
    if retrain is not None:
        finish(ledger, "m", retrain.run_id, "done", reason="promoted")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
