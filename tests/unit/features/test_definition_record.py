"""A feature view made anew from its record is the same view, after any number of trips through the ledger."""

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.core.errors import StoreError
from millrace.core.ids import canonical_json
from millrace.features import aggregation as mr
from millrace.features.definition_record import (
    on_demand_record,
    records_of,
    service_record,
    source_record,
    view_from_record,
    view_record,
)
from millrace.features.entity import Entity
from millrace.features.expression import col
from millrace.features.field import DTYPES, Field
from millrace.features.on_demand import on_demand
from millrace.features.service import FeatureService
from millrace.features.view import FeatureView

names = st.sampled_from(["a", "b", "c d", "ä", "`x`"])
numbers = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
moments = st.integers(0, 4 * 10**15).map(
    lambda micros: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)
)
literals = numbers | st.text(max_size=5) | st.booleans() | moments
expressions = st.recursive(
    st.builds(col, names),
    lambda inner: st.one_of(
        st.builds(lambda a, b: a + b, inner, inner | numbers),
        st.builds(lambda a, b: b / a, inner, numbers),
        st.builds(lambda a, b: (a >= b) | a.is_null(), inner, inner | literals),
        st.builds(lambda a, b: ~(a == b), inner, literals),
        st.builds(lambda a, b: a.is_in(b), inner, st.lists(literals, min_size=1, max_size=3)),
        st.builds(lambda a, b: a.fill_null(b), inner, literals),
        st.builds(lambda a, b: a.starts_with(b), inner, st.text(max_size=4)),
        st.builds(lambda a: -a.abs(), inner),
    ),
    max_leaves=5,
)
spans = st.none() | st.timedeltas(timedelta(microseconds=1), timedelta(days=4000))
rules = st.one_of(
    st.builds(
        lambda rule, column, window, where: rule(column, window=window, where=where),
        st.sampled_from([mr.sum, mr.mean, mr.min, mr.max, mr.std, mr.first, mr.last, mr.count, mr.count_distinct]),
        names | expressions, spans, st.none() | expressions,
    ),
    st.builds(lambda k, window: mr.last_k("a", k, window=window), st.integers(1, 9), spans),
    st.builds(lambda k: mr.lag(col("b") + 1, k), st.integers(0, 9)),
    st.builds(lambda where: mr.days_since_last(where=where), st.none() | expressions),
    names,
)  # fmt: skip
features = rules | st.builds(mr.ratio, rules.filter(lambda one: not isinstance(one, str)), st.just(mr.count()))
feature_names = st.from_regex(r"[a-z_][a-z0-9_]{0,6}", fullmatch=True)


@st.composite
def views(draw):
    source = SimpleNamespace(
        name="log",
        event_time="ts",
        created=draw(st.sampled_from([None, "created"])),
        delay=draw(st.none() | st.timedeltas(timedelta(0), timedelta(days=40))),
    )
    chosen = draw(st.dictionaries(feature_names, features, min_size=1, max_size=4))
    declared = draw(st.lists(st.sampled_from([*chosen, "plain"]), max_size=2, unique=True))
    return FeatureView(
        "v",
        entity=draw(st.sampled_from([None, Entity("e", key="id"), Entity("e2", key=("shop", "id"))])),
        source=source,
        features=chosen,
        schema=[Field(name, draw(st.sampled_from(sorted(DTYPES))), "what it is", ["t"]) for name in declared],
        ttl=draw(st.none() | st.timedeltas(timedelta(0), timedelta(days=4000))),
        event_key=draw(st.sampled_from([(), ("a",), ("a", "b")])),
        description=draw(st.text(max_size=5)),
        owner="ada",
        tags=draw(st.lists(st.text(max_size=3), max_size=2)),
    )


@settings(deadline=None, max_examples=300)
@given(views())
def test_a_view_is_the_same_after_the_ledger(view):
    record = json.loads(canonical_json(view_record(view)))

    rebuilt = view_from_record(record)

    assert rebuilt.digest() == view.digest()
    assert rebuilt.storage_id() == view.storage_id()
    assert rebuilt.rules == view.rules
    assert list(rebuilt.rules) == list(view.rules)
    assert {name: str(one) for name, one in rebuilt.expressions.items()} == {
        name: str(one) for name, one in view.expressions.items()
    }
    assert rebuilt.columns == view.columns
    assert set(rebuilt.source_columns) == set(view.source_columns)
    assert canonical_json(view_record(rebuilt)) == canonical_json(view_record(view))
    assert view_from_record(record, view.source).source is view.source


def make_view(**changes):
    source = SimpleNamespace(name="log", event_time="ts", created=None, delay=None)
    facts = {"entity": Entity("e", key="id"), "source": source, "features": {"n": mr.count()}}
    return FeatureView("v", **facts | changes)


@pytest.mark.parametrize(
    "damage",
    [
        {"ttl_s": 5.0},
        {"keys": ["other"]},
        {"features": []},
        {"features": [{"name": "n", "rule": {"kind": "count"}}]},
        {"source": {}},
        {"schema": [{"name": "n", "dtype": "complex", "description": "", "tags": []}]},
        {"features": [{"name": "n", "rule": {"kind": "cnt", "column": None, "window_s": None, "steps": 0}}]},
    ],
)
def test_a_record_that_is_not_what_was_written_is_refused(damage):
    with pytest.raises(StoreError) as caught:
        view_from_record(view_record(make_view()) | damage)

    assert caught.value.code == "FEAT-60"


def test_a_source_of_other_times_is_refused():
    other = SimpleNamespace(name="log", event_time="at", created=None, delay=None)

    with pytest.raises(StoreError) as caught:
        view_from_record(view_record(make_view()), other)

    assert caught.value.code == "FEAT-60"


def test_a_record_of_code_shows_it_and_a_service_pins_its_views():
    @on_demand(inputs={"n": "v:n", "x": Field("x", "float")}, outputs={"twice": "float"})
    def doubled(n, x):
        return 2 * n + x

    view = make_view()
    service = FeatureService("s", features=[view, "doubled:twice"])
    records = records_of(views=[view], on_demand=[doubled], services=[service], entities=[view.entity])

    assert list(records) == ["entity:e", "view:v", "on_demand:doubled", "service:s"]
    assert "return 2 * n + x" in records["on_demand:doubled"]["code"]
    assert records["on_demand:doubled"]["inputs"] == [
        {"name": "n", "feature": "v:n"},
        {"name": "x", "field": "x", "dtype": "float"},
    ]
    assert records["service:s"]["pins"] == {"v": view.digest(), "doubled": doubled.digest()}
    assert records["service:s"] == service_record(service, {"v": view.digest(), "doubled": doubled.digest()})
    assert on_demand_record(doubled)["digest"] == doubled.digest()


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        ("postgresql://me:secret@db:5432/shop", "postgresql://me:***@db:5432/shop"),
        ("postgresql+psycopg://me:s3:cr/et@db/shop", "postgresql+psycopg://me:***@db/shop"),
        ("postgresql://db/shop?user=me&sslpassword=x%20y&x=1", "postgresql://db/shop?user=me&sslpassword=***&x=1"),
        ("postgresql://me@db/shop", "postgresql://me@db/shop"),
        ("data/a:b@c.parquet", "data/a:b@c.parquet"),
        ("env:ORDERS_URL", "env:ORDERS_URL"),
    ],
)
def test_no_password_is_kept(path, kept):
    source = SimpleNamespace(name="log", event_time="ts", created=None, delay=None, path=path)

    assert source_record(source)["path"] == kept
