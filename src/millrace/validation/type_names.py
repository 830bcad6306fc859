"""GX's type names.

Types are judged on the schema of the file, not on pandas: a column of whole numbers with missing values is `int`.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from millrace.validation.column_type import ColumnType, Family

Test = Callable[[ColumnType], bool]


def _of(*families: Family) -> Test:
    return lambda found: found.family in families and found.values is None


def _exactly(*names: str) -> Test:
    return lambda found: found.name in names


def _is_category(found: ColumnType) -> bool:
    return found.values is not None


# What pandas keeps as Python objects, text among it.
_OBJECT = _of("text", "binary", "decimal", "date", "time of day", "nested")

_NAMES: dict[str, Test] = {
    **dict.fromkeys(("int", "integer", "long", "integertype", "longtype"), _of("integer")),
    **dict.fromkeys(("float", "floating", "floattype"), _of("float")),
    **dict.fromkeys(("double", "double_precision", "doubletype", "float64"), _exactly("double")),
    **dict.fromkeys(("real", "float32"), _exactly("float")),
    **dict.fromkeys(("bigint", "int64"), _exactly("int64")),
    **dict.fromkeys(("smallint", "int16"), _exactly("int16")),
    **dict.fromkeys(("tinyint", "int8"), _exactly("int8")),
    **dict.fromkeys(("str", "string", "text", "varchar", "char", "nvarchar", "stringtype"), _of("text")),
    **dict.fromkeys(("object", "object_"), _OBJECT),
    **dict.fromkeys(("timedelta64", "timedelta", "duration", "interval"), _of("duration")),
    **dict.fromkeys(("bool", "boolean", "bool_", "booleantype"), _of("bool")),
    **dict.fromkeys(("timestamp", "datetime", "datetime64", "timestamptype", "timestamptz"), _of("timestamp")),
    **dict.fromkeys(("date", "datetype"), _of("date")),
    **dict.fromkeys(("numeric", "decimal"), _of("decimal")),
    **dict.fromkeys(("category",), _is_category),
    **dict.fromkeys(("bytes", "binary", "blob"), _exactly("binary", "large_binary")),
    **{name: _exactly(name) for name in ("int32", "uint8", "uint16", "uint32", "uint64")},
    "float16": _exactly("halffloat"),
}

TYPE_NAMES = sorted(_NAMES)


def find_type(name: str) -> Test | None:
    """What a GX type name accepts, or None for a name that says nothing here; case does not count.

    >>> find_type("INTEGER")(ColumnType("integer", "int16")), find_type("Int64")(ColumnType("integer", "int32"))
    (True, False)
    """
    plain = name.lower().replace(" ", "_")
    for opening in ("(", "["):  # VARCHAR(20), datetime64[ns]
        plain = plain.split(opening, 1)[0]
    return _NAMES.get(plain.rsplit(".", 1)[-1])


def is_numeric_name(name: str) -> bool:
    """Whether a GX type name asks for numbers."""
    test = find_type(name)
    return test is not None and any(test(kind) for kind in _NUMBERS)


_NUMBERS: list[ColumnType] = [
    *(ColumnType("integer", f"{sign}int{bits}") for sign in ("", "u") for bits in (8, 16, 32, 64)),
    *(ColumnType("float", name) for name in ("halffloat", "float", "double")),
]


_EXACT = {"int": "int64", "integer": "int64", "long": "int64", "float": "double"}
_TIMED = re.compile(r"(datetime64|timestamp|timedelta64|duration)\[(s|ms|us|ns)(?:,\s*(?:tz=)?([^\]]+))?\]")


def find_exact_type(name: str) -> Test | None:
    """What a type name accepts where one type is meant: width, unit and time zone count; None for no type name.

    >>> find_exact_type("int")(ColumnType("integer", "int32"))
    False
    >>> find_exact_type("datetime64[us, UTC]")(ColumnType("timestamp", "timestamp[us, tz=UTC]", "UTC"))
    True
    """
    plain = name.strip()
    timed = _TIMED.fullmatch(plain)
    if timed is not None:
        kind, unit, zone = timed.groups()
        if kind not in ("datetime64", "timestamp"):
            return _exactly(f"duration[{unit}]")
        return _exactly(f"timestamp[{unit}]" if zone is None else f"timestamp[{unit}, tz={zone}]")
    if plain in ("datetime64", "timestamp"):
        return lambda found: found.family == "timestamp" and found.values is None and found.zone is None
    if plain.lower() in _EXACT:
        return _exactly(_EXACT[plain.lower()])
    test = find_type(name)
    return None if test is None else lambda found: test(found) or found.name == plain
