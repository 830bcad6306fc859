"""Rules that are queries in SQL, where ``{batch}`` stands for the batch.

They run in the database that holds the rows, and by Polars' SQL on files and frames; GX runs them in databases only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from millrace.core.errors import MillraceError, did_you_mean
from millrace.validation.backend import Backend, Queried
from millrace.validation.batch import Batch, CannotCheck
from millrace.validation.check import Check, Finding, Values

Kwargs = Mapping[str, Any]
_COMPARED = 200  # rows of each query, as GX fetches them
_SHOWN = 20


def unexpected_rows(batch: Batch, kwargs: Kwargs) -> Check:
    """The query finds no row."""
    backend, text = _queried(batch.backend), kwargs["unexpected_rows_query"]

    def finish(_: Values) -> Finding:
        count, rows = backend.query(text, limit=_SHOWN)
        result: dict[str, Any] = {"observed_value": count}
        if rows:
            result["details"] = {"unexpected_rows": rows}
        return Finding(count == 0, result)

    return Check(finish)


def query_results_match(batch: Batch, kwargs: Kwargs) -> Check:
    """Two queries give the same rows, in any order and however their columns are called; `mostly` of the more."""
    name = kwargs["comparison_data_source_name"]
    if name not in batch.backend_of:
        raise CannotCheck(f"there is no table '{name}' to compare with: {did_you_mean(name, batch.backend_of)}")
    base = _queried(batch.backend)

    def finish(_: Values) -> Finding:
        found = base.query(kwargs["base_query"], limit=_COMPARED)[1]
        try:
            other = batch.backend_of[name]()
        except MillraceError as error:
            raise CannotCheck(f"the table '{name}' cannot be read: {error.what}") from error
        wanted = _queried(other).query(kwargs["comparison_query"], limit=_COMPARED)[1]
        return _judged(found, wanted, 1.0 if kwargs.get("mostly") is None else float(kwargs["mostly"]))

    return Check(finish)


def _judged(found: list[dict[str, Any]], wanted: list[dict[str, Any]], mostly: float) -> Finding:
    size = max(len(found), len(wanted))
    counts = Counter(map(_row_key, found)), Counter(map(_row_key, wanted))
    matching = (counts[0] & counts[1]).total()
    percent = (1 - matching / size) * 100 if size else 0.0
    result = {
        "unexpected_count": size - matching,
        "unexpected_percent": percent,
        "details": {
            "missing_rows": _left(wanted, counts[1] - counts[0]),
            "unexpected_rows": _left(found, counts[0] - counts[1]),
        },
    }
    return Finding(100 - percent >= mostly * 100, result)


def _left(rows: Iterable[dict[str, Any]], counts: Counter[tuple[Any, ...]]) -> list[dict[str, Any]]:
    left = []
    for row in rows:
        if counts[_row_key(row)] > 0:
            counts[_row_key(row)] -= 1
            left.append(row)
    return left


def _row_key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    # NaN does not equal itself, and a list cannot be counted: both stand as what they look like.
    return tuple(value if value == value and value.__hash__ is not None else repr(value) for value in row.values())


def _queried(backend: Backend) -> Queried:
    if not isinstance(backend, Queried):
        raise CannotCheck(f"unsupported: a {type(backend).__name__} answers no query in SQL")
    return backend


QUERY_RULES: dict[str, Callable[[Batch, Kwargs], Check]] = {
    "unexpected_rows_expectation": unexpected_rows,
    "expect_query_results_to_match_comparison": query_results_match,
}
