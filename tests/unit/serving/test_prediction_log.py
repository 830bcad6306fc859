import os
import resource
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest

from millrace.core.clock import to_text
from millrace.core.errors import StoreError
from millrace.core.records import Prediction
from millrace.serving.prediction_log import PredictionLog, read_predictions

START = datetime(2024, 5, 1, tzinfo=UTC)


def prediction(number, **changes):
    moment = START + timedelta(hours=number)
    facts = {
        "request_id": f"r{number}",
        "model": "churn",
        "version": 3,
        "at": to_text(START),
        "event_time": to_text(moment),
        "key": {"customer_id": number},
        "features": [1.5, None, True, "free"],
        "output": "yes",
        "scores": [0.25, 0.75],
    }
    return Prediction(**(facts | changes))


def write(folder, predictions, **settings):
    log = PredictionLog(folder, **settings)
    log.append(predictions)
    log.close()
    return log


def test_what_was_answered_is_read_back(tmp_path):
    expected = [prediction(number) for number in range(5)]

    log = write(tmp_path / "new" / "log", expected)

    assert list(read_predictions(tmp_path / "new" / "log")) == expected
    assert log.written == 5


def test_nothing_is_read_where_nothing_was_written(tmp_path):
    assert list(read_predictions(tmp_path / "never")) == []


def test_windows_are_half_open_in_event_time_and_models_are_told_apart(tmp_path):
    write(tmp_path, [*(prediction(number) for number in range(6)), prediction(2, model="other")])

    found = read_predictions(tmp_path, start=START + timedelta(hours=1), end=START + timedelta(hours=3), model="churn")

    assert [entry.request_id for entry in found] == ["r1", "r2"]


def test_a_full_segment_begins_another_and_order_is_kept(tmp_path):
    log = PredictionLog(tmp_path, sync="each", segment_bytes=600)
    for number in range(12):
        log.append([prediction(number)]).result(timeout=10)
    log.close()

    assert len(list(tmp_path.iterdir())) > 2
    assert [entry.request_id for entry in read_predictions(tmp_path)] == [f"r{number}" for number in range(12)]


def test_each_is_on_the_disk_when_its_future_is_done(tmp_path):
    log = PredictionLog(tmp_path, sync="each", interval_ms=60_000)

    log.append([prediction(0)]).result(timeout=10)

    assert len(list(read_predictions(tmp_path))) == 1
    log.close()


def test_values_of_a_feature_store_are_written_as_json_can_say_them(tmp_path):
    values = [np.float32(0.5), np.int64(3), np.bool_(True), float("nan"), Decimal("1.5"), START]

    write(tmp_path, [prediction(0, features=values)])

    (found,) = read_predictions(tmp_path)
    assert found.features == [0.5, 3, True, None, "1.5", "2024-05-01T00:00:00Z"]


def test_what_json_cannot_say_is_counted_and_stops_nothing_else(tmp_path):
    log = write(tmp_path, [prediction(0), prediction(1, request_id="\ud800"), prediction(2)])

    assert [entry.request_id for entry in read_predictions(tmp_path)] == ["r0", "r2"]
    assert (log.written, log.dropped) == (2, 1)


def test_every_tear_of_the_last_line_leaves_the_lines_before(tmp_path):
    write(tmp_path, [prediction(0), prediction(1)])
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    second = whole.index(b"\n") + 1

    for length in range(second, len(whole)):
        path.write_bytes(whole[:length])
        assert [entry.request_id for entry in read_predictions(tmp_path)] == ["r0"]

    write(tmp_path, [prediction(2)])  # the next process does not write behind the tear
    assert [entry.request_id for entry in read_predictions(tmp_path)] == ["r0", "r2"]


def test_a_damaged_whole_line_is_an_error_with_its_place(tmp_path):
    write(tmp_path, [prediction(0), prediction(1)])
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes().replace(b'"version":3', b'"version":x', 1))

    with pytest.raises(StoreError) as caught:
        list(read_predictions(tmp_path))
    assert caught.value.code == "SERVE-30"
    assert caught.value.where == f"{path}:1"


