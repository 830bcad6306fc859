"""The project defines a view otherwise by now; the model in production goes on with what it learned from."""

from contextlib import closing, contextmanager
from datetime import timedelta

import pytest

from millrace.core.errors import MillraceError, ModelError
from millrace.flow.endpoint import Endpoint
from millrace.flow.pinned_features import DEFINITION, pinned_views
from millrace.flow.release import release
from millrace.flow.serve import prediction_folder
from millrace.serving.prediction_log import read_predictions
from small_project import END, MODEL, edit, live_servers, millrace, open_small_project, write_small_project

WEEK = 'mr.mean("amount", window="7d")'
DAY = 'mr.mean("amount", window="1d")'
ASKED = {"inputs": {"amount": 10.0, "items": 1}, "key": {"customer": "c1"}, "event_time": END.isoformat()}
MEAN = 3  # place of mean_amount among the model's columns


@contextmanager
def production(folder):
    with live_servers(folder) as servers, closing(Endpoint(servers["production"].url)) as endpoint:
        yield endpoint


def served_mean(folder, request):
    """What a fresh server of production looks up for the request."""
    with production(folder) as endpoint:
        endpoint.predict({**request, "request_id": "mine"})
    with closing(open_small_project(folder)) as wiring:
        found = read_predictions(prediction_folder(wiring, "production", MODEL))
        return [one.features[MEAN] for one in found if one.request_id == "mine"][-1]


def past_mean(wiring, rule_view, at):
    rows = [{"customer": "c1", "event_time": at}]
    return wiring.features.get_historical_features(rows, [rule_view]).to_arrow()["mean_amount"][0].as_py()


@pytest.fixture
def means(shop):
    """The mean of a week, which the model learned from, and of a day, which the project is changed to."""
    with closing(open_small_project(shop)) as wiring:
        week = past_mean(wiring, "history:mean_amount", END)
    edit(shop, WEEK, DAY)
    with closing(open_small_project(shop)) as wiring:
        day = past_mean(wiring, "history:mean_amount", END)
    assert week != day
    return week, day


def test_an_old_model_is_served_from_the_old_definition(shop, means):
    filled = millrace(shop, "features", "materialize", "--end", END.isoformat(), "--json")

    assert filled.returncode == 0, filled.stderr
    assert '"history": 2000' in filled.stdout
    assert filled.stdout.count("2000") == 2  # the earlier definition is fed too
    assert served_mean(shop, ASKED) == means[0]


def test_the_old_definition_is_shown_and_verified(shop, means, ask):
    ask(shop, "features", "materialize", "--end", END.isoformat())

    _, shown = ask(shop, "features", "show", "history")
    code, told = ask(shop, "features", "verify")

    (earlier,) = shown["earlier"]
    assert (earlier["digest"] != shown["digest"], earlier["materialized_until"][:10]) == (True, "2024-02-11")
    assert (code, told["outcome"], [one["keys"] for one in told["views"]]) == (0, "same", [8, 8])
    assert told["views"][1]["view"].startswith("history@")
    assert means


def test_pushed_rows_reach_the_old_definition_too(shop, means):
    later = END + timedelta(hours=2)
    with closing(open_small_project(shop)) as wiring:
        wiring.features.materialize(None, END)
        row = {"ts": END, "customer": "c1", "amount": 500.0, "items": 1, "late": 0}
        wiring.features.push("orders", [row])

    assert served_mean(shop, {**ASKED, "event_time": later.isoformat()}) > means[0]


def test_what_was_materialized_before_the_change_is_not_lost(shop):
    with closing(open_small_project(shop)) as wiring:
        wiring.features.materialize(None, END)
        before = wiring.features.plan("history:mean_amount").read({"customer": "c1"}, END)[0]
    edit(shop, WEEK, DAY)

    assert served_mean(shop, ASKED) == before
    with closing(open_small_project(shop)) as wiring:
        told = wiring.features.materialize_incremental(END)
    # The new definition starts at the beginning, the old one stands where it stood.
    assert sorted(told.values()) == [0, 2000]


