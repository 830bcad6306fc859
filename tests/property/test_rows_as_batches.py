"""A row is judged as a batch of that row alone is, for every rule a row can be judged by and every kind of value."""

import math
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.validation import fallback
from millrace.validation.engine import validate
from millrace.validation.rows.checker import ROW_RULES, RowChecker
from millrace.validation.rows.types import form_of
from millrace.validation.signatures import SIGNATURES
from millrace.validation.suite import Expectation, Suite

TEXTS = st.sampled_from(
    ["", "a", "abc", "ABC", "12", "1.5", "2024-05-01", '{"a": 1}', "ä€\U0001f600", "a\nb", "a%b", "x1"]
)
INTS = st.integers(-4, 4) | st.sampled_from([2**53, 2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63), 2**63, 2**64 - 1])
FLOATS = st.integers(-4, 4).map(float) | st.sampled_from([0.5, -0.0, 2.0**53, 1e300, math.inf, -math.inf])
MOMENTS = st.sampled_from(
    [
        datetime(2024, 5, 1),  # noqa: DTZ001  # naive is UTC
        datetime(2024, 5, 1, 12, 30, 0, 250),  # noqa: DTZ001
        datetime(2024, 5, 1, tzinfo=UTC),
        datetime(2024, 5, 1, 2, tzinfo=timezone(timedelta(hours=2))),
        datetime(1969, 12, 31, 23, 59, tzinfo=UTC),
    ]
)
DATES = st.sampled_from([date(2024, 5, 1), date(2024, 5, 2), date(1969, 12, 31)])
DECIMALS = st.sampled_from([Decimal("0"), Decimal("1.50"), Decimal("-2"), Decimal("0.1")])
MISSING = st.none() | st.just(math.nan)
VALUES = st.one_of(MISSING, st.booleans(), INTS, FLOATS, TEXTS, MOMENTS, DATES, DECIMALS, st.just(b"bytes"))
NAMES = ["a", "b", "c"]
ROWS = st.dictionaries(st.sampled_from([*NAMES, "other"]), VALUES, min_size=1).flatmap(
    lambda row: st.permutations(list(row.items())).map(dict)
)
# Rows of the same columns go one code's way: what it was made for must not decide for the next.
SEVERAL = st.lists(ROWS, min_size=1, max_size=2) | st.lists(
    st.fixed_dictionaries(dict.fromkeys(NAMES, VALUES)), min_size=2, max_size=4
)

COLUMN = st.sampled_from(NAMES)
COLUMNS = st.lists(COLUMN, min_size=1, max_size=3, unique=True)
PAIR = st.permutations(NAMES).map(lambda names: names[:2])
BOUNDS = st.one_of(
    st.none(),
    st.integers(-3, 3),
    st.sampled_from([0.5, 2.0**53, 2**53, 2**63, 1e300, "b", "2024-05-01", "2024-05-01T12:00:00+02:00"]),
)
MEMBERS = st.lists(st.one_of(INTS, FLOATS, TEXTS, st.booleans(), st.just("2024-05-01")), max_size=5)
MOSTLY = st.sampled_from([None, None, 0.0, 0.5, 1.0])
TYPES = st.sampled_from(["int", "float", "str", "int32", "float64", "bool", "timestamp", "date", "INTEGER", "int8"])
REGEX = st.sampled_from(["^a", "b$", r"\d+", "(?i)abc", ".", "^$", "ä", r"^\S+$", "(?<!x)1"])
LIKE = st.sampled_from(["a%", "_", "%b%", "", "a\\%b", "%"])


def _range(low, high, strict_min, strict_max):
    kwargs = {"min_value": low, "max_value": high, "strict_min": strict_min, "strict_max": strict_max}
    return {name: value for name, value in kwargs.items() if value is not None}


RANGE = st.builds(_range, BOUNDS, BOUNDS, st.booleans(), st.booleans())
COUNTS = st.builds(
    lambda low, high: {"min_value": low, "max_value": high}, st.integers(0, 3), st.none() | st.integers(0, 4)
)
IGNORED_PAIR = st.sampled_from([None, "both_values_are_missing", "either_value_is_missing", "neither"])
IGNORED_ROW = st.sampled_from([None, "all_values_are_missing", "any_value_is_missing", "never"])
SCHEMA = st.sampled_from([{"type": "object"}, {"type": "integer"}])


def _pair(**extra):
    return st.builds(
        lambda pair, ignore, mostly, more: {
            "column_A": pair[0],
            "column_B": pair[1],
            "ignore_row_if": ignore,
            "mostly": mostly,
            **more,
        },
        PAIR,
        IGNORED_PAIR,
        MOSTLY,
        st.fixed_dictionaries(extra),
    )


def _list(**extra):
    return st.fixed_dictionaries({"column_list": COLUMNS, "ignore_row_if": IGNORED_ROW, "mostly": MOSTLY, **extra})


def _map(**extra):
    return st.fixed_dictionaries({"column": COLUMN, "mostly": MOSTLY, **extra})


def _ranged(ranges):
    return st.builds(lambda one, two: {**one, **two}, _map(), ranges)


