"""How much a validation result tells, in Great Expectations' two forms: a level, or an object of settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, cast, get_args

from millrace.core.errors import DataError, did_you_mean

Level = Literal["BOOLEAN_ONLY", "BASIC", "SUMMARY", "COMPLETE"]
LEVELS: tuple[Level, ...] = get_args(Level)


@dataclass(frozen=True, slots=True)
class ResultFormat:
    """GX's ``result_format``.

    Parameters
    ----------
    result_format : {"BOOLEAN_ONLY", "BASIC", "SUMMARY", "COMPLETE"}
        Verdicts alone; and some unexpected values; and their rows and counts; and all of them.
    partial_unexpected_count : int
        How many unexpected values the lists that are not complete show.
    unexpected_index_column_names : tuple of str, optional
        Columns that name a row, in place of its position.
    include_unexpected_rows : bool
        Show the rows whole, too.
    exclude_unexpected_values : bool
        Show no value of the columns under test.
    return_unexpected_index_query : bool, optional
        Whether pandas code that selects the rows is shown; None is with COMPLETE.
    map_expectation_unexpected_rows_as_dict : bool
        Accepted; rows are objects in either case.
    """

    result_format: Level = "SUMMARY"
    partial_unexpected_count: int = 20
    unexpected_index_column_names: tuple[str, ...] | None = None
    include_unexpected_rows: bool = False
    exclude_unexpected_values: bool = False
    return_unexpected_index_query: bool | None = None
    map_expectation_unexpected_rows_as_dict: bool = False

    @classmethod
    def of(cls, given: str | Mapping[str, Any] | ResultFormat) -> ResultFormat:
        """The format that a level or an object of settings means.

        Raises
        ------
        DataError
            VALID-50 with everything that is wrong with it.

        >>> ResultFormat.of({"result_format": "COMPLETE", "partial_unexpected_count": 5}).partial_unexpected_count
        5
        """
        if isinstance(given, ResultFormat):
            return given
        facts = dict(given) if isinstance(given, Mapping) else {"result_format": given}
        problems = _problems(facts)
        if problems:
            raise DataError(
                "VALID-50",
                "the result format is not one",
                why="; ".join(problems),
                fix=f"give one of {', '.join(LEVELS)}, or an object such as "
                '{"result_format": "COMPLETE", "unexpected_index_column_names": ["id"]}',
            )
        names = facts.get("unexpected_index_column_names")
        level = _level(facts.get("result_format", "SUMMARY"))
        column_names = tuple(names) if names else None
        return cls(**{**facts, "result_format": level, "unexpected_index_column_names": column_names})

    @property
    def level(self) -> Level:
        return self.result_format

    @property
    def has_query(self) -> bool:
        """Whether the query that selects the unexpected rows is shown."""
        if self.return_unexpected_index_query is None:
            return self.level == "COMPLETE"
        return self.return_unexpected_index_query

    def to_dict(self) -> dict[str, Any]:
        """GX's object of settings."""
        names = self.unexpected_index_column_names
        found = {each.name: getattr(self, each.name) for each in fields(self)}
        settings = {**found, "unexpected_index_column_names": list(names) if names else None}
        return {name: value for name, value in settings.items() if value is not None}


def _level(value: Any) -> Level:
    # GX's own ResultFormat is an enumeration of texts.
    return cast(Level, str(getattr(value, "value", value)))


def _is_names(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(name, str) for name in value)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _problems(facts: Mapping[str, Any]) -> list[str]:
    known = {each.name for each in fields(ResultFormat)}
    found = [f"there is no setting {name!r}: {did_you_mean(str(name), known)}" for name in facts if name not in known]
    level = _level(facts.get("result_format", "SUMMARY"))
    if level not in LEVELS:
        found.append(f"result_format is {level!r}: {did_you_mean(level, LEVELS)}")
    if facts.get("include_unexpected_rows") and "result_format" not in facts:
        found.append("include_unexpected_rows needs result_format beside it")
    names = facts.get("unexpected_index_column_names")
    if names is not None and not _is_names(names):
        found.append(f"unexpected_index_column_names is {names!r}, not a list of column names")
    if not _is_count(facts.get("partial_unexpected_count", 20)):
        found.append(f"partial_unexpected_count is {facts['partial_unexpected_count']!r}, not a whole number")
    switches = known - {"result_format", "partial_unexpected_count", "unexpected_index_column_names"}
    return found + [
        f"{name} is {facts[name]!r}, not true or false"
        for name in sorted(switches & facts.keys())
        if not isinstance(facts[name], bool) and facts[name] is not None
    ]
