"""Releases on the ledger alone: whose they are, which comes first, and what ledgers of an earlier form say."""

from dataclasses import replace

import pyarrow as pa
import pytest

from millrace.core.clock import ManualClock, from_text
from millrace.core.errors import DataError
from millrace.store.blobs import FileBlobs
from millrace.store.ledger import Ledger
from millrace.validation.engine import validate
from millrace.validation.quarantine import findings_of, quarantine
from millrace.validation.release import (
    KIND,
    find_quarantined,
    find_refusals,
    find_state,
    list_quarantined,
    release_batch,
    release_evidence,
    state_key,
)
from millrace.validation.released import MOST_FAILURES, return_unlearned, take_over, take_released
from millrace.validation.suite import Expectation, Suite

AT = "2024-01-01T00:00:00.000000Z"
ROW_LIMIT = Expectation("expect_table_row_count_to_be_between", {"min_value": 100})
PRICE_LIMIT = Expectation("expect_column_values_to_be_between", {"column": "price", "max_value": 10})


@pytest.fixture
def shelf(tmp_path):
    """A ledger and blobs."""
    clock = ManualClock(from_text(AT))
    ledger = Ledger.open(f"sqlite:///{tmp_path}/ledger.db", clock)
    yield {"blobs": FileBlobs(tmp_path / "blobs"), "ledger": ledger, "clock": clock}
    assert ledger.verify().is_intact
    ledger.close()


def refuse(shelf, price=99, *, model="a", rules=(PRICE_LIMIT,), source="shop"):
    table = pa.table({"price": [price, 1]})
    result = validate(table, Suite("s", list(rules)))
    facts = {"model": model, "snapshot": {"digest": f"d{price}"}} if model else None
    return quarantine(table, result, source=source, facts=facts, **shelf)


def let(ledger, *entries):
    with ledger.transaction() as transaction:
        return [release_batch(transaction, entry, reason="r", by="b", at=AT) for entry in entries]


def take(ledger, run, *, model="a"):
    with ledger.transaction() as transaction:
        taken = take_released(transaction, "shop", model, run)
    return taken and taken["batch"]


def give_back(ledger, run, *, is_failure=True):
    with ledger.transaction() as transaction:
        return return_unlearned(transaction, run, reason="r", is_failure=is_failure)


def statuses(ledger):
    return [(entry.model, entry.status) for entry in list_quarantined(ledger)]


def test_two_models_that_refuse_one_batch_for_one_reason_have_a_refusal_each(shelf):
    events = [refuse(shelf, model=model) for model in ("a", "b", "a", "b")]

    assert [event.is_new for event in events] == [True, True, False, False]
    assert statuses(shelf["ledger"]) == [("a", "kept"), ("b", "kept")]


def test_a_release_covers_each_model_for_its_own_findings(shelf):
    ledger = shelf["ledger"]
    batch = refuse(shelf, model="a").body["batch"]
    refuse(shelf, model="b", rules=[ROW_LIMIT])
    let(ledger, *find_refusals(list_quarantined(ledger), batch[:8]))

    found = {model: release_evidence(ledger, "shop", batch, {}, model) for model in ("a", "b", "c")}
    assert [len(found[model]["covered"]) for model in found] == [1, 1, 0]
    assert found["a"]["covered"] != found["b"]["covered"]
    assert found["c"]["released"] is None
    assert [take(ledger, f"run-{model}", model=model) for model in "abc"] == [batch, batch, None]
    assert [take(ledger, f"later-{model}", model=model) for model in "ab"] == [None, None]


def test_a_batch_that_was_given_back_is_no_newer_than_one_released_meanwhile(shelf):
    ledger = shelf["ledger"]
    first = refuse(shelf, 99).body["batch"]
    second = refuse(shelf, 98).body["batch"]
    let(ledger, find_quarantined(list_quarantined(ledger), first))
    assert take(ledger, "run-1") == first
    let(ledger, find_quarantined(list_quarantined(ledger), second))
    give_back(ledger, "run-1")

    assert take(ledger, "run-2") == second
    assert statuses(ledger) == [("a", "passed over"), ("a", "used")]


def test_giving_back_happens_once_a_run_and_counts_failures_alone(shelf):
    ledger = shelf["ledger"]
    refuse(shelf)
    (entry,) = list_quarantined(ledger)
    let(ledger, entry)
    for number in range(MOST_FAILURES + 2):  # stopped from outside, a run says nothing against the batch
        take(ledger, f"stopped-{number}")
        give_back(ledger, f"stopped-{number}", is_failure=False)
    assert statuses(ledger) == [("a", "released")]
    for number in range(MOST_FAILURES):
        assert take(ledger, f"failed-{number}") == entry.batch
        assert len(give_back(ledger, f"failed-{number}")) == 1
        assert give_back(ledger, f"failed-{number}") == []
    assert statuses(ledger) == [("a", "given up")]
    assert take(ledger, "later") is None

    (entry,) = list_quarantined(ledger)
    assert [let(ledger, entry)[0].is_new, let(ledger, *list_quarantined(ledger))[0].is_new] == [True, False]
    assert take(ledger, "later") == entry.batch


def test_a_run_that_goes_on_takes_over_what_waits_and_not_what_was_learned_from(shelf):
    ledger = shelf["ledger"]
    refuse(shelf)
    let(ledger, *list_quarantined(ledger))
    take(ledger, "run-1")
    with ledger.transaction() as transaction:
        take_over(transaction, "run-1", "run-2")
    assert list_quarantined(ledger)[0].facts["run"] == "run-1"
    give_back(ledger, "run-1")
    for _ in range(2):
        with ledger.transaction() as transaction:
            take_over(transaction, "run-1", "run-2")

    (entry,) = list_quarantined(ledger)
    assert (entry.status, entry.facts["run"]) == ("used", "run-2")
    assert take(ledger, "run-3") is None


