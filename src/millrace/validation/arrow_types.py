"""Arrow's types as `ColumnType`."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import pyarrow as pa
from pyarrow import types

from millrace.validation.column_type import ColumnType, Family


@lru_cache(maxsize=1024)
def of_arrow(kind: pa.DataType) -> ColumnType:
    """An Arrow type.

    >>> of_arrow(pa.timestamp("us", "UTC"))
    ColumnType(family='timestamp', name='timestamp[us, tz=UTC]', zone='UTC', values=None)
    """
    if types.is_dictionary(kind):
        values = of_arrow(kind.value_type)
        return ColumnType(values.family, str(kind), values.zone, values)
    if isinstance(kind, pa.OpaqueType):
        return ColumnType("mixed", str(kind.type_name))
    family: Family = next((family for family, test in _FAMILIES if test(kind)), "other")
    return ColumnType(family, str(kind), kind.tz if family == "timestamp" else None)


_FAMILIES: tuple[tuple[Family, Callable[[pa.DataType], bool]], ...] = (
    ("integer", types.is_integer),
    ("float", types.is_floating),
    ("decimal", types.is_decimal),
    ("bool", types.is_boolean),
    ("text", lambda kind: types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)),
    ("binary", lambda kind: types.is_binary(kind) or types.is_large_binary(kind)),
    ("timestamp", types.is_timestamp),
    ("date", types.is_date),
    ("time of day", types.is_time),
    ("duration", types.is_duration),
    ("nested", types.is_nested),
    ("null", types.is_null),
)
