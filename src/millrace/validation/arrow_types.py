"""GX's type names on the Arrow schema.

Types are judged on the schema of the file, not on pandas: a column of whole numbers with missing values is `int`.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import pyarrow as pa
from pyarrow import types

Test = Callable[[pa.DataType], bool]


def _is_text(kind: pa.DataType) -> bool:
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def _is_object(kind: pa.DataType) -> bool:
    """What pandas keeps as Python objects, text among it."""
    tests = (types.is_binary, types.is_large_binary, types.is_decimal, types.is_date, types.is_time, types.is_nested)
    return _is_text(kind) or any(test(kind) for test in tests)


def _exactly(kind: pa.DataType) -> Test:
    return lambda found: bool(found == kind)


_NAMES: dict[str, Test] = {
    **dict.fromkeys(("int", "integer", "long", "integertype", "longtype"), types.is_integer),
    **dict.fromkeys(("float", "floating", "floattype"), types.is_floating),
    **dict.fromkeys(("double", "double_precision", "doubletype"), _exactly(pa.float64())),
    **dict.fromkeys(("real",), _exactly(pa.float32())),
    **dict.fromkeys(("bigint",), _exactly(pa.int64())),
    **dict.fromkeys(("smallint",), _exactly(pa.int16())),
    **dict.fromkeys(("tinyint",), _exactly(pa.int8())),
    **dict.fromkeys(("str", "string", "text", "varchar", "char", "nvarchar", "stringtype"), _is_text),
    **dict.fromkeys(("object", "object_"), _is_object),
    **dict.fromkeys(("timedelta64", "timedelta", "duration", "interval"), types.is_duration),
    **dict.fromkeys(("bool", "boolean", "bool_", "booleantype"), types.is_boolean),
    **dict.fromkeys(("timestamp", "datetime", "datetime64", "timestamptype", "timestamptz"), types.is_timestamp),
    **dict.fromkeys(("date", "datetype"), types.is_date),
    **dict.fromkeys(("numeric", "decimal"), types.is_decimal),
    **dict.fromkeys(("category",), types.is_dictionary),
    **dict.fromkeys(
        ("bytes", "binary", "blob"), lambda kind: bool(types.is_binary(kind) or types.is_large_binary(kind))
    ),
    **{f"int{bits}": _exactly(getattr(pa, f"int{bits}")()) for bits in (8, 16, 32, 64)},
    **{f"uint{bits}": _exactly(getattr(pa, f"uint{bits}")()) for bits in (8, 16, 32, 64)},
    **{f"float{bits}": _exactly(getattr(pa, f"float{bits}")()) for bits in (16, 32, 64)},
}

TYPE_NAMES = sorted(_NAMES)


def find_type(name: str) -> Test | None:
    """What a GX type name accepts, or None for a name that says nothing here; case does not count.

    >>> find_type("INTEGER")(pa.int16()), find_type("Int64")(pa.int32())
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


_NUMBERS = [
    *(getattr(pa, f"{sign}int{bits}")() for sign in ("", "u") for bits in (8, 16, 32, 64)),
    pa.float16(),
    pa.float32(),
    pa.float64(),
]


_EXACT: dict[str, pa.DataType] = {
    "int": pa.int64(),
    "integer": pa.int64(),
    "long": pa.int64(),
    "float": pa.float64(),
}
_TIMED = re.compile(r"(datetime64|timestamp|timedelta64|duration)\[(s|ms|us|ns)(?:,\s*(?:tz=)?([^\]]+))?\]")


def find_exact_type(name: str) -> Test | None:
    """What a type name accepts where one type is meant: width, unit and time zone count; None for no type name.

    >>> find_exact_type("int")(pa.int32()), find_exact_type("datetime64[us, UTC]")(pa.timestamp("us", "UTC"))
    (False, True)
    """
    plain = name.strip()
    timed = _TIMED.fullmatch(plain)
    if timed is not None:
        kind, unit, zone = timed.groups()
        return _exactly(pa.timestamp(unit, zone) if kind in ("datetime64", "timestamp") else pa.duration(unit))
    if plain in ("datetime64", "timestamp"):
        return lambda found: bool(types.is_timestamp(found) and found.tz is None)
    if plain.lower() in _EXACT:
        return _exactly(_EXACT[plain.lower()])
    test = find_type(name)
    return None if test is None else lambda found: test(found) or str(found) == plain
