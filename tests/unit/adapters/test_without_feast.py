"""What of the Feast bridge needs no Feast, and what says so when it is missing."""

import subprocess
import sys
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq

import millrace as mr
from millrace.adapters.feast_export import to_feast

T = datetime(2024, 6, 1, tzinfo=UTC)


def test_reading_a_repository_names_the_extra():
    code = """
import sys
sys.modules["feast"] = None
from millrace.core.errors import MissingExtra
try:
    import millrace.adapters.feast
except MissingExtra as error:
    print(error.code, error.fix)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout.strip() == "EXTRA-01 pip install 'millrace[feast]'"


def test_a_repository_is_written_without_feast(tmp_path):
    times = pa.array([T], pa.timestamp("us", "UTC"))
    pq.write_table(pa.table({"id": [1], "x": [2], "at": times}), tmp_path / "rows.parquet")
    source = mr.Source("rows", "rows.parquet", event_time="at")
    view = mr.FeatureView(
        "v", entity=mr.Entity("one", key="id"), source=source, schema=[mr.Field("x", "int")], ttl="1d"
    )
    sums = mr.FeatureView("sums", entity=mr.Entity("one", key="id"), source=source, features={"s": mr.sum("x")})

    export = to_feast(tmp_path / "repo", [view, sums], project="shop", root=tmp_path, at=[T])

    text = (tmp_path / "repo" / "definitions.py").read_text()
    assert (tmp_path / "repo" / "feature_store.yaml").read_text().startswith("project: shop\n")
    assert "ttl=timedelta(seconds=86400.0)" in text
    assert "Field(name='x', dtype=Int64)" in text
    assert export.views == ("sums", "v")
    values = pq.read_table(tmp_path / "repo" / "data" / "sums.parquet")
    assert values.to_pydict() == {"id": [1], "event_timestamp": [T], "s": [2]}
