"""What a column holds, in the words of Arrow: the same for a file, a frame, a table in a database, or one row.

Rules ask for no more than this, so that a batch whose types are known otherwise is judged without loading Arrow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Family = Literal[
    "integer",
    "float",
    "decimal",
    "bool",
    "text",
    "binary",
    "timestamp",
    "date",
    "time of day",
    "duration",
    "nested",
    "null",
    "mixed",
    "other",
]
Kind = Literal["number", "bool", "text", "time", "date", "nothing", "mixed", "other"]


@dataclass(frozen=True, slots=True)
class ColumnType:
    """One type.

    Attributes
    ----------
    family : str
    name : str
        As Arrow writes it: ``int64``, ``double``, ``timestamp[us, tz=UTC]``; of ``mixed``, the types that are met.
    zone : str or None
        Of a timestamp.
    values : ColumnType or None
        Of a dictionary, the type of what is kept in it; its family is theirs.
    """

    family: Family
    name: str
    zone: str | None = None
    values: ColumnType | None = None

    def __str__(self) -> str:
        return self.name


def kind_of(found: ColumnType) -> Kind:
    """What sort of values a type holds."""
    return _KINDS.get(found.family, "other")


def plain_type(found: ColumnType) -> ColumnType:
    """The type of the values, where they are kept in a dictionary."""
    return found.values or found


def type_name(found: ColumnType) -> str:
    """A type as messages name it."""
    if found.family == "null":
        return "no value at all"
    # How wide the offsets of text are is no business of its reader.
    return plain_type(found).name.removeprefix("large_").removesuffix("_view")


_KINDS: dict[str, Kind] = {
    "integer": "number",
    "float": "number",
    "decimal": "number",
    "bool": "bool",
    "text": "text",
    "timestamp": "time",
    "date": "date",
    "null": "nothing",
    "mixed": "mixed",
}