def test_what_was_given_up_is_taken_over_by_the_run_that_goes_on(shelf):
    ledger = shelf["ledger"]
    refuse(shelf)
    let(ledger, *list_quarantined(ledger))
    for number in range(MOST_FAILURES):
        take(ledger, f"run-{number}")
        give_back(ledger, f"run-{number}")
    with ledger.transaction() as transaction:
        take_over(transaction, f"run-{MOST_FAILURES - 1}", "mended")

    assert statuses(ledger) == [("a", "used")]


def test_a_release_stands_that_came_while_the_batch_was_judged_once_more(shelf):
    """The second refusal was decided on before the release, for the same rule in another suite."""
    ledger = shelf["ledger"]
    refuse(shelf)
    let(ledger, *list_quarantined(ledger))
    other = validate(pa.table({"price": [99, 1]}), Suite("another", [PRICE_LIMIT]))
    again = quarantine(pa.table({"price": [99, 1]}), other, source="shop", facts={"model": "a"}, **shelf)

    assert (again.is_new, statuses(ledger)) == (True, [("a", "released")])
    assert refuse(shelf, rules=[PRICE_LIMIT, ROW_LIMIT]).is_new
    assert statuses(ledger) == [("a", "kept")]


def test_nothing_is_put_aside_for_nothing(shelf):
    with pytest.raises(DataError) as raised:
        quarantine(pa.table({"price": [1]}), None, source="shop", **shelf)

    assert raised.value.code == "VALID-69"
    assert list_quarantined(shelf["ledger"]) == []


def test_an_event_number_wins_over_a_digest_that_begins_with_it(shelf):
    refuse(shelf)
    (entry,) = list_quarantined(shelf["ledger"])
    other = replace(entry, key="k", batch="1234ab", events=[7])
    named = replace(entry, key="n", batch="ffff", events=[3, 1234])

    assert find_quarantined([other, named], "1234") is named
    assert find_quarantined([other, named], "3") is named
    assert find_quarantined([other, named], "1234a") is other
    with pytest.raises(DataError) as raised:
        find_quarantined([other, named], "1234", model="b")
    assert (raised.value.code, "a" in raised.value.fix) == ("VALID-68", True)


def test_a_batch_refused_outside_of_a_run_is_of_no_model(shelf):
    event = refuse(shelf, model=None)
    again = refuse(shelf, model="a")
    let(shelf["ledger"], *list_quarantined(shelf["ledger"]))

    assert again.is_new
    assert statuses(shelf["ledger"]) == [(None, "released"), ("a", "released")]
    assert event.key == f"quarantine:shop:{event.body['batch']}:{event.key.rpartition(':')[2]}"


# --- ledgers written before a refusal was of one model


@pytest.fixture
def kept(shelf, tmp_path):
    """What an earlier Millrace put in a refusal's event: no model."""
    elsewhere = Ledger.open(f"sqlite:///{tmp_path}/elsewhere.db", shelf["clock"])
    found = refuse({**shelf, "ledger": elsewhere}, model=None)
    elsewhere.close()
    return replace(found, body={name: value for name, value in found.body.items() if name != "model"})


def write_early(ledger, kept):
    """The refusal with the one state a batch had, that of model a."""
    digest, findings = (
        kept.body["batch"],
        findings_of(validate(pa.table({"price": [99, 1]}), Suite("s", [PRICE_LIMIT]))),
    )
    value = {"source": "shop", "batch": digest, "status": "kept", "findings": findings, "covered": []}
    value |= {"released": None, "model": "a", "snapshot": {"digest": digest}}
    ledger.append("quarantine", "shop", kept.body, key=kept.key, sets=[(KIND, state_key("shop", digest), value)])
    return digest, findings


def test_an_early_refusal_stays_one_with_its_models_next(shelf, kept):
    ledger = shelf["ledger"]
    batch, findings = write_early(ledger, kept)
    assert not refuse(shelf).is_new
    assert refuse(shelf, rules=[PRICE_LIMIT, ROW_LIMIT]).is_new
    (entry,) = list_quarantined(ledger)
    assert (entry.key, entry.model, len(entry.findings), len(entry.events)) == (state_key("shop", batch), "a", 2, 2)

    let(ledger, entry)
    assert set(release_evidence(ledger, "shop", batch, findings, "a")["covered"]) > set(findings)
    assert take(ledger, "run") == batch
    assert [event.body["status"] for event in give_back(ledger, "run")] == ["released"]
    assert take(ledger, "run-2") == batch


def test_an_early_refusal_is_not_another_models(shelf, kept):
    ledger = shelf["ledger"]
    batch, _ = write_early(ledger, kept)
    assert find_state(ledger, "shop", batch, "b") is None
    assert refuse(shelf, model="b").is_new
    let(ledger, *find_refusals(list_quarantined(ledger), batch))

    assert statuses(ledger) == [("a", "released"), ("b", "released")]
    assert [take(ledger, f"run-{model}", model=model) for model in ("a", "b")] == [batch, batch]


def test_a_refusal_of_which_only_the_report_was_kept_cannot_be_released(shelf, kept):
    ledger = shelf["ledger"]
    ledger.append("quarantine", "shop", kept.body, key=kept.key)
    (entry,) = list_quarantined(ledger)

    with pytest.raises(DataError) as raised:
        let(ledger, entry)
    assert raised.value.code == "VALID-69"
    assert statuses(ledger) == [(None, "kept")]
