"""A suite of ten rules over a million rows, against the same numbers asked of Polars by hand."""

from __future__ import annotations

from typing import Any

from benchmarks.measure import Row, in_turns

ROWS = 1_000_000
ROUNDS = 7


def run() -> list[Row]:
    """The compiled suite against one hand-written pass."""
    import polars as pl

    from millrace.validation.engine import validate

    table, suite = _table(), _suite()
    assert validate(table, suite).success
    frame = pl.from_arrow(table)

    def by_hand() -> Any:
        columns = [pl.col(name) for name in ("id", "age", "income", "score", "plan")]
        return frame.lazy().select(_expressions(*columns)).collect()

    found = by_hand().row(0, named=True)
    assert (found["rows"], found["unique"], found["age_out"]) == (ROWS, ROWS, 0), found
    times = in_turns({"suite": lambda: validate(table, suite), "by hand": by_hand}, rounds=ROUNDS)
    return [Row("suite of 10 rules, 1M rows", times["suite"], "one Polars pass written by hand", times["by hand"])]


def _table() -> Any:
    import numpy as np
    import pyarrow as pa

    rng = np.random.default_rng(0)
    score = rng.random(ROWS)
    return pa.table(
        {
            "id": rng.permutation(ROWS),
            "age": rng.integers(18, 90, ROWS),
            "income": rng.lognormal(10, 0.5, ROWS),
            "score": pa.array(score, mask=score < 0.01),
            "plan": pa.array(np.array(["free", "basic", "pro"])[rng.integers(0, 3, ROWS)]),
        }
    )


def _suite() -> Any:
    import millrace as mr

    return (
        mr.Suite("bench")
        .expect_table_columns_to_match_ordered_list(column_list=["id", "age", "income", "score", "plan"])
        .expect_table_row_count_to_be_between(min_value=1, max_value=10 * ROWS)
        .expect_column_values_to_not_be_null("id")
        .expect_column_values_to_be_unique("id")
        .expect_column_values_to_be_between("age", min_value=0, max_value=120)
        .expect_column_values_to_be_between("income", min_value=0)
        .expect_column_values_to_not_be_null("score", mostly=0.95)
        .expect_column_values_to_be_in_set("plan", value_set=["free", "basic", "pro"])
        .expect_column_mean_to_be_between("age", min_value=30, max_value=70)
        .expect_column_stdev_to_be_between("income", min_value=0)
    )


def _expressions(id_: Any, age: Any, income: Any, score: Any, plan: Any) -> list[Any]:
    import polars as pl

    return [
        pl.len().alias("rows"),
        id_.null_count().alias("id_nulls"),
        id_.n_unique().alias("unique"),
        (~age.is_between(0, 120)).sum().alias("age_out"),
        (income < 0).sum().alias("income_out"),
        score.null_count().alias("score_nulls"),
        (~plan.is_in(["free", "basic", "pro"])).sum().alias("plan_out"),
        age.mean().alias("age_mean"),
        income.std().alias("income_std"),
    ]
