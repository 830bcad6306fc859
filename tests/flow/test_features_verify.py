"""`millrace features verify` on a project: what it finds is on the record, and somebody is told."""

from contextlib import closing
from datetime import timedelta

from small_project import END, millrace, open_small_project


def fill(folder, *rows):
    with closing(open_small_project(folder)) as wiring:
        wiring.features.materialize(None, END)
        if rows:
            wiring.features.push("orders", list(rows))


GHOST = {"ts": END - timedelta(hours=2), "customer": "c3", "amount": 90_000.0, "items": 1, "late": 0}


def test_a_store_that_is_what_the_log_says_passes(shop, ask):
    fill(shop)

    code, told = ask(shop, "features", "verify")

    assert (code, told["outcome"], told["compared"], told["different"]) == (0, "same", 16, 0)
    with closing(open_small_project(shop)) as wiring:
        (recorded,) = wiring.ledger.events("feature_verification")
        assert recorded.body == {"environment": "development", **told}


def test_an_event_that_no_log_has_fails_and_raises_an_alert(shop, ask):
    fill(shop, GHOST)

    code, told = ask(shop, "features", "verify", "history:mean_amount", "--keys", "20", "--seed", "3")

    wrong = {one["feature"]: one["different"] for one in told["views"][0]["features"]}
    assert (code, told["outcome"], wrong["history:mean_amount"]) == (1, "different", 1)
    with closing(open_small_project(shop)) as wiring:
        alerts = [event for event in wiring.ledger.events("alert") if (event.key or "").find("verification") >= 0]
    assert [(one.body["severity"], "history:mean_amount" in one.body["title"]) for one in alerts] == [
        ("critical", True)
    ]


def test_nothing_to_compare_is_no_pass(shop, ask):
    code, told = ask(shop, "features", "verify")

    assert (code, told["outcome"], told["views"][0]["at"]) == (1, "nothing", None)


def test_people_see_both_values(shop):
    fill(shop, GHOST)

    done = millrace(shop, "features", "verify")

    assert done.returncode == 1
    assert 'history:mean_amount of {"customer": "c3"}: offline ' in done.stdout
    assert "different: 1 of 16 values differ" in done.stdout or "different: 2 of 16 values differ" in done.stdout
    assert done.stderr == ""


def test_an_unknown_view_is_told_the_nearest(shop, ask):
    code, told = ask(shop, "features", "verify", "histry")

    assert (code, told["error"]["code"], told["error"]["fix"]) == (2, "FEAT-01", "did you mean 'history'?")
