"""Requests are judged by the rules that came with the model: refused, flagged, coerced, counted."""

import pytest

from millrace.core.errors import DataError
from millrace.core.row_rules import RowVerdict, RuleName
from millrace.serving.app import App
from millrace.serving.inputs import InputReader
from millrace.serving.prediction_log import PredictionLog, read_predictions
from millrace.serving.predictor import load_predictor, read_manifest
from millrace.serving.slot import Served, Slot

LARGE = RuleName("amount: values at most 100", "critical", "reject")
MANY = RuleName("orders: values at most 10", "warning", "flag")
ODD = RuleName("amount: values at least 0", "info", "log")
GIVEN = {"amount": 3.0, "orders": 2, "is_new": True}


class Rules:
    """Made by hand: serving knows nothing of suites."""

    names = (LARGE, MANY, ODD)

    def coerce(self, column, value):
        return float(value) if column == "amount" and value == "25" else value

    def judge(self, row, where):
        broken, errors, flags = [], [], []
        if row.get("amount", 0) > 100:
            broken.append(LARGE)
            errors.append(DataError("VALID-40", f"it is {row['amount']}", where=f"{where}.amount"))
        if row.get("orders", 0) > 10:
            broken.append(MANY)
            flags.append(f"{MANY.rule}; it is {row['orders']}")
        if row.get("amount", 0) < 0:
            broken.append(ODD)
        return RowVerdict(broken, errors, flags) if broken else None


@pytest.fixture
def app(blobs, make_release, tmp_path):
    release = make_release(1)
    manifest = read_manifest(release.digest, blobs)
    slot = Slot()
    slot.swap(Served(release, load_predictor(manifest, blobs), InputReader(manifest, None, Rules())))
    log = PredictionLog(tmp_path / "log", sync="each")
    yield App(slot, log=log)
    log.close()


def post(ask, app, **changes):
    return ask(app, "POST", "/predict", {"inputs": GIVEN | changes})


def metric(ask, app, text):
    lines = [
        line for line in ask(app, "GET", "/metrics").body.decode().splitlines() if line.startswith(f"millrace_{text} ")
    ]
    return float(lines[0].split()[-1]) if lines else None


def test_a_row_that_breaks_nothing_is_answered_as_ever(ask, app):
    reply = post(ask, app)
    assert reply.status == 200
    assert reply.json()["predictions"][0].keys() == {"output", "scores"}
    assert metric(ask, app, 'validation_rows_total{outcome="passed"}') == 1


def test_a_refused_row_is_answered_422_with_its_findings(ask, app, tmp_path):
    reply = post(ask, app, amount=101.0)
    assert reply.status == 422
    error = reply.json()["error"]
    assert (error["code"], error["what"], error["why"]) == (
        "SERVE-36",
        "the row breaks rules on data",
        "nothing was predicted",
    )
    assert error["findings"] == [{"code": "VALID-40", "what": "it is 101.0", "where": "inputs.amount"}]
    assert list(read_predictions(tmp_path / "log")) == []
    rule = 'rule="amount: values at most 100",severity="critical",action="reject"'
    assert metric(ask, app, f"validation_failures_total{{{rule}}}") == 1
    assert metric(ask, app, 'validation_rows_total{outcome="rejected"}') == 1
    assert metric(ask, app, 'requests_total{status="422",version="1"}') == 1


def test_of_several_rows_every_finding_is_told_with_its_place(ask, app):
    rows = [GIVEN, GIVEN | {"amount": 200.0}, GIVEN | {"amount": 300.0}]
    error = ask(app, "POST", "/predict", {"inputs": rows}).json()["error"]
    assert error["what"] == "2 of 3 rows break rules on data"
    assert [finding["where"] for finding in error["findings"]] == ["inputs[1].amount", "inputs[2].amount"]


def test_a_long_list_of_findings_is_cut_and_says_so(ask, app):
    error = ask(app, "POST", "/predict", {"inputs": [GIVEN | {"amount": 200.0}] * 30}).json()["error"]
    assert error["what"] == "30 of 30 rows break rules on data; the first 20 of 30 findings are listed"
    assert len(error["findings"]) == 20


def test_a_flagged_row_is_answered_and_the_flag_is_kept(ask, app, tmp_path):
    reply = ask(app, "POST", "/predict", {"inputs": [GIVEN, GIVEN | {"orders": 11}]})
    assert reply.status == 200
    first, second = reply.json()["predictions"]
    assert "flags" not in first
    assert second["flags"] == ["orders: values at most 10; it is 11"]
    assert [found.flags for found in read_predictions(tmp_path / "log")] == [
        (),
        ["orders: values at most 10; it is 11"],
    ]
    rule = 'rule="orders: values at most 10",severity="warning",action="flag"'
    assert metric(ask, app, f"validation_failures_total{{{rule}}}") == 1
    assert metric(ask, app, 'validation_rows_total{outcome="flagged"}') == 1


def test_a_coerced_value_is_on_the_record(ask, app, tmp_path):
    reply = post(ask, app, amount="25")
    assert reply.status == 200
    assert reply.json()["predictions"][0]["coerced"] == {"amount": "25"}
    (logged,) = read_predictions(tmp_path / "log")
    assert (logged.features[0], logged.coerced) == (25.0, {"amount": "25"})
    assert metric(ask, app, 'validation_coerced_total{column="amount"}') == 1


def test_what_cannot_be_coerced_is_told_with_what_the_rules_refuse(ask, app):
    rows = [GIVEN | {"amount": "many"}, GIVEN | {"amount": 200.0, "is_new": "maybe"}]
    reply = ask(app, "POST", "/predict", {"inputs": rows})
    assert reply.status == 400
    error = reply.json()["error"]
    assert error["code"] == "SERVE-10"
    assert [(finding["code"], finding["where"]) for finding in error["findings"]] == [
        ("SERVE-13", "inputs[0].amount"),
        ("SERVE-13", "inputs[1].is_new"),
        ("VALID-40", "inputs[1].amount"),
    ]


def test_rules_are_counted_from_zero(ask, app):
    rule = 'rule="amount: values at least 0",severity="info",action="log"'
    assert metric(ask, app, f"validation_failures_total{{{rule}}}") == 0
    assert post(ask, app, amount=-1.0).json()["predictions"][0].keys() == {"output", "scores"}
    assert metric(ask, app, f"validation_failures_total{{{rule}}}") == 1
    assert metric(ask, app, 'validation_rows_total{outcome="passed"}') == 1


def test_without_rules_nothing_is_said_of_them(ask, blobs, make_release):
    release = make_release(1)
    manifest = read_manifest(release.digest, blobs)
    slot = Slot()
    slot.swap(Served(release, load_predictor(manifest, blobs), InputReader(manifest, None)))
    bare = App(slot)
    assert post(ask, bare, amount=1e6).status == 200
    assert "validation" not in ask(bare, "GET", "/metrics").body.decode()
