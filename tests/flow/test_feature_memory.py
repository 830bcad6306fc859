"""A project says how much memory features may take, and where what does not fit waits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from millrace.flow.wiring import open_features

START = datetime(2024, 1, 1, tzinfo=UTC)
PROJECT = """
import millrace as mr

log = mr.Source("log", "log.parquet", event_time="at")
counts = mr.FeatureView("counts", entity=mr.Entity("c", key="id"), source=log, features={"n": mr.count(), "x": "x"})
"""


@pytest.mark.parametrize("line", ["memory_mb = 1", 'memory_mb = 1\noffline = "embedded://"'])
def test_what_does_not_fit_waits_in_the_folder_of_the_project(tmp_path: Path, line: str) -> None:
    rows = 40_000
    log = {"id": [row % 500 for row in range(rows)], "at": [START + timedelta(minutes=row) for row in range(rows)]}
    pq.write_table(pa.table({**log, "x": range(rows)}), tmp_path / "log.parquet")
    (tmp_path / "millrace.toml").write_text(f'name = "big"\n[defaults]\n{line}\nspill = "waiting"\n')
    (tmp_path / "project.py").write_text(PROJECT)
    asked = pa.table({"id": list(range(500)), "event_time": [START + timedelta(days=99)] * 500})
    store = open_features(tmp_path)

    answers = store.get_historical_features(asked, ["counts"]).to_arrow()

    assert answers["n"].to_pylist() == [rows // 500] * 500
    assert answers["x"].to_pylist() == list(range(rows - 500, rows))
    assert [path.name for path in (tmp_path / "waiting").iterdir()] == [".lock"]
    assert store.materialize(None, START + timedelta(days=99)) == {"counts": rows}


def test_memory_is_a_number(tmp_path: Path) -> None:
    from millrace.core.errors import ProjectError

    (tmp_path / "millrace.toml").write_text('name = "big"\n[defaults]\nmemory_mb = "4GB"\n')
    (tmp_path / "project.py").write_text(PROJECT)

    with pytest.raises(ProjectError, match="memory_mb = '4GB' is not of type int"):
        open_features(tmp_path)
