"""Regular expressions on rows that strangers send: none holds the server."""

import logging
import re
import subprocess
import sys

import pytest

from millrace.validation.rows import bounded_search as module
from millrace.validation.rows.bounded_search import bounded_search, longest_text
from millrace.validation.rows.checker import RowChecker
from millrace.validation.suite import Suite

LONG = "a" * 100_000

RISKY = [
    r"(a+)+$",
    r"^(a|aa)+$",
    r"^([a-z]+)*$",
    r"a+$",
    r"^\s*(.*?)\s*b$",
    r"(a?){40}a{40}b",
    "a?" * 40 + "a" * 40 + "b",
]


@pytest.mark.parametrize("pattern", RISKY)
def test_a_text_that_python_would_search_for_hours_is_judged(pattern):
    suite = Suite("names").expect_column_values_to_not_match_regex("name", pattern)
    checker = RowChecker(suite)

    assert checker.is_clean({"name": LONG + "!"})
    assert not checker.is_clean({"name": "a" * 90 + ("b" if "b" in pattern else "")})


def test_a_pattern_of_like_with_many_wild_signs_is_judged():
    checker = RowChecker(
        Suite("names").expect_column_values_to_not_match_like_pattern("name", "%a" * 12 + "!%", escape="!")
    )

    assert checker.is_clean({"name": LONG})
    assert not checker.is_clean({"name": LONG + "%"})


@pytest.mark.parametrize(
    ("pattern", "longest"),
    [
        (r"^[A-Z]{2}\d{6}$", float("inf")),
        (r"^\w+$", float("inf")),
        (r"colou?r", float("inf")),
        (r"^(\d+-)+$", float("inf")),
        (r"^[\w.+-]+@[\w-]+(\.[\w-]+)+$", 100),
        (r"^([a-z]+ )*[a-z]+$", 1000),
        (r"^([a-z ]+ )*$", 0),  # the mark may stand between marks
        (r"^(\w+\d)*$", 0),
        (r"(?i)^(k[A-Z]+)*$", 0),  # the mark in its other case is no mark
        (r"(x+x+)+y", 0),
        (r"(?:x{1,9}){1,9}y", 0),
        (r"(?:(a+)+){0}b", float("inf")),
    ],
)
def test_how_long_a_text_may_be_follows_from_the_pattern(pattern, longest):
    assert longest_text(pattern) == longest


@pytest.mark.parametrize(
    "leaf", [r"\d", r"\D", r"\w", r"\W", r"\s", r"\S", "a", "[^a]", "[a-c]", "[^a-c1]", r"[\d_]", r"[^\W1]", "."]
)
def test_what_a_part_takes_is_what_python_takes(leaf):
    (node,) = module.sre_parser.parse(leaf)

    for sign in "ab1_- \x1fé²٣\n":
        assert module._takes(node, sign) or not re.fullmatch(leaf, sign)
        assert leaf == "." or module._takes(node, sign) == bool(re.fullmatch(leaf, sign))


def test_what_only_python_knows_is_searched_by_it_and_named_in_the_log(caplog):
    with caplog.at_level(logging.WARNING, "millrace.validation"):
        search = bounded_search(r"^(?!x)(a+)+b")
        bounded_search(r"(?i)^[a-z]+$")

    assert [bool(search(text)) for text in ("aab", "xab")] == [True, False]
    assert [record.args for record in caplog.records] == [(r"^(?!x)(a+)+b",)]


def test_half_a_surrogate_pair_is_a_sign_like_another():
    assert bounded_search(r"^(a+.)+$")("aa\ud800")
    assert not bounded_search(r"^(a+\w)+$")("aa\ud800")


def test_polars_is_loaded_only_for_a_pattern_that_needs_it():
    program = """
import sys
from millrace.validation.rows.bounded_search import bounded_search
bounded_search(r"^[A-Z]{2}\\d{6}$")("AB123456")
print("polars" in sys.modules)
bounded_search("(a+)+$")
print("polars" in sys.modules)
"""
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert told.stdout.split() == ["False", "True"]
