"""Rules on every value of a column (or on every row of several): a share of them, `mostly`, must keep the rule."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import polars as pl

from millrace.validation.batch import Batch, CannotCheck, as_moment
from millrace.validation.check import Check, Finding, Rows

Kwargs = Mapping[str, Any]


def values_between(batch: Batch, kwargs: Kwargs) -> Check:
    values, (low, high) = batch.ordered(kwargs["column"], (kwargs.get("min_value"), kwargs.get("max_value")))
    outside = pl.lit(False)
    if low is not None:
        outside = outside | (values <= pl.lit(low) if kwargs.get("strict_min") else values < pl.lit(low))
    if high is not None:
        outside = outside | (values >= pl.lit(high) if kwargs.get("strict_max") else values > pl.lit(high))
    return _on_present(batch, "between", kwargs, outside)


def values_in_set(batch: Batch, kwargs: Kwargs) -> Check:
    return _on_present(batch, "in set", kwargs, ~_is_in(batch, kwargs))


def values_not_in_set(batch: Batch, kwargs: Kwargs) -> Check:
    return _on_present(batch, "not in set", kwargs, _is_in(batch, kwargs))


def values_match(batch: Batch, kwargs: Kwargs) -> Check:
    column, pattern = kwargs["column"], kwargs["regex"]
    is_whole = batch.type_of(column) is not None and str(batch.type_of(column)).lstrip("u").startswith("int")
    if batch.kind(column) not in ("text", "nothing") and not is_whole:
        raise CannotCheck(f"{batch.describe(column)}: a regular expression needs text")
    try:
        pl.Series(["a"]).str.contains(pattern)
    except pl.exceptions.PolarsError as error:
        raise CannotCheck(
            f"unsupported: the regular expression {pattern!r} (no look-around, no back-references): "
            f"{str(error).splitlines()[0]}"
        ) from error
    return _on_present(batch, "match", kwargs, ~batch.values(column).cast(pl.String).str.contains(pattern))


def values_unique(batch: Batch, kwargs: Kwargs) -> Check:
    values, column = batch.values(kwargs["column"]), kwargs["column"]
    repeated = values.is_duplicated() & values.is_not_null()
    missing, distinct, count = f"missing {column}", f"distinct {column}", f"repeated {column}"

    # Counting distinct values decides at a quarter of the cost of marking the repeated ones.
    def recount(found: Mapping[str, Any]) -> dict[str, pl.Expr]:
        return {} if found[distinct] == batch.rows - found[missing] else {count: repeated.sum()}

    return Check(
        lambda found: _finding(batch.rows, found[missing], found.get(count, 0), kwargs),
        {missing: values.null_count(), distinct: values.drop_nulls().n_unique()},
        recount,
        Rows(repeated, values),
    )


def values_present(batch: Batch, kwargs: Kwargs) -> Check:
    return _on_all(batch, "present", kwargs, batch.values(kwargs["column"]).is_null())


def values_missing(batch: Batch, kwargs: Kwargs) -> Check:
    return _on_all(batch, "missing", kwargs, batch.values(kwargs["column"]).is_not_null())


def rows_unique(batch: Batch, kwargs: Kwargs) -> Check:
    columns = [batch.values(name) for name in kwargs["column_list"]]
    if not columns:
        raise CannotCheck("column_list names no column")
    key = pl.struct(columns)
    policy = kwargs.get("ignore_row_if") or "all_values_are_missing"
    missing = [column.is_null() for column in columns]
    ignored = {
        "all_values_are_missing": pl.all_horizontal(missing),
        "any_value_is_missing": pl.any_horizontal(missing),
        "never": pl.lit(False) & missing[0],
    }[policy]
    unexpected = key.is_duplicated() & ~ignored
    shown = pl.struct(column.alias(name) for column, name in zip(columns, kwargs["column_list"], strict=True))
    labels = f"ignored {_meaning(kwargs)}", f"unexpected rows unique {_meaning(kwargs)}"
    return Check(
        lambda found: _finding(batch.rows, found[labels[0]], found[labels[1]], kwargs),
        {labels[0]: ignored.sum(), labels[1]: unexpected.sum()},
        rows=Rows(unexpected, shown),
    )


def _on_present(batch: Batch, name: str, kwargs: Kwargs, unexpected: pl.Expr) -> Check:
    values = batch.values(kwargs["column"])
    missing, wrong = f"missing {kwargs['column']}", f"unexpected {name} {_meaning(kwargs)}"
    return Check(
        lambda found: _finding(batch.rows, found[missing], found[wrong], kwargs),
        {missing: values.null_count(), wrong: unexpected.sum()},
        rows=Rows(unexpected, values),
    )


def _on_all(batch: Batch, name: str, kwargs: Kwargs, unexpected: pl.Expr) -> Check:
    label = f"unexpected {name} {kwargs['column']}"

    def finish(found: Mapping[str, Any]) -> Finding:
        finding = _finding(batch.rows, 0, found[label], kwargs)
        for key in ("missing_count", "missing_percent", "unexpected_percent_total", "unexpected_percent_nonmissing"):
            finding.result.pop(key, None)
        return finding

    return Check(finish, {label: unexpected.sum()}, rows=Rows(unexpected, batch.values(kwargs["column"])))


def _finding(rows: int, missing: int, unexpected: int, kwargs: Kwargs) -> Finding:
    present = rows - missing
    mostly = 1.0 if kwargs.get("mostly") is None else float(kwargs["mostly"])
    # Over no value nothing can be unexpected: GX passes the rule, and an empty batch fails as a whole.
    success = present == 0 or (present - unexpected) / present >= mostly
    result: dict[str, Any] = {
        "element_count": rows,
        "unexpected_count": unexpected,
        "unexpected_percent": _percent(unexpected, present),
        "partial_unexpected_list": [],
        "missing_count": missing,
        "missing_percent": _percent(missing, rows),
        "unexpected_percent_total": _percent(unexpected, rows),
        "unexpected_percent_nonmissing": _percent(unexpected, present),
    }
    return Finding(success, result)


def _is_in(batch: Batch, kwargs: Kwargs) -> pl.Expr:
    column = kwargs["column"]
    kind, values = batch.kind(column), batch.values(column)
    if kind == "other":
        raise CannotCheck(f"{batch.describe(column)}, whose values a set cannot hold")
    if kind == "nothing":
        return values.is_not_null()
    # A value of another sort can equal none of the column's: leaving it out keeps the answer.
    members: list[Any] = []
    if kind == "text":
        members = [member for member in kwargs["value_set"] if isinstance(member, str)]
        return values.is_in(pl.Series(members, dtype=pl.String).implode())
    if kind in ("time", "date"):
        moments = [as_moment(member) for member in kwargs["value_set"]]
        members = [moment.replace(tzinfo=None) for moment in moments if moment is not None]
        naive = (
            values.cast(pl.Datetime("us"))
            if kind == "date"
            else values.dt.replace_time_zone(None).cast(pl.Datetime("us"))
        )
        return naive.is_in(pl.Series(members, dtype=pl.Datetime("us")).implode())
    members = [member for member in kwargs["value_set"] if isinstance(member, (bool, int, float))]
    if str(batch.type_of(column)).startswith(("int", "uint", "bool")):
        whole = [
            int(member) for member in members if member == member and abs(member) < 2**64 and member == int(member)
        ]
        return values.cast(pl.Int128).is_in(pl.Series(whole, dtype=pl.Int128).implode())
    return values.cast(pl.Float64).is_in(pl.Series([float(member) for member in members], dtype=pl.Float64).implode())


def _percent(part: int, whole: int) -> float | None:
    return part / whole * 100 if whole else None


def _meaning(kwargs: Kwargs) -> str:
    return repr(sorted(kwargs.items(), key=lambda item: item[0]))


VALUE_RULES: dict[str, Callable[[Batch, Kwargs], Check]] = {
    "expect_column_values_to_be_between": values_between,
    "expect_column_values_to_be_in_set": values_in_set,
    "expect_column_values_to_not_be_in_set": values_not_in_set,
    "expect_column_values_to_match_regex": values_match,
    "expect_column_values_to_be_unique": values_unique,
    "expect_column_values_to_not_be_null": values_present,
    "expect_column_values_to_be_null": values_missing,
    "expect_compound_columns_to_be_unique": rows_unique,
}
