"""The ledger keeps what happened, in order, and shows when somebody changed it."""

import multiprocessing
import os
import signal
import sqlite3
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from millrace.core.clock import ManualClock
from millrace.core.errors import Conflict, StoreError
from millrace.store.ledger import Ledger
from millrace.store.outbox import FIRST_DELAY_S


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/ledger.db"


@pytest.fixture
def ledger(url):
    ledger = Ledger.open(url, ManualClock(datetime(2024, 1, 1, tzinfo=UTC)))
    yield ledger
    ledger.close()


def test_events_come_back_in_order_with_their_facts(ledger):
    ledger.append("run", "churn", {"n": 1})
    ledger.append("alert", "churn", {"n": 2})
    ledger.append("run", "other", {"n": 3})

    assert [event.body["n"] for event in ledger.events()] == [1, 2, 3]
    assert [event.body["n"] for event in ledger.events("run")] == [1, 3]
    assert [event.body["n"] for event in ledger.events("alert", "churn")] == [2]
    assert [event.body["n"] for event in ledger.events(last=2)] == [2, 3]
    assert ledger.events()[0].at == "2024-01-01T00:00:00.000000Z"


def test_a_key_decides_once(ledger):
    first = ledger.append("trigger", "churn", {"reason": "drift"}, key="t1")
    second = ledger.append("trigger", "churn", {"reason": "schedule"}, key="t1")

    assert first.is_new
    assert not second.is_new
    assert second.body == {"reason": "drift"}
    assert len(ledger.events()) == 1


def test_state_moves_by_compare_and_swap(ledger):
    ledger.append("alias", "churn", {}, sets=[("alias", "churn/champion", {"version": 1})])
    ledger.append(
        "alias",
        "churn",
        {},
        sets=[("alias", "churn/champion", {"version": 2})],
        expected={("alias", "churn/champion"): 1},
    )
    with pytest.raises(Conflict, match="LEDGER-01"):
        ledger.append(
            "alias",
            "churn",
            {},
            sets=[("alias", "churn/champion", {"version": 3})],
            expected={("alias", "churn/champion"): 1},
        )

    state = ledger.state("alias", "churn/champion")
    assert (state.value, state.generation) == ({"version": 2}, 2)
    assert len(ledger.events()) == 2


def test_nothing_stays_of_a_block_that_raises(ledger):
    with pytest.raises(RuntimeError), ledger.transaction() as transaction:
        transaction.append("run", "churn", {}, sets=[("run", "r1", {"status": "running"})])
        raise RuntimeError("stop")

    assert ledger.events() == []
    assert ledger.state("run", "r1") is None
    assert ledger.verify().is_intact


def test_verify_holds_and_counts(ledger):
    for n in range(20):
        ledger.append("run", "churn", {"n": n}, sets=[("run", str(n % 3), {"n": n})])

    found = ledger.verify()

    assert found.is_intact
    assert found.events == 20


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("UPDATE event SET body = '{\"n\":99}' WHERE seq = 3", "event 3 (run churn) was changed"),
        ("DELETE FROM event WHERE seq = 3", "event 3 is missing"),
        ("DELETE FROM event WHERE seq = 5", "the ledger ends at event 4"),
        ("UPDATE event SET at = '2020' WHERE seq = 1", "event 1 (run churn) was changed"),
        ("UPDATE state SET value = '{\"n\":0}'", "state run 'r' does not follow"),
        ("DELETE FROM state", "state run 'r' does not follow"),
        ("UPDATE event SET sets = 'x' WHERE seq = 2", "event 2 is not readable"),
    ],
)
def test_verify_names_every_kind_of_damage(ledger, tmp_path, damage, said):
    for n in range(5):
        ledger.append("run", "churn", {"n": n}, sets=[("run", "r", {"n": n})])
    other = sqlite3.connect(tmp_path / "ledger.db")
    other.execute(damage)
    other.commit()
    other.close()

    found = ledger.verify()

    assert not found.is_intact
    assert any(said in problem for problem in found.problems), found.problems


def test_verify_gives_no_false_alarm_while_somebody_writes(url):
    ledger = Ledger.open(url)
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=_write_forever, args=(url,))
    process.start()
    try:
        counts, problems = [0], []
        while len(counts) <= 20:
            found = ledger.verify()
            problems.extend(found.problems)
            if found.events > counts[-1]:  # only what was verified while the writer went on counts
                counts.append(found.events)
            assert process.is_alive()
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.join()

    assert problems == []


