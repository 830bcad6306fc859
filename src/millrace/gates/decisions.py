"""Rule name to the pure function that recomputes its verdict from recorded evidence. Standard library only."""

from __future__ import annotations

from millrace.gates import beats_baseline, latency, no_regression, robustness, threshold
from millrace.gates.judging import Judge

DECISIONS: dict[str, Judge] = {
    threshold.RULE: threshold.judge,
    no_regression.RULE: no_regression.judge,
    latency.RULE: latency.judge,
    robustness.RULE: robustness.judge,
    beats_baseline.RULE: beats_baseline.judge,
}
