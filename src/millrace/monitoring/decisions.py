"""The room's decisions by rule name: each recomputes a verdict from its recorded evidence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from millrace.core.verdict import Verdict
from millrace.monitoring import triggers

DECISIONS: dict[str, Callable[[Mapping[str, Any]], Verdict]] = {
    triggers.DEGRADATION: triggers.judge_degradation,
    triggers.DRIFT: triggers.judge_drift_trigger,
    triggers.SCHEDULE: triggers.judge_schedule,
    triggers.MANUAL: triggers.judge_manual,
    triggers.LABEL_INCIDENT: triggers.judge_label_incident,
}
