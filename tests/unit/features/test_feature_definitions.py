"""Entities, views and aggregations: what they mean, what they refuse, and what their digest covers."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from typing import Any

import pytest
from orders_shop import make_source

from millrace.core.definition import collecting
from millrace.core.errors import DataError, ProjectError
from millrace.features import aggregation as mr
from millrace.features.entity import Entity
from millrace.features.request import resolve
from millrace.features.view import FeatureView


def view(name: str = "v", **changes: Any) -> FeatureView:
    facts: dict[str, Any] = {
        "entity": Entity("customer", key="customer_id"),
        "source": make_source(),
        "features": {"amount": "amount", "mean": mr.mean("amount", window="90d")},
    }
    return FeatureView(name, **{**facts, **changes})


def test_definitions_load_no_engine() -> None:
    program = (
        "import sys, millrace.features.view, millrace.features.entity, millrace.features.aggregation\n"
        "print(sorted({'numpy', 'pyarrow', 'polars', 'pandas', 'lmdb'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"


def test_a_bare_column_name_means_its_last_value() -> None:
    assert view().rules["amount"] == mr.last("amount")


def test_a_view_knows_its_place_and_keys() -> None:
    made = view(entity=Entity("pair", key=["shop_id", "customer_id"]))

    assert made.place is not None
    assert made.place.startswith(__file__)
    assert made.keys == ("shop_id", "customer_id")
    assert view(entity=None).keys == ()


@pytest.mark.parametrize("ttl", [None, 0, "0s", timedelta(0)])
def test_no_ttl_and_a_ttl_of_nothing_are_no_limit(ttl: Any) -> None:
    assert view(ttl=ttl).ttl_span is None


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("PROJ-42", {"name": "my view"}),
        ("PROJ-42", {"features": {"a:b": "a"}}),
        ("PROJ-43", {"features": {}}),
        ("PROJ-43", {"features": {"a": 3}}),
        ("PROJ-44", {"entity": "customer"}),
        ("PROJ-44", {"source": "orders.parquet"}),
        ("PROJ-45", {"source": make_source(event_time=None)}),
        ("PROJ-46", {"ttl": timedelta(days=-1)}),
        ("PROJ-10", {"ttl": "soon"}),
    ],
)
def test_a_mistake_is_refused_with_its_place(code: str, changes: dict[str, Any]) -> None:
    with pytest.raises(ProjectError) as refused:
        view(**changes)

    assert refused.value.code == code
    assert refused.value.where is not None
    assert refused.value.where.startswith(__file__)


@pytest.mark.parametrize("key", ["", [], ["a", "a"]])
def test_an_entity_needs_a_key(key: Any) -> None:
    with pytest.raises(ProjectError) as refused:
        Entity("customer", key=key)

    assert refused.value.code == "PROJ-40"


def test_wrong_aggregations_are_refused() -> None:
    wrong = [
        lambda: mr.mean("a", window="0d"),
        lambda: mr.lag("a", -1),
        lambda: mr.lag("a", True),
        lambda: mr.last(""),
        lambda: mr.sum(None),  # type: ignore[arg-type]
    ]
    codes = []
    for make in wrong:
        with pytest.raises(ProjectError) as refused:
            make()
        codes.append(refused.value.code)

    assert codes == ["PROJ-41"] * 5


def test_all_mistakes_of_a_project_are_collected() -> None:
    with collecting() as problems:
        view("bad name", features={}, ttl="soon")
        mr.mean("a", window="sometime")

    assert [problem.code for problem in problems] == ["PROJ-42", "PROJ-43", "PROJ-10", "PROJ-10"]


def test_the_digest_covers_what_decides_a_value() -> None:
    same = [view(description="words"), view(owner="me"), view(tags=["x"]), view(features=dict(view().features))]
    other = [
        view(ttl="1d"),
        view(source=make_source(name="others")),
        view(source=make_source(delay=timedelta(days=1))),
        view(source=make_source(created="created")),
        view(entity=None),
        view(features={"amount": "amount", "mean": mr.mean("amount", window="91d")}),
        view(features={"amount": "amount", "average": mr.mean("amount", window="90d")}),
    ]

    assert {one.digest() for one in same} == {view().digest()}
    assert len({one.digest() for one in [view(), *other]}) == 8


def test_stored_events_are_kept_when_only_names_or_ttl_change() -> None:
    kept = [view(ttl="1d"), view(features={"x": "amount", "y": mr.mean("amount", window="90d")})]
    moved = [
        view(features={"amount": "amount", "mean": mr.mean("amount", window="91d")}),
        view(features={"amount": mr.lag("amount", 2), "mean": mr.mean("amount", window="90d")}),
        view(features={"amount": "amount", "mean": mr.mean("amount")}),
        view(features={"amount": "other", "mean": mr.mean("amount", window="90d")}),
        view(event_key="order_id"),
    ]

    assert {one.storage_id() for one in kept} == {view().storage_id()}
    assert len({one.storage_id() for one in [view(), *moved]}) == 6


def test_references_resolve_in_the_order_asked() -> None:
    views = {"v": view(), "w": view("w")}

    found = resolve(views, ["w:mean", "v:amount"])

    assert list(zip(found.names, found.references, strict=True)) == [("mean", "w:mean"), ("amount", "v:amount")]
    assert list(resolve(views, ["v"]).names) == ["amount", "mean"]
    assert list(resolve(views, [views["v"]]).names) == ["amount", "mean"]
    assert list(resolve(views, ["v", "w"], full_feature_names=True).names) == [
        "v__amount", "v__mean", "w__amount", "w__mean",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("code", "wanted", "words"),
    [
        ("FEAT-01", ["vv:amount"], "did you mean 'v'?"),
        ("FEAT-02", ["v:amuont"], "did you mean 'amount'?"),
        ("FEAT-03", [], "view:feature"),
        ("FEAT-03", [7], "view:feature"),
        ("FEAT-04", ["v:amount", "w:amount"], "full_feature_names=True"),
        ("FEAT-04", ["v:amount", "v:amount"], "ask once"),
        ("FEAT-04", ["v:mean"], "drop or rename"),
    ],
)
def test_a_wrong_request_names_its_fix(code: str, wanted: Any, words: str) -> None:
    with pytest.raises(DataError) as refused:
        resolve({"v": view(), "w": view("w")}, wanted, taken=["mean"] if words == "drop or rename" else [])

    assert refused.value.code == code
    assert words in str(refused.value)


def test_all_problems_of_a_request_are_told_at_once() -> None:
    with pytest.raises(DataError) as refused:
        resolve({"v": view()}, ["x:amount", "v:amonut", "v:mean"])

    assert [finding.code for finding in refused.value.findings] == ["FEAT-01", "FEAT-02"]
