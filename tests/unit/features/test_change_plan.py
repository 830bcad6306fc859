"""What counts as breaking, and how it is said."""

from datetime import timedelta
from types import SimpleNamespace

import pytest

from millrace.features import aggregation as mr
from millrace.features.change_plan import plan_changes
from millrace.features.definition_record import records_of
from millrace.features.entity import Entity
from millrace.features.expression import col
from millrace.features.field import Field
from millrace.features.on_demand import on_demand
from millrace.features.service import FeatureService
from millrace.features.view import FeatureView

CUSTOMER = Entity("customer", key="id")


def source(**changes):
    facts = {"name": "log", "event_time": "ts", "created": None, "delay": None, "path": "log.csv"}
    return SimpleNamespace(**facts | changes)


def view(**changes):
    features = {"spend": mr.sum("amount", window="90d"), "n": mr.count()}
    return FeatureView("v", **{"entity": CUSTOMER, "source": source(), "features": features} | changes)


def words(before, after, **others):
    """What differs between two definitions of a view: breaking or not, and the words."""
    plan = plan_changes(records_of(views=[before], **others), records_of(views=[after], **others))
    return [(one.is_breaking, one.words) for change in plan for one in change.differences]


SPEND = {"n": mr.count()}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        (
            {"features": {**SPEND, "spend": mr.sum("amount", window="30d")}},
            [
                (True, "spend: sum(amount, window=90d) -> sum(amount, window=30d)"),
                (False, "the features stand in another order"),
            ],
        ),
        (
            {"features": {"spend": mr.sum("amount", window="90d")}},
            [(True, "n is removed: count()")],
        ),
        (
            {"features": {"spend": mr.sum("amount", window="90d"), "n": mr.count(), "one": "amount"}},
            [(False, "one is new: last(amount)")],
        ),
        ({"ttl": "7d"}, [(True, "ttl: none -> 1w")]),
        ({"ttl": 0}, []),
        ({"entity": Entity("shop", key="id")}, [(False, "entity: customer -> shop")]),
        ({"entity": Entity("customer", key=["id", "shop"])}, [(True, "keys: id -> id, shop")]),
        ({"entity": None}, [(True, "keys: id -> none")]),
        ({"source": source(name="other")}, [(True, "source: log -> other")]),
        ({"source": source(event_time="at")}, [(True, "event_time of the source: ts -> at")]),
        ({"source": source(created="known")}, [(True, "created of the source: none -> known")]),
        ({"source": source(delay=timedelta(hours=2))}, [(True, "delay of the source: none -> 2h")]),
        ({"event_key": "order"}, [(True, "event_key: none -> order")]),
        ({"schema": [Field("n", "int")]}, [(True, "type of n: not declared -> int")]),
        ({"description": "what", "owner": "ada", "tags": ["x", "y"]}, [
            (False, "description: none -> what"), (False, "owner: none -> ada"), (False, "tags: none -> x, y"),
        ]),
    ],
)  # fmt: skip
def test_what_differs_between_two_definitions_of_a_view(changes, expected):
    assert words(view(), view(**changes)) == expected


def test_whole_and_broken_numbers_in_a_condition_are_two_rules():
    one, other = (view(features={"n": mr.count(where=col("amount") > bound)}) for bound in (1, 1.0))

    assert words(one, other) == [(True, "n: count(where=amount > 1) -> count(where=amount > 1.0)")]


def test_what_a_field_means_is_not_what_it_is():
    one, other = (view(schema=[Field("n", "int", text, tags)]) for text, tags in (("", ()), ("orders", ("key",))))

    assert words(one, other) == [(False, "description of n: none -> orders"), (False, "tags of n: none -> key")]


