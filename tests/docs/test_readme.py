"""The README shows the example as it is, and what it shows runs."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

import millrace as mr

ROOT = Path(__file__).parents[2]


def blocks(language):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def test_the_project_of_one_page_is_the_example_itself():
    page = (ROOT / "examples" / "electricity" / "project.py").read_text()

    assert f"```python\n{page}```" in (ROOT / "README.md").read_text()


def test_the_feature_store_of_the_page_answers(write_project):
    (definitions,) = [block for block in blocks("python") if "buying = mr.FeatureView" in block]
    folder = write_project(definitions)
    (folder / "data" / "orders").mkdir(parents=True)
    at = [datetime(2024, 5, day, tzinfo=UTC) for day in (1, 2, 3)]
    orders = pd.DataFrame(
        {
            "customer_id": [7, 7, 7],
            "ordered_at": at,
            "loaded_at": at,
            "invoice": ["1", "C2", "3"],
            "quantity": [2, -2, 1],
            "price": [10.0, 10.0, 4.0],
            "stock_code": ["a", "a", "b"],
        }
    )
    orders.to_parquet(folder / "data" / "orders" / "part.parquet")
    store = mr.open_features(folder)
    asked = pd.DataFrame({"customer_id": [7], "event_time": [datetime(2024, 5, 4, tzinfo=UTC)], "basket_value": [12.0]})

    past = store.get_historical_features(asked, "checkout").to_arrow().to_pylist()
    store.materialize_incremental(datetime(2024, 5, 4, tzinfo=UTC))
    rows = [{"customer_id": 7, "basket_value": 12}]
    online = store.get_online_features("checkout", entity_rows=rows, at=datetime(2024, 5, 4, tzinfo=UTC)).to_dict()

    expected = {
        "spend_90d": 24.0,
        "orders": 2,
        "recency_days": 1,
        "last_codes": ["b", "a", "a"],
        "basket_to_spend": 0.5,
    }
    assert past == [{**past[0], **expected}]
    assert {name: values[0] for name, values in online.items()} == {"customer_id": 7, **expected}
