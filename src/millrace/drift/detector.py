"""Drift detection against a frozen reference, for notebooks and small scripts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from millrace.core.errors import DataError
from millrace.drift.columns import family_of, moments, read_column
from millrace.drift.compare import compare
from millrace.drift.measure import column_of
from millrace.drift.profile import ReferenceProfile
from millrace.drift.report import DriftReport

_Moments = tuple[float | None, float | None]


class DriftDetector:
    """Compares batches with a reference.

    Parameters
    ----------
    reference : pandas, polars or pyarrow table, or a ReferenceProfile
        A profile spares reading and sorting the reference for every batch.
    types : mapping of str to str, optional
        Declared column types, as in `compare`.
    limits
        `columns`, `correction`, `min_rows`, `effect`, `rate_effect`, `batches_per_month`, as in `compare`.

    Raises
    ------
    DataError
        DRIFT-01 when the reference is not a table.

    >>> detector = DriftDetector(pa.table({"x": list(range(200))}))
    >>> detector.detect_drift(pa.table({"x": list(range(100, 300))}))
    {'x': True}
    """

    def __init__(self, reference: Any, *, types: Mapping[str, str] | None = None, **limits: Any) -> None:
        self.reference = reference if isinstance(reference, ReferenceProfile) else as_table(reference)
        self._types = types
        self._limits = limits

    def report(self, current: Any, *, q: float = 0.05) -> DriftReport:
        """The full comparison of `current` (pandas, polars or pyarrow) with the reference."""
        return compare(self.reference, as_table(current), types=self._types, q=q, **self._limits)

    def assess(self, current: Any, *, q: float = 0.05, **asked: Any) -> DriftReport:
        """The full comparison, and what only shows in the batch as a whole.

        `asked` goes to `millrace.drift.batch.assess`: the model's answers `before` and `after`, `classes`, a `sample`.
        """
        from millrace.drift.batch import assess

        return assess(self.reference, as_table(current), types=self._types, q=q, **self._limits, **asked)

    def detect_drift(self, current: Any, threshold: float = 0.05) -> dict[str, bool]:
        """Per column, True unless it is known to be ok: what cannot be tested is not "no drift".

        `threshold` is the share of false discoveries allowed. Ask `report` for reasons.
        """
        return {column.name: column.outcome != "ok" for column in self.report(current, q=threshold).columns}

    def compute_drift_metrics(self, current: Any) -> dict[str, dict[str, Any]]:
        """Mean and standard deviation of each numeric column that both tables have, and how far they moved.

        Shifts are relative to the reference, None where the reference's value is zero or undefined. Missing and
        infinite values are left out.
        """
        table = as_table(current)
        metrics = {}
        for name, before in self._reference_moments().items():
            after = column_of(table, name)
            if after is not None and family_of(after.type) == "number":
                metrics[name] = _metrics(before, moments(read_column(name, after, "numeric")))
        return metrics

    def _reference_moments(self) -> dict[str, _Moments]:
        """Mean and standard deviation of the reference's numeric columns."""
        if isinstance(self.reference, ReferenceProfile):
            columns = self.reference.columns.values()
            return {column.name: (column.mean, column.std) for column in columns if column.family == "number"}
        return {
            field.name: moments(read_column(field.name, column_of(self.reference, field.name), "numeric"))
            for field in self.reference.schema
            if family_of(field.type) == "number"
        }


def as_table(data: Any) -> pa.Table:
    """Any Arrow-speaking table (pandas, polars, pyarrow, DuckDB) as a pyarrow.Table.

    Raises
    ------
    DataError
        DRIFT-01 when it is no table, or holds a column of mixed types.
    """
    if isinstance(data, pa.Table):
        return data
    try:
        return pa.table(data)
    except (pa.ArrowException, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            "DRIFT-01",
            f"{type(data).__name__} cannot be read as a table",
            why=str(error),
            fix="pass a pandas, polars or pyarrow table with one type in each column",
        ) from error


def _metrics(reference: _Moments, current: _Moments) -> dict[str, Any]:
    return {
        "type": "numerical",
        "mean_shift": _relative(reference[0], current[0]),
        "std_shift": _relative(reference[1], current[1]),
        "ref_mean": reference[0],
        "curr_mean": current[0],
        "ref_std": reference[1],
        "curr_std": current[1],
    }


def _relative(before: float | None, after: float | None) -> float | None:
    return (after - before) / before if before and after is not None else None
