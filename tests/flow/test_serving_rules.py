"""The suite of the labels' source goes out with the model, and its live server judges requests by it."""

import http.client
import json
from contextlib import closing

import pytest

from millrace.core.errors import DataError, MillraceError, ProjectError
from millrace.flow.endpoint import Endpoint
from millrace.flow.project import load_project
from millrace.flow.serving_rules import ROLE, serving_facts
from millrace.serving.prediction_log import read_predictions
from small_project import MODEL, edit, live_servers, open_small_project

GOOD = {"amount": 50.0, "items": 3, "last_late": 0, "mean_amount": 60.0}
TOO_MUCH = "amount: values between 0 and 10,000"


def metrics(url):
    with closing(http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)) as connection:
        connection.request("GET", "/metrics")
        lines = connection.getresponse().read().decode().splitlines()
    return dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))


def failures(url, rule, severity="critical", action="reject"):
    labels = f'rule="{rule}",severity="{severity}",action="{action}"'
    return float(metrics(url)[f"millrace_validation_failures_total{{{labels}}}"])


def ask_for(endpoint, **changes):
    return endpoint.predict({"inputs": GOOD | changes})


@pytest.fixture
def opened(shop):
    wiring = open_small_project(shop)
    yield wiring
    wiring.close()


def test_unless_told_otherwise_requests_are_flagged_by_the_source_s_suite(shop, opened):
    manifest = opened.manifest(opened.registry.get(MODEL, "champion").digest)
    facts = json.loads(opened.blobs.get(manifest.files[ROLE]))
    assert facts["policy"] == "flag"
    assert [rule["kwargs"]["column"] for rule in facts["suite"]["expectations"]] == ["amount", "amount", "items"]
    assert [rule["number"] for rule in facts["not_judged"]] == [1, 2]

    with live_servers(shop) as servers, closing(Endpoint(servers["production"].url)) as endpoint:
        url = servers["production"].url
        good = ask_for(endpoint)["predictions"][0]
        bad = ask_for(endpoint, amount=20_000.0, items=99)["predictions"][0]
        assert "flags" not in good
        assert bad["flags"] == [f"{TOO_MUCH}; it is 20000.0", "items: values between 1 and 20; it is 99"]
        assert bad.keys() == {"output", "scores", "flags"}
        assert failures(url, TOO_MUCH, action="flag") == 1
        assert metrics(url)['millrace_validation_rows_total{outcome="flagged"}'] == "1"
        assert metrics(url)['millrace_validation_rows_total{outcome="passed"}'] == "1"
    folder = opened.project.settings.environments["production"].predictions / "production" / MODEL
    logged = [found for found in read_predictions(folder) if not found.request_id.startswith("golden-")]
    assert [len(found.flags) for found in logged] == [0, 2]


def test_a_model_with_a_policy_coerces_and_rejects_and_a_rollback_takes_its_rules_back(shop, ask):
    edit(
        shop, "late_orders.deploy =", 'late_orders.serving_data = mr.ServingData(policy="coerce")\nlate_orders.deploy ='
    )
    with live_servers(shop) as servers:
        code, run = ask(shop, "run")
        url = servers["production"].url
        with closing(Endpoint(url)) as endpoint:
            assert (code, run["status"]) == (0, "succeeded"), run
            assert endpoint.health()["version"] == 2

            read = ask_for(endpoint, amount="50.0", items="3")["predictions"][0]
            assert read["coerced"] == {"amount": "50.0", "items": "3"}
            assert read["scores"] == ask_for(endpoint)["predictions"][0]["scores"]

            with pytest.raises(MillraceError) as caught:
                ask_for(endpoint, amount=20_000.0, items=0)
            assert caught.value.code == "SERVE-36"
            findings = [(finding.code, finding.where, finding.what) for finding in caught.value.findings]
            assert findings == [
                ("VALID-40", "inputs.amount", f"{TOO_MUCH}; it is 20000.0"),
                ("VALID-40", "inputs.items", "items: values between 1 and 20; it is 0"),
            ]
            assert ask_for(endpoint, amount=None)["predictions"][0]["flags"] == [
                "amount: values there (at least 95 % of them); it is missing"
            ]
            assert failures(url, TOO_MUCH) == 1
            assert metrics(url)['millrace_validation_coerced_total{column="items"}'] == "1"
            assert metrics(url)['millrace_requests_total{status="422",version="2"}'] == "1"

            assert ask(shop, "rollback", "--reason", "test")[0] == 0
            assert endpoint.await_digest(endpoint.health()["digest"], 10.0, version=1)
            assert "flags" in ask_for(endpoint, amount=20_000.0)["predictions"][0]


def facts_of(opened, serving_data):
    model = opened.project.get_model(MODEL)
    model.serving_data = serving_data
    manifest = opened.manifest(opened.registry.get(MODEL, "champion").digest)
    return serving_facts(opened, model, manifest.columns)


def test_a_suite_for_requests_may_ask_of_features_too(opened):
    import millrace as mr

    suite = mr.Suite("requests").expect_column_values_to_be_between("mean_amount", 0, 100)
    facts = facts_of(opened, mr.ServingData(suite, policy="reject"))
    assert (facts["policy"], len(facts["suite"]["expectations"]), facts["not_judged"]) == ("reject", 1, [])


def test_a_rule_that_no_request_can_be_asked_is_told_before_training(opened):
    import millrace as mr

    suite = (
        mr.Suite("requests")
        .expect_column_values_to_be_between("amuont", 0, 100)
        .expect_column_mean_to_be_between("amount", 0, 100)
        .expect_column_values_to_be_between("items", 0, 100)
    )
    with pytest.raises(DataError) as caught:
        facts_of(opened, mr.ServingData(suite))
    assert caught.value.code == "VALID-45"
    assert [finding.what.split(": ", 2)[2] for finding in caught.value.findings] == [
        "no request has the column 'amuont'",
        "it is about a whole batch: one row says nothing of it",
    ]


def test_a_run_stops_before_it_trains_on_rules_that_no_request_can_be_asked(shop, ask):
    suite = 'mr.Suite("requests").expect_column_values_to_be_between("amuont", 0, 100)'
    edit(shop, "late_orders.deploy =", f"late_orders.serving_data = mr.ServingData({suite})\nlate_orders.deploy =")
    code, run = ask(shop, "run")
    assert (code, run["status"]) == (2, "failed")
    assert run["steps"]["validate_data"]["error"]["code"] == "VALID-45"
    assert "train" not in {name for name, step in run["steps"].items() if step.get("status") == "succeeded"}


def test_nothing_is_asked_when_it_is_off_or_there_is_no_suite(opened):
    import millrace as mr

    assert facts_of(opened, mr.ServingData(policy="off")) is None
    object.__setattr__(opened.project.get_model(MODEL).labels.source, "suite", None)
    assert facts_of(opened, None) is None
    with pytest.raises(DataError) as caught:
        facts_of(opened, mr.ServingData(policy="reject"))
    assert caught.value.code == "VALID-45"


def test_a_wrong_setting_is_a_mistake_of_the_project(shop):
    edit(shop, "late_orders.deploy =", 'late_orders.serving_data = "reject"\nlate_orders.deploy =')
    with pytest.raises(ProjectError) as caught:
        load_project(shop)
    assert caught.value.code == "PROJ-19"


def test_a_changed_suite_changes_what_the_project_is(shop):
    before = load_project(shop).digest
    edit(shop, '"max_value": 10000', '"max_value": 20000', file="suites/orders.json")
    assert load_project(shop).digest != before
