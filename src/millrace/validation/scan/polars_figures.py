"""Figures of a batch as Polars expressions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import polars as pl

from millrace.validation.backend import CannotCheck
from millrace.validation.expression import TRUE, Expr
from millrace.validation.scan.polars_rows import RowCompiler
from millrace.validation.scan.python_rows import MixedValues


def compile_figure(compiler: RowCompiler, figure: Expr) -> pl.Expr:
    """A figure over the rows where the compiler's condition is true, as a Polars expression."""
    condition = compiler.condition
    if figure.op == "rows" or figure.args[0] == TRUE:
        return pl.len() if condition is None else condition.sum()
    if figure.op == "count_if":
        truth = compiler.compile(figure.args[0])
        return (truth if condition is None else truth & condition).sum()
    if figure.op == "distinct" and len(figure.args) > 1:
        parts = [_keys(compiler, value) for value in figure.args]
        together = pl.all_horizontal([part.is_not_null() for part in parts])
        keys = pl.struct(part.alias(f"k{number}") for number, part in enumerate(parts))
        return keys.filter(together if condition is None else together & condition).n_unique()
    if figure.args[0].op == "column" and figure.args[0].args[0] in compiler.mixed and figure.op not in _OF_KEYS:
        raise CannotCheck(f"values of several types have no {figure.op}")
    values, dtype = compiler.masked(_keys(compiler, figure.args[0])), compiler.type_of(figure.args[0])
    if figure.op == "sum" and dtype is not None and dtype.is_integer():
        return values.cast(pl.Int128).sum()
    if figure.op in ("mean", "stdev", "quantile") and dtype is not None and dtype.is_decimal():
        values = values.cast(pl.Float64)
    if figure.op not in _FIGURES:
        raise CannotCheck(f"unsupported: '{figure.op}' is no figure of a batch")
    return _FIGURES[figure.op](values, *figure.args[1:])


def is_far(mean: Any, deviation: Any) -> bool:
    """Whether values lie so far from zero for their spread that its error shows in the twelfth digit."""
    if mean is None or deviation is None or not math.isfinite(mean) or not math.isfinite(deviation):
        return False
    return bool(abs(mean) > _STEADY * deviation)


def spread_around(compiler: RowCompiler, figure: Expr, mean: float) -> pl.Expr:
    """The standard deviation that `figure` asks for, of values less their mean."""
    values = compiler.masked(compiler.compile(figure.args[0])).cast(pl.Float64)
    return (values - mean).std(ddof=1)


_STEADY = 1e3


_FIGURES: dict[str, Callable[..., pl.Expr]] = {
    "min": lambda values: values.min(),
    "max": lambda values: values.max(),
    "sum": lambda values: values.sum(),
    "mean": lambda values: values.mean(),
    "stdev": lambda values: values.std(ddof=1),
    "quantile": lambda values, share, between: values.quantile(share, interpolation=between),
    "distinct": lambda values: values.drop_nulls().n_unique(),
    "levels": lambda values: values.drop_nulls().alias("value").value_counts(sort=True, name="count").implode(),
}


_OF_KEYS = ("distinct", "levels")


def _keys(compiler: RowCompiler, value: Expr) -> pl.Expr:
    same = compiler.equal_places(value)
    return compiler.compile(value) if same is None else same


def python_value(figure: Expr, value: Any, mixed: Mapping[str, MixedValues]) -> Any:
    """The value of a figure as the port gives it."""
    if figure.op != "levels":
        return value
    return [(decoded(figure.args[0], level["value"], mixed), level["count"]) for level in value or ()]


def decoded(expr: Expr, value: Any, mixed: Mapping[str, MixedValues]) -> Any:
    """The Python value at a place, where `expr` is a column of several types; any other value as it is."""
    found = mixed.get(expr.args[0]) if expr.op == "column" else None
    return value if found is None or value is None else found.values[value]
