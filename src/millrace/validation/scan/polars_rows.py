"""Expressions on the values of a row, as Polars expressions."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from functools import reduce
from typing import Any, cast

import polars as pl

from millrace.validation.backend import CannotCheck
from millrace.validation.expression import Expr, Predicate
from millrace.validation.portable_regex import portable_regex
from millrace.validation.scan.python_rows import MixedValues, evaluator, text_of

_MIRRORED = {"eq": "eq", "ne": "ne", "lt": "gt", "le": "ge", "gt": "lt", "ge": "le"}
_LOGIC = {"column", "literal", "and", "or", "not", "is_missing", "repeated"}
_NUMERIC = {"add", "sub", "mul", "div", "abs"}
_DIGITS = 38  # of Polars' decimals


class RowCompiler:
    """Compiles row expressions over one frame, for one condition on its rows.

    Parameters
    ----------
    labels : mapping of str to str
        From a column's name to its name in the frame, where NaN is null already and zoned times are UTC.
    types : mapping of str to polars type
        By the names in the frame.
    condition : polars expression, optional
        Rows where it is not true are not there for operations that look at other rows.
    mixed : mapping of str to MixedValues, optional
        Columns whose values are Python's: the frame holds their places.
    """

    def __init__(
        self,
        labels: Mapping[str, str],
        types: Mapping[str, pl.DataType],
        condition: pl.Expr | None = None,
        mixed: Mapping[str, MixedValues] | None = None,
    ) -> None:
        self.labels = labels
        self.types = types
        self.condition = condition
        self.mixed = mixed or {}

    def compile(self, expr: Expr) -> pl.Expr:
        """The Polars form of `expr`. Raises CannotCheck for operands that do not go together."""
        build = cast("Callable[..., pl.Expr] | None", getattr(self, f"_{expr.op}", None))
        if build is None:
            raise CannotCheck(f"unsupported: '{expr.op}' is no operation on the values of a row")
        if expr.op not in _LOGIC and not self.mixed.keys().isdisjoint(expr.columns()):
            return self._in_python(expr)
        return build(*expr.args)

    def equal_places(self, expr: Expr) -> pl.Expr | None:
        """Of a column of several types, one number for all values that are equal; None for any other operand."""
        found = self.mixed.get(expr.args[0]) if expr.op == "column" else None
        if found is None:
            return None
        return by_value(self._column(expr.args[0]), found.equal.__getitem__, pl.UInt32())

    def type_of(self, expr: Expr) -> pl.DataType | None:
        """Polars type of a column or of what keeps or fixes its type; None where that needs a look at the frame."""
        if expr.op == "column":
            return self.types[self.labels[expr.args[0]]]
        if expr.op in ("previous", "abs"):
            return self.type_of(expr.args[0])
        fixed: dict[str, pl.DataType] = {"number": pl.Int8(), "text": pl.String(), "length": pl.UInt32()}
        return fixed.get(expr.op)

    def masked(self, values: pl.Expr) -> pl.Expr:
        """`values`, missing in rows that the condition leaves out."""
        return values if self.condition is None else pl.when(self.condition).then(values)

    def _in_python(self, expr: Expr) -> pl.Expr:
        names = sorted(expr.columns())
        run = evaluator(expr, {name: place for place, name in enumerate(names)})
        found = [self.mixed[name].values if name in self.mixed else None for name in names]
        dtype = self.type_of(expr) or (pl.Float64() if expr.op in _NUMERIC else pl.Boolean())
        if expr.op == "previous":
            raise CannotCheck("values of several types have no order")
        if len(names) == 1 and found[0] is not None:
            values = found[0]
            return by_value(self._column(names[0]), lambda place: run((values[place],)), dtype)

        def judge(rows: pl.Series) -> pl.Series:
            answers = []
            for row in rows.to_list():
                plain = [
                    row[name] if values is None or row[name] is None else values[row[name]]
                    for name, values in zip(names, found, strict=True)
                ]
                answers.append(run(plain))
            return pl.Series(rows.name, answers, dtype=dtype)

        together = pl.struct(self._column(name).alias(name) for name in names)
        return together.map_batches(judge, return_dtype=dtype, is_elementwise=True)

    def _column(self, name: str) -> pl.Expr:
        return pl.col(self.labels[name])

    def _literal(self, value: Any, _type: str) -> pl.Expr:
        return pl.lit(_naive(value) if isinstance(value, datetime) else value)

    def _and(self, *truths: Expr) -> pl.Expr:
        return reduce(lambda left, right: left & right, map(self.compile, truths))

    def _or(self, *truths: Expr) -> pl.Expr:
        return reduce(lambda left, right: left | right, map(self.compile, truths))

    def _not(self, truth: Expr) -> pl.Expr:
        return ~self.compile(truth)

    def _eq(self, left: Expr, right: Expr) -> pl.Expr:
        return self._compared("eq", left, right)

    def _ne(self, left: Expr, right: Expr) -> pl.Expr:
        return self._compared("ne", left, right)

    def _lt(self, left: Expr, right: Expr) -> pl.Expr:
        return self._compared("lt", left, right)

    def _le(self, left: Expr, right: Expr) -> pl.Expr:
        return self._compared("le", left, right)

    def _gt(self, left: Expr, right: Expr) -> pl.Expr:
        return self._compared("gt", left, right)

    def _ge(self, left: Expr, right: Expr) -> pl.Expr:
        return self._compared("ge", left, right)

    def _compared(self, op: str, left: Expr, right: Expr) -> pl.Expr:
        if left.op == "literal" and right.op != "literal":
            op, left, right = _MIRRORED[op], right, left
        values, dtype = self.compile(left), self.type_of(left)
        if right.op == "literal" and dtype is not None:
            return compare_with(op, values, dtype, right.args[0])
        return cast("pl.Expr", getattr(values, op)(self.compile(right)))

    def _is_missing(self, value: Expr) -> pl.Expr:
        return self.compile(value).is_null()

    def _is_in(self, value: Expr, *members: Expr) -> pl.Expr:
        dtype = self.type_of(value)
        plain = [member.args[0] for member in members]
        if dtype is None:
            return self.compile(value).is_in(pl.Series(plain, strict=False).implode())
        fitting = [found for member in plain if (found := as_member(member, dtype)) is not None]
        return self.compile(value).is_in(pl.Series(fitting, dtype=dtype).implode())

    def _add(self, left: Expr, right: Expr) -> pl.Expr:
        return self._wide(left) + self._wide(right)

    def _sub(self, left: Expr, right: Expr) -> pl.Expr:
        return self._wide(left) - self._wide(right)

    def _mul(self, left: Expr, right: Expr) -> pl.Expr:
        return self._wide(left) * self._wide(right)

    def _div(self, left: Expr, right: Expr) -> pl.Expr:
        above, below = self.compile(left).cast(pl.Float64), self.compile(right).cast(pl.Float64)
        return pl.when(below != 0).then(above / below)

    def _abs(self, value: Expr) -> pl.Expr:
        return self._wide(value).abs()

    def _wide(self, value: Expr) -> pl.Expr:
        # 64 bits overflow without a word; 128 hold every sum and product of two of them.
        dtype = self.type_of(value)
        is_whole = dtype is not None and dtype.is_integer() and value.op != "literal"
        return self.compile(value).cast(pl.Int128) if is_whole else self.compile(value)

    def _number(self, truth: Expr) -> pl.Expr:
        return self.compile(truth).cast(pl.Int8)

    def _text(self, value: Expr) -> pl.Expr:
        values, dtype = self.compile(value), self.type_of(value)
        if dtype is not None and (dtype == pl.String or dtype.is_integer()):
            return values.cast(pl.String)
        return by_value(values, text_of, pl.String())

    def _matches(self, text: Expr, pattern: str) -> pl.Expr:
        plain = portable_regex(pattern, end=r"\z", unicode_classes=True)
        if plain is not None:
            return self.compile(text).str.contains(plain)
        search = re.compile(pattern).search
        return by_value(self.compile(text), lambda value: search(value) is not None, pl.Boolean())

    def _like(self, text: Expr, pattern: str, escape: str | None) -> pl.Expr:
        return self.compile(text).str.contains(like_pattern(pattern, escape))

    def _length(self, text: Expr) -> pl.Expr:
        return self.compile(text).str.len_chars()

    def _holds(self, value: Expr, predicate: Predicate) -> pl.Expr:
        return by_value(self.compile(value), predicate.test, pl.Boolean())

    def _repeated(self, *values: Expr) -> pl.Expr:
        keys = [self.compile(value) if (same := self.equal_places(value)) is None else same for value in values]
        if self.condition is not None:
            return pl.struct(*keys, self.condition.fill_null(value=False).alias("counts")).is_duplicated()
        return keys[0].is_duplicated() if len(keys) == 1 else _named(keys).is_duplicated()

    def _previous(self, value: Expr) -> pl.Expr:
        return self.masked(self.compile(value)).shift(1).forward_fill()


def _named(keys: list[pl.Expr]) -> pl.Expr:
    return pl.struct(key.alias(f"k{number}") for number, key in enumerate(keys))


def compare_with(op: str, values: pl.Expr, dtype: pl.DataType, other: Any) -> pl.Expr:
    """`values` of `dtype` compared with one Python value, exactly; against a float, whole numbers are floats too."""
    if other is None:
        return pl.lit(None, dtype=pl.Boolean)
    is_number = isinstance(other, (int, float, Decimal)) and not isinstance(other, bool)
    if dtype.is_decimal() and is_number:
        return _compare_decimal(op, values, cast("pl.Decimal", dtype), other)
    if dtype.is_integer() and isinstance(other, int):
        if isinstance(other, bool) or _fits(other, dtype):
            return _apply(op, values, pl.lit(int(other), dtype=dtype))
        if abs(other) < 2**126:
            return _apply(op, values.cast(pl.Int128), pl.lit(other, dtype=pl.Int128))
    if (dtype.is_float() or dtype.is_integer()) and is_number:
        wanted = dtype if dtype.is_float() else pl.Float64()
        return _apply(op, values.cast(wanted), pl.lit(as_float(other), dtype=wanted))
    if dtype == pl.Date and isinstance(other, datetime):
        values, dtype = values.cast(pl.Datetime("us")), pl.Datetime("us")
    if isinstance(dtype, pl.Datetime) and isinstance(other, date):
        return _apply(op, values, _moment(other, dtype))
    return _apply(op, values, pl.lit(other))


def as_float(number: Any) -> float:
    """A number as a float, infinite beyond what floats hold."""
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def as_member(member: Any, dtype: pl.DataType) -> Any:
    """`member` as a value of `dtype`; None when no value of that type equals it."""
    if isinstance(member, (int, float, Decimal)) and (dtype.is_numeric() or dtype == pl.Boolean):
        return _number_member(member, dtype)
    if isinstance(member, date) and isinstance(dtype, pl.Datetime):
        moment = member if isinstance(member, datetime) else _midnight(member)
        return _naive(moment).replace(tzinfo=UTC if dtype.time_zone else None)
    if isinstance(member, date) and dtype == pl.Date:
        if not isinstance(member, datetime):
            return member
        moment = _naive(member)
        return moment.date() if moment.time() == datetime.min.time() else None
    kinds: list[tuple[Any, type]] = [(pl.String, str), (pl.Binary, bytes)]
    return member if any(dtype == kind and isinstance(member, python) for kind, python in kinds) else None


def by_value(values: pl.Expr, function: Callable[[Any], Any], dtype: pl.DataType) -> pl.Expr:
    """`function` of every value that is there, called once for each distinct one of a chunk of rows."""

    def run(series: pl.Series) -> pl.Series:
        if series.dtype.is_nested() or series.dtype == pl.Object:
            return pl.Series(series.name, [_answer(function, one) for one in series.to_list()], dtype=dtype)
        keys = series.drop_nulls().unique()
        answers = pl.Series([function(key) for key in keys.to_list()], dtype=dtype)
        return series.replace_strict(keys, answers, default=None, return_dtype=dtype)

    return values.map_batches(run, return_dtype=dtype, is_elementwise=True)


def like_pattern(pattern: str, escape: str | None) -> str:
    """SQL's pattern for LIKE as a regular expression for the whole text."""
    parts, is_escaped = [], False
    for sign in pattern:
        if is_escaped or (sign not in "%_" and sign != escape):
            parts.append(_quoted(sign))
            is_escaped = False
        elif sign == escape:
            is_escaped = True
        else:
            parts.append(".*" if sign == "%" else ".")
    return rf"(?s)\A{''.join(parts)}\z"


