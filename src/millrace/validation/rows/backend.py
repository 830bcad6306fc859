"""One row as a batch: the same rules, answered by Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from millrace.validation.arrow_types import of_arrow
from millrace.validation.backend import CannotCheck, Scopes
from millrace.validation.column_type import ColumnType
from millrace.validation.expression import Expr
from millrace.validation.rows.code import FAULTS, RowCode, RowColumn

_NO_ROW: Mapping[str, Any] = {"rows": 0, "count_if": 0, "distinct": 0}


class RowBackend:
    """One row of Python values, as `millrace.validation.backend.Backend`.

    Parameters
    ----------
    types : mapping of str to pyarrow.DataType
        Its columns in their order.
    columns : mapping of str to RowColumn
        What is known of their values.
    row : mapping of str to value, optional
        Without one only questions about types are answered.
    """

    unsupported: frozenset[str] = frozenset()

    def __init__(
        self, types: Mapping[str, pa.DataType], columns: Mapping[str, RowColumn], row: Mapping[str, Any] | None = None
    ) -> None:
        self.names: Sequence[str] = list(types)
        self._types = types
        self._columns = columns
        self._row = row

    def type_of(self, column: str) -> ColumnType:
        return of_arrow(self._types[column])

    def compute(self, scopes: Scopes) -> Mapping[Expr | None, Mapping[Expr, Any]]:
        return {where: self._figures(where, figures) for where, figures in scopes.items()}

    def examples(
        self, unexpected: Expr, shown: Sequence[Expr], *, where: Expr | None, limit: int | None
    ) -> list[tuple[int | None, tuple[Any, ...]]]:
        code = RowCode(self._columns)
        values = [code.value(each) for each in shown]
        condition = "True" if where is None else code.is_true(where)
        found = self._run(code, f"({', '.join([*values, ''])}) if {condition} and {code.is_true(unexpected)} else None")
        return [] if found is None or limit == 0 else [(0, found)]

    def frequent(
        self, unexpected: Expr, shown: Sequence[Expr], *, where: Expr | None, limit: int
    ) -> list[tuple[tuple[Any, ...], int]]:
        found = self.examples(unexpected, shown, where=where, limit=limit)
        return [(values, 1) for _, values in found]

    def _figures(self, where: Expr | None, figures: Sequence[Expr]) -> dict[Expr, Any]:
        code = RowCode(self._columns)
        if where is not None:
            condition = code.is_true(where)
            is_in = self._run(code, condition)
            if not is_in:
                return {figure: _NO_ROW.get(figure.op) for figure in figures}
            code = RowCode(self._columns)
        values = self._run(code, f"({', '.join([*(figure_code(code, figure) for figure in figures), ''])})")
        return dict(zip(figures, values, strict=True))

    def _run(self, code: RowCode, result: str) -> Any:
        if self._row is None:
            raise CannotCheck("there is no row to look at")
        try:
            return code.build(result)(self._row)
        except FAULTS as error:
            raise CannotCheck(f"{type(error).__name__}: {error}") from error


def figure_code(code: RowCode, figure: Expr) -> str:
    """Code of what `figure` is over one row."""
    if figure.op == "rows":
        return "1"
    if figure.op == "count_if":
        return f"(1 if {code.is_true(figure.args[0])} else 0)"
    if figure.op == "stdev":
        return "None"
    if figure.op == "distinct":
        there = [f"{code.value(value)} is not None" for value in figure.args]
        return f"(1 if {' and '.join(there)} else 0)"
    if figure.op == "levels":
        value = code.value(figure.args[0])
        return f"([({value}, 1)] if {value} is not None else [])"
    if figure.op in ("min", "max", "sum", "mean", "quantile"):
        return code.value(figure.args[0])
    raise CannotCheck(f"unsupported: '{figure.op}' cannot be computed on one row")
