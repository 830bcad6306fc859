"""What is kept of a reference, so that a later batch is compared without reading the reference again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pyarrow as pa

from millrace.core.errors import DataError, did_you_mean
from millrace.core.ids import canonical_json, digest_json
from millrace.drift.categorical import Levels
from millrace.drift.columns import Family, Kind, check_declared, each_column, kind_of, moments, read_column, suits
from millrace.drift.numeric import Steps, steps_of
from millrace.drift.profile_json import column_from_json, column_to_json, read_profile_json
from millrace.drift.tables import as_table

LEVEL_LIMIT = 50_000  # distinct values of a categorical column that a profile keeps


@dataclass(frozen=True, slots=True, eq=False)
class ColumnProfile:
    """One column of a reference.

    Parameters
    ----------
    present, missing, nan, infinite : int
        As of `columns.Column`.
    distinct : int or None
        Distinct values; None of a column whose values are not looked at.
    mean, std : float or None
        Of the finite values; instants in microseconds.
    steps : Steps or None
        The distribution function of numbers and instants: every value when there are up to 2,000 distinct ones, else
        2,000 quantiles.
    levels : Levels or None
        The rows of each level of a categorical column, of all levels or, beyond 50,000, of none.
    error : str or None
        Why the column could not be read.
    """

    name: str
    type: str
    family: Family
    kind: Kind
    declared: str | None
    present: int
    missing: int
    nan: int = 0
    infinite: int = 0
    distinct: int | None = None
    mean: float | None = None
    std: float | None = None
    is_identifier_like: bool = False
    steps: Steps | None = None
    levels: Levels | None = None
    error: str | None = None

    @property
    def rows(self) -> int:
        return self.present + self.missing

    @property
    def is_constant(self) -> bool:
        return self.distinct == 1


@dataclass(frozen=True, slots=True, eq=False)
class ReferenceProfile:
    """Every column of a reference, and the digest that names this profile.

    Two profiles are equal when their digests are. `ReferenceProfile.of(table)` makes one, `save` and `load` keep it;
    `to_dict` and `from_dict` are its JSON form.

    >>> profile = ReferenceProfile.of(pa.table({"x": [1, 2, 2]}))
    >>> profile.columns["x"].steps.at_most.tolist()
    [1, 3]
    """

    rows: int
    columns: Mapping[str, ColumnProfile]
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", MappingProxyType(dict(self.columns)))
        object.__setattr__(self, "digest", digest_json(self._facts()))

    @classmethod
    def of(
        cls, table: Any, *, columns: Iterable[str] | None = None, types: Mapping[str, str] | None = None
    ) -> ReferenceProfile:
        """The profile of a table (pandas, polars or pyarrow); `types` declares columns as in `compare`.

        Raises
        ------
        ProjectError
            PROJ-36 for an unknown declared type.
        DataError
            DRIFT-01 when it is no table, DRIFT-04 when `columns` names one that the table does not have.
        """
        declared = dict(types or {})
        check_declared(declared)
        table = as_table(table)
        names = list(dict.fromkeys(table.column_names if columns is None else columns))
        for name in names:
            if name not in table.column_names:
                raise DataError(
                    "DRIFT-04",
                    f"the reference has no column '{name}' to make a profile of",
                    fix=did_you_mean(name, table.column_names),
                )
        made = each_column(lambda name: _profile_column(table, name, declared.get(name)), names, rows=table.num_rows)
        return cls(table.num_rows, dict(zip(names, made, strict=True)))

    @property
    def types(self) -> dict[str, str]:
        """The declared types it was made with."""
        return {name: column.declared for name, column in self.columns.items() if column.declared is not None}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ReferenceProfile) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def to_dict(self) -> dict[str, Any]:
        """The profile as JSON, its digest included."""
        return {**self._facts(), "digest": self.digest}

    @classmethod
    def from_dict(cls, facts: Any) -> ReferenceProfile:
        """The profile that `to_dict` wrote.

        Raises
        ------
        DataError
            DRIFT-02 when it is none or is damaged, DRIFT-03 when a later version wrote it.
        """
        rows, columns, digest = read_profile_json(facts)
        profile = cls(rows, {name: ColumnProfile(**column_from_json(name, kept)) for name, kept in columns.items()})
        if profile.digest != digest:
            raise DataError(
                "DRIFT-02",
                "the drift profile is damaged",
                why=f"its digest is {profile.digest[:12]}, and it says {str(digest)[:12]}",
                fix="make it again from the reference",
            )
        return profile

    def to_bytes(self) -> bytes:
        """Canonical JSON, the same for equal profiles."""
        return canonical_json(self.to_dict()).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> ReferenceProfile:
        """The profile that `to_bytes` wrote; raises as `from_dict`."""
        return cls.from_dict(data)

    def save(self, path: str | Path) -> None:
        """Write the profile to a file."""
        Path(path).write_bytes(self.to_bytes())

    @classmethod
    def load(cls, path: str | Path) -> ReferenceProfile:
        """The profile that `save` wrote.

        Raises
        ------
        DataError
            DRIFT-05 when the file cannot be read; else as `from_dict`.
        """
        try:
            data = Path(path).read_bytes()
        except OSError as error:
            raise DataError(
                "DRIFT-05",
                f"the drift profile {path} cannot be read",
                why=error.strerror,
                fix="name the file that ReferenceProfile.save wrote",
            ) from error
        return cls.from_bytes(data)

    def _facts(self) -> dict[str, Any]:
        return {
            "format": "millrace.drift.profile",
            "version": 1,
            "rows": self.rows,
            "columns": [column_to_json(column) for column in self.columns.values()],
        }


def _profile_column(table: pa.Table, name: str, declared: str | None) -> ColumnProfile:
    places = table.schema.get_all_field_indices(name)
    values = table.column(places[0])
    kind = kind_of(values.type, declared)
    unread = read_column(name, values, "untestable", declared)
    missing = unread.missing
    if declared is not None and not suits(declared, unread.family):
        return ColumnProfile(name, unread.type, unread.family, kind, declared, unread.present, missing)
    try:
        if len(places) > 1:  # none of them is *the* column
            raise ValueError(f"{len(places)} columns of the reference data have this name")
        column = read_column(name, values, kind, declared)
    except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
        return ColumnProfile(
            name, unread.type, unread.family, kind, declared, unread.present, missing,
            error=f"{type(error).__name__}: {error}",
        )  # fmt: skip
    steps, levels, distinct = None, column.levels, None
    if levels is not None:
        distinct = len(levels.counts)
        levels = levels if distinct <= LEVEL_LIMIT else None
    elif column.values is not None and column.present:
        steps = steps_of(column.values)
        distinct = len(steps.values) if steps.is_exact else 1 + int((column.values[1:] != column.values[:-1]).sum())
    mean, std = moments(column)
    return ColumnProfile(
        name=name,
        type=column.type,
        family=column.family,
        kind=kind,
        declared=declared,
        present=column.present,
        missing=column.missing,
        nan=column.nan,
        infinite=column.infinite,
        distinct=distinct,
        mean=mean,
        std=std,
        is_identifier_like=column.is_identifier_like,
        steps=steps,
        levels=levels,
    )
