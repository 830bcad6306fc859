"""Millrace's definitions written as a Feast repository: `feast apply` takes it, and it answers the same."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta

import feast
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import millrace as mr
from millrace.adapters.feast import from_feast
from millrace.adapters.feast_export import to_feast
from millrace.core.errors import MillraceError
from millrace.data.read import read_source
from millrace.features.store import FeatureStore

T = datetime(2024, 6, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def shop(tmp_path):
    """Views over a log of orders: columns as they stand, under another name, with two keys, and windows."""
    rng = np.random.default_rng(7)
    rows = 300
    path = tmp_path / "orders.parquet"
    times = pa.array([T - int(one) * HOUR for one in rng.permutation(rows)], pa.timestamp("us", "UTC"))
    pq.write_table(
        pa.table(
            {
                "customer_id": rng.integers(0, 15, rows),
                "shop": rng.choice(["a", "b"], rows).tolist(),
                "amount": rng.normal(size=rows),
                "items": rng.integers(0, 5, rows),
                "tags": [["x"]] * rows,
                "at": times,
                "known": times,
            }
        ),
        path,
    )
    orders = mr.Source("orders", path, event_time="at", created="known", description="every order")
    customer = mr.Entity("customer", key="customer_id", description="who buys")
    visit = mr.Entity("visit", key=["customer_id", "shop"])
    newest = mr.FeatureView(
        "newest",
        entity=customer,
        source=orders,
        schema=[mr.Field("amount", "float", "what it cost", ["unit=pound"]), mr.Field("tags", "list[string]")],
        ttl="10d",
        event_key="items",
        tags=["core", "team=shop"],
        owner="ops",
        description="the last order",
    )
    renamed = mr.FeatureView(
        "renamed",
        entity=customer,
        source=orders,
        features={"cost": "amount"},
        schema=[mr.Field("cost", "float"), mr.Field("items", "int")],
    )
    visits = mr.FeatureView("visits", entity=visit, source=orders, schema=[mr.Field("items", "int")], ttl="90d")
    everybody = mr.FeatureView("everybody", entity=None, source=orders, schema=[mr.Field("amount", "float")])
    spend = mr.FeatureView(
        "spend", entity=customer, source=orders, features={"spend_7d": mr.sum("amount", window="7d"), "n": mr.count()}
    )
    service = mr.FeatureService(
        "churn", features=["newest:amount", visits], description="who leaves", owner="ops", tags=["m=1"]
    )
    return [newest, renamed, visits, everybody, spend, service]


def feast_apply(folder):
    command = "from feast.cli.cli import cli; cli()"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", command, "-c", str(folder), "apply"],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return feast.FeatureStore(repo_path=str(folder))


@pytest.mark.parametrize("stores", ["millrace", "feast"])
def test_feast_apply_takes_it_and_it_answers_the_same(shop, tmp_path, stores):
    moments = [T - 48 * HOUR, T]
    export = to_feast(tmp_path / "repo", shop, project="shop", at=moments, stores=stores)
    store = feast_apply(tmp_path / "repo")

    assert export.views == ("everybody", "newest", "renamed", "spend", "visits")
    assert export.computed == ("spend",)
    assert export.findings == ()
    asked = pd.DataFrame(
        {
            "customer_id": list(range(17)) * 2,
            "shop": ["a"] * 17 + ["b"] * 17,
            "row": range(34),
            "event_timestamp": pd.to_datetime([moments[0]] * 17 + [moments[1]] * 17, utc=True),
        }
    )
    references = ["newest:amount", "renamed:cost", "visits:items", "everybody:amount", "spend:spend_7d", "spend:n"]
    views = [one for one in shop if isinstance(one, mr.FeatureView)]
    ours = FeatureStore(views, read=lambda source, start, end: read_source(source, root=tmp_path, start=start, end=end))
    expected = ours.get_historical_features(asked, references, full_feature_names=True, as_known=False).to_df()
    # Millrace knows that a key without orders has no orders; a file of values does not hold that key.
    found = store.get_historical_features(asked, references, full_feature_names=True).to_df()
    found = found.sort_values("row", ignore_index=True)
    assert set(found["row"]) <= set(asked["row"])
    for reference in references:
        name = reference.replace(":", "__")
        mine = expected[name].astype(float).fillna(0).iloc[found["row"]].tolist()
        assert found[name].astype(float).fillna(0).tolist() == pytest.approx(mine)


def test_the_way_there_and_back_changes_nothing(shop, tmp_path):
    export = to_feast(tmp_path / "repo", shop, project="shop")
    feast_apply(tmp_path / "repo")

    again = from_feast(tmp_path / "repo")

    assert [one.code for one in export.findings] == ["FEAST-15"]
    assert "spend" in export.findings[0].what
    assert again.findings == ()
    for view in shop[:4]:
        assert again.views[view.name].digest() == view.digest()
    for view in shop[:4]:
        assert again.views[view.name] == view
        assert again.views[view.name].schema[0].description == view.schema[0].description
    assert again.services["churn"].references == ("newest:amount", "visits:items")
    assert again.services["churn"].description == "who leaves"

    second = to_feast(tmp_path / "second", again, project="shop")
    assert (tmp_path / "second" / "definitions.py").read_text() == (tmp_path / "repo" / "definitions.py").read_text()
    assert second.findings == ()


def test_what_feast_cannot_say_is_told(shop, tmp_path):
    @mr.on_demand(inputs={"amount": "newest:amount"}, outputs={"double": "float"})
    def doubled(amount):
        return amount * 2

    delayed = mr.FeatureView(
        "delayed",
        entity=shop[0].entity,
        source=mr.Source("late_orders", tmp_path / "orders.parquet", event_time="at", delay="2h"),
        schema=[mr.Field("amount", "float")],
    )
    service = mr.FeatureService("all", features=["newest", "spend:n"])

    export = to_feast(tmp_path / "repo", [*shop, delayed, doubled, service], project="shop")

    told = {one.what for one in export.findings}
    assert told == {
        "the view 'spend' is left out",
        "the view 'delayed' is left out",
        "the on-demand view 'doubled' is left out",
        "the service 'all' is left out",
    }
    assert export.services == ("churn",)


@pytest.mark.parametrize(("more", "code"), [({"project": "my shop"}, "FEAST-16"), ({"stores": "redis"}, "FEAST-18")])
def test_wrong_words_are_refused(shop, tmp_path, more, code):
    with pytest.raises(MillraceError) as caught:
        to_feast(tmp_path / "repo", shop, **more)

    assert caught.value.code == code
    assert not (tmp_path / "repo").exists()


def test_another_projects_repository_is_not_overwritten(shop, tmp_path):
    to_feast(tmp_path / "repo", shop, project="shop")
    to_feast(tmp_path / "repo", shop, project="shop")

    with pytest.raises(MillraceError) as caught:
        to_feast(tmp_path / "repo", shop, project="other")

    assert caught.value.code == "FEAST-17"


def test_nothing_to_write_is_an_error(shop, tmp_path):
    with pytest.raises(MillraceError) as caught:
        to_feast(tmp_path / "repo", [shop[4]], project="shop")

    assert caught.value.code == "FEAST-15"
    assert "windows" in (caught.value.findings[0].why or "")
