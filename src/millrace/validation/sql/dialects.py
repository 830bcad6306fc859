"""What differs between databases in the SQL that rules become. Standard library only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from types import MappingProxyType
from typing import Any

PARAMETER = "\x00"
"""Stands for a bound value in SQL text until a dialect writes it; no SQL text holds it otherwise."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Dialect:
    """One database's SQL.

    Parameters
    ----------
    name : str
    quote : str
        Around names.
    parameter : str
        How a bound value is written; ``%s`` doubles every other ``%``.
    double, exact, text : str
        Types to cast to: a float of 64 bit, a whole number that sums of 64-bit ones do not overflow, characters.
    null_if_nan : str
        A float, ``{}``, with NaN as missing; empty where no NaN can be stored.
    micros : mapping of kind to str
        A time, ``{}``, as microseconds since 1970; times travel so, and no driver puts its zone on them.
    moment : mapping of kind to str
        A literal of a time: ``{text}`` is ISO 8601, ``{micros}`` counts from 1970.
    member : str, optional
        Whether a value, ``{}``, is among a bound list; without it every member is bound.
    matches : str, optional
        Whether a text, ``{}``, holds a match of a bound regular expression.
    end : str
        The very end of a text in a regular expression.
    functions : bool
        Whether Python functions can be called in a statement.
    has_decimals : bool
        Whether a number with a point is exact.
    names_have_case : bool
        Whether quoted names that differ only in case are two columns.
    stdev, collate : str, optional
        The deviation with n - 1, without which it takes two passes; what orders text by code point.
    true, false : str
    """

    name: str
    quote: str
    parameter: str
    double: str
    exact: str | None
    text: str
    micros: Mapping[str, str]
    moment: Mapping[str, str]
    null_if_nan: str = ""
    member: str | None = None
    matches: str | None = None
    end: str = r"\z"
    functions: bool = False
    has_decimals: bool = True
    names_have_case: bool = False
    stdev: str | None = "stddev_samp({})"
    collate: str = "{}"
    true: str = "TRUE"
    false: str = "FALSE"

    def quoted(self, name: str) -> str:
        """A name as this database takes it, whatever is in it."""
        return self.quote + name.replace(self.quote, self.quote * 2) + self.quote

    def written(self, text: str) -> str:
        """SQL text with its bound values as this database's driver wants them."""
        if "%" in self.parameter:
            text = text.replace("%", "%%")
        return text.replace(PARAMETER, self.parameter)

    def bound_list(self, members: list[str]) -> Any:
        """A list of texts as `member` takes it."""
        return json.dumps(members) if self.functions else members

    def literal_of_moment(self, value: datetime | date, kind: str) -> str:
        """A time or date as a literal of `kind`; a time without zone is UTC."""
        if not isinstance(value, datetime):
            value = datetime(value.year, value.month, value.day, tzinfo=UTC)
        utc = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
        since = utc - _EPOCH
        micros = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
        return self.moment[kind].format(text=f"{utc:%Y-%m-%d %H:%M:%S.%f}", micros=micros)


SQLITE = Dialect(
    name="sqlite",
    quote='"',
    parameter="?",
    double="REAL",
    exact=None,  # sums are made of two halves
    text="TEXT",
    # Times are texts in SQLite: columns come as microseconds already.
    micros=MappingProxyType({"time": "{}", "zoned": "{}", "date": "{}"}),
    moment=MappingProxyType({"time": "{micros}", "zoned": "{micros}", "date": "{micros}"}),
    member="{} IN (SELECT value FROM json_each(" + PARAMETER + "))",
    functions=True,
    has_decimals=False,
    stdev=None,
    collate="({} COLLATE BINARY)",
    true="1",
    false="0",
)

POSTGRES = Dialect(
    name="postgresql",
    quote='"',
    parameter="%s",
    double="double precision",
    exact="numeric",
    text="text",
    null_if_nan="NULLIF({}, 'NaN')",
    micros=MappingProxyType(
        {
            "time": "(extract(epoch FROM {}) * 1000000)::bigint",
            "zoned": "(extract(epoch FROM {}) * 1000000)::bigint",
            "date": "{}",
        }
    ),
    moment=MappingProxyType(
        {"time": "TIMESTAMP '{text}'", "zoned": "TIMESTAMPTZ '{text}+00'", "date": "TIMESTAMP '{text}'"}
    ),
    member="{} = ANY(" + PARAMETER + ")",
    matches="({} ~ " + PARAMETER + "::text)",
    end=r"\Z",
    names_have_case=True,
    collate='({} COLLATE "C")',
)

DUCKDB = Dialect(
    name="duckdb",
    quote='"',
    parameter="?",
    double="DOUBLE",
    exact="HUGEINT",
    text="VARCHAR",
    null_if_nan="NULLIF({}, 'NaN')",
    micros=MappingProxyType({"time": "epoch_us({})", "zoned": "epoch_us({})", "date": "{}"}),
    moment=MappingProxyType(
        {"time": "TIMESTAMP '{text}'", "zoned": "TIMESTAMPTZ '{text}+00'", "date": "TIMESTAMP '{text}'"}
    ),
    member="list_contains(" + PARAMETER + ", {})",
    matches="regexp_matches({}, " + PARAMETER + ")",
)

SPARK = Dialect(
    name="spark",
    quote="`",
    parameter="?",
    double="DOUBLE",
    exact="DECIMAL(38, 0)",
    text="STRING",
    null_if_nan="nanvl({}, NULL)",
    micros=MappingProxyType({"time": "unix_micros(CAST({} AS TIMESTAMP))", "zoned": "unix_micros({})", "date": "{}"}),
    moment=MappingProxyType(
        {"time": "TIMESTAMP_NTZ '{text}'", "zoned": "TIMESTAMP '{text}Z'", "date": "TIMESTAMP_NTZ '{text}'"}
    ),
    matches="({} RLIKE " + PARAMETER + ")",
)
