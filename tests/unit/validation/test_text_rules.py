"""Rules on texts: regular expressions as Python reads them, LIKE, times, JSON."""

import math
import random
import re
import sys
from datetime import UTC, datetime
from decimal import Decimal

import polars as pl
import pyarrow as pa
import pytest

from millrace.core.errors import ProjectError
from millrace.validation.engine import validate
from millrace.validation.portable_regex import portable_regex
from millrace.validation.suite import Expectation, Suite

TABLE = pa.table(
    {
        "code": ["AB1", "cd2", "é٣", "x\n", "", None],
        "number": pa.array([1, 20, 300, 4, 5, None], pa.int32()),
        "real": [1.5, 1e20, math.nan, math.inf, 2.0, None],
        "flag": [True, False, True, True, None, True],
        "price": [Decimal("1.50"), None, Decimal("2.00"), Decimal("0.05"), None, Decimal("10.00")],
        "at": pa.array([datetime(2024, 1, 1, tzinfo=UTC)] * 6, pa.timestamp("us", tz="UTC")),
        "day": ["2024-01-31", "2024-02-30", "31.01.2024", "Monday", "", None],
        "json": ['{"a": 1}', "[1, 2]", "3", '"x"', "null", None],
        "broken": ['{"a": 1}', "{", "1", "nan", "", None],
        "bytes": [b"1", b"{", b"\xff", None, b"[]", b""],
        "none": pa.nulls(6),
        "kind": pa.array(["a", "b", "a", None, "b", "a"]).dictionary_encode(),
    }
)


def run(rule, *values, table=TABLE, **arguments):
    return validate(table, getattr(Suite("one"), f"expect_{rule}")(*values, **arguments)).results[0]


def unexpected(rule, *values, **arguments):
    result = run(rule, *values, **arguments)
    assert result.problem is None, result.problem
    return result.result["partial_unexpected_list"]


@pytest.mark.parametrize(
    ("regex", "wrong"),
    [
        (r"\d", ["x\n", ""]),
        (r"^\w+$", [""]),
        (r"x$", ["AB1", "cd2", "é٣", ""]),  # as in Python, before a last line feed too
        (r"x\Z", ["AB1", "cd2", "é٣", "x\n", ""]),
        (r"(?i)^[a-d]+", ["é٣", "x\n", ""]),
        (r"^(?!A)", ["AB1"]),
        (r"(?<=A)B", ["cd2", "é٣", "x\n", ""]),
        (r"(.).*\1", ["AB1", "cd2", "é٣", "x\n", ""]),
        (r"^$", ["AB1", "cd2", "é٣", "x\n"]),
        (r"[^\W\d]\d\b", ["x\n", ""]),
        (r"\s", ["AB1", "cd2", "é٣", ""]),
    ],
)
def test_a_regular_expression_is_pythons(regex, wrong):
    assert wrong == [text for text in TABLE["code"].to_pylist() if text is not None and not re.search(regex, text)]
    assert unexpected("column_values_to_match_regex", "code", regex) == wrong
    right = [text for text in TABLE["code"].to_pylist() if text is not None and text not in wrong]
    assert unexpected("column_values_to_not_match_regex", "code", regex) == right


def test_random_regular_expressions_mean_in_polars_what_they_mean_in_python():
    rng = random.Random(7)
    parts = [
        "a",
        "1",
        ".",
        r"\d",
        r"\w",
        r"\s",
        r"\D",
        r"\W",
        r"\S",
        "[ab]",
        "[^a]",
        r"[\d_]",
        r"[^\w-]",
        "é",
        "$",
        "^",
    ]
    parts += ["(a|b)", "(?:a1)?", "a*", "b+", "a{1,2}", r"\.", r"[^\d\n]", r"\n", "x??", r"\Z", r"\A", r"[\W1]"]
    texts = ["", "a", "b", "ab", "a\n", "\n", "a1", "é", "٣", "½", "_", "\x1c", "a b", "aa\nb", "\u0301", "🎉", "ⅷ"]
    series, tried = pl.Series(texts), 0
    for _ in range(1500):
        regex = "".join(rng.choice(parts) for _ in range(rng.randint(1, 4)))
        try:
            wanted = [re.search(regex, text) is not None for text in texts]
        except re.error:
            continue
        written = portable_regex(regex, end=r"\z", unicode_classes=True)
        if written is not None:
            tried += 1
            assert series.str.contains(written).to_list() == wanted, (regex, written)
    assert tried > 1000


