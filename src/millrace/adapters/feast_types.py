"""Feast's names of types, and the types of Millrace's fields. Knows Feast's names only, and needs no Feast."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FROM_FEAST: Mapping[str, str] = {
    "Int64": "int",
    "Int32": "int",
    "Float64": "float",
    "Float32": "float",
    "Bool": "bool",
    "String": "string",
    "UnixTimestamp": "timestamp",
}
"""Names of types in ``feast.types``, and the dtype of a `Field`."""

TO_FEAST: Mapping[str, str] = {
    "int": "Int64",
    "float": "Float64",
    "bool": "Bool",
    "string": "String",
    "timestamp": "UnixTimestamp",
}


def dtype_of_feast(kind: Any) -> str | None:
    """The dtype of a `Field` for a type of ``feast.types``, None when there is none.

    >>> dtype_of_feast("Array(Float32)"), dtype_of_feast("Bytes")
    ('list[float]', None)
    """
    name = str(kind)
    if name.startswith("Array(") and name.endswith(")"):
        inner = FROM_FEAST.get(name[6:-1])
        return None if inner is None else f"list[{inner}]"
    return FROM_FEAST.get(name)


def feast_of_dtype(dtype: str) -> str:
    """The type of ``feast.types`` for the dtype of a `Field`, as it is written.

    >>> feast_of_dtype("list[int]")
    'Array(Int64)'
    """
    if dtype.startswith("list["):
        return f"Array({TO_FEAST[dtype[5:-1]]})"
    return TO_FEAST[dtype]
