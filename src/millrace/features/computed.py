"""Running the functions of on-demand views: on the columns of a table, or on the values of a request."""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from millrace.core.errors import DataError
from millrace.features.columns import ARROW_TYPES, kind_of, to_column
from millrace.features.field import Field, ValueKind, dtype_of
from millrace.features.offline_answer import OfflineAnswer
from millrace.features.on_demand import OnDemandView
from millrace.features.request import Request

Columns = Mapping[str, pa.Array]


def compute(request: Request, stored: Columns, rows: int, *, given: Columns) -> dict[str, pa.Array]:
    """The computed features of a request, by name.

    Parameters
    ----------
    stored : mapping of name to Arrow array
        Values of the request's stored features, n each.
    given : mapping of column to Arrow array
        What the rows bring along, n each.

    Raises
    ------
    DataError
        FEAT-30 when the rows do not bring what a function needs, FEAT-31 when it has the wrong type, FEAT-32 when
        the function stops, FEAT-33 when it does not answer as declared.
    """
    answers: dict[str, pa.Array] = {}
    results: dict[str, dict[str, pa.Array]] = {}
    for computed in request.computed:
        view = computed.view
        if view.name not in results:
            arguments = {name: _for_function(stored[place]) for name, place in computed.inputs.items()}
            for name, one in view.requested.items():
                arguments[name] = _for_function(_given(one, given, view))
            results[view.name] = _call(view, arguments, rows)
        answers[computed.name] = results[view.name][computed.output]
    return answers


