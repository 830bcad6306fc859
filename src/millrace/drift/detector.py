"""Drift detection against a frozen reference, for notebooks and small scripts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from millrace.core.errors import DataError, ProjectError, did_you_mean
from millrace.drift.columns import check_declared, family_of, moments, read_column
from millrace.drift.compare import compare
from millrace.drift.measure import column_of, times_of
from millrace.drift.profile import ReferenceProfile
from millrace.drift.report import DriftReport
from millrace.drift.tables import as_table

_Moments = tuple[float | None, float | None]
_NONE: _Moments = (None, None)
_LIMITS = ("columns", "moving", "correction", "min_rows", "effect", "rate_effect", "batches_per_month")


class DriftDetector:
    """Compares batches with a reference.

    Parameters
    ----------
    reference : pandas, polars or pyarrow table, or a ReferenceProfile
        A profile spares reading and sorting the reference for every batch.
    types : mapping of str to str, optional
        Declared column types, as in `compare`.
    limits
        `columns`, `moving`, `correction`, `min_rows`, `effect`, `rate_effect`, `batches_per_month`, as in `compare`.

    Raises
    ------
    DataError
        DRIFT-01 when the reference is not a table.
    ProjectError
        DRIFT-08 for a limit of another name, PROJ-36 for an unknown declared type.

    >>> detector = DriftDetector(pa.table({"x": [n / 4 for n in range(200)]}))
    >>> detector.detect_drift(pa.table({"x": [n / 4 for n in range(100, 300)]}))
    {'x': True}
    """

    def __init__(self, reference: Any, *, types: Mapping[str, str] | None = None, **limits: Any) -> None:
        _check_names(limits)
        check_declared(dict(types or {}))
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

        An identifier that is recognised as one is False: its values are others in every batch, and are not tested.
        `threshold` is the share of false discoveries allowed. Ask `report` for reasons.

        Raises
        ------
        DataError
            DRIFT-09 when there is no column to compare: an empty answer would read as "no drift".
        """
        columns = self.report(current, q=threshold).columns
        found = {column.name: column.outcome != "ok" and not column.is_recognised for column in columns}
        if not found:
            raise DataError(
                "DRIFT-09", "there is no column to compare", fix="give a reference that has columns, or name some of it"
            )
        return found

    def compute_drift_metrics(self, current: Any) -> dict[str, dict[str, Any]]:
        """Mean and standard deviation of each numeric column of the reference, and how far they moved.

        Shifts are relative to the reference, None where the reference's value is zero or undefined. Missing and
        infinite values are left out. Of a column that the batch lacks, or holds as another type or twice, the current
        values are None, and `error` says why.
        """
        table = as_table(current)
        return {name: _metrics(before, *_moments_of(table, name)) for name, before in self._reference_moments().items()}

    def _reference_moments(self) -> dict[str, _Moments]:
        """Mean and standard deviation of the reference's numeric columns; of those that share a name, none."""
        if isinstance(self.reference, ReferenceProfile):
            columns = self.reference.columns.values()
            return {column.name: (column.mean, column.std) for column in columns if column.family == "number"}
        fields = [field for field in self.reference.schema if family_of(field.type) == "number"]
        return {field.name: _moments_of(self.reference, field.name)[0] for field in fields}


def _check_names(limits: Mapping[str, Any]) -> None:
    findings = [
        ProjectError("DRIFT-08", f"the drift comparison has no limit '{name}'", fix=did_you_mean(name, _LIMITS))
        for name in limits
        if name not in _LIMITS
    ]
    if len(findings) == 1:
        raise findings[0]
    if findings:
        raise ProjectError("DRIFT-08", "the drift comparison does not have these limits", findings=findings)


def _moments_of(table: pa.Table, name: str) -> tuple[_Moments, str | None]:
    """Mean and standard deviation of a numeric column, and why there are none."""
    column, times = column_of(table, name), times_of(table, name)
    if column is None:
        return _NONE, "the column is missing"
    if times > 1:
        return _NONE, f"{times} columns have this name"
    family = family_of(column.type)
    if family == "null":
        return _NONE, None
    if family != "number":
        return _NONE, f"its type is {column.type}"
    return moments(read_column(name, column, "numeric")), None


def _metrics(reference: _Moments, current: _Moments, error: str | None) -> dict[str, Any]:
    found = {
        "type": "numerical",
        "mean_shift": _relative(reference[0], current[0]),
        "std_shift": _relative(reference[1], current[1]),
        "ref_mean": reference[0],
        "curr_mean": current[0],
        "ref_std": reference[1],
        "curr_std": current[1],
    }
    return found if error is None else {**found, "error": error}


def _relative(before: float | None, after: float | None) -> float | None:
    return (after - before) / before if before and after is not None else None
