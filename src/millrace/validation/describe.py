"""Rules and what was seen of them, in words for a person. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_FIGURES = {
    "proportion_of_unique_values": "share of distinct values",
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
    given = _Words(kwargs)
    column = kwargs.get("column")
    prefix = f"{given['column']}: " if column is not None else ""
    middle = kind.removeprefix("expect_column_").removesuffix("_to_be_between")
    if middle in _FIGURES:
        text = f"{_FIGURES[middle]} {_range(kwargs)}"
    else:
        text = _TEXTS.get(kind, kind).format_map(given) if kind in _TEXTS else kind
    text += "".join(
        words.format_map(given) for name, value, words in _VARIANTS.get(kind, ()) if kwargs.get(name) == value
    )
    mostly = kwargs.get("mostly")
    share = f" (at least {mostly * 100:g} % of them)" if isinstance(mostly, (int, float)) and mostly < 1 else ""
    condition = kwargs.get("row_condition")
    where = f", where {condition_text(condition)}" if condition else ""
    return f"{prefix}{text}{share}{where}"


class _Words(dict[str, str]):
    """The arguments of a rule as words; one that is not given is empty."""

    def __init__(self, kwargs: Mapping[str, Any]) -> None:
        super().__init__({name: _word(value) for name, value in kwargs.items()}, range=_range(kwargs))

    def __missing__(self, name: str) -> str:
        return ""


def _word(value: Any) -> str:
    if isinstance(value, (list, tuple, set, frozenset)):
        return _listed([_figure(tuple(item) if isinstance(item, list) else item) for item in value])
    return str(value) if isinstance(value, str) else _figure(value)


def condition_text(condition: Any) -> str:
    """A row condition as text, whatever its form.

    >>> condition_text({"type": "comparison", "column": {"name": "x"}, "operator": ">", "parameter": 5})
    'x > 5'
    """
    if not isinstance(condition, Mapping):
        return str(condition)
    if "$PARAMETER" in condition:
        return _figure(condition)
    kind = condition.get("type")
    if kind in ("and", "or"):
        return f" {kind} ".join(
            f"({text})" if part.get("type") in ("and", "or") else text
            for part in condition.get("conditions", ())
            if (text := condition_text(part))
        )
    if kind == "pass_through":
        return str(condition.get("pass_through_filter"))
    name = (condition.get("column") or {}).get("name")
    if kind == "nullity":
        return f"{name} is {'' if condition.get('is_null') else 'not '}missing"
    sign = str(condition.get("operator")).replace("_", " ").lower()
    return f"{name} {sign} {condition.get('parameter')!r}"


_TEXTS = {
    "expect_table_columns_to_match_ordered_list": "the columns are, in this order, {column_list}",
    "expect_table_columns_to_match_set": "the columns are {column_set}",
    "expect_table_row_count_to_be_between": "number of rows {range}",
    "expect_table_row_count_to_equal": "{value} rows",
    "expect_table_row_count_to_equal_other_table": "as many rows as {other_table_name}",
    "expect_table_column_count_to_equal": "{value} columns",
    "expect_table_column_count_to_be_between": "number of columns {range}",
    "expect_column_to_exist": "the column is there",
    "expect_column_type_to_be": "type {type_}",
    "expect_column_values_to_be_of_type": "type {type_}",
    "expect_column_values_to_be_in_type_list": "type one of {type_list}",
    "expect_column_values_to_be_between": "values {range}",
    "expect_column_values_to_not_be_null": "values there",
    "expect_column_values_to_be_null": "values missing",
    "expect_column_values_to_be_unique": "values that occur once",
    "expect_column_values_to_be_in_set": "values one of {value_set}",
    "expect_column_values_to_not_be_in_set": "values none of {value_set}",
    "expect_column_values_to_be_increasing": "values that do not fall from row to row",
    "expect_column_values_to_be_decreasing": "values that do not rise from row to row",
    "expect_column_values_to_not_be_outliers": "values that are no outliers",
    "expect_column_value_z_scores_to_be_less_than": "values less than {threshold} standard deviations from the mean",
    "expect_column_value_lengths_to_be_between": "number of characters {range}",
    "expect_column_value_lengths_to_equal": "{value} characters",
    "expect_column_values_to_match_regex": "values match {regex}",
    "expect_column_values_to_not_match_regex": "values do not match {regex}",
    "expect_column_values_to_match_regex_list": "values match one of {regex_list}",
    "expect_column_values_to_not_match_regex_list": "values match none of {regex_list}",
    "expect_column_values_to_match_like_pattern": "values are like {like_pattern}",
    "expect_column_values_to_not_match_like_pattern": "values are not like {like_pattern}",
    "expect_column_values_to_match_like_pattern_list": "values are like one of {like_pattern_list}",
    "expect_column_values_to_not_match_like_pattern_list": "values are like none of {like_pattern_list}",
    "expect_column_values_to_match_strftime_format": "values are times written as {strftime_format}",
    "expect_column_values_to_be_dateutil_parseable": "values can be read as times",
    "expect_column_values_to_be_json_parseable": "values are JSON",
    "expect_column_values_to_match_json_schema": "values are JSON of the schema",
    "expect_column_distinct_values_to_be_in_set": "distinct values all among {value_set}",
    "expect_column_distinct_values_to_contain_set": "distinct values with all of {value_set}",
    "expect_column_distinct_values_to_equal_set": "distinct values exactly {value_set}",
    "expect_column_most_common_value_to_be_in_set": "the most frequent value one of {value_set}",
    "expect_column_quantile_values_to_be_between": "quantiles in their ranges",
    "expect_column_kl_divergence_to_be_less_than": "divergence from the expected distribution at most {threshold}",
    "expect_column_pair_values_to_be_equal": "{column_A} equals {column_B}",
    "expect_column_pair_values_a_to_be_greater_than_b": "{column_A} is greater than {column_B}",
    "expect_column_pair_values_to_be_in_set": "{column_A} and {column_B} are one of the pairs {value_pairs_set}",
    "expect_compound_columns_to_be_unique": "rows that share {column_list} with no other",
    "expect_multicolumn_sum_to_equal": "{column_list} add up to {sum_total}",
    "expect_multicolumn_values_to_be_equal": "{column_list} are the same within a row",
    "expect_select_column_values_to_be_unique_within_record": "{column_list} are all different within a row",
    "unexpected_rows_expectation": "no row is found by {unexpected_rows_query}",
    "expect_query_results_to_match_comparison": (
        "{base_query} gives the same rows as {comparison_query} in {comparison_data_source_name}"
    ),
}
# What an argument adds to the text.
_VARIANTS: dict[str, tuple[tuple[str, Any, str], ...]] = {
    "expect_column_values_to_be_increasing": (("strictly", True, " and rise each time"),),
    "expect_column_values_to_be_decreasing": (("strictly", True, " and fall each time"),),
    "expect_column_values_to_match_regex_list": (("match_on", "all", " (and all of them)"),),
    "expect_column_values_to_match_like_pattern_list": (("match_on", "all", " (and all of them)"),),
    "expect_column_pair_values_a_to_be_greater_than_b": (("or_equal", True, " or equal"),),
    "expect_table_columns_to_match_set": (("exact_match", False, ", and may be more"),),
}


def observed(kind: str, result: Mapping[str, Any]) -> str:
    """What GX's `result` object of a failed rule of type `kind` says, in a few words."""
    details = result.get("details") or {}
    if "missing_rows" in details:
        wrong, percent = result["unexpected_count"], result["unexpected_percent"]
        return f"{wrong:,} rows ({percent:.3g} %) of one have no equal in the other"
    if "element_count" not in result and ("unexpected_count" in result or "missing_count" in result):
        parts = [("unexpected", "not of the set"), ("missing", "not there")]
        found = [
            f"{result[f'{what}_count']:,} {words}: {_listed(result.get(f'partial_{what}_list'))}"
            for what, words in parts
            if result.get(f"{what}_count")
        ]
        return "; ".join(found) or "the sets are equal"
    if "unexpected_count" in result:
        return _unexpected(result, _BROKEN.get(kind, "are not"))
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
    if kind == "unexpected_rows_expectation":
        return f"{_figure(value)} rows are found"
    if kind == "expect_column_kl_divergence_to_be_less_than" and value is None:
        return "it is infinite: values are there that were not expected at all"
    return "there is no value to judge" if value is None else f"it is {_figure(value)}"


