"""A named value with its type: a column that is a feature as it stands, or something a request brings along."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from millrace.core.definition import caller_place, report
from millrace.core.errors import ProjectError, did_you_mean

ValueKind: TypeAlias = Literal[
    "int", "float", "bool", "string", "time", "null", "ints", "floats", "bools", "strings", "times"
]
"""What a value is kept as; the plural is an array of it. `null`: nothing has been seen yet."""

DTYPES: Mapping[str, ValueKind] = {
    "int": "int",
    "float": "float",
    "bool": "bool",
    "string": "string",
    "timestamp": "time",
    "list[int]": "ints",
    "list[float]": "floats",
    "list[bool]": "bools",
    "list[string]": "strings",
    "list[timestamp]": "times",
}
"""The types a user writes, and the kinds they are kept as."""

_NAMES = {kind: name for name, kind in DTYPES.items()}


@dataclass(frozen=True)
class Field:
    """A name, a type, and what it means.

    Parameters
    ----------
    name : str
    dtype : str
        ``int``, ``float``, ``bool``, ``string``, ``timestamp``, or ``list[...]`` of one of these. Integers have 64
        bits, times are UTC in microseconds.
    description : str
    tags : sequence of str

    Raises
    ------
    ProjectError
        PROJ-47 when there is no such type.

    >>> Field("embedding", "list[float]").kind
    'floats'
    """

    name: str
    dtype: str
    description: str = field(default="", compare=False)
    tags: Sequence[str] = field(default=(), compare=False)
    place: str | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "tags", tuple(self.tags))
        if self.place is None:
            object.__setattr__(self, "place", caller_place())
        if self.dtype not in DTYPES:
            report(unknown_dtype(self.name, self.dtype, self.place))

    @property
    def kind(self) -> ValueKind:
        """What its values are kept as."""
        return DTYPES.get(self.dtype, "null")


def dtype_of(kind: ValueKind) -> str:
    """The type as a user writes it; ``null`` when nothing is known."""
    return _NAMES.get(kind, "null")


def unknown_dtype(name: str, dtype: object, place: str | None) -> ProjectError:
    """The error for a type that there is not."""
    return ProjectError(
        "PROJ-47", f"'{name}' has the type {dtype!r}", where=place, fix=did_you_mean(str(dtype), DTYPES)
    )