def _quoted(sign: str) -> str:
    return sign if sign.isalnum() or sign.isspace() or ord(sign) > 127 or sign == "_" else f"\\{sign}"


def _answer(function: Callable[[Any], Any], value: Any) -> Any:
    return None if value is None else function(value)


def _apply(op: str, left: pl.Expr, right: pl.Expr) -> pl.Expr:
    return cast("pl.Expr", getattr(left, op)(right))


def _fits(number: int, dtype: pl.DataType) -> bool:
    bits = {pl.Int8: 8, pl.Int16: 16, pl.Int32: 32, pl.Int64: 64, pl.Int128: 127}
    for kind, size in bits.items():
        if dtype == kind:
            return bool(-(2 ** (size - 1)) <= number < 2 ** (size - 1))
    unsigned = {pl.UInt8: 8, pl.UInt16: 16, pl.UInt32: 32, pl.UInt64: 64}
    return any(dtype == kind and 0 <= number < 2**size for kind, size in unsigned.items())


def _compare_decimal(op: str, values: pl.Expr, dtype: pl.Decimal, other: Any) -> pl.Expr:
    if isinstance(other, float) and not math.isfinite(other):
        return _always(values, holds=op in (("lt", "le", "ne") if other > 0 else ("gt", "ge", "ne")))
    # A value of the column is a whole number of units in its last place: so the bound is rounded to one, to that
    # side where no value can be between.
    units = Fraction(other) * 10**dtype.scale
    is_exact = units.denominator == 1
    if not is_exact and op in ("eq", "ne"):
        return _always(values, holds=op == "ne")
    whole = math.ceil(units) if op in ("lt", "ge") else math.floor(units)
    if abs(whole) >= 10**_DIGITS:
        return _always(values, holds=op in (("lt", "le", "ne") if whole > 0 else ("gt", "ge", "ne")))
    wide = pl.Decimal(_DIGITS, dtype.scale)
    return _apply(op, values.cast(wide), pl.lit(_in_units(whole, dtype.scale), dtype=wide))


