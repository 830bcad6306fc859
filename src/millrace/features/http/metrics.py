"""Counters of the feature server, as Prometheus reads them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime

from millrace.core.prometheus import Histogram, add_family, add_sample
from millrace.features.online.lookup import OnlineFeatures, ViewReading


class FeatureMetrics:
    """Written by the event loop alone, so nothing is locked."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, int]] = Counter()
        self.values: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.rows = 0
        self.pushed_rows = 0
        self._latency = Histogram()

    def count_views(self, views: Sequence[ViewReading]) -> None:
        """Values that were answered for one entity, by status."""
        self.rows += 1
        for names, values, status, _ in views:
            nulls = values.count(None) if status == "present" else 0
            self.values[status] += len(names) - nulls
            if nulls:
                self.values["null"] += nulls

    def count_found(self, found: OnlineFeatures, rows: int) -> None:
        """Values that were answered, by status."""
        self.rows += rows
        values = self.values
        for statuses in found.statuses.values():
            values.update(statuses)

    def count_unavailable(self, features: int, rows: int) -> None:
        """Values that could not be read because the store did not answer."""
        self.rows += rows
        self.values["unavailable"] += features * rows

    def observe(self, seconds: float) -> None:
        """How long one POST /get-online-features took."""
        self._latency.observe(seconds)

    def render(self, *, is_available: bool, freshness: Mapping[str, datetime]) -> str:
        """The text of /metrics. `freshness` is how far each view is materialized."""
        lines: list[str] = []
        add_family(lines, "feature_requests_total", "counter", "Answered requests, by path and status.")
        for (path, status), count in sorted(self.requests.items()):
            add_sample(lines, "feature_requests_total", count, path=path, status=str(status))
        self._latency.render(lines, "feature_request_seconds", "Time to answer POST /get-online-features.")
        add_family(lines, "feature_rows_total", "counter", "Entities that features were asked for.")
        add_sample(lines, "feature_rows_total", self.rows)
        add_family(lines, "feature_values_total", "counter", "Values answered, by status.")
        for word, count in sorted(self.values.items()):
            add_sample(lines, "feature_values_total", count, status=word)
        add_family(lines, "feature_pushed_rows_total", "counter", "Rows taken by POST /push.")
        add_sample(lines, "feature_pushed_rows_total", self.pushed_rows)
        add_family(lines, "feature_errors_total", "counter", "Refused or failed requests, by error code.")
        for code, count in sorted(self.errors.items()):
            add_sample(lines, "feature_errors_total", count, code=code)
        add_family(lines, "feature_store_available", "gauge", "1 while the online store answers.")
        add_sample(lines, "feature_store_available", int(is_available))
        add_family(
            lines, "feature_materialized_until_seconds", "gauge", "How far a view is materialized, since 1970 UTC."
        )
        for view, until in sorted(freshness.items()):
            add_sample(lines, "feature_materialized_until_seconds", until.timestamp(), view=view)
        return "\n".join(lines) + "\n"
