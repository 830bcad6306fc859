"""Expressions worked out on the rows of a source, by Arrow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from millrace.core.errors import DataError, did_you_mean
from millrace.features.columns import TIME, kind_of, to_column
from millrace.features.expression import Expression

_ARITHMETIC: Mapping[str, Callable[..., Any]] = {
    "add": pc.add_checked,
    "sub": pc.subtract_checked,
    "mul": pc.multiply_checked,
}
_COMPARISONS: Mapping[str, Callable[..., Any]] = {
    "eq": pc.equal,
    "ne": pc.not_equal,
    "lt": pc.less,
    "le": pc.less_equal,
    "gt": pc.greater,
    "ge": pc.greater_equal,
}
_TEXTS: Mapping[str, Callable[..., Any]] = {
    "starts_with": pc.starts_with,
    "ends_with": pc.ends_with,
    "contains": pc.match_substring,
}


def derive(expression: Expression, table: pa.Table, *, source: str) -> pa.Array:
    """The value of `expression` for each row of `table`.

    Raises
    ------
    DataError
        FEAT-08 when a column is missing; FEAT-09 when the types do not allow the operation, or a whole number passes
        64 bits.
    """
    try:
        found = _value(expression, table, source)
    except (pa.ArrowException, TypeError, OverflowError) as error:
        raise DataError(
            "FEAT-09",
            f"'{expression}' cannot be worked out on rows of source '{source}': {str(error).splitlines()[0]}",
            fix="compare and combine values of one sort; numbers of very different sizes as floats: col('x') * 1.0",
        ) from error
    return _spread(found, table.num_rows)


def _value(expression: Expression, table: pa.Table, source: str) -> Any:
    operation, parts = expression.operation, expression.parts
    if operation == "literal":
        value = parts[0]
        return pa.scalar(value, TIME) if isinstance(value, datetime) else pa.scalar(value)
    if operation == "column":
        return _column(parts[0], table, source)
    values = [_value(part, table, source) for part in parts]
    if operation in _ARITHMETIC:
        return _no_nan(_ARITHMETIC[operation](*_alike(*map(_number, values))))
    if operation == "div":
        return _divide(*map(_number, values))
    if operation in _COMPARISONS:
        # Where neither side has a value, any type will do to say so.
        return _COMPARISONS[operation](*(_typed(value, pa.int64()) for value in _alike(*values)))
    if operation in _TEXTS:
        return _TEXTS[operation](_typed(values[0], pa.string()), pattern=values[1].as_py())
    return _other(operation, values)


def _other(operation: str, values: list[Any]) -> Any:
    if operation == "and":
        return pc.and_kleene(*(_typed(value, pa.bool_()) for value in values))
    if operation == "or":
        return pc.or_kleene(*(_typed(value, pa.bool_()) for value in values))
    if operation == "not":
        return pc.invert(_typed(values[0], pa.bool_()))
    if operation == "is_null":
        return pc.is_null(values[0])
    if operation == "fill_null":
        return pc.coalesce(*_alike(*values))
    if operation == "abs":
        return pc.abs_checked(_number(values[0]))
    # What is left is `is_in`. Null is in no set, and is no answer either.
    value = _typed(values[0], values[1].type) if len(values) > 1 else values[0]
    options = pa.array(_options([one.as_py() for one in values[1:]], value.type), value.type)
    return pc.if_else(pc.is_null(value), pa.scalar(None, pa.bool_()), pc.is_in(value, value_set=options))


def _options(options: list[Any], data_type: pa.DataType) -> list[Any]:
    """The options that a number can be, as numbers of its sort: no whole number is 1.5, nor what is left of it."""
    if kind_of(data_type) == "float":
        return [float(one) if type(one) is int else one for one in options]
    if kind_of(data_type) != "int":
        return options
    return [int(one) if isinstance(one, float) else one for one in options if _is_whole(one)]


def _is_whole(value: Any) -> bool:
    return not isinstance(value, float) or value.is_integer()


def _typed(value: Any, data_type: pa.DataType) -> Any:
    """A column in which nothing was seen has no type, and few operations: it gets that of what it would hold."""
    return value.cast(data_type) if pa.types.is_null(value.type) else value


def _column(name: str, table: pa.Table, source: str) -> pa.Array:
    if name not in table.column_names:
        raise DataError(
            "FEAT-08",
            f"an expression needs the column '{name}', which rows of '{source}' do not have",
            fix=did_you_mean(name, table.column_names),
        )
    return to_column(table[name]).array


def _number(value: Any) -> Any:
    if pa.types.is_boolean(value.type):
        return value.cast(pa.int64())
    if kind_of(value.type) not in ("int", "float", "null"):
        raise TypeError(f"{value.type} is not a number")
    return value


def _divide(numerator: Any, denominator: Any) -> Any:
    divisor = denominator.cast(pa.float64(), safe=False)
    divisor = pc.if_else(pc.equal(divisor, 0.0), pa.scalar(None, pa.float64()), divisor)
    return _no_nan(pc.divide(numerator.cast(pa.float64(), safe=False), divisor))


def _alike(left: Any, right: Any) -> tuple[Any, Any]:
    """Both as one type: a whole number beside a float becomes one; text is never compared with a number."""
    kinds = {kind_of(left.type), kind_of(right.type)}
    if kinds == {"int", "float"}:
        # A whole number beyond 2^53 loses digits, as it does in every float: that is no reason to refuse it.
        return left.cast(pa.float64(), safe=False), right.cast(pa.float64(), safe=False)
    if len(kinds - {"null"}) > 1:
        raise TypeError(f"{left.type} and {right.type} do not go together")
    return _typed(left, right.type), _typed(right, left.type)


def _no_nan(values: Any) -> Any:
    if not pa.types.is_floating(values.type):
        return values
    return pc.if_else(pc.is_nan(values), pa.scalar(None, values.type), values)


def _spread(found: Any, rows: int) -> pa.Array:
    if isinstance(found, pa.Scalar):
        return pa.repeat(found, rows)
    return found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found
