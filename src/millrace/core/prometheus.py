"""The text that Prometheus reads, line by line."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Histogram:
    """Durations by bucket. Written by one thread, so nothing is locked."""

    def __init__(self) -> None:
        self._buckets = [0] * (len(_BOUNDS) + 1)
        self._seconds = 0.0

    def observe(self, seconds: float) -> None:
        """Count one duration."""
        self._buckets[bisect_left(_BOUNDS, seconds)] += 1
        self._seconds += seconds

    def render(self, lines: list[str], name: str, help_text: str) -> None:
        """Add the family `name` to `lines`."""
        add_family(lines, name, "histogram", help_text)
        total = 0
        for bound, count in zip((*map(str, _BOUNDS), "+Inf"), self._buckets, strict=True):
            total += count
            add_sample(lines, f"{name}_bucket", total, le=bound)
        add_sample(lines, f"{name}_sum", round(self._seconds, 9))
        add_sample(lines, f"{name}_count", total)


def add_family(lines: list[str], name: str, kind: str, help_text: str) -> None:
    """Say what the samples of ``millrace_<name>`` that follow are."""
    lines.append(f"# HELP millrace_{name} {help_text}")
    lines.append(f"# TYPE millrace_{name} {kind}")


def add_sample(lines: list[str], name: str, value: float, **labels: str) -> None:
    """Add one value."""
    lines.append(f"millrace_{name}{_labels(labels)} {value}")


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    pairs = (f'{name}="{_escape(value)}"' for name, value in labels.items())
    return "{" + ",".join(pairs) + "}"


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
