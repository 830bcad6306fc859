"""Feast's names of types: the dtype of a `Field`. ``Array(Int64)`` is a list."""

from __future__ import annotations

from typing import Any

from millrace.adapters.feast_types import FROM_FEAST
from millrace.core.errors import ProjectError

Int64 = FROM_FEAST["Int64"]
Int32 = FROM_FEAST["Int32"]
Float64 = FROM_FEAST["Float64"]
Float32 = FROM_FEAST["Float32"]
Bool = FROM_FEAST["Bool"]
String = FROM_FEAST["String"]
UnixTimestamp = FROM_FEAST["UnixTimestamp"]

_OTHERS = ("Bytes", "PdfBytes", "ImageBytes", "Map", "Json", "Struct", "Set", "Uuid", "TimeUuid", "Decimal", "Invalid")


def Array(base_type: str) -> str:  # noqa: N802 - Feast's name
    """The type of a list of `base_type`.

    >>> Array(Int64)
    'list[int]'
    """
    return f"list[{base_type}]"


def __getattr__(name: str) -> Any:
    if name in _OTHERS:
        raise ProjectError(
            "FEAST-19",
            f"Millrace has no type for Feast's {name}",
            fix="Int64, Int32, Float64, Float32, Bool, String, UnixTimestamp or Array(...); for others keep Feast and "
            "give it Millrace's online store",
        )
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