def test_values_that_are_no_text_are_judged_by_their_python_text():
    assert unexpected("column_values_to_match_regex", "number", "0$") == [1, 4, 5]
    assert unexpected("column_values_to_match_regex", "real", r"^\d\.\d$") == [1e20, "Infinity"]
    assert unexpected("column_values_to_match_regex", "flag", "^True$") == [False]
    assert unexpected("column_values_to_not_match_regex", "price", r"\.00$") == [2.0, 10.0]
    assert unexpected("column_values_to_match_regex", "kind", "a") == ["b", "b"]
    assert run("column_values_to_match_regex", "none", "a").success
    assert run("column_values_to_match_regex", "code").success  # GX's default finds anything


def test_a_regular_expression_over_times_is_refused_as_unsupported():
    result = run("column_values_to_match_regex", "at", "2024")

    assert not result.success
    assert result.is_unsupported
    assert "needs text" in result.problem


@pytest.mark.parametrize("regex", ["(", "a{99999999999999999999}", "[z-a]"])
def test_what_is_no_regular_expression_fails_and_says_so(regex):
    result = run("column_values_to_match_regex", "code", regex)

    assert not result.success
    assert "is no regular expression" in result.problem


def test_lists_of_regular_expressions():
    assert unexpected("column_values_to_match_regex_list", "code", [r"^A", r"\d$"]) == ["x\n", ""]
    assert unexpected("column_values_to_match_regex_list", "code", [r"^A", r"\d$"], match_on="all") == [
        "cd2",
        "é٣",
        "x\n",
        "",
    ]
    assert unexpected("column_values_to_not_match_regex_list", "code", [r"^A", r"\s"]) == ["AB1", "x\n"]
    assert run("column_values_to_not_match_regex_list", "code", ["Q"]).success
    for arguments in ({"regex_list": []}, {"regex_list": ["a"], "match_on": "some"}, {"regex_list": "a"}):
        with pytest.raises(ProjectError, match=r"regex_list|match_on"):
            Suite("one").expect_column_values_to_match_regex_list("code", **arguments)


@pytest.mark.parametrize(
    ("pattern", "escape", "right"),
    [
        ("A%", None, ["AB1"]),
        ("a%", None, []),
        ("_d_", None, ["cd2"]),
        ("%", None, ["AB1", "cd2", "é٣", "x\n", ""]),
        ("__", None, ["é٣", "x\n"]),
        ("", None, [""]),
        ("A\\B%", None, []),
        ("A!B1", "!", ["AB1"]),
        ("A!%", "!", []),
    ],
)
def test_like_is_the_whole_text_with_case(pattern, escape, right):
    more = {"escape": escape} if escape else {}
    assert unexpected("column_values_to_not_match_like_pattern", "code", pattern, **more) == right
    wrong = unexpected("column_values_to_match_like_pattern", "code", pattern, **more)
    assert wrong == [text for text in TABLE["code"].to_pylist() if text is not None and text not in right]


def test_like_escapes_and_lists():
    table = pa.table({"s": ["100%", "100", "a_c", "abc", "a!c"]})
    assert unexpected("column_values_to_match_like_pattern", "s", "100!%", escape="!", table=table) == [
        "100",
        "a_c",
        "abc",
        "a!c",
    ]
    assert unexpected("column_values_to_match_like_pattern_list", "s", ["a%", "%c"], match_on="all", table=table) == [
        "100%",
        "100",
    ]
    assert unexpected("column_values_to_match_like_pattern_list", "s", ["a~_%", "1%"], escape="~", table=table) == [
        "abc",
        "a!c",
    ]
    assert unexpected("column_values_to_not_match_like_pattern_list", "s", ["a_c"], table=table) == [
        "a_c",
        "abc",
        "a!c",
    ]
    with pytest.raises(ProjectError, match="escape='ab' is not one character"):
        Suite("one").expect_column_values_to_match_like_pattern("s", "a", escape="ab")