def test_a_file_that_is_not_a_ledger_is_told_apart(tmp_path):
    (tmp_path / "ledger.db").write_bytes(b"this was a ledger once" * 500)

    with pytest.raises(StoreError, match="STORE-03") as caught:
        Ledger.open(f"sqlite:///{tmp_path}/ledger.db")

    assert caught.value.fix


def test_a_damaged_page_is_told_apart(url, tmp_path):
    ledger = Ledger.open(url)
    for n in range(300):
        ledger.append("run", "churn", {"n": n, "text": "x" * 200})
    ledger.database.read("PRAGMA wal_checkpoint(TRUNCATE)")
    ledger.close()
    path = tmp_path / "ledger.db"
    data = bytearray(path.read_bytes())
    data[4096 * 4 : 4096 * 12] = os.urandom(4096 * 8)
    path.write_bytes(data)

    with pytest.raises(StoreError) as caught:
        found = Ledger.open(url).verify()
        assert not found.is_intact
        raise StoreError("LEDGER-02", "shown by verify")

    assert caught.value.code in {"STORE-03", "LEDGER-02"}


def _race(url, start, results):
    ledger = Ledger.open(url)
    start.wait()
    event = ledger.append("decision", "churn", {"pid": os.getpid()}, key="only-one")
    results.put((os.getpid(), event.is_new, event.body["pid"]))


def test_of_two_processes_one_wins_and_the_others_learn_so(url):
    Ledger.open(url)
    context = multiprocessing.get_context("spawn")
    start, results = context.Event(), context.Queue()
    processes = [context.Process(target=_race, args=(url, start, results)) for _ in range(4)]
    for process in processes:
        process.start()
    start.set()
    answers = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()

    winners = [pid for pid, is_new, _ in answers if is_new]
    assert len(winners) == 1
    assert {winners[0]} == {told for _, _, told in answers}
    assert len(Ledger.open(url).events()) == 1


def _write_forever(url):
    ledger = Ledger.open(url)
    n = 0
    while True:
        ledger.append("tick", "churn", {"n": n}, sets=[("tick", "churn", {"n": n})], tells=[("t", str(n), {"n": n})])
        n += 1


def test_kill_at_any_instant_leaves_a_whole_chain(url):
    Ledger.open(url)
    context = multiprocessing.get_context("spawn")
    written = 0
    for _ in range(5):
        process = context.Process(target=_write_forever, args=(url,))
        process.start()
        ledger = Ledger.open(url)
        target = written + 5
        while len(ledger.events("tick")) < target:
            pass
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        written = len(ledger.events("tick"))

        assert ledger.verify().is_intact
        assert ledger.state("tick", "churn").value == ledger.events("tick")[-1].body


def test_the_outbox_keeps_what_could_not_be_told(ledger):
    ledger.append("alert", "churn", {}, tells=[("console", "a1", {"n": 1})])
    ledger.append("alert", "churn", {}, tells=[("console", "a2", {"n": 2})])

    def refuse(message):
        raise OSError("nobody listens")

    first = ledger.outbox.deliver("console", refuse)
    told = []
    second = ledger.outbox.deliver("console", lambda message: told.append(message.body["n"]), due_only=False)
    third = ledger.outbox.deliver("console", lambda message: told.append(message.body["n"]), due_only=False)

    assert (first.sent, first.failed) == (0, 1)
    assert (second.sent, third.sent) == (2, 0)
    assert told == [1, 2]


def test_a_message_that_waits_holds_up_the_later_ones_of_its_topic_only(ledger, monkeypatch):
    seconds = [1000.0]
    monkeypatch.setattr("millrace.store.outbox.time", SimpleNamespace(time=lambda: seconds[0]))
    ledger.append("alert", "churn", {}, tells=[("console", "a1", {"n": 1}), ("webhook", "a1", {"n": 10})])
    told = []

    def refuse(message):
        raise OSError("nobody listens")

    def tell(message):
        told.append(message.body["n"])

    ledger.outbox.deliver("console", refuse)
    ledger.append("alert", "churn", {}, tells=[("console", "a2", {"n": 2}), ("webhook", "a2", {"n": 20})])
    sent = [ledger.outbox.deliver(topic, tell).sent for topic in ("console", "webhook")]
    waiting = [m.body["n"] for m in ledger.outbox.pending("console", due_only=False)]
    seconds[0] += FIRST_DELAY_S
    sent.append(ledger.outbox.deliver("console", tell).sent)

    assert sent == [0, 2, 2]
    assert waiting == [1, 2]
    assert told == [10, 20, 1, 2]
