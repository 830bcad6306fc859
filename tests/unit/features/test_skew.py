"""From served and recomputed values to a report: what is late, what is stale, and what is skew."""

import pytest

from millrace.features.checks.skew import EXAMPLES, UNKNOWN, ServedFeature, SkewReport, is_same, measure_skew


def measure(served, known, **more):
    places = [{"request_id": f"r{place}"} for place in range(len(served))]
    (found,) = measure_skew([ServedFeature("v:x", served, known, places, **more)])
    return found


def test_equal_values_are_no_skew():
    found = measure([1, 2.5, None, "a", True], [1.0, 2.5, None, "a", True])

    assert (found.compared, found.equal, found.different, found.share, found.examples) == (5, 5, 0, 0.0, [])
    assert found.largest_absolute is None


def test_differences_are_measured_and_shown():
    found = measure([1.0, 5.0, None, 3.0], [1.0, 4.0, 2.0, 0.0])

    assert (found.different, found.null_on_one_side, found.share) == (3, 1, 0.75)
    assert (found.largest_absolute, found.largest_relative) == (3.0, 0.25)
    assert found.examples[0] == {"request_id": "r1", "served": 5.0, "known": 4.0, "is_stale": False}


def test_what_came_later_is_late_and_no_skew():
    found = measure([1.0, 1.0, 2.0], [1.0, 1.0, 1.0], complete=[1.0, 2.0, 2.0])

    assert (found.equal, found.late, found.different) == (2, 1, 1)


def test_what_was_not_online_yet_is_stale():
    found = measure([1.0, 1.0, 1.0], [2.0, 2.0, 2.0], online=[1.0, 3.0, UNKNOWN])

    assert (found.different, found.stale) == (3, 1)
    assert [one["is_stale"] for one in found.examples] == [True, False, False]


def test_an_example_that_nothing_explains_is_kept_beside_many_that_are_stale():
    found = measure([1.0] * 20, [2.0] * 20, online=[*[1.0] * 19, 5.0])

    assert len(found.examples) == EXAMPLES
    assert found.examples[-1]["request_id"] == "r19"


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (3, 3.0, True),
        (True, 1, True),
        (float("nan"), None, True),
        (None, 0, False),
        ("3", 3, False),
        (0.1 + 0.2, 0.3, False),
        (2**53 + 1, 2**53, False),
        (float("inf"), float("inf"), True),
    ],
)
def test_same_is_what_a_model_sees(one, other, expected):
    assert is_same(one, other) is is_same(other, one) is expected


def test_the_limit_decides():
    found = measure([1.0, 2.0], [1.0, 1.0])

    def outcome(limit):
        return SkewReport("m", (found,), 2, limit).outcome

    assert [outcome(limit) for limit in (0.0, 0.49, 0.5)] == ["different", "different", "same"]
    assert SkewReport("m", (), 2, 0.0).outcome == "nothing"
