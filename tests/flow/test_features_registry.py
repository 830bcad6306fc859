"""The feature registry of a project with a model in production: plan, apply, list, show, search, lineage."""

from contextlib import closing
from itertools import pairwise

import pytest

from millrace.core.errors import Conflict, StoreError
from millrace.features.definition_record import view_from_record
from millrace.flow.feature_changes import APPLIED, apply_features, plan_features
from millrace.flow.pinned_features import DEFINITION
from small_project import END, edit, millrace, open_small_project

WEEK = 'mr.mean("amount", window="7d")'
ON_DEMAND = '''

@mr.on_demand(inputs={"mean": "history:mean_amount", "amount": mr.Field("amount", "float")}, outputs={"over": "float"})
def compared(mean, amount):
    """How much more than usual."""
    return amount - mean


vector = mr.FeatureService("vector", features=[history, "compared:over"], owner="risk")
'''


@pytest.fixture
def applied(shop, ask):
    code, _ = ask(shop, "features", "apply", "--by", "ada")
    assert code == 0
    return shop


def by_name(told):
    return {one["name"]: one for one in told["changes"]}


def test_the_first_plan_adds_everything_and_breaks_nothing(shop, ask):
    code, told = ask(shop, "features", "plan")

    assert code == 0
    assert [(one["kind"], one["name"], one["action"]) for one in told["changes"]] == [
        ("source", "orders", "added"),
        ("entity", "customer", "added"),
        ("view", "history", "added"),
    ]
    assert by_name(told)["history"]["needs_materialize"]


def test_what_was_applied_changes_nothing_more(applied, ask):
    assert ask(applied, "features", "plan") == (0, {"is_breaking": False, "unchanged": 3, "changes": []})
    code, told = ask(applied, "features", "apply")
    assert (code, told["is_applied"]) == (0, False)


def test_another_rule_is_breaking_and_tells_who_uses_it(applied, ask):
    edit(applied, WEEK, 'mr.mean("amount", window="30d")')

    code, told = ask(applied, "features", "plan")

    change = by_name(told)["history"]
    assert (code, change["is_breaking"], change["needs_materialize"]) == (1, True, True)
    assert change["differences"] == [
        {"words": "mean_amount: mean(amount, window=1w) -> mean(amount, window=30d)", "is_breaking": True}
    ]
    assert change["used_by"] == {
        "services": [],
        "models": ["late_orders"],
        "versions": ["late_orders:1"],
        "releases": ["production runs late_orders:1", "staging runs late_orders:1"],
    }


def test_a_breaking_change_is_refused_and_nothing_is_written(applied, ask):
    edit(applied, WEEK, 'mr.mean("amount", window="30d")')

    code, told = ask(applied, "features", "apply")

    assert (code, told["is_applied"], told["error"]["code"]) == (1, False, "FEAT-63")
    assert ask(applied, "features", "plan")[0] == 1
    assert ask(applied, "features", "apply", "--allow-breaking")[1]["is_applied"]
    assert ask(applied, "features", "plan") == (0, {"is_breaking": False, "unchanged": 3, "changes": []})


def test_an_addition_is_not_breaking(applied, ask):
    edit(applied, '"last_late": mr.last("late"),', '"last_late": mr.last("late"), "orders": mr.count(),')
    edit(applied, "@mr.model(", f"{ON_DEMAND.strip()}\n\n\n@mr.model(")

    code, told = ask(applied, "features", "apply", "--by", "bob")

    assert (code, told["is_breaking"], told["is_applied"]) == (0, False, True)
    assert [one["words"] for one in by_name(told)["history"]["differences"]] == ["orders is new: count()"]
    assert {one["name"] for one in told["changes"]} == {"history", "compared", "vector"}


def test_a_removed_feature_code_and_service_are_breaking(applied, ask):
    edit(applied, "@mr.model(", f"{ON_DEMAND.strip()}\n\n\n@mr.model(")
    ask(applied, "features", "apply")
    edit(applied, "amount - mean", "amount - 2 * mean")
    edit(applied, '[history, "compared:over"]', '["history:last_late", "compared:over"]')

    code, told = ask(applied, "features", "plan")

    words = {one["name"]: [two["words"] for two in one["differences"]] for one in told["changes"]}
    assert code == 1
    assert words["compared"] == ["the function's code is another"]
    assert words["vector"][:2] == ["history is left out", "history:last_late is new"]
    assert words["vector"][2].startswith("pins compared ")
    assert by_name(told)["compared"]["used_by"]["services"] == ["vector"]
    assert ask(applied, "features", "plan", "--allow-breaking")[0] == 0


def test_a_password_in_a_source_s_address_stays_out_of_the_record(applied, ask):
    edit(applied, '"data/orders.csv"', '"postgresql://me:secret@db/shop", table="orders"')

    _, told = ask(applied, "features", "plan")

    words = [one["words"] for one in by_name(told)["orders"]["differences"]]
    assert words == ["path: data/orders.csv -> postgresql://me:***@db/shop", "table: none -> orders"]


def test_of_two_who_apply_at_once_one_is_told(applied):
    edit(applied, 'mr.Entity("customer", key="customer")', 'mr.Entity("customer", key="customer", description="who")')
    with closing(open_small_project(applied)) as wiring:
        first, second = plan_features(wiring), plan_features(wiring)
        apply_features(wiring, first, by="ada")
        with pytest.raises(Conflict):
            apply_features(wiring, second, by="bob")
        assert wiring.ledger.state(APPLIED, "entity:customer").value["by"] == "ada"
        assert wiring.ledger.verify().is_intact