PATTERNS = st.lists(REGEX, min_size=1, max_size=2)
LIKES = st.lists(LIKE, min_size=1, max_size=2)
KWARGS = {
    "expect_table_columns_to_match_ordered_list": st.fixed_dictionaries({"column_list": st.permutations(NAMES)}),
    "expect_table_columns_to_match_set": st.fixed_dictionaries({"column_set": COLUMNS, "exact_match": st.booleans()}),
    "expect_table_column_count_to_equal": st.fixed_dictionaries({"value": st.integers(1, 4)}),
    "expect_table_column_count_to_be_between": COUNTS,
    "expect_column_to_exist": st.fixed_dictionaries({"column": COLUMN, "column_index": st.none() | st.integers(0, 2)}),
    "expect_column_values_to_be_of_type": st.fixed_dictionaries({"column": COLUMN, "type_": TYPES}),
    "expect_column_values_to_be_in_type_list": st.fixed_dictionaries(
        {"column": COLUMN, "type_list": st.lists(TYPES, min_size=1, max_size=3)}
    ),
    "expect_column_type_to_be": st.fixed_dictionaries({"column": COLUMN, "type_": TYPES}),
    "expect_column_values_to_be_between": _ranged(RANGE),
    "expect_column_values_to_be_in_set": _map(value_set=MEMBERS),
    "expect_column_values_to_not_be_in_set": _map(value_set=MEMBERS),
    "expect_column_values_to_be_null": _map(),
    "expect_column_values_to_not_be_null": _map(),
    "expect_column_values_to_match_regex": _map(regex=REGEX),
    "expect_column_values_to_not_match_regex": _map(regex=REGEX),
    "expect_column_values_to_match_regex_list": _map(regex_list=PATTERNS, match_on=st.sampled_from(["any", "all"])),
    "expect_column_values_to_not_match_regex_list": _map(regex_list=PATTERNS),
    "expect_column_values_to_match_like_pattern": _map(like_pattern=LIKE),
    "expect_column_values_to_not_match_like_pattern": _map(like_pattern=LIKE),
    "expect_column_values_to_match_like_pattern_list": _map(
        like_pattern_list=LIKES, match_on=st.sampled_from(["any", "all"])
    ),
    "expect_column_values_to_not_match_like_pattern_list": _map(like_pattern_list=LIKES),
    "expect_column_values_to_match_strftime_format": _map(strftime_format=st.just("%Y-%m-%d")),
    "expect_column_values_to_be_dateutil_parseable": _map(),
    "expect_column_values_to_be_json_parseable": _map(),
    "expect_column_values_to_match_json_schema": _map(json_schema=SCHEMA),
    "expect_column_value_lengths_to_be_between": _ranged(COUNTS),
    "expect_column_value_lengths_to_equal": _map(value=st.integers(0, 3)),
    "expect_column_pair_values_to_be_equal": _pair(),
    "expect_column_pair_values_a_to_be_greater_than_b": _pair(or_equal=st.booleans()),
    "expect_column_pair_values_to_be_in_set": _pair(
        value_pairs_set=st.lists(st.tuples(st.integers(-2, 2), st.integers(-2, 2)), max_size=4)
    ),
    "expect_multicolumn_sum_to_equal": _list(sum_total=st.integers(-4, 4)),
    "expect_multicolumn_values_to_be_equal": _list(),
    "expect_select_column_values_to_be_unique_within_record": _list(),
}
RUNNABLE = sorted(kind for kind in ROW_RULES if kind in SIGNATURES)


@pytest.fixture(autouse=True, scope="module")
def _engine_alone():
    """What the engine does not run goes to Great Expectations where that is installed; a single row never does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fallback, "with_fallback", lambda results, *_: results)
        yield


def batch_of(row, types):
    """The row as an Arrow table whose columns have the types that the checker takes its values for."""
    forms = {name: form_of(value, types.get(name)).arrow for name, value in row.items()}
    return pa.table(
        {
            name: pa.array([float(value) if pa.types.is_floating(forms[name]) and value is not None else value], kind)
            for (name, value), kind in zip(row.items(), forms.values(), strict=True)
        }
    )


def broken_alone(row, suite, types):
    results = validate(batch_of(row, types), suite).results
    return {
        number: (result.expectation, result.observed) for number, result in enumerate(results, 1) if not result.success
    }


def test_every_rule_of_a_row_is_tried():
    assert KWARGS.keys() == ROW_RULES


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_row_is_judged_as_a_batch_of_it_alone(data):
    rules = data.draw(st.tuples(*(KWARGS[kind] for kind in RUNNABLE)))
    suite = Suite("all")
    for kind, kwargs in zip(RUNNABLE, rules, strict=True):
        suite.add(Expectation(kind, {name: value for name, value in kwargs.items() if value is not None}))
    checker = RowChecker(suite)
    for row in data.draw(SEVERAL):
        expected = broken_alone(row, suite, checker.types)

        first, again = checker.check(row), checker.check(dict(row))

        found = {rule.number for rule in first.broken}
        differing = {n: expected.get(n, suite.expectations[n - 1]) for n in found ^ expected.keys()}
        assert not differing, row
        assert list(again.broken) == list(first.broken)
        assert checker.is_clean(row) is (not expected)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_every_broken_rule_is_explained(data):
    rules = data.draw(st.tuples(*(KWARGS[kind] for kind in RUNNABLE)))
    checker = RowChecker(Suite("all", [Expectation(*rule) for rule in zip(RUNNABLE, rules, strict=True)]))
    found = checker.check(data.draw(ROWS))

    findings = found.findings()

    assert [finding.rule for finding in findings] == list(found.broken)
    assert all(finding.observed for finding in findings)
