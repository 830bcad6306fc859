"""Counters of a server, as Prometheus reads them."""

from __future__ import annotations

from collections import Counter

from millrace.core.prometheus import Histogram, add_family, add_sample
from millrace.core.row_rules import RuleName
from millrace.serving.prediction_log import PredictionLog
from millrace.serving.slot import Slot


class Metrics:
    """Written by the event loop alone, so nothing is locked."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[int, str]] = Counter()
        self.predictions: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.rows: Counter[str] = Counter()
        self.broken: Counter[RuleName] = Counter()
        self.coerced: Counter[str] = Counter()
        self._latency = Histogram()

    def count_request(self, status: int, version: str, seconds: float) -> None:
        """One answered POST /predict. `version` is the model's, "none" when no model answered."""
        self.requests[status, version] += 1
        self._latency.observe(seconds)

    def render(self, slot: Slot, log: PredictionLog | None) -> str:
        """The text of /metrics."""
        lines: list[str] = []
        add_family(lines, "requests_total", "counter", "Answered POST /predict, by status and model version.")
        for (status, version), count in sorted(self.requests.items()):
            add_sample(lines, "requests_total", count, status=str(status), version=version)
        self._latency.render(lines, "request_seconds", "Time from a request's arrival to its answer.")
        add_family(lines, "predictions_total", "counter", "Rows answered, by model version.")
        for version, count in sorted(self.predictions.items()):
            add_sample(lines, "predictions_total", count, version=version)
        add_family(lines, "errors_total", "counter", "Refused or failed requests, by error code.")
        for code, count in sorted(self.errors.items()):
            add_sample(lines, "errors_total", count, code=code)
        add_family(lines, "swaps_total", "counter", "Model swaps since the server started.")
        add_sample(lines, "swaps_total", slot.swaps)
        add_family(lines, "release_failing", "gauge", "1 while the newest release cannot be served.")
        add_sample(lines, "release_failing", int(slot.failure is not None))
        _render_model(lines, slot)
        self._render_rules(lines, slot)
        _render_log(lines, log)
        return "\n".join(lines) + "\n"

    def _render_rules(self, lines: list[str], slot: Slot) -> None:
        rules = None if slot.current is None else slot.current.reader.rules
        names = () if rules is None else rules.names
        if not names and not self.rows:
            return
        add_family(lines, "validation_rows_total", "counter", "Rows judged by rules on data, by what became of them.")
        for outcome in ("passed", "flagged", "rejected"):
            add_sample(lines, "validation_rows_total", self.rows[outcome], outcome=outcome)
        add_family(lines, "validation_failures_total", "counter", "Rows that break a rule on data, by rule.")
        for name in sorted({*names, *self.broken}):
            count = self.broken[name]
            facts = {"rule": name.rule, "severity": name.severity, "action": name.action}
            add_sample(lines, "validation_failures_total", count, **facts)
        add_family(lines, "validation_coerced_total", "counter", "Values that were sent in another form, by column.")
        for column, count in sorted(self.coerced.items()):
            add_sample(lines, "validation_coerced_total", count, column=column)


def _render_model(lines: list[str], slot: Slot) -> None:
    served = slot.current
    if served is None:
        return
    add_family(lines, "model_info", "gauge", "The model that answers.")
    facts = served.release
    add_sample(
        lines,
        "model_info",
        1,
        model=facts.model,
        version=str(facts.version),
        digest=facts.digest,
        release=str(facts.number),
        environment=facts.environment,
    )


def _render_log(lines: list[str], log: PredictionLog | None) -> None:
    if log is None:
        return
    for name, kind, help_text, value in (
        ("log_written_total", "counter", "Predictions written to the prediction log.", log.written),
        ("log_failures_total", "counter", "Refused writes of the prediction log.", log.failures),
        ("log_dropped_total", "counter", "Predictions that could not be logged and were given up.", log.dropped),
        ("log_failing", "gauge", "1 while the disk refuses the prediction log.", int(log.is_failing)),
    ):
        add_family(lines, name, kind, help_text)
        add_sample(lines, name, value)
