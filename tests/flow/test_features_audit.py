"""Served by the real server, audited against the log: with and without a skew."""

from contextlib import closing, contextmanager
from datetime import timedelta

import pytest

from millrace.core.clock import to_text
from millrace.flow.endpoint import Endpoint
from millrace.flow.feature_audit import audit_model
from small_project import COLUMNS, END, MODEL, edit, live_servers, millrace, open_small_project, read_rows, write_rows

CUSTOMERS = [f"c{number}" for number in range(8)]


def request(customer, at=END, **inputs):
    return {
        "inputs": {"amount": 10.0, "items": 1, **inputs},
        "key": {"customer": customer},
        "event_time": to_text(at),
        "request_id": f"of-{customer}-{to_text(at)}",
    }


@contextmanager
def production(folder):
    with live_servers(folder) as servers, closing(Endpoint(servers["production"].url)) as endpoint:
        yield endpoint


def predict(folder, requests):
    with production(folder) as endpoint:
        for one in requests:
            endpoint.predict(one)


def fill(folder, end=END):
    with closing(open_small_project(folder)) as wiring:
        wiring.features.materialize_incremental(end)


def by_feature(told):
    return {one["feature"].partition(":")[2]: one for one in told["features"]}


def test_what_was_served_as_known_has_no_skew(shop, ask):
    fill(shop)
    predict(shop, [request(one, END + timedelta(minutes=30) * place) for place, one in enumerate(CUSTOMERS)])

    code, told = ask(shop, "features", "audit", MODEL)

    assert (code, told["outcome"], told["compared"], told["skewed"]) == (0, "same", 16, [])
    assert by_feature(told)["mean_amount"]["equal"] == 8
    # Smoke tests bring every feature themselves: they are counted, not compared.
    assert by_feature(told)["mean_amount"]["supplied"] >= 20
    assert "no created column" in told["notes"][0]


def test_an_event_that_was_only_online_is_skew_and_somebody_is_told(shop, ask):
    fill(shop)
    with closing(open_small_project(shop)) as wiring:
        ghost = {"ts": END - timedelta(hours=2), "customer": "c3", "amount": 90_000.0, "items": 1, "late": 0}
        wiring.features.push("orders", [ghost])
    predict(shop, [request(one) for one in CUSTOMERS])

    code, told = ask(shop, "features", "audit", f"{MODEL}:1")

    mean = by_feature(told)["mean_amount"]
    assert (code, told["outcome"], told["skewed"][-1]) == (1, "different", "history:mean_amount")
    assert (mean["compared"], mean["different"], mean["stale"], mean["share"]) == (8, 1, 0, 0.125)
    (example,) = mean["examples"]
    assert (example["request_id"], example["key"]) == (f"of-c3-{to_text(END)}", {"customer": "c3"})
    assert example["served"] - example["known"] == pytest.approx(mean["largest_absolute"])
    with closing(open_small_project(shop)) as wiring:
        (recorded,) = wiring.ledger.events("feature_audit")
        alerts = [event for event in wiring.ledger.events("alert") if event.key and "feature_audit" in event.key]
    assert recorded.body["features"] == told["features"]
    assert len(alerts) == 1
    assert alerts[0].body["severity"] == "critical"


def test_a_share_below_the_limit_is_no_alert(shop, ask):
    fill(shop)
    with closing(open_small_project(shop)) as wiring:
        ghost = {"ts": END - timedelta(hours=2), "customer": "c3", "amount": 90_000.0, "items": 1, "late": 0}
        wiring.features.push("orders", [ghost])
    predict(shop, [request(one) for one in CUSTOMERS])

    code, told = ask(shop, "features", "audit", MODEL, "--limit", "0.2")

    assert (code, told["outcome"], by_feature(told)["mean_amount"]["different"]) == (0, "same", 1)


def test_what_was_not_online_yet_is_stale(shop, ask):
    fill(shop, END - timedelta(days=1))
    predict(shop, [request(one) for one in CUSTOMERS])

    code, told = ask(shop, "features", "audit", MODEL)

    mean = by_feature(told)["mean_amount"]
    assert code == 1
    assert mean["different"] == mean["stale"] == 8
    assert all(one["is_stale"] for one in mean["examples"])


def test_a_feature_that_the_request_brings_is_not_compared(shop, ask):
    fill(shop)
    predict(shop, [request("c1", mean_amount=1.0), request("c2")])

    _, told = ask(shop, "features", "audit", MODEL)

    found = by_feature(told)
    supplied = found["mean_amount"]["supplied"] - found["last_late"]["supplied"]
    assert (found["mean_amount"]["compared"], found["last_late"]["compared"], supplied) == (1, 2, 1)
    assert told["outcome"] == "same"


def test_the_definition_that_was_learned_from_is_replayed(shop, ask):
    fill(shop)
    predict(shop, [request(one) for one in CUSTOMERS])
    edit(shop, 'mr.mean("amount", window="7d")', 'mr.mean("amount", window="1d")')

    code, told = ask(shop, "features", "audit", MODEL)

    assert (code, told["outcome"], told["compared"]) == (0, "same", 16)


def test_times_and_samples_narrow_it(shop, ask):
    fill(shop)
    predict(shop, [request(one, END + timedelta(hours=place)) for place, one in enumerate(CUSTOMERS)])
    noon = (END + timedelta(hours=4)).isoformat()

    _, early = ask(shop, "features", "audit", MODEL, "--since", END.isoformat(), "--until", noon)
    _, few = ask(shop, "features", "audit", MODEL, "--since", END.isoformat(), "--until", noon, "--sample", "3")

    assert (early["predictions"], few["predictions"]) == (4, 3)


def test_nothing_predicted_and_unknown_names_are_told(shop, ask):
    code, told = ask(shop, "features", "audit", MODEL, "--until", "2001-01-01")
    assert (code, told["error"]["code"]) == (2, "FEAT-65")
    assert ask(shop, "features", "audit", "late_order")[1]["error"]["code"] == "REG-01"
    assert ask(shop, "features", "audit", f"{MODEL}:7")[1]["error"]["code"] == "REG-02"


def test_rows_that_were_created_later_are_late_and_no_skew(shop):
    """The log says when each row became known: nobody could have seen it before."""
    rows = [[*row, row[0]] for row in read_rows(shop)]
    write_rows(shop, rows, header=[*COLUMNS, "created"])
    edit(shop, 'delay="1h"', 'delay="1h", created="created"')
    edit(shop, '"expect_table_columns_to_match_ordered_list"', '"expect_column_to_exist"', file="suites/orders.json")
    edit(shop, str(COLUMNS).replace("'", '"'), '"late"', file="suites/orders.json")
    edit(shop, '"column_list"', '"column"', file="suites/orders.json")

    retrained = millrace(shop, "run")
    assert retrained.returncode == 0, retrained.stdout + retrained.stderr
    fill(shop)
    predict(shop, [request(one) for one in CUSTOMERS])
    moment = END - timedelta(hours=3)
    came_later = [f"{moment:%Y-%m-%d %H:%M:%S}", "c5", 70_000.0, 1, 0, f"{END + timedelta(days=1):%Y-%m-%d %H:%M:%S}"]
    write_rows(shop, [*rows, came_later], header=[*COLUMNS, "created"])

    with closing(open_small_project(shop)) as wiring:
        report = audit_model(wiring, f"{MODEL}@champion", since=END)

    mean = next(one for one in report.features if one.feature == "history:mean_amount")
    assert (report.outcome, mean.compared, mean.late, mean.different) == ("same", 8, 1, 0)
