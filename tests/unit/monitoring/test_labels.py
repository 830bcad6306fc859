"""Labels find their predictions, however late, repeated or corrected they come."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from millrace.core.errors import DataError
from millrace.monitoring.labels import join_labels

DAY = datetime(2024, 1, 1, tzinfo=UTC)


def prediction(hour, output="UP", *, entity=1, at="2024-01-01T00:00:00Z", version=1):
    event_time = (DAY + timedelta(hours=hour)).isoformat()
    return {
        "key": {"id": entity},
        "event_time": event_time,
        "at": at,
        "output": output,
        "scores": [],
        "version": version,
    }


def label(hour, value="UP", *, entity=1):
    return {"id": entity, "moment": DAY + timedelta(hours=hour), "y": value}


def join(predictions, labels, **options):
    return join_labels(predictions, labels, key=["id"], event_time="moment", label="y", **options)


def test_matches_by_key_and_time_and_counts_what_is_missing():
    joined = join(
        [prediction(1), prediction(2, "DOWN"), prediction(3), prediction(1, entity=2)],
        [label(1), label(2), label(1, "DOWN", entity=2), label(9)],
    )

    assert [(m.output, m.label) for m in joined.matches] == [("UP", "UP"), ("UP", "DOWN"), ("DOWN", "UP")]
    assert (joined.predictions, joined.coverage) == (4, 0.75)


def test_times_are_compared_as_moments_in_any_zone():
    local = timezone(timedelta(hours=10))
    row = {"id": 1, "moment": (DAY + timedelta(hours=1)).astimezone(local), "y": "UP"}
    naive = {"id": 1, "moment": datetime(2024, 1, 1, 2), "y": "DOWN"}  # noqa: DTZ001 - a naive time is UTC

    assert [m.label for m in join([prediction(1), prediction(2)], [row, naive]).matches] == ["UP", "DOWN"]


def test_the_window_is_half_open():
    start, end = DAY + timedelta(hours=1), DAY + timedelta(hours=3)
    joined = join([prediction(h) for h in range(5)], [label(h) for h in range(5)], start=start, end=end)

    assert [m.event_time for m in joined.matches] == [start, DAY + timedelta(hours=2)]
    assert joined.predictions == 2


def test_a_repeated_request_counts_once_with_its_last_answer():
    asked = [
        prediction(1, "DOWN", at="2024-01-01T00:00:02Z"),
        prediction(1, "UP", at="2024-01-01T00:00:01Z"),
    ]
    joined = join(asked, [label(1)])

    assert [m.output for m in joined.matches] == ["DOWN"]
    assert (joined.predictions, joined.repeated) == (1, 1)


@pytest.mark.parametrize("nothing", [None, float("nan")])
def test_a_corrected_label_replaces_the_first_and_a_null_is_none(nothing):
    joined = join([prediction(1), prediction(2)], [label(1, "UP"), label(1, "DOWN"), label(2, "UP"), label(2, nothing)])

    assert [m.label for m in joined.matches] == ["DOWN"]


def test_another_version_does_not_answer_for_this_one():
    joined = join([prediction(1, version=1), prediction(2, version=2)], [label(1), label(2)], version=2)

    assert [m.version for m in joined.matches] == [2]
    assert joined.predictions == 1


def test_without_predictions_there_is_no_coverage():
    assert join([], [label(1)]).coverage is None


def test_a_missing_label_column_names_the_nearest():
    with pytest.raises(DataError) as caught:
        join([prediction(1)], [{"id": 1, "momen": DAY, "y": "UP"}])

    assert (caught.value.code, caught.value.fix) == ("MON-01", "did you mean 'momen'?")


def test_a_time_that_is_none_is_refused():
    with pytest.raises(DataError) as caught:
        join([prediction(1)], [{"id": 1, "moment": "soon", "y": "UP"}])

    assert caught.value.code == "MON-02"
