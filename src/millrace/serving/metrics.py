"""Counters of a server, as Prometheus reads them."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping

from millrace.serving.prediction_log import PredictionLog
from millrace.serving.slot import Slot

_BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """Written by the event loop alone, so nothing is locked."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[int, str]] = Counter()
        self.predictions: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self._buckets = [0] * (len(_BOUNDS) + 1)
        self._seconds = 0.0

    def count_request(self, status: int, version: str, seconds: float) -> None:
        """One answered POST /predict. `version` is the model's, "none" when no model answered."""
        self.requests[status, version] += 1
        self._buckets[bisect_left(_BOUNDS, seconds)] += 1
        self._seconds += seconds

    def render(self, slot: Slot, log: PredictionLog | None) -> str:
        """The text of /metrics."""
        lines: list[str] = []
        _family(lines, "requests_total", "counter", "Answered POST /predict, by status and model version.")
        for (status, version), count in sorted(self.requests.items()):
            lines.append(_sample("requests_total", count, status=str(status), version=version))
        self._render_latency(lines)
        _family(lines, "predictions_total", "counter", "Rows answered, by model version.")
        for version, count in sorted(self.predictions.items()):
            lines.append(_sample("predictions_total", count, version=version))
        _family(lines, "errors_total", "counter", "Refused or failed requests, by error code.")
        for code, count in sorted(self.errors.items()):
            lines.append(_sample("errors_total", count, code=code))
        _family(lines, "swaps_total", "counter", "Model swaps since the server started.")
        lines.append(_sample("swaps_total", slot.swaps))
        _family(lines, "release_failing", "gauge", "1 while the newest release cannot be served.")
        lines.append(_sample("release_failing", int(slot.failure is not None)))
        _render_model(lines, slot)
        _render_log(lines, log)
        return "\n".join(lines) + "\n"

    def _render_latency(self, lines: list[str]) -> None:
        _family(lines, "request_seconds", "histogram", "Time from a request's arrival to its answer.")
        total = 0
        for bound, count in zip((*map(str, _BOUNDS), "+Inf"), self._buckets, strict=True):
            total += count
            lines.append(_sample("request_seconds_bucket", total, le=bound))
        lines.append(_sample("request_seconds_sum", round(self._seconds, 9)))
        lines.append(_sample("request_seconds_count", total))


def _render_model(lines: list[str], slot: Slot) -> None:
    served = slot.current
    if served is None:
        return
    _family(lines, "model_info", "gauge", "The model that answers.")
    facts = served.release
    lines.append(
        _sample(
            "model_info",
            1,
            model=facts.model,
            version=str(facts.version),
            digest=facts.digest,
            release=str(facts.number),
            environment=facts.environment,
        )
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
        _family(lines, name, kind, help_text)
        lines.append(_sample(name, value))


def _family(lines: list[str], name: str, kind: str, help_text: str) -> None:
    lines.append(f"# HELP millrace_{name} {help_text}")
    lines.append(f"# TYPE millrace_{name} {kind}")


def _sample(name: str, value: float, **labels: str) -> str:
    return f"millrace_{name}{_labels(labels)} {value}"


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    pairs = (f'{name}="{_escape(value)}"' for name, value in labels.items())
    return "{" + ",".join(pairs) + "}"


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