def test_a_reader_beside_a_writer_sees_a_prefix(tmp_path):
    log = PredictionLog(tmp_path, interval_ms=0.1)
    seen = []
    for number in range(300):
        log.append([prediction(number)])
        if number % 20 == 0:
            seen.append([entry.request_id for entry in read_predictions(tmp_path)])
    log.close()

    everything = [f"r{number}" for number in range(300)]
    assert all(entries == everything[: len(entries)] for entries in seen)
    assert [entry.request_id for entry in read_predictions(tmp_path)] == everything


def test_a_killed_process_loses_nothing_it_promised(tmp_path):
    program = f"""
import pathlib, sys
sys.path.insert(0, {os.path.dirname(__file__)!r})
from test_prediction_log import prediction
from millrace.serving.prediction_log import PredictionLog
log = PredictionLog(pathlib.Path({str(tmp_path)!r}), sync="each")
for number in range(10**6):
    log.append([prediction(number % 1000, request_id=f"r{{number}}")]).result()
    print(number, flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        promised = [int(process.stdout.readline()) for _ in range(40)]
        process.send_signal(signal.SIGKILL)
        promised += [int(line) for line in process.stdout.read().splitlines()]

    found = [entry.request_id for entry in read_predictions(tmp_path)]
    assert len(promised) >= 40
    assert found[: len(promised)] == [f"r{number}" for number in promised]
    assert len(found) - len(promised) <= 1  # written, and killed before it could say so


@pytest.fixture
def small_disk():
    """Files of this process can grow to 1,000 bytes only, until `free` is called: the kernel refuses the rest."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def free():
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    yield free
    free()


def test_a_full_disk_is_loud_and_nothing_is_lost_when_it_ends(tmp_path, small_disk, until):
    log = PredictionLog(tmp_path, interval_ms=1)
    log.append(prediction(number) for number in range(20))
    until(lambda: log.is_failing)
    assert log.error.code == "STORE-01"
    assert log.failures >= 1
    assert list(read_predictions(tmp_path)) == []  # the half that fitted was taken back

    log.append([prediction(20)])
    small_disk()
    until(lambda: not log.is_failing)
    log.close()

    assert [entry.request_id for entry in read_predictions(tmp_path)] == [f"r{number}" for number in range(21)]
    assert (log.written, log.dropped) == (21, 0)


def test_on_a_full_disk_memory_is_bounded_and_the_oldest_go(tmp_path, small_disk, until):
    log = PredictionLog(tmp_path, interval_ms=1, capacity=5)
    log.append(prediction(number) for number in range(20))
    until(lambda: log.dropped == 15)
    small_disk()
    log.close()

    assert [entry.request_id for entry in read_predictions(tmp_path)] == [f"r{number}" for number in range(15, 20)]


def test_each_tells_its_caller_that_the_disk_refused(tmp_path, small_disk):
    log = PredictionLog(tmp_path, sync="each")

    with pytest.raises(StoreError) as caught:
        log.append(prediction(number) for number in range(20)).result(timeout=10)
    assert caught.value.code == "STORE-01"

    small_disk()
    log.append([prediction(30)]).result(timeout=10)
    log.close()
    assert [entry.request_id for entry in read_predictions(tmp_path)] == ["r30"]


def test_a_folder_that_cannot_be_made_is_loud(tmp_path, until):
    (tmp_path / "log").write_text("a file")
    log = PredictionLog(tmp_path / "log", interval_ms=1)
    log.append([prediction(0)])
    until(lambda: log.is_failing)
    log.close()

    assert log.error.code == "STORE-04"


def test_a_caller_that_has_gone_stops_nothing(tmp_path):
    log = PredictionLog(tmp_path, sync="each", interval_ms=60_000)
    gone = log.append([prediction(0)])
    gone.cancel()

    log.append([prediction(1)]).result(timeout=10)
    log.close()

    assert [entry.request_id for entry in read_predictions(tmp_path)] == ["r0", "r1"]


def test_what_the_disk_refused_stays_before_what_came_meanwhile(tmp_path):
    log = PredictionLog(tmp_path)
    log.close()
    log.append([prediction(1), prediction(2)])
    refused = [log._queue.popleft()]

    log._keep(refused)

    assert [line.request_id for line in log._queue] == ["r1", "r2"]