def test_an_earlier_definition_that_new_rows_cannot_feed_does_not_stop_the_present_one(shop, caplog):
    edit(shop, WEEK, 'mr.count(window="1d")')
    with closing(open_small_project(shop)) as wiring:
        assert wiring.features.push("orders", [{"ts": END, "customer": "c1", "late": 0}]) == 1

    assert "the earlier definition history@" in caplog.text
    assert "'amount'" in caplog.text


def test_without_a_record_of_what_it_learned_from_a_version_is_not_served(shop, means):
    with closing(open_small_project(shop)) as wiring:
        pins = wiring.registry.get(MODEL, 1).lineage["feature_pins"]
        assert list(pinned_views(wiring, pins, who="v1")) == ["history"]

        with pytest.raises(ModelError) as caught:
            pinned_views(wiring, {"history": "0" * 64}, who="v1")

    assert caught.value.code == "FEAT-62"
    assert means


def test_a_version_whose_features_are_not_online_is_not_deployed_in_place_of_one_whose_are(shop, means):
    fill = ("features", "materialize", "--end", END.isoformat())
    edit(shop, DAY, WEEK)
    assert millrace(shop, *fill).returncode == 0
    edit(shop, WEEK, DAY)
    refused = millrace(shop, "run")
    with closing(open_small_project(shop)) as wiring:
        assert wiring.registry.get(MODEL, 2).lineage["feature_pins"] == wiring.feature_pins(wiring.project.get_model())
        assert wiring.releases.current("production", MODEL).version == 1

    filled = millrace(shop, *fill, "--version", f"{MODEL}:2")
    deployed = millrace(shop, "deploy", f"{MODEL}:2")

    assert "FEAT-68" in refused.stdout + refused.stderr
    assert (refused.returncode, filled.returncode, deployed.returncode) == (2, 0, 0)
    with closing(open_small_project(shop)) as wiring:
        assert wiring.releases.current("production", MODEL).version == 2
        # What production would go back to goes on being fed.
        told = wiring.features.materialize_incremental(END + timedelta(days=1))
    assert len(told) == 2
    assert means


ON_DEMAND = """
@mr.on_demand(inputs={"mean": "history:mean_amount", "amount": mr.Field("amount", "float")}, outputs={"over": "float"})
def compared(mean, amount):
    return amount - mean


@mr.model("""


@pytest.fixture(scope="module")
def computing(tmp_path_factory):
    """A project whose model takes a feature that is worked out on demand, in production."""
    folder = write_small_project(tmp_path_factory.mktemp("computing") / "orders")
    edit(folder, "@mr.model(", ON_DEMAND)
    edit(folder, "features=[history]", "features=[history, compared]")
    done = millrace(folder, "run")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_other_code_is_neither_served_nor_deployed_and_production_stays(computing):
    edit(computing, "return amount - mean", "return amount - 2 * mean")
    try:
        with production(computing) as endpoint:
            failure = endpoint.health()["failure"]
            with pytest.raises(MillraceError) as refused:
                endpoint.predict(ASKED)
        with closing(open_small_project(computing)) as wiring:
            before = wiring.releases.history("production", MODEL)
            with pytest.raises(ModelError) as caught:
                release(wiring, wiring.registry.get(MODEL, 1), key="again", reason="by hand")
            after = wiring.releases.history("production", MODEL)
    finally:
        edit(computing, "return amount - 2 * mean", "return amount - mean")

    assert failure["code"] == caught.value.code == "FEAT-61"
    assert "compared" in failure["what"]
    assert "another code" in refused.value.why
    assert before == after
    with production(computing) as endpoint:
        assert endpoint.predict(ASKED)["version"] == 1


def test_the_stored_view_behind_unchanged_code_may_change(computing):
    edit(computing, WEEK, DAY)
    try:
        with closing(open_small_project(computing)) as wiring:
            views = pinned_views(wiring, wiring.registry.get(MODEL, 1).lineage["feature_pins"], who="v1")
            assert views["compared"] is wiring.project.on_demand["compared"]
            assert str(views["history"].rules["mean_amount"]) == "mean(amount, window=1w)"
            kinds = {state.value["record"]["kind"] for state in wiring.ledger.states(DEFINITION)}
    finally:
        edit(computing, DAY, WEEK)

    assert kinds == {"view", "on_demand"}
