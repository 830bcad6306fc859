"""What a column is, by its declared or Arrow type, and the values a test can look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from millrace.core.errors import ProjectError, did_you_mean

Family = Literal["number", "boolean", "text", "time", "null", "other"]
Kind = Literal["numeric", "categorical", "temporal", "identifier", "untestable"]

_DEFAULT_KIND: dict[str, Kind] = {
    "number": "numeric",
    "boolean": "categorical",
    "text": "categorical",
    "time": "temporal",
    "null": "untestable",
    "other": "untestable",
}
# The kinds a user may declare, with the model's own column types as synonyms, and the families each one accepts.
_DECLARED: dict[str, tuple[Kind, frozenset[str]]] = {
    "numeric": ("numeric", frozenset({"number"})),
    "int": ("numeric", frozenset({"number"})),
    "float": ("numeric", frozenset({"number"})),
    "categorical": ("categorical", frozenset({"number", "boolean", "text"})),
    "bool": ("categorical", frozenset({"boolean"})),
    "string": ("categorical", frozenset({"text"})),
    "temporal": ("temporal", frozenset({"time"})),
    "identifier": ("identifier", frozenset({"number", "text"})),
}


@dataclass(frozen=True, slots=True)
class Values:
    """The values of one column that are there. `missing` counts nulls and NaN, `infinite` counts ±inf."""

    present: Any
    missing: int
    infinite: int = 0


def family_of(arrow_type: pa.DataType) -> Family:
    """The family of an Arrow type; a dictionary belongs to its values' family."""
    types = pa.types
    if types.is_dictionary(arrow_type):
        return family_of(arrow_type.value_type)
    if types.is_boolean(arrow_type):
        return "boolean"
    if types.is_integer(arrow_type) or types.is_floating(arrow_type) or types.is_decimal(arrow_type):
        return "number"
    if types.is_string(arrow_type) or types.is_large_string(arrow_type) or types.is_string_view(arrow_type):
        return "text"
    if types.is_temporal(arrow_type):
        return "time"
    return "null" if types.is_null(arrow_type) else "other"


def kind_of(arrow_type: pa.DataType, declared: str | None) -> Kind:
    """How a column is to be tested: as declared, else by its Arrow type."""
    if declared is not None:
        return _DECLARED[declared][0]
    if pa.types.is_dictionary(arrow_type) and family_of(arrow_type) == "number":
        return "categorical"  # numbers somebody made categories of are codes
    return _DEFAULT_KIND[family_of(arrow_type)]


def suits(declared: str, arrow_type: pa.DataType) -> bool:
    """True if a column of this Arrow type can be what was declared; an all-null type can be anything."""
    family = family_of(arrow_type)
    return family == "null" or family in _DECLARED[declared][1]


def check_declared(types: Mapping[str, str]) -> None:
    """Refuse unknown declared types, all at once.

    Raises
    ------
    ProjectError
        PROJ-36, with a finding per column.
    """
    findings = [
        ProjectError("PROJ-36", f"column '{name}' is declared {declared!r}", fix=did_you_mean(str(declared), _DECLARED))
        for name, declared in types.items()
        if declared not in _DECLARED
    ]
    if findings:
        raise ProjectError("PROJ-36", "a declared column type is unknown to drift", findings=findings)


def numbers(column: pa.ChunkedArray) -> Values:
    """The non-missing values of a numeric column as a numpy array (n,), integers kept exact."""
    if pa.types.is_dictionary(column.type):
        column = pc.cast(column, column.type.value_type)
    if pa.types.is_decimal(column.type):
        column = pc.cast(column, pa.float64())
    values: np.ndarray[Any, Any] = column.drop_null().to_numpy()
    if values.dtype.kind != "f":
        return Values(values, column.null_count)
    values = values[~np.isnan(values)]
    return Values(values, len(column) - len(values), int(np.isinf(values).sum()))


def instants(column: pa.ChunkedArray) -> Values:
    """The non-missing values of a temporal column as int64 microseconds (n,)."""
    arrow_type = column.type
    if pa.types.is_timestamp(arrow_type):
        common = pa.timestamp("us", tz=arrow_type.tz)
    elif pa.types.is_date(arrow_type):
        common = pa.timestamp("us")
    elif pa.types.is_time(arrow_type):
        common = pa.time64("us")
    else:
        common = pa.duration("us")
    micros = pc.cast(pc.cast(column, common, safe=False), pa.int64())
    return Values(micros.drop_null().to_numpy(), column.null_count)


def levels(column: pa.ChunkedArray) -> Values:
    """The non-missing values of a categorical column as an Arrow array of text or of float64.

    Numbers become float64 so that integers that met a null on their way through pandas are still the same levels.
    """
    arrow_type = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if family_of(arrow_type) == "number":
        known = numbers(column)
        return Values(pa.chunked_array([pa.array(known.present.astype(np.float64))]), known.missing)
    column = pc.cast(pc.cast(column, arrow_type), pa.large_string())
    return Values(column.drop_null(), column.null_count)