def test_formats_of_times():
    assert unexpected("column_values_to_match_strftime_format", "day", "%Y-%m-%d") == [
        "2024-02-30",
        "31.01.2024",
        "Monday",
        "",
    ]
    assert run("column_values_to_match_strftime_format", "day", "%d.%m.%Y", mostly=0.2).success
    assert not run("column_values_to_match_strftime_format", "day", "%d.%m.%Y", mostly=0.21).success
    assert unexpected("column_values_to_be_dateutil_parseable", "day") == ["2024-02-30", ""]
    result = run("column_values_to_match_strftime_format", "day", "%D")
    assert not result.success
    assert "no format that can be read back" in result.problem


def test_times_are_not_of_a_format_and_no_values_are_of_any():
    for rule, arguments in (
        ("column_values_to_match_strftime_format", {"strftime_format": "%Y"}),
        ("column_values_to_be_dateutil_parseable", {}),
        ("column_values_to_match_json_schema", {"json_schema": {}}),
    ):
        result = run(rule, "at", **arguments)
        assert not result.success
        assert "text" in result.problem
        assert run(rule, "none", **arguments).success
        empty = TABLE.select(["at"]).filter(pa.array([False] * 6))
        assert run(rule, "at", table=pa.table({"at": pa.nulls(3, empty.schema.field("at").type)}), **arguments).success


def test_json():
    assert unexpected("column_values_to_be_json_parseable", "json") == []
    assert unexpected("column_values_to_be_json_parseable", "broken") == ["{", "nan", ""]
    assert unexpected("column_values_to_be_json_parseable", "number") == [1, 20, 300, 4, 5]
    assert len(unexpected("column_values_to_be_json_parseable", "bytes")) == 3
    deep = pa.table({"s": ["[" * 100_000]})
    assert len(unexpected("column_values_to_be_json_parseable", "s", table=deep)) == 1


def test_json_schemas():
    schema = {"type": ["object", "array"], "properties": {"a": {"type": "integer"}}, "minItems": 1}
    assert unexpected("column_values_to_match_json_schema", "json", schema) == ["3", '"x"', "null"]
    assert run("column_values_to_match_json_schema", "json", {}).success

    broken = run("column_values_to_match_json_schema", "broken", schema, mostly=0.1)
    assert not broken.success
    assert broken.problem == (
        "the rule could not be evaluated: 3 values of the column 'broken' are no JSON that a schema could judge"
    )
    wrong = run("column_values_to_match_json_schema", "json", {"type": "no type"})
    assert not wrong.success
    assert "json_schema is no JSON schema" in wrong.problem


def test_a_schema_that_refers_to_itself_without_end_gives_no_answer():
    result = run("column_values_to_match_json_schema", "json", {"$ref": "#"})

    assert not result.success
    assert "refers to itself without end" in result.problem


def test_a_schema_that_refers_to_an_address_is_not_fetched():
    result = run("column_values_to_match_json_schema", "json", {"$ref": "http://127.0.0.1:9/schema.json"})

    assert not result.success
    assert result.problem is not None


def test_without_jsonschema_the_rule_is_unsupported_and_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "jsonschema", None)

    result = run("column_values_to_match_json_schema", "json", {})

    assert not result.success
    assert result.is_unsupported
    assert "millrace[gx]" in result.problem


def test_a_rule_on_an_empty_batch_fails_as_a_whole_and_passes_alone():
    table = pa.table({"code": pa.array([], pa.string())})
    suite = Suite("one").add(Expectation("expect_column_values_to_match_regex", {"column": "code", "regex": "a"}))

    result = validate(table, suite)

    assert result.results[0].success
    assert not result.success
