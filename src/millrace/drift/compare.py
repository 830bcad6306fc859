"""Did the distribution move: every column of a batch against the same column of a reference."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pyarrow as pa

from millrace.core.errors import DataError, ProjectError, did_you_mean
from millrace.drift.columns import check_declared, each_column
from millrace.drift.decisions import CORRECTIONS
from millrace.drift.measure import Limits, measure_column, settle
from millrace.drift.profile import ReferenceProfile
from millrace.drift.report import DriftReport

EFFECT = 0.05
RATE_EFFECT = 0.02
_MAJOR, _MAJOR_RATE = 2, 5  # times the least effect that counts: 0.1 of distance, 10 % of the rows
BATCHES_PER_MONTH = 30


def compare(
    reference: pa.Table | ReferenceProfile,
    current: pa.Table,
    *,
    columns: str | Iterable[str] | None = None,
    moving: Iterable[str] = (),
    types: Mapping[str, str] | None = None,
    q: float = 0.05,
    correction: str = "bh",
    min_rows: int = 100,
    effect: float = EFFECT,
    rate_effect: float = RATE_EFFECT,
    batches_per_month: int = BATCHES_PER_MONTH,
) -> DriftReport:
    """The drift of each column: ok, drift, insufficient or error, with statistics and a reason.

    A column is tested by its declared type, else by its Arrow type: numbers and instants by Kolmogorov-Smirnov,
    text, booleans and dictionaries by a contingency chi-square (by its permutation law where rows are few and levels
    rare), and besides for a change of its rate of nulls or infinities and for levels the reference never saw. Drift is
    significance after a correction over all these tests *and* an effect that matters. The tests take rows as
    independent: on a time series it is the effect's limit that keeps false alarms away.

    Parameters
    ----------
    reference : pyarrow.Table or ReferenceProfile
        Against a profile a statistic is exact where the profile holds every distinct value; else D is seen on a grid
        of 2,000 quantiles, never more than the true one and at most 1/2000 less plus what the batch has in one cell;
        the test's `statistic_at_most` bounds it.
    current : pyarrow.Table
    columns : iterable of str, optional
        The columns to compare; all of the reference if not given. Leave out the event time, which always moves, or
        name it in `moving`.
    moving : iterable of str
        Of these only type and nulls are compared.
    types : mapping of str to str, optional
        Declared types: numeric, categorical, temporal, identifier, or a model's int, float, bool, string.
        Of an identifier only type and nulls are compared. An undeclared column is taken for one when on both sides
        every value is another one, of texts, or of whole numbers that count rows; it is reported as insufficient.
        A profile brings its own.
    q : float
        Share of false discoveries allowed; with nothing drifted, the chance of any false alarm in the batch.
    correction : {"bh", "bonferroni"}
        Benjamini and Hochberg's step-up, or the stricter product with the number of tests.
    min_rows : int
        Below this many values on either side a column is insufficient, never ok.
    effect : float
        Least KS distance, or total variation beyond chance, that counts as drift; it is major from twice that on.
    rate_effect : float
        Least change in the share of nulls, infinities or unseen levels that counts as drift; major from five times on.
    batches_per_month : int
        For the false alarms that the report says are to be expected.

    Raises
    ------
    ProjectError
        PROJ-35 for a limit outside its range, PROJ-36 for an unknown declared type, DRIFT-06 for an unknown
        correction.
    DataError
        DRIFT-07 when a type is declared otherwise than the profile was made with.
    """
    declared = dict(types or {})
    _check_limits(q=q, effect=effect, rate_effect=rate_effect, min_rows=min_rows, batches_per_month=batches_per_month)
    if correction not in CORRECTIONS:
        raise ProjectError(
            "DRIFT-06", f"the correction {correction!r} is unknown", fix=did_you_mean(str(correction), CORRECTIONS)
        )
    check_declared(declared)
    if isinstance(reference, ReferenceProfile):
        declared = _types_of_profile(reference, declared)
        all_names, rows = list(reference.columns), reference.rows
    else:
        all_names, rows = reference.column_names, reference.num_rows
    names = list(dict.fromkeys(all_names if columns is None else [columns] if isinstance(columns, str) else columns))
    held = frozenset(moving)
    limits = Limits(min_rows, effect, rate_effect)
    measured = each_column(
        lambda name: measure_column(name, reference, current, declared.get(name), limits, is_moving=name in held),
        names,
        rows=max(rows if isinstance(reference, pa.Table) else 0, current.num_rows),
    )
    for facts in measured:
        settle(facts, limits)
    return DriftReport(
        {
            "q": q,
            "correction": correction,
            "min_rows": min_rows,
            "effect": effect,
            "major_effect": min(1.0, _MAJOR * effect),
            "rate_effect": rate_effect,
            "major_rate_effect": min(1.0, _MAJOR_RATE * rate_effect),
            "batches_per_month": batches_per_month,
            "profile": reference.digest if isinstance(reference, ReferenceProfile) else None,
            "rows_reference": rows,
            "rows_current": current.num_rows,
            "columns_added": _without(current.column_names, all_names),
            "columns_removed": _without(all_names, current.column_names),
            "types_unused": _without(declared, [*all_names, *names, *current.column_names]),
            "columns": measured,
        }
    )


def _without(names: Iterable[str], others: Iterable[str]) -> list[str]:
    """Each of the names that is none of the others, once."""
    known = set(others)
    return [name for name in dict.fromkeys(names) if name not in known]


def _types_of_profile(profile: ReferenceProfile, declared: dict[str, str]) -> dict[str, str]:
    kept = profile.types
    for name, wanted in declared.items():
        if name in profile.columns and kept.get(name) != wanted:
            was = f"declared {kept[name]!r}" if name in kept else "not declared"
            raise DataError(
                "DRIFT-07",
                f"column '{name}' is declared {wanted!r}, and in the profile it is {was}",
                fix="make the profile with the same types: ReferenceProfile.of(reference, types=...)",
            )
    return {**declared, **kept}


def _check_limits(*, min_rows: int, batches_per_month: int, **shares: float) -> None:
    findings = [
        ProjectError("PROJ-35", f"{name} is {value!r}", fix=f"give {name} a number between 0 and 1")
        for name, value in shares.items()
        if not (isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 1)
    ]
    for name, value, least in (("min_rows", min_rows, 2), ("batches_per_month", batches_per_month, 1)):
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            findings.append(
                ProjectError("PROJ-35", f"{name} is {value!r}", fix=f"give a whole number, {least} or more")
            )
    if findings:
        raise ProjectError("PROJ-35", "a limit of the drift comparison is outside its range", findings=findings)
