from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from millrace.core.clock import ManualClock
from millrace.core.errors import StoreError
from millrace.serving.app import App
from millrace.serving.predictor import load_predictor, read_manifest
from millrace.serving.slot import Slot
from millrace.serving.watcher import ReleaseWatcher


class Shelf:
    """What a ledger and a blob store do for a watcher, counting the loads."""

    def __init__(self, blobs):
        self.release = None
        self.loaded = []
        self._blobs = blobs

    def current(self):
        if isinstance(self.release, Exception):
            raise self.release
        return self.release

    def load(self, digest):
        self.loaded.append(digest)
        return load_predictor(read_manifest(digest, self._blobs), self._blobs)


@pytest.fixture
def shelf(blobs):
    return Shelf(blobs)


@pytest.fixture
def slot():
    return Slot()


@pytest.fixture
def watcher(slot, shelf):
    return ReleaseWatcher(slot, shelf.current, shelf.load)


def _damage(blobs, digest):
    path = blobs.get_file(digest)
    whole = path.read_bytes()
    path.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
    return lambda: path.write_bytes(whole)


def test_nothing_is_served_before_the_first_release(watcher, slot):
    assert watcher.poll() is False
    assert slot.current is None
    assert slot.failure is None


def test_a_release_is_loaded_once(watcher, slot, shelf, make_release):
    shelf.release = make_release(1)

    assert [watcher.poll() for _ in range(3)] == [True, False, False]
    assert slot.current.release == shelf.release
    assert shelf.loaded == [shelf.release.digest]
    assert slot.swaps == 0


def test_a_rollback_to_the_model_before_loads_nothing(watcher, slot, shelf, make_release):
    first, second = make_release(1), make_release(2)
    for shelf.release in (first, second):
        watcher.poll()
    before = slot.previous.predictor
    shelf.release = make_release(1, number=3)
    assert watcher.poll() is True

    assert slot.current.predictor is before
    assert slot.current.release.number == 3
    assert slot.previous.release == second
    assert len(shelf.loaded) == 2
    assert slot.swaps == 2


def test_the_same_model_released_again_keeps_the_one_before_warm(watcher, slot, shelf, make_release):
    for shelf.release in (make_release(1), make_release(2), make_release(2, number=3)):
        watcher.poll()

    assert slot.current.release.number == 3
    assert slot.previous.release.version == 1
    assert slot.swaps == 1


def test_a_changed_bundle_is_refused_and_the_old_model_stays(watcher, slot, shelf, blobs, make_release):
    shelf.release = first = make_release(1)
    watcher.poll()
    shelf.release = make_release(2)
    _damage(blobs, shelf.release.digest)

    assert watcher.poll() is False

    assert slot.current.release == first
    assert slot.failure["code"] == "BLOB-02"
    assert (slot.failure["release"], slot.failure["version"]) == (2, 2)
    assert slot.current.predictor.predict([[1.0, 1, True]]).outputs == ["yes-1"]


def test_a_refused_release_is_tried_again_later_and_served_when_mended(
    watcher, slot, shelf, blobs, make_release, monkeypatch
):
    seconds = [100.0]
    monkeypatch.setattr("millrace.serving.watcher.time", SimpleNamespace(monotonic=lambda: seconds[0]))
    shelf.release = make_release(1)
    mend = _damage(blobs, shelf.release.digest)
    tries = []
    for _ in range(40):
        watcher.poll()
        tries.append(len(shelf.loaded))
        seconds[0] += 0.25
    assert tries[:4] == [1, 1, 2, 2]
    assert tries[-1] == 5  # after 0, 0.5, 1.5, 3.5 and 7.5 of ten seconds

    mend()
    seconds[0] += 60
    assert watcher.poll() is True
    assert slot.failure is None


def test_a_new_release_does_not_wait_for_the_refused_one(watcher, slot, shelf, blobs, make_release):
    shelf.release = make_release(1)
    _damage(blobs, shelf.release.digest)
    watcher.poll()
    shelf.release = make_release(2)

    assert watcher.poll() is True
    assert slot.failure is None


def test_going_back_to_what_is_served_ends_the_failure(watcher, slot, shelf, blobs, make_release):
    shelf.release = first = make_release(1)
    watcher.poll()
    shelf.release = make_release(2)
    _damage(blobs, shelf.release.digest)
    watcher.poll()
    shelf.release = first
    watcher.poll()

    assert slot.failure is None


@pytest.mark.parametrize("error", [StoreError("LEDGER-01", "locked"), ZeroDivisionError("oops")])
def test_a_ledger_that_cannot_be_read_stops_nothing(watcher, slot, shelf, make_release, error):
    shelf.release = first = make_release(1)
    watcher.poll()
    shelf.release = error
    assert watcher.poll() is False
    assert slot.current.release == first
    assert slot.failure["code"] in ("LEDGER-01", "SERVE-05")

    shelf.release = first
    watcher.poll()
    assert slot.failure is None


@pytest.fixture
def app(slot):
    return App(slot, clock=ManualClock(datetime(2024, 5, 1, tzinfo=UTC)))


def test_a_withdrawn_release_answers_nobody(watcher, slot, shelf, make_release, app, ask):
    given = {"inputs": {"amount": 3.0, "orders": 2, "is_new": True}}
    shelf.release = make_release(1)
    watcher.poll()
    before = [ask(app, "POST", "/predict", given).status, ask(app, "GET", "/ready").status]
    shelf.release = None
    polls = [watcher.poll(), watcher.poll()]
    refused = ask(app, "POST", "/predict", given)

    assert before == [200, 200]
    assert polls == [True, False]
    assert slot.current is None
    assert refused.status == ask(app, "GET", "/ready").status == 503
    assert refused.json()["error"]["code"] == "SERVE-02"
    assert ask(app, "GET", "/health").json()["digest"] is None


def test_a_withdrawn_model_that_is_released_again_is_still_warm(watcher, slot, shelf, make_release):
    for shelf.release in (make_release(1), None, make_release(1, number=2)):
        watcher.poll()

    assert (slot.current.release.number, slot.previous) == (2, None)
    assert len(shelf.loaded) == 1


def test_after_a_withdrawal_another_model_is_served(watcher, slot, shelf, make_release):
    for shelf.release in (make_release(1), None, make_release(2)):
        watcher.poll()

    assert (slot.current.release.version, slot.previous.release.version) == (2, 1)


def test_a_withdrawn_release_that_could_not_be_loaded_fails_no_longer(watcher, slot, shelf, blobs, make_release):
    shelf.release = make_release(1)
    _damage(blobs, shelf.release.digest)
    watcher.poll()
    assert slot.failure["code"] == "BLOB-02"
    shelf.release = None
    watcher.poll()

    assert slot.failure is None


def test_a_bundle_that_cannot_answer_its_example_is_not_served(watcher, slot, shelf, make_release):
    shelf.release = first = make_release(1, lineage={"example": [1.0, 2, True]})
    watcher.poll()
    shelf.release = make_release(2, lineage={"example": ["text", 2, True]})
    watcher.poll()

    assert slot.current.release == first
    assert slot.failure["code"] == "SERVE-08"


def test_a_swap_is_one_assignment(shelf, make_release):
    class Recorded(Slot):
        def __setattr__(self, name, value):
            assigned.append((name, value))
            super().__setattr__(name, value)

    assigned = []
    slot = Recorded()
    watcher = ReleaseWatcher(slot, shelf.current, shelf.load)
    for shelf.release in (make_release(1), make_release(2)):
        watcher.poll()

    served = [value and value.release.version for name, value in assigned if name == "current"]
    assert served == [None, 1, 2]