_BROKEN = {
    "expect_column_values_to_not_be_null": "are missing",
    "expect_column_values_to_be_null": "are there",
    "expect_column_values_to_be_unique": "occur more than once",
    "expect_compound_columns_to_be_unique": "occur more than once",
    "expect_column_values_to_not_be_in_set": "are",
    "expect_column_values_to_not_match_regex": "do",
    "expect_column_values_to_not_match_regex_list": "do",
    "expect_column_values_to_match_regex": "do not",
    "expect_column_values_to_match_regex_list": "do not",
    "expect_column_values_to_not_match_like_pattern": "are",
    "expect_column_values_to_not_match_like_pattern_list": "are",
    "expect_column_values_to_not_be_outliers": "are",
    "expect_column_values_to_be_dateutil_parseable": "cannot",
    "expect_select_column_values_to_be_unique_within_record": "hold a value twice",
    "expect_multicolumn_sum_to_equal": "do not",
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
    if low is None and high is None:
        return "within no bounds"
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
    if isinstance(value, Mapping) and "$PARAMETER" in value:
        return f"[{value['$PARAMETER']}]"
    if isinstance(value, Mapping):
        value = f"({', '.join(f'{name}={item}' for name, item in value.items())})"
    if isinstance(value, float):
        return f"{value:,.0f}" if value.is_integer() and abs(value) < 1e15 else f"{value:.8g}"
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    text = f"{value:,}" if is_whole else str(value)  # a whole number is shown to its last digit
    return text if len(text) <= 60 else f"{text[:57]}..."