def check_rows_alone(request: Request, stored: Columns, rows: int, *, given: Columns, answers: Columns) -> None:
    """Work out a few rows each by itself: a function that looks at other rows would answer otherwise when serving.

    Raises
    ------
    DataError
        FEAT-34 when an answer differs.
    """
    for row in sorted({0, rows // 2, rows - 1}) if rows > 1 else []:
        alone = compute(
            request,
            {name: array.slice(row, 1) for name, array in stored.items()},
            1,
            given={name: array.slice(row, 1) for name, array in given.items()},
        )
        for computed in request.computed:
            together = answers[computed.name][row].as_py()
            single = alone[computed.name][0].as_py()
            if together != single:
                raise DataError(
                    "FEAT-34",
                    f"'{computed.reference}' of row {row} is {together!r} among {rows:,} rows and {single!r} alone",
                    where=computed.view.place,
                    why="a request has one row: a value that depends on others would differ between training and "
                    "serving",
                    fix="work out each row from that row; what is learned from many rows belongs in the model, what "
                    "sums up events in a feature view",
                )


def with_computed(found: OfflineAnswer, request: Request) -> OfflineAnswer:
    """The answer with what is worked out on demand, in the order asked, and without what was only an input."""
    # What was read is needed no more, and its sources may hold whole frames: it need not travel to other machines.
    lean, inputs = replace(request, stored=()), [feature.name for feature in request.stored]
    return found.map(partial(_with_answers, lean, inputs), request.names)


def _with_answers(request: Request, inputs: Sequence[str], table: pa.Table) -> pa.Table:
    columns = {name: table[name].combine_chunks() for name in table.column_names}
    given = {name: columns[name] for name in request.fields if name in columns}
    answers = compute(request, columns, table.num_rows, given=given)
    check_rows_alone(request, columns, table.num_rows, given=given, answers=answers)
    kept = table.drop_columns(list(inputs))
    for name in request.names:
        kept = kept.append_column(name, answers[name] if name in answers else table[name])
    return kept


def _given(one: Field, given: Columns, view: OnDemandView) -> pa.Array:
    if one.name not in given:
        raise DataError(
            "FEAT-30",
            f"on-demand view '{view.name}' needs '{one.name}' ({one.dtype}) with each row",
            where=view.place,
            fix=f"give every row '{one.name}', beside its keys",
        )
    try:
        return to_column(given[one.name], one.kind).array
    except (pa.ArrowException, TypeError) as error:
        raise DataError(
            "FEAT-31",
            f"'{one.name}' holds {given[one.name].type}; on-demand view '{view.name}' takes {one.dtype}",
            where=one.place,
            why=str(error).splitlines()[0],
            fix=f"send {one.dtype}",
        ) from error


def _for_function(array: pa.Array) -> Any:
    """The values as the function sees them: floats with NaN, times with NaT, or objects with None."""
    kind = kind_of(array.type)
    if kind in ("int", "float", "bool", "null"):
        column = to_column(array, None if kind != "null" else "float")
        return np.where(column.valid, column.values.astype(np.float64), np.nan)
    if kind == "time":
        column = to_column(array)
        return np.where(column.valid, column.values, np.iinfo(np.int64).min).view("datetime64[us]")
    values = np.empty(len(array), dtype=object)
    values[:] = array.to_pylist()
    return values


def _call(view: OnDemandView, arguments: Mapping[str, Any], rows: int) -> dict[str, pa.Array]:
    try:
        with np.errstate(all="ignore"):
            found = view.function(**arguments)
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        raise DataError(
            "FEAT-32",
            f"on-demand view '{view.name}' stopped with {type(error).__name__}: {error}",
            where=f"{frames[-1].filename}:{frames[-1].lineno}",
            why=frames[-1].line or None,
            fix="numbers come as float arrays with NaN where there is no value; texts as objects, None for null",
        ) from error
    by_name = found if isinstance(found, Mapping) else dict(zip(view.outputs, [found], strict=False))
    if set(by_name) != set(view.outputs):
        raise DataError(
            "FEAT-33",
            f"on-demand view '{view.name}' answered {sorted(by_name)}, and is declared to give {sorted(view.outputs)}",
            where=view.place,
            fix="return a mapping with one array for each of its outputs",
        )
    return {name: _answer(view, name, by_name[name], rows) for name in view.outputs}


def _answer(view: OnDemandView, name: str, values: Any, rows: int) -> pa.Array:
    kind = view.kinds[name]
    try:
        array = pa.array(_plain(values), from_pandas=True)
        if len(array) == rows:
            # Rows without a value have no type to speak of: [nan] for one row is as good as among others.
            is_nothing = array.null_count == rows
            return pa.nulls(rows, ARROW_TYPES[kind]) if is_nothing else to_column(array, kind).array
        what = f"gave {len(array)} values for {rows} rows"
    except (pa.ArrowException, TypeError, ValueError) as error:
        what = f"gave something that is not {dtype_of(kind)}: {str(error).splitlines()[0]}"
    raise DataError(
        "FEAT-33",
        f"'{view.name}:{name}' {what}",
        where=view.place,
        fix="one value of the declared type per row, NaN or None for null",
    )


def _plain(values: Any) -> Any:
    """What Arrow takes: pandas and masked arrays as they are, a lone number as an error rather than a guess."""
    if isinstance(values, (str, bytes)) or not hasattr(values, "__len__"):
        raise TypeError(f"{type(values).__name__} is not an array")
    return values if hasattr(values, "dtype") or isinstance(values, pa.Array) else list(values)


def from_values(values: Sequence[Any], kind: ValueKind | None) -> pa.Array:
    """Values of the store as an Arrow array of `kind`, which must hold them: Arrow would cut 1.5 to an asked-for 1.

    None where nothing was seen of them yet: they are null.
    """
    return pa.array(values, None if kind is None else ARROW_TYPES[kind], from_pandas=True)


def from_request(values: Sequence[Any], name: str) -> pa.Array:
    """Values that rows bring along as an Arrow array of whatever they are.

    Raises
    ------
    DataError
        FEAT-31 when they are not of one type that features know.
    """
    try:
        return pa.array(values, from_pandas=True)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise DataError(
            "FEAT-31",
            f"the values of '{name}' are not of one type: {str(error).splitlines()[0]}",
            fix=f"give '{name}' as numbers, texts, bools or times, of one sort in all rows",
        ) from error