def _in_units(whole: int, scale: int) -> Decimal:
    """`whole` units of the last of `scale` places; `Decimal.scaleb` would round to 28 digits."""
    return Decimal(f"{whole}E{-scale}")


def _always(values: pl.Expr, *, holds: bool) -> pl.Expr:
    return pl.when(values.is_not_null()).then(pl.lit(holds))


def _number_member(member: Any, dtype: pl.DataType) -> Any:
    if isinstance(member, float) and not math.isfinite(member):
        return member if dtype.is_float() else None
    if isinstance(member, Decimal) and not member.is_finite():
        return None
    if dtype.is_float():
        return as_float(member)
    if dtype == pl.Boolean:
        return bool(member) if member in (0, 1) else None
    if dtype.is_decimal():
        scale = cast("pl.Decimal", dtype).scale
        units = Fraction(member) * 10**scale
        fits = units.denominator == 1 and abs(units) < 10 ** (cast("pl.Decimal", dtype).precision or _DIGITS)
        return _in_units(int(units), scale) if fits else None
    return int(member) if member == int(member) and _fits(int(member), dtype) else None


def _moment(value: date, dtype: pl.Datetime) -> pl.Expr:
    moment = value if isinstance(value, datetime) else _midnight(value)
    literal = pl.lit(_naive(moment), dtype=pl.Datetime("us"))
    # Comparing goes to the coarser unit of two: a literal must be no coarser than the column.
    literal = literal.cast(pl.Datetime(dtype.time_unit)) if dtype.time_unit == "ns" else literal
    return literal.dt.replace_time_zone(dtype.time_zone) if dtype.time_zone else literal


def _naive(moment: datetime) -> datetime:
    return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
