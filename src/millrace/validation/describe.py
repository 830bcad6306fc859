"""Rules and what was seen of them, in words for a person. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_FIGURES = {
    "min": "least value",
    "max": "greatest value",
    "mean": "mean",
    "median": "median",
    "stdev": "standard deviation",
    "sum": "sum",
    "unique_value_count": "number of distinct values",
    "proportion_of_non_null_values": "share of values that are there",
}
_SHOWN = 5


def demand(kind: str, kwargs: Mapping[str, Any]) -> str:
    """What a rule demands, in a few words.

    >>> demand("expect_column_values_to_be_between", {"column": "age", "min_value": 18, "strict_min": True})
    'age: values above 18'
    """
    column = kwargs.get("column")
    prefix = f"{column}: " if column is not None else ""
    middle = kind.removeprefix("expect_column_").removesuffix("_to_be_between")
    if middle in _FIGURES:
        text = f"{_FIGURES[middle]} {_range(kwargs)}"
    elif kind in _TEXTS:
        text = _TEXTS[kind].format(
            range=_range(kwargs),
            value=kwargs.get("value"),
            type=kwargs.get("type_"),
            types=_listed(kwargs.get("type_list")),
            values=_listed(kwargs.get("value_set")),
            columns=_listed(kwargs.get("column_list") or kwargs.get("column_set")),
            regex=kwargs.get("regex"),
        )
    else:
        text = kind
    mostly = kwargs.get("mostly")
    share = f" (at least {mostly * 100:g} % of them)" if isinstance(mostly, (int, float)) and mostly < 1 else ""
    return f"{prefix}{text}{share}"


_TEXTS = {
    "expect_table_columns_to_match_ordered_list": "the columns are, in this order, {columns}",
    "expect_table_columns_to_match_set": "the columns are {columns}",
    "expect_table_row_count_to_be_between": "number of rows {range}",
    "expect_table_row_count_to_equal": "{value} rows",
    "expect_table_column_count_to_equal": "{value} columns",
    "expect_column_to_exist": "the column is there",
    "expect_column_values_to_be_of_type": "type {type}",
    "expect_column_values_to_be_in_type_list": "type one of {types}",
    "expect_column_values_to_be_between": "values {range}",
    "expect_column_values_to_not_be_null": "values there",
    "expect_column_values_to_be_null": "values missing",
    "expect_column_values_to_be_unique": "values that occur once",
    "expect_column_values_to_be_in_set": "values one of {values}",
    "expect_column_values_to_not_be_in_set": "values none of {values}",
    "expect_column_values_to_match_regex": "values match {regex}",
    "expect_compound_columns_to_be_unique": "rows that share {columns} with no other",
}


def observed(kind: str, result: Mapping[str, Any]) -> str:
    """What GX's `result` object of a failed rule of type `kind` says, in a few words."""
    if "unexpected_count" in result:
        return _unexpected(result, _BROKEN.get(kind, "are not"))
    details = result.get("details") or {}
    if "mismatched" in details:
        return _mismatched(details["mismatched"])
    if "nearest" in details:
        return f"it is not there; did you mean '{details['nearest']}'?"
    if "not_numbers" in details:
        examples = ", ".join(repr(value) for value in details["examples"])
        return f"it is {result['observed_value']}; {details['not_numbers']:,} values are not numbers: {examples}"
    if "observed_value" not in result:
        return "it is not there"
    value = result["observed_value"]
    return "there is no value to judge" if value is None else f"it is {_figure(value)}"


_BROKEN = {
    "expect_column_values_to_not_be_null": "are missing",
    "expect_column_values_to_be_null": "are there",
    "expect_column_values_to_be_unique": "occur more than once",
    "expect_compound_columns_to_be_unique": "occur more than once",
    "expect_column_values_to_not_be_in_set": "are",
}


def _unexpected(result: Mapping[str, Any], broken: str) -> str:
    wrong, missing = result["unexpected_count"], result.get("missing_count", 0)
    present = result["element_count"] - missing
    share = f" ({wrong / present * 100:.3g} %)" if present else ""
    text = f"{wrong:,} of {present:,}{share} {broken}"
    shown = [value for value in result.get("partial_unexpected_list", ()) if value is not None]
    distinct = list(dict.fromkeys(_figure(value) for value in shown))
    if distinct:
        text += f": {', '.join(distinct[:_SHOWN])}{', ...' if len(distinct) > _SHOWN else ''}"
    return text


def _mismatched(parts: Any) -> str:
    if isinstance(parts, Mapping):
        return "; ".join(f"{name}: {_listed(names)}" for name, names in parts.items())
    expected = [part["Expected"] for part in parts if part["Expected"] is not None]
    found = [part["Found"] for part in parts if part["Found"] is not None]
    missing = [name for name in expected if name not in found]
    extra = [name for name in found if name not in expected]
    texts = [f"missing: {_listed(missing)}"] if missing else []
    texts += [f"not expected: {_listed(extra)}"] if extra else []
    first = parts[0]
    position = first["Expected Column Position"] + 1
    texts.append(f"column {position} is {first['Found'] or 'not there'}, expected {first['Expected'] or 'none'}")
    return "; ".join(texts)


def _range(kwargs: Mapping[str, Any]) -> str:
    low, high = kwargs.get("min_value"), kwargs.get("max_value")
    above = f"{'above' if kwargs.get('strict_min') else 'at least'} {_figure(low)}"
    below = f"{'below' if kwargs.get('strict_max') else 'at most'} {_figure(high)}"
    if low is None:
        return below
    if high is None:
        return above
    if kwargs.get("strict_min") or kwargs.get("strict_max"):
        return f"{above} and {below}"
    return f"between {_figure(low)} and {_figure(high)}"


def _listed(values: Sequence[Any] | None) -> str:
    names = [str(value) for value in values or ()]
    return ", ".join(names[:_SHOWN]) + (f", ... ({len(names)} in all)" if len(names) > _SHOWN else "")


def _figure(value: Any) -> str:
    if isinstance(value, Mapping):
        value = f"({', '.join(f'{name}={item}' for name, item in value.items())})"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value) if len(str(value)) <= 60 else f"{str(value)[:57]}..."
    is_whole = isinstance(value, int) or (value.is_integer() and abs(value) < 1e15)
    return f"{value:,.0f}" if is_whole else f"{value:.8g}"
