"""One contender of the validation benchmark: judges a Parquet file by the suite of 14 rules, once per line it reads.

It answers each time with a line of JSON: milliseconds, failed rules, and the peak of its memory so far. It imports
nothing but what the contender needs, and runs in the environment that has it.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

COLUMNS = ["user_id", "age", "income", "purchase_history", "target"]
SUITE = Path(__file__).with_name("validation_suite.json")


def millrace(path: str) -> Callable[[], int]:
    from millrace.validation.engine import validate
    from millrace.validation.suite import Suite

    suite = Suite.load(SUITE)
    return lambda: len(validate(path, suite).failed)


def polars_by_hand(path: str) -> Callable[[], int]:
    """The least that Polars can do: every figure in one streaming pass, no result but the number of failed rules."""
    import polars as pl

    age, income, history = pl.col("age"), pl.col("income"), pl.col("purchase_history")

    def judge() -> int:
        frame = pl.scan_parquet(path)
        schema = frame.collect_schema()
        found = (
            frame.select(
                pl.len().alias("rows"),
                (~age.is_between(18, 100)).sum().alias("age"),
                (~income.is_between(0, 500_000)).sum().alias("income"),
                (~history.is_between(0, 1000)).sum().alias("history"),
                pl.col("user_id").null_count().alias("ids missing"),
                pl.col("target").null_count().alias("targets missing"),
                income.fill_nan(None).null_count().alias("incomes missing"),
                pl.col("user_id").n_unique().alias("ids"),
                age.mean().alias("mean"),
                age.std().alias("stdev"),
            )
            .collect(engine="streaming")
            .row(0, named=True)
        )
        held = [
            list(schema) == COLUMNS,
            found["rows"] >= 1,
            schema["user_id"].is_integer(),
            schema["age"].is_integer(),
            schema["income"].is_float(),
            *(found[name] == 0 for name in ("age", "income", "history", "ids missing", "targets missing")),
            found["incomes missing"] <= 0.1 * found["rows"],
            found["ids"] == found["rows"],
            25 <= found["mean"] <= 65,
            10 <= found["stdev"] <= 20,
        ]
        return held.count(False)

    return judge


def duckdb_by_hand(path: str) -> Callable[[], int]:
    """The same in one query of DuckDB."""
    import duckdb

    query = """
        SELECT count(*),
            count(*) FILTER (NOT age BETWEEN 18 AND 100),
            count(*) FILTER (NOT income BETWEEN 0 AND 500000),
            count(*) FILTER (NOT purchase_history BETWEEN 0 AND 1000),
            count(*) - count(user_id), count(*) - count(target), count(*) - count(income),
            count(DISTINCT user_id), avg(age), stddev_samp(age)
        FROM read_parquet(?)"""

    def judge() -> int:
        connection = duckdb.connect()
        described = connection.execute("DESCRIBE SELECT * FROM read_parquet(?)", [path]).fetchall()
        kinds = {name: kind for name, kind, *_ in described}
        row = connection.execute(query, [path]).fetchone()
        rows, *wrong, incomes, ids, mean, stdev = row
        held = [
            list(kinds) == COLUMNS,
            rows >= 1,
            kinds["user_id"] == "BIGINT",
            kinds["age"] == "BIGINT",
            kinds["income"] == "DOUBLE",
            *(count == 0 for count in wrong),
            incomes <= 0.1 * rows,
            ids == rows,
            25 <= mean <= 65,
            10 <= stdev <= 20,
        ]
        return held.count(False)

    return judge


def great_expectations(path: str) -> Callable[[], int]:
    import logging

    import great_expectations as gx
    import pandas as pd

    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    suite = gx.ExpectationSuite(**json.loads(SUITE.read_text()))
    asset = context.data_sources.add_pandas("pandas").add_dataframe_asset("rows")
    definition = asset.add_batch_definition_whole_dataframe("all")

    def judge() -> int:
        batch = definition.get_batch(batch_parameters={"dataframe": pd.read_parquet(path)})
        return int(batch.validate(suite).statistics["unsuccessful_expectations"])

    return judge


def great_expectations_alone(path: str) -> Callable[[], int]:
    """The same where SQLAlchemy is not installed."""
    sys.modules["sqlalchemy"] = None  # type: ignore[assignment]  # the import system's way to say that it is not there
    return great_expectations(path)


def pandera(path: str) -> Callable[[], int]:
    import pandera.polars as pa
    import polars as pl

    def over(name: str, low: float, high: float, figure: Callable[[pl.Expr], pl.Expr]) -> Any:
        return pa.Check(lambda data: data.lazyframe.select(figure(pl.col(name)).is_between(low, high)))

    schema = pa.DataFrameSchema(
        {
            "user_id": pa.Column(pl.Int64, nullable=False, unique=True),
            "age": pa.Column(
                pl.Int64,
                [
                    pa.Check.in_range(18, 100),
                    over("age", 25, 65, lambda age: age.mean()),
                    over("age", 10, 20, lambda age: age.std()),
                ],
                nullable=True,
            ),
            "income": pa.Column(
                pl.Float64,
                [
                    pa.Check.in_range(0, 500_000),
                    over("income", 0, 0.1, lambda income: income.null_count() / pl.len()),
                ],
                nullable=True,
            ),
            "purchase_history": pa.Column(pl.Int64, pa.Check.in_range(0, 1000), nullable=True),
            "target": pa.Column(pl.Int64, nullable=False),
        },
        strict=True,
        ordered=True,
    )

    def judge() -> int:
        try:
            # A lazy frame would have its types checked, and not its values.
            schema.validate(pl.read_parquet(path), lazy=True)
        except pa.errors.SchemaErrors as errors:
            return len({(case["column"], case["check"]) for case in errors.failure_cases.to_dicts()})
        return 0

    return judge


def pointblank(path: str) -> Callable[[], int]:
    import pointblank as pb
    import polars as pl

    kinds = pb.Schema([(name, "Float64" if name == "income" else "Int64") for name in COLUMNS])

    def judge() -> int:
        validation = (
            pb.Validate(pl.read_parquet(path))
            .col_schema_match(kinds)
            .col_vals_between("age", 18, 100, na_pass=True)
            .col_vals_between("income", 0, 500_000, na_pass=True)
            .col_vals_between("purchase_history", 0, 1000, na_pass=True)
            .col_vals_not_null(["user_id", "target"])
            .col_vals_not_null("income", thresholds=pb.Thresholds(error=0.1))
            .rows_distinct("user_id")
            .col_avg_ge("age", 25)
            .col_avg_le("age", 65)
            .col_sd_ge("age", 10)
            .col_sd_le("age", 20)
            .interrogate()
        )
        steps = validation.validation_info
        return sum(not step.all_passed and not (step.column == "income" and step.error is False) for step in steps)

    return judge


def read_only(path: str) -> Callable[[], int]:
    """Reading the five columns, and nothing else."""
    import polars as pl

    def judge() -> int:
        pl.read_parquet(path)
        return 0

    return judge


CONTENDERS = {
    "millrace": millrace,
    "polars by hand": polars_by_hand,
    "duckdb by hand": duckdb_by_hand,
    "great_expectations": great_expectations,
    "great_expectations alone": great_expectations_alone,
    "pandera": pandera,
    "pointblank": pointblank,
    "read only": read_only,
}


def peak_mb() -> float:
    """The most memory this program held; what the process was before it became this program does not count."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


def main(name: str, path: str) -> None:
    """Judge once, then again for each line of the standard input."""
    judge = CONTENDERS[name](path)
    while True:
        started = time.perf_counter()
        failed = judge()
        facts = {
            "ms": (time.perf_counter() - started) * 1000,
            "failed": failed,
            "rss_mb": peak_mb(),
        }
        print(json.dumps(facts), flush=True)
        if not sys.stdin.readline():
            return


if __name__ == "__main__":
    main(*sys.argv[1:])