def test_training_puts_the_definition_on_the_record_and_it_can_be_made_anew(shop):
    with closing(open_small_project(shop)) as wiring:
        view = wiring.project.views["history"]
        pins = wiring.registry.get("late_orders", 1).lineage["feature_pins"]
        kept = wiring.ledger.state(DEFINITION, f"history@{pins['history']}").value["record"]

        rebuilt = view_from_record(kept)

    assert rebuilt.digest() == view.digest() == pins["history"]
    assert rebuilt.storage_id() == view.storage_id()
    with pytest.raises(StoreError) as caught:
        view_from_record({**kept, "ttl_s": 60.0})
    assert caught.value.code == "FEAT-60"


def test_the_list_says_how_fresh_each_view_is(applied, ask):
    ask(applied, "features", "materialize", "--end", END.isoformat())

    code, (entry,) = ask(applied, "features", "list")

    assert (code, entry["name"], entry["entity"], entry["source"], entry["features"]) == (
        0, "history", "customer", "orders", 2,
    )  # fmt: skip
    assert entry["materialized_until"] == "2024-02-11T16:00:00.000000Z"
    assert entry["age_s"] > 86_400
    assert (entry["state"], entry["applied"]["by"]) == ("applied", "ada")
    _, features = ask(applied, "features", "list", "--features")
    assert [one["feature"] for one in features] == ["history:last_late", "history:mean_amount"]


def test_statistics_are_measured_once_and_shown_later(applied, ask):
    code, told = ask(applied, "features", "show", "history", "--stats", "--at", END.isoformat())
    _, later = ask(applied, "features", "show", "history:mean_amount")

    (only,) = later["feature_details"]
    assert code == 0
    assert told["feature_details"][1] == only
    facts = only["statistics"]
    assert (facts["rows"], facts["null_share"], facts["type"], facts["at"][:10]) == (8, 0.0, "float", "2024-02-11")
    assert facts["min"] < facts["quantiles"]["0.5"] < facts["max"]
    edit(applied, WEEK, 'mr.mean("amount", window="30d")')
    assert ask(applied, "features", "show", "history:mean_amount")[1]["feature_details"][0]["statistics"] is None


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("history", "history"),
        ("mean_amount", "history:mean_amount"),
        ("amont mean", "history:mean_amount"),
        ("custmer", "customer"),
        ("usual", "compared"),
        ("risk", "vector"),
    ],
)
def test_search_finds_what_is_nearly_meant(shop, ask, text, first):
    edit(shop, "@mr.model(", f"{ON_DEMAND.strip()}\n\n\n@mr.model(")

    code, found = ask(shop, "features", "search", text)

    assert (code, found[0]["name"]) == (0, first)


def test_search_wants_every_word(shop, ask):
    assert ask(shop, "features", "search", "history", "unicorn") == (0, [])


def test_lineage_leads_from_the_source_to_the_release_and_back(shop, ask):
    chain = ["source:orders", "view:history", "model:late_orders", "version:late_orders:1"]
    expected = {*chain, "entity:customer", "release:production/late_orders", "release:staging/late_orders"}
    for name in ("orders", "history", "history:last_late", "late_orders", "late_orders:1"):
        code, told = ask(shop, "features", "lineage", name)
        nodes = {one["id"] for one in told["nodes"]}
        assert code == 0
        assert nodes == expected - ({"entity:customer"} if name == "orders" else set())
        edges = {(one["from"], one["to"]) for one in told["edges"]}
        assert set(pairwise(chain)) <= edges


def test_lineage_tells_of_a_version_that_pins_an_earlier_definition(shop, ask):
    edit(shop, WEEK, 'mr.mean("amount", window="30d")')

    _, told = ask(shop, "features", "lineage", "history")

    (version,) = [one for one in told["nodes"] if one["kind"] == "version"]
    assert version["trained_on_earlier"] == ["history"]


def test_an_earlier_definition_is_shown_by_its_digest(shop, ask):
    with closing(open_small_project(shop)) as wiring:
        digest = wiring.project.views["history"].digest()
    edit(shop, WEEK, 'mr.mean("amount", window="30d")')

    code, told = ask(shop, "features", "show", "history", "--digest", digest[:8])

    assert (code, told["features"][1]["words"]) == (0, "mean(amount, window=1w)")
    assert ask(shop, "features", "show", "history", "--digest", "ffff")[1]["error"]["code"] == "FEAT-66"


def test_an_unknown_name_is_told_the_nearest(shop, ask):
    for verb in ("show", "lineage"):
        code, told = ask(shop, "features", verb, "histori")
        assert (code, told["error"]["code"], told["error"]["fix"]) == (2, "FEAT-66", "did you mean 'history'?")


def test_what_has_no_values_is_not_measured(shop, ask):
    assert ask(shop, "features", "show", "customer", "--stats")[1]["error"]["code"] == "FEAT-67"


def test_people_get_words(applied):
    edit(applied, WEEK, 'mr.mean("amount", window="30d")')

    shown = {
        verb[0]: millrace(applied, "features", *verb).stdout
        for verb in (["plan"], ["lineage", "history"], ["show", "history"])
    }

    assert "mean_amount: mean(amount, window=1w) -> mean(amount, window=30d)  breaking" in shown["plan"]
    assert "└─ version late_orders:1  (trained on an earlier history)" in shown["lineage"]
    assert "applied  " in shown["show"]
