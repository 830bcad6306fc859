"""The words: errors, durations, verdicts, clock."""

import pickle
from datetime import UTC, datetime, timedelta, timezone

import pytest

from millrace.core.clock import as_utc, from_micros, from_text, to_micros, to_text
from millrace.core.duration import format_duration, parse_duration
from millrace.core.errors import Conflict, DataError, ProjectError, did_you_mean, nearest
from millrace.core.ids import canonical_json, digest_json
from millrace.core.verdict import Verdict


def test_an_error_says_what_where_why_and_how_to_fix():
    error = DataError(
        "DATA-02",
        "the file has no column 'customer_id'",
        where="data/orders.parquet",
        why="it has 'customerId'",
        fix="rename it",
        findings=[DataError("DATA-03", "and it is empty")],
    )

    assert error.render().splitlines() == [
        "DATA-02  the file has no column 'customer_id'",
        "  where  data/orders.parquet",
        "  why    it has 'customerId'",
        "  fix    rename it",
        "  DATA-03  and it is empty",
    ]
    assert "\x1b" not in error.render()
    assert "\x1b" in error.render(color=True)
    assert error.to_dict()["findings"] == [{"code": "DATA-03", "what": "and it is empty"}]


def test_an_error_crosses_a_process_whole():
    error = Conflict("LEASE-01", "held", fix="wait", findings=[DataError("DATA-03", "empty")])

    copy = pickle.loads(pickle.dumps(error))

    assert type(copy) is Conflict
    assert copy.to_dict() == error.to_dict()
    assert copy.exit_code == 3


def test_the_nearest_name_is_offered():
    assert nearest("acuracy", ["accuracy", "recall"]) == "accuracy"
    assert nearest("customerid", ["customerID"]) == "customerID"
    assert nearest("zzz", ["accuracy"]) is None
    assert did_you_mean("zzz", ["b", "a"]) == "one of: a, b"
    assert did_you_mean("zzz", [f"a{place:02}" for place in range(23)]).endswith(", a19 and 3 more")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("90m", 5400), ("24h", 86400), ("7d", 604800), ("1w", 604800), ("1.5h", 5400), (5, 5)],
)
def test_durations(text, seconds):
    assert parse_duration(text) == timedelta(seconds=seconds)
    assert parse_duration(format_duration(timedelta(seconds=seconds))) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "7", "7 days", "-3d", "d", None, True])
def test_what_is_no_duration_says_the_form(text):
    with pytest.raises(ProjectError, match="PROJ-10"):
        parse_duration(text)


def test_a_verdict_is_never_a_bare_bool():
    with pytest.raises(TypeError, match="is_pass"):
        bool(Verdict("gate.x", "pass", "fine"))


def test_times_are_utc_and_exact():
    moment = datetime(2024, 3, 31, 1, 30, 0, 123457, tzinfo=timezone(timedelta(hours=2)))

    assert as_utc(datetime(2024, 1, 1)).tzinfo is UTC  # noqa: DTZ001 - a naive time is the case under test
    assert from_text(to_text(moment)) == moment
    assert from_micros(to_micros(moment)) == moment


def test_equal_values_have_equal_digests():
    assert digest_json({"a": 1, "b": [1.5]}) == digest_json({"b": [1.5], "a": 1})
    with pytest.raises(ValueError):
        canonical_json(float("nan"))
