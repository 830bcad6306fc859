"""A suite drafted from a reference: what it kept, with as much slack as chance needs, stated rule by rule.

Schema, missing values, keys and impossible values are critical; what only moved is a warning. A share that a rule
allows is a prediction: a batch of `batch_rows` rows of the same distribution breaks one rule with a probability of at
most `CHANCE`, rows taken as independent. Limits of values (ten spans beyond the reference) suppose tails that are not
heavier than those of a log-normal.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from millrace.core.records import Severity
from millrace.validation.profiling.codes import pattern_of
from millrace.validation.profiling.prediction_bound import kept_share, most_expected, share_kept
from millrace.validation.profiling.profile import ColumnProfile, TableProfile
from millrace.validation.result import ExpectationResult
from millrace.validation.suite import Expectation, Suite

CHANCE = 1e-5
MOST_MEMBERS = 50
MOST_NUMBER_MEMBERS = 12
MOJIBAKE = "[ÃÂ][\u0080-\u00bf]|â€|\ufffd"
"""Bytes of UTF-8 that were read as Latin-1 or Windows-1252, or were lost."""

_ROW_COUNT = "expect_table_row_count_to_be_between"
_SPANS = 10
_GAPS = 14  # a newest event this many mean gaps earlier has a chance of exp(-14)
_SKEWED = 3
_SEEN_OFTEN = 10
_ID_WORDS = ("id", "key", "uuid", "guid", "code", "no", "number", "nr", "ref", "hash")
_TYPES = {
    "text": ["str"],
    "bool": ["bool"],
    "time": ["timestamp"],
    "date": ["date", "timestamp"],
}


@dataclass(frozen=True)
class Draft:
    """A suite, and the rules that were drafted and do not hold on the reference itself, so that they were left out."""

    suite: Suite
    left_out: Sequence[ExpectationResult] = field(default=())


def suggest(profile: TableProfile, *, name: str, batch_rows: int | None = None) -> Suite:
    """The suite that batches like the profiled reference meet.

    Parameters
    ----------
    profile : TableProfile
        Of the reference.
    name : str
        Of the suite.
    batch_rows : int, optional
        Rows of the batches that will be judged, the reference's number if not given: small batches scatter more.

    >>> import pyarrow as pa
    >>> from millrace.validation.profiling.profile import profile
    >>> [rule.type for rule in suggest(profile(pa.table({"x": ["a", "b"] * 50})), name="s").expectations][:2]
    ['expect_table_columns_to_match_set', 'expect_table_row_count_to_be_between']
    """
    drafting = _Drafting(profile, batch_rows or profile.rows)
    suite = Suite(
        name,
        drafting.rules(),
        meta={"millrace": {"reference_rows": profile.rows, "batch_rows": drafting.batch, "chance": CHANCE}},
    )
    suite.place = None
    return suite


def confirm(suite: Suite, judge: Callable[[Suite], Sequence[ExpectationResult]]) -> Draft:
    """The suite without the rules that the reference itself does not meet, or that the engine does not run.

    Parameters
    ----------
    judge : callable
        The results of a suite on the reference, such as ``lambda suite: validate(reference, suite).results``.
    """
    results = judge(suite)
    # How many rows a batch has is told by `batch_rows`, not by the reference.
    is_kept = [item.success or item.expectation.type == _ROW_COUNT for item in results]
    # As drafted: the results' own have values in place of suite parameters.
    kept = [rule for rule, keep in zip(suite.expectations, is_kept, strict=True) if keep]
    left_out = [item for item, keep in zip(results, is_kept, strict=True) if not keep]
    return Draft(Suite(suite.name, kept, suite.meta, place=suite.place), left_out)


@dataclass
class _Drafting:
    profile: TableProfile
    batch: int

    def rules(self) -> list[Expectation]:
        columns = self.profile.columns
        names = [column.name for column in columns]
        rows = self.profile.rows
        found = [
            _rule("expect_table_columns_to_match_set", column_set=names, exact_match=True),
            _rule(_ROW_COUNT, min_value=max(1, self.batch // 10), max_value=self.batch * 10),
        ]
        if self.batch >= 20:
            found.append(
                _rule(
                    _ROW_COUNT,
                    "warning",
                    min_value=self.batch // 2,
                    max_value=self.batch * 2,
                )
            )
        if rows:
            newest = next((column for column in columns if column.kind == "time" and column.greatest is not None), None)
            for column in columns:
                found += self._column(column, is_newest=column is newest)
        return found

    def _column(self, column: ColumnProfile, *, is_newest: bool) -> list[Expectation]:
        found = self._type(column)
        if column.present == 0:
            return found
        found += self._missing(column)
        if is_key(column):
            return [*found, _rule("expect_column_values_to_be_unique", column=column.name), *self._text(column)]
        found += self._constant(column)
        members = self._members(column)
        if column.kind == "number":
            found += members or [*self._range(column), *self._outside(column)]
            found += self._mean(column)
        elif column.kind == "bool":
            found += self._mean(column)
        elif column.kind == "text":
            found += members or self._text(column)
        elif is_newest:
            found += self._freshness(column)
        return found

    def _type(self, column: ColumnProfile) -> list[Expectation]:
        if column.kind == "number":
            names = ["int"] if "int" in column.type else ["float", "decimal", "int"]
        else:
            names = _TYPES.get(column.kind, [])
        # A batch in which every value is missing has no type in a CSV file.
        share = (column.missing + 0.5) / (column.rows + 1)
        if not names or share**self.batch > CHANCE:
            return []
        if len(names) == 1:
            return [_rule("expect_column_values_to_be_of_type", column=column.name, type_=names[0])]
        return [_rule("expect_column_values_to_be_in_type_list", column=column.name, type_list=names)]

    def _missing(self, column: ColumnProfile) -> list[Expectation]:
        mostly = 1.0 if is_key(column) else share_kept(column.missing, column.rows, self.batch, CHANCE)
        if mostly == 0:
            return []
        return [_rule("expect_column_values_to_not_be_null", column=column.name, **_mostly(mostly))]

    def _constant(self, column: ColumnProfile) -> list[Expectation]:
        if column.distinct < 2:
            return []
        top = max((share for _, share in column.top), default=0.0)
        often = min(1.0, (top * column.present + 0.5) / (column.present + 1))
        if often ** max(1, self._there(column)) > CHANCE or column.kind in ("time", "date"):
            return []
        if column.kind == "number" and column.stdev and not column.infinite:
            # Far below any spread that is one, and above what rounding makes of a constant; counting values is dear.
            least = column.stdev * 1e-6
            return [_rule("expect_column_stdev_to_be_between", column=column.name, min_value=least)]
        return [_rule("expect_column_unique_value_count_to_be_between", column=column.name, min_value=2)]

    def _members(self, column: ColumnProfile) -> list[Expectation]:
        """A set, where few values repeat often; the share allowed outside follows from those seen once."""
        levels = column.levels
        most = MOST_MEMBERS if column.kind == "text" else MOST_NUMBER_MEMBERS
        if levels is None or ("int" not in column.type and column.kind != "text"):
            return []
        if not levels or len(levels) > most or column.present < 20 * len(levels):
            return []
        seen_once = sum(count == 1 for count in levels.values())
        mostly = share_kept(seen_once, column.present, self._there(column), CHANCE)
        members = sorted(levels, key=lambda value: (str(type(value)), value))
        found = [_rule("expect_column_values_to_be_in_set", column=column.name, value_set=members, **_mostly(mostly))]
        if mostly < 1 and min(levels.values()) >= _SEEN_OFTEN:
            found.append(_rule("expect_column_values_to_be_in_set", "warning", column=column.name, value_set=members))
        return found

    def _range(self, column: ColumnProfile) -> list[Expectation]:
        """No value beyond ten spans of the reference; none below 0 where a skewed column has none."""
        low, high = column.least, column.greatest
        if low is None or column.distinct < 2:
            return []
        span = high - low
        middle = column.quantiles.get(0.5, high)
        is_skewed = low >= 0 and high >= _SKEWED * max(middle, 0)
        least = 0 if is_skewed else _bound(low - _SPANS * span, -math.inf)
        limits = {"min_value": least, "max_value": _bound(high + _SPANS * span, math.inf)}
        return [_rule("expect_column_values_to_be_between", column=column.name, **limits)]

    def _outside(self, column: ColumnProfile) -> list[Expectation]:
        """Few values outside the least and the greatest of the reference; exact for every continuous distribution."""
        if column.least is None or column.present < 2:
            return []
        rows = self._there(column)
        mostly = kept_share(most_expected(2, column.present - 1, rows, CHANCE), rows)
        limits = {"min_value": _bound(column.least, -math.inf), "max_value": _bound(column.greatest, math.inf)}
        return (
            [_rule("expect_column_values_to_be_between", "warning", column=column.name, **limits, **_mostly(mostly))]
            if mostly > 0
            else []
        )

    def _mean(self, column: ColumnProfile) -> list[Expectation]:
        """Within a quarter of a standard deviation, and six standard errors of both means, of the reference's mean."""
        rows = self._there(column)
        if column.mean is None or column.stdev is None or column.infinite or rows < 30:
            return []
        slack = column.stdev * (0.25 + 6 * (1 / column.present + 1 / rows) ** 0.5)
        limits = {"min_value": column.mean - slack, "max_value": column.mean + slack}
        return [_rule("expect_column_mean_to_be_between", "warning", column=column.name, **limits)] if slack else []

    def _text(self, column: ColumnProfile) -> list[Expectation]:
        if column.kind != "text" or column.least is None:
            return []
        name = column.name
        found = [_rule("expect_column_values_to_not_match_regex", column=name, regex=MOJIBAKE)]
        pattern = pattern_of(self.profile.sample[name].drop_nulls())
        if pattern is not None:
            mostly = share_kept(0, column.present, self._there(column), CHANCE)
            return [*found, _rule("expect_column_values_to_match_regex", column=name, regex=pattern, **_mostly(mostly))]
        lengths = {"min_value": column.least // 2, "max_value": max(1, column.greatest * 2)}
        return [*found, _rule("expect_column_value_lengths_to_be_between", "warning", column=name, **lengths)]

    def _freshness(self, column: ColumnProfile) -> list[Expectation]:
        """The newest event is not older than the reference's, but for 14 mean gaps between events; none is to come."""
        gap = (column.greatest - column.least) / max(1, min(column.present, self.batch) - 1)
        newest: datetime = column.greatest - _GAPS * gap
        name = "expect_column_max_to_be_between"
        return [
            _rule(name, column=column.name, min_value=newest.isoformat()),
            _rule(name, column=column.name, max_value={"$PARAMETER": "now()"}),
        ]

    def _there(self, column: ColumnProfile) -> int:
        """About how many values of the column a batch will have."""
        return max(1, round(self.batch * column.present / column.rows))


def is_key(column: ColumnProfile) -> bool:
    """Whether a column identifies rows: never missing, never repeated, and text, dense numbers or named like a key."""
    if column.missing or column.present < 20 or column.distinct < 0.98 * column.present:
        return False
    if column.is_distinct_exact and column.distinct < column.present:
        return False
    if column.kind == "text":
        return True
    if column.kind != "number" or "int" not in column.type:
        return False
    is_dense = column.greatest - column.least < 1.5 * column.present
    return is_dense or _is_named_like_a_key(column.name)


def _is_named_like_a_key(name: str) -> bool:
    snake = "".join(f"_{c.lower()}" if c.isupper() else c for c in name)
    words = [word for word in snake.replace("-", "_").replace(" ", "_").split("_") if word]
    joined = "".join(words)
    return any(word in _ID_WORDS for word in words) or joined.endswith(("id", "uuid"))


def _mostly(share: float) -> dict[str, float]:
    return {} if share >= 1 else {"mostly": share}


def _bound(value: Any, outward: float) -> Any:
    """`value` as JSON can hold it: a decimal is the nearest float that does not shut it out."""
    if not isinstance(value, Decimal):
        return value
    near = float(value)
    shuts_out = Decimal(near) > value if outward < 0 else Decimal(near) < value
    return math.nextafter(near, outward) if shuts_out else near


def _rule(name: str, severity: Severity = "critical", /, **kwargs: Any) -> Expectation:
    return Expectation(name, kwargs, severity=severity)