def test_whatever_moves_a_digest_is_told():
    """Nothing that decides a value can change unnoticed."""
    changed = [
        view(ttl="7d"), view(event_key="x"), view(entity=None), view(source=source(delay=timedelta(1))),
        view(source=source(created="c")), view(schema=[Field("n", "int")]), view(features={"n": mr.count()}),
        view(features={"spend": mr.sum("amount", window="90d"), "n": mr.count(window="1d")}),
    ]  # fmt: skip
    for other in changed:
        assert other.digest() != view().digest()
        assert any(is_breaking for is_breaking, _ in words(view(), other))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"path": "new.csv"}, [(True, "path: log.csv -> new.csv")]),
        ({"columns": {"amount": "AMT"}}, [(True, "columns: none -> amount=AMT")]),
        ({"schema": {"amount": "float"}}, [(False, "schema: none -> amount=float")]),
        ({"delay": timedelta(days=1)}, [(True, "delay: none -> 1d")]),
        ({"description": "orders"}, [(False, "description: none -> orders")]),
    ],
)
def test_what_differs_between_two_definitions_of_a_source(changes, expected):
    (change,) = plan_changes(records_of(sources=[source()]), records_of(sources=[source(**changes)]))

    assert [(one.is_breaking, one.words) for one in change.differences] == expected


def computed(factor, *, outputs=("twice",), note="", takes="v:n"):
    @on_demand(inputs={"n": takes}, outputs=dict.fromkeys(outputs, "float"), name="computed", description=note)
    def function(n):
        return dict.fromkeys(outputs, factor * n)

    return function


def test_code_outputs_and_inputs_of_an_on_demand_view():
    def told(before, after):
        plan = plan_changes(records_of(on_demand=[before]), records_of(on_demand=[after]))
        return [(one.is_breaking, one.words) for change in plan for one in change.differences]

    assert told(computed(2), computed(2)) == []
    assert told(computed(2), computed(2, note="twice")) == [(False, "description: none -> twice")]
    assert told(computed(2), computed(2, outputs=("twice", "more"))) == [(False, "more is new: float")]
    assert told(computed(2, outputs=("twice", "more")), computed(2)) == [(True, "more is removed")]
    assert told(computed(2), computed(2, takes="v:spend")) == [(True, "input n: v:n -> v:spend")]


def test_a_service_tells_of_pins_that_move_and_the_view_of_what_breaks():
    service = FeatureService("s", features=["v"])
    before = records_of(views=[view()], services=[service])
    after = records_of(views=[view(ttl="1d")], services=[service])

    changed, moved = plan_changes(before, after)

    assert (changed.key, changed.is_breaking, moved.key, moved.is_breaking) == ("view:v", True, "service:s", False)
    assert moved.differences[0].words == f"pins v {view().digest()[:12]} -> {view(ttl='1d').digest()[:12]}"


def test_the_order_of_a_vector_is_part_of_it():
    def told(*features):
        service = [FeatureService("s", features=list(features))]
        plan = plan_changes(
            records_of(views=[view()], services=[FeatureService("s", features=["v:n", "v:spend"])]),
            records_of(views=[view()], services=service),
        )
        return [(one.is_breaking, one.words) for change in plan for one in change.differences]

    assert told("v:spend", "v:n") == [(True, "the order of its vector: v:n, v:spend -> v:spend, v:n")]
    assert told("v:n") == [(True, "v:spend is left out")]


def test_what_needs_filling_is_what_lies_elsewhere_in_the_store():
    before = records_of(views=[view()])

    (renamed,) = plan_changes(before, records_of(views=[view(ttl="1d")]))
    (wider,) = plan_changes(before, records_of(views=[view(features={"spend": mr.sum("price", window="90d")})]))
    (gone,) = plan_changes(before, {})
    (new,) = plan_changes({}, before)

    assert [one.needs_materialize for one in (renamed, wider, gone, new)] == [False, True, False, True]
    assert (gone.is_breaking, new.is_breaking) == (True, False)
    assert gone.to_dict()["differences"] == [{"words": "view 'v' is removed", "is_breaking": True}]
