"""GX's two forms of a result format, and what is wrong with one."""

import enum

import pytest

from millrace.core.errors import DataError
from millrace.validation.result_format import ResultFormat


def test_a_level_is_a_format():
    found = ResultFormat.of("COMPLETE")
    assert (found.level, found.partial_unexpected_count, found.has_query) == ("COMPLETE", 20, True)
    assert found.unexpected_index_column_names is None


def test_a_level_of_gx_is_an_enumeration():
    class Theirs(enum.StrEnum):
        BASIC = "BASIC"

    assert ResultFormat.of(Theirs.BASIC).level == "BASIC"


def test_the_object_of_settings_is_read_and_written():
    settings = {
        "result_format": "COMPLETE",
        "unexpected_index_column_names": ["id"],
        "partial_unexpected_count": 0,
        "include_unexpected_rows": True,
        "return_unexpected_index_query": False,
    }
    found = ResultFormat.of(settings)
    assert found.unexpected_index_column_names == ("id",)
    assert not found.has_query
    assert ResultFormat.of(found) is found
    assert ResultFormat.of(found.to_dict()) == found


def test_a_query_may_be_asked_for_at_any_level():
    assert ResultFormat.of({"result_format": "BASIC", "return_unexpected_index_query": True}).has_query
    assert not ResultFormat.of("BASIC").has_query


def test_without_a_level_the_object_means_a_summary():
    assert ResultFormat.of({"partial_unexpected_count": 3}).level == "SUMMARY"


def test_everything_that_is_wrong_is_said_at_once():
    with pytest.raises(DataError) as caught:
        ResultFormat.of(
            {
                "result_format": "COMPLET",
                "partial_unexpected_count": -1,
                "unexpected_index_column_names": "id",
                "include_unexpected_row": True,
                "exclude_unexpected_values": "no",
            }
        )
    text = str(caught.value)
    assert caught.value.code == "VALID-50"
    for part in ("'COMPLETE'", "-1", "'id'", "'include_unexpected_rows'", "'no', not true or false"):
        assert part in text


def test_rows_need_a_level_beside_them_as_in_gx():
    with pytest.raises(DataError, match="VALID-50"):
        ResultFormat.of({"include_unexpected_rows": True})


@pytest.mark.parametrize("given", [None, 3, "summary"])
def test_what_is_no_format_is_refused(given):
    with pytest.raises(DataError, match="VALID-50"):
        ResultFormat.of(given)
