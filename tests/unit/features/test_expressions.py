"""Expressions on the rows of a source: null logic, arithmetic, texts, times, and types that do not go together."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from both_stores import ask_both, bits, open_both
from orders_shop import day, make_source

from millrace.core.errors import DataError, MillraceError, ProjectError
from millrace.features import aggregation as mr
from millrace.features.columns import TIME, kind_of
from millrace.features.derive import derive
from millrace.features.entity import Entity
from millrace.features.expression import Expression, col, from_json
from millrace.features.field import Field
from millrace.features.view import FeatureView

CUSTOMER = Entity("customer", key="customer_id")
i, j, f, b, c, s, t = (col(name) for name in "ijfbcst")
TABLE = pa.table(
    {
        "i": pa.array([7, None, 0, -3, 2**62], pa.int64()),
        "j": pa.array([2, 2, 0, None, 1], pa.int32()),
        "f": pa.array([0.5, None, float("nan"), -0.0, 1e300]),
        "b": [True, True, False, None, None],
        "c": [True, None, None, False, None],
        "s": ["C100", "", None, "aCb", "100C"],
        "t": pa.array([day(0), None, day(1), day(2), day(-400)], TIME),
    }
)


def value(expression: Expression, table: pa.Table = TABLE) -> list[Any]:
    return derive(expression, table, source="rows").to_pylist()


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (b & c, [True, None, False, False, None]),
        (b | c, [True, True, None, None, None]),
        (~b, [False, False, True, None, None]),
        (b & True, [True, True, False, None, None]),
        (False & b, [False] * 5),
        (True | b, [True] * 5),
        (b | False, [True, True, False, None, None]),
        (i.is_null(), [False, True, False, False, False]),
        (f.is_null(), [False, True, True, False, False]),  # not a number is null
        (~f.is_null() & (f < 1), [True, False, False, True, False]),
        (i.fill_null(5), [7, 5, 0, -3, 2**62]),
        (f.fill_null(0.25), [0.5, 0.25, 0.25, -0.0, 1e300]),
        (s.fill_null("none"), ["C100", "", "none", "aCb", "100C"]),
        (b.fill_null(False), [True, True, False, False, False]),
        (j.fill_null(0.5), [2.0, 2.0, 0.0, 0.5, 1.0]),
    ],
    ids=str,
)
def test_null_logic(expression: Expression, expected: list[Any]) -> None:
    assert value(expression) == expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (i + j, [9, None, 0, None, 2**62 + 1]),
        (i - 1, [6, None, -1, -4, 2**62 - 1]),
        (10 - j, [8, 8, 10, None, 9]),
        (-j, [-2, -2, 0, None, -1]),
        (j * 3, [6, 6, 0, None, 3]),
        (i / j, [3.5, None, None, None, float(2**62)]),  # 0 / 0 is null, as is anything / 0
        (1 / j, [0.5, 0.5, None, None, 1.0]),
        (j / 0, [None] * 5),
        (j * 0.5, [1.0, 1.0, 0.0, None, 0.5]),
        (f * 2, [1.0, None, None, -0.0, 2e300]),
        (f * 1e300 * 1e300, [math.inf, None, None, -0.0, math.inf]),
        (f * 1e300 * 1e300 - f * 1e300 * 1e300, [None, None, None, 0.0, None]),  # inf - inf is no number
        (j + b, [3, 3, 0, None, None]),
        ((i - 8).abs(), [1, None, 8, 11, 2**62 - 8]),
        (b.abs(), [1, 1, 0, None, None]),
        ((j + 1) * 2 - i / j, [2.5, None, None, None, 4 - 2.0**62]),
        (i * 1.0 * i, [49.0, None, 0.0, 9.0, 2.0**124]),
    ],
    ids=str,
)
def test_arithmetic(expression: Expression, expected: list[Any]) -> None:
    assert repr(value(expression)) == repr(expected)


@pytest.mark.parametrize("expression", [i * i, i + i, i * 2 * 2, i * j * 4, -2 * i * 2], ids=str)
def test_a_whole_number_beyond_64_bits_is_an_error_that_says_what_to_do(expression: Expression) -> None:
    with pytest.raises(DataError) as caught:
        value(expression)

    assert caught.value.code == "FEAT-09"
    assert "overflow" in caught.value.what
    assert "floats" in str(caught.value.fix)
    assert value(i * 1.0 * i)[4] == 2.0**124


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (s.starts_with("C"), [True, False, None, False, False]),
        (s.ends_with("C"), [False, False, None, False, True]),
        (s.contains("C"), [True, False, None, True, True]),
        (s.contains(""), [True, True, None, True, True]),
        (~s.starts_with("C"), [False, True, None, True, True]),
        (s == "", [False, True, None, False, False]),
        (s > "1", [True, False, None, True, True]),
        (s.is_in(["aCb", "", "x"]), [False, True, None, True, False]),
        (i.is_in([7, 0]), [True, None, True, False, False]),
        (j.is_in([2]), [True, True, False, None, False]),
        (b.is_in([True]), [True, True, False, None, None]),
        (i.is_in([]), [False, None, False, False, False]),
        (i.is_in([7.5, 0.0]), [False, None, True, False, False]),
        (t.is_in([day(1)]), [False, None, True, False, False]),
    ],
    ids=str,
)
def test_texts_and_sets(expression: Expression, expected: list[Any]) -> None:
    assert value(expression) == expected


def test_what_a_text_holds_is_no_pattern() -> None:
    table = pa.table({"s": ["a.c", "abc", "a%c", "a*", "(", "ü"]})

    assert value(s.contains("."), table) == [True, False, False, False, False, False]
    assert value(s.contains("%"), table) == [False, False, True, False, False, False]
    assert value(s.starts_with("("), table) == [False, False, False, False, True, False]
    assert value(s.ends_with("ü"), table)[5] is True


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (t >= day(1), [False, None, True, True, False]),
        (t == datetime(2024, 1, 1), [True, None, False, False, False]),  # noqa: DTZ001 - naive is UTC
        (t < datetime(2024, 1, 2, 2, tzinfo=timezone(timedelta(hours=2))), [True, None, False, False, True]),
        (t.is_null(), [False, True, False, False, False]),
        (i > f, [True, None, None, False, False]),
        (i == 7.0, [True, None, False, False, False]),
        (f >= 0, [True, None, None, True, True]),
        (i != j, [True, None, False, None, True]),
        (b == True, [True, True, False, None, None]),  # noqa: E712 - an expression
        (b != c, [False, None, None, None, None]),
    ],
    ids=str,
)
def test_comparisons(expression: Expression, expected: list[Any]) -> None:
    assert value(expression) == expected


@pytest.mark.parametrize(
    "expression",
    [s > 1, s == i, t > 3, t == "2024-01-01", s + s, t - 1, s * 2, i & b, ~i, i.starts_with("7"), s.abs(), b > "x",
     s.fill_null(0), i.is_in(["7"]), s.is_in([1])],
    ids=str,
)  # fmt: skip
def test_what_does_not_go_together_is_an_error_with_the_expression(expression: Expression) -> None:
    with pytest.raises(DataError) as caught:
        value(expression)

    assert caught.value.code == "FEAT-09"
    assert str(expression) in caught.value.what


def test_a_column_that_is_not_there_is_named_with_the_nearest() -> None:
    with pytest.raises(DataError) as caught:
        value(col("ii") + 1)

    assert (caught.value.code, "'i'" in str(caught.value.fix)) == ("FEAT-08", True)


@pytest.mark.parametrize("wrong", [None, float("nan"), b"x", date(2024, 1, 1), [1], object()])
def test_what_cannot_stand_in_an_expression_is_refused_where_it_is_written(wrong: Any) -> None:
    for write in (lambda: i == wrong, lambda: i + wrong, lambda: i.is_in([wrong]), lambda: i.fill_null(wrong)):
        with pytest.raises(ProjectError) as caught:
            write()
        assert caught.value.code == "PROJ-41"


def test_python_words_that_would_lie_are_refused() -> None:
    for write in (lambda: i > 1 and i < 3, lambda: 1 < i < 3, lambda: not b, lambda: [1] if b else []):
        with pytest.raises(TypeError, match="no truth of its own"):
            write()


EVERY = [
    (i + 1) * f - j / 2, ~(s.starts_with("C") | s.is_in(["a", "b"])) & b, t >= day(3), f.fill_null(0.1).abs() > 1e300,
    col("unit price") * col("a`b"), s.contains("it's \"so\""), i.is_null(), i != -1, (b == True) | False,  # noqa: E712
]  # fmt: skip


@pytest.mark.parametrize("expression", EVERY, ids=str)
def test_an_expression_survives_being_written_as_json(expression: Expression) -> None:
    import json

    again = from_json(json.loads(json.dumps(expression.to_json())))

    assert str(again) == str(expression)
    assert hash(again) == hash(expression)
    assert again.columns == expression.columns


def test_different_expressions_have_different_texts() -> None:
    texts = [
        str(one)
        for one in [
            i - (j - 1), (i - j) - 1, i & j | b, i & (j | b), ~(b & c), ~b & c, -i, 0 - i, i / j, col("i / j"),
            s == "1", s == 1, s == "s", i == 1, i == 1.0, i == True, t == day(0), t == str(day(0)),  # noqa: E712
        ]
    ]  # fmt: skip

    assert len(set(texts)) == len(texts) - 1  # -i is written 0 - i


def test_types_of_every_library_become_the_same_columns() -> None:
    facts = {"i": [1, 2, None], "f": [0.5, None, 2.0], "s": ["x", None, "yy"], "b": [True, None, False]}
    times = [day(0), None, day(1)]
    frames = [
        pa.table({**facts, "t": pa.array(times, TIME)}),
        pa.table({**facts, "t": pa.array([None if one is None else one.replace(tzinfo=None) for one in times])}),
        pa.table(
            {
                "i": pa.array(facts["i"], pa.uint8()),
                "f": pa.array(facts["f"], pa.float32()),
                "s": pa.array(facts["s"]).dictionary_encode(),
                "b": pa.array(facts["b"]),
                "t": pa.array(times, pa.timestamp("ns", "Europe/Berlin")),
            }
        ),
        pd.DataFrame({**facts, "i": pd.array(facts["i"], dtype="Int64"), "b": pd.array(facts["b"], dtype="boolean"),
                      "t": pd.to_datetime(times)}),
        pl.DataFrame({**facts, "t": times}),
    ]  # fmt: skip
    from millrace.features.columns import to_table

    for frame in frames:
        table = to_table(frame)
        assert value(i * 2 + f, table) == [2.5, None, None]
        assert value(s.contains("x") & b, table) == [True, None, False]
        assert value(t >= day(1), table) == [False, None, True]


# --- in views


def log_of(**columns: Any) -> pa.Table:
    rows = len(next(iter(columns.values())))
    return pa.table({"customer_id": [1] * rows, "ts": pa.array([day(n) for n in range(rows)], TIME), **columns})


def view_of(**options: Any) -> FeatureView:
    return FeatureView("v", entity=CUSTOMER, source=make_source(), **options)


def test_expressions_in_rules_agree_in_both_stores() -> None:
    log = log_of(
        quantity=[3, -1, None, 2],
        price=[1.25, 2.0, 3.0, None],
        invoice=["1", "C2", None, "3"],
        unit=["a", "b", "b", "a"],
    )
    sale = ~col("invoice").starts_with("C")
    view = view_of(
        features={
            "spend": mr.sum(col("quantity") * col("price"), where=sale),
            "unknown": mr.count(where=col("invoice").is_null()),
            "sales": mr.count(where=sale),
            "filled": mr.sum(col("quantity").fill_null(0) * col("price").fill_null(1.0)),
            "b_units": mr.count(where=col("unit").is_in(["b", "z"]) & (col("price") > 2)),
            "big": mr.last(col("price") > 2.5),
            "per": mr.max(col("price") / col("quantity")),
            "late": mr.count(where=col("ts") >= day(2)),
        }
    )

    (row,) = ask_both(view, log, [{"customer_id": 1, "event_time": day(9)}])

    assert row == {
        "spend": 3.75, "unknown": 1, "sales": 2, "filled": 3.75 - 2.0 + 0.0 + 2.0, "b_units": 1, "big": None,
        "per": 1.25 / 3, "late": 2,
    }  # fmt: skip


def test_one_expression_spelt_in_two_places_is_kept_once() -> None:
    view = view_of(features={"a": mr.sum(i * j), "b": mr.mean(i * j), "c": mr.sum(col("i")), "d": "i"})

    assert view.columns == ("=i * j", "i")
    assert set(view.source_columns) == {"customer_id", "ts", "i", "j"}
    assert mr.sum(col("i")) == mr.sum("i")


def test_a_condition_must_be_true_or_false() -> None:
    view = view_of(features={"n": mr.count(where=col("i") + 1)})

    with pytest.raises(DataError) as caught:
        ask_both(view, log_of(i=[1, 2]), [{"customer_id": 1, "event_time": day(9)}])

    assert (caught.value.code, "v:n" in caught.value.what) == ("FEAT-09", True)


# --- declared types


def test_a_declared_type_holds_what_fits_it() -> None:
    view = view_of(
        schema=[Field("price", "float"), Field("n", "int"), Field("name", "string"), Field("first_price", "float")],
        features={"n": mr.count(), "first_price": mr.first("price")},
    )

    (row,) = ask_both(view, log_of(price=[1, 2], name=["x", None]), [{"customer_id": 1, "event_time": day(9)}])

    assert row == {"n": 2, "first_price": 1.0, "price": 2.0, "name": None}
    assert type(row["price"]) is float


@pytest.mark.parametrize(
    ("schema", "columns", "code"),
    [
        ([Field("x", "int")], {"x": ["1", "2"]}, "FEAT-10"),
        ([Field("x", "int")], {"x": [1.5, 2.0]}, "FEAT-10"),
        ([Field("x", "int")], {"x": [True, False]}, "FEAT-10"),
        ([Field("x", "string")], {"x": [1, 2]}, "FEAT-10"),
        ([Field("x", "bool")], {"x": [0, 1]}, "FEAT-10"),
        ([Field("x", "timestamp")], {"x": ["2024-01-01", "2024-01-02"]}, "FEAT-10"),
        ([Field("x", "list[int]")], {"x": [1, 2]}, "FEAT-10"),
        ([Field("x", "list[int]")], {"x": [["1"], ["2"]]}, "FEAT-10"),
        ([Field("x", "float")], {"x": [[1.0], [2.0]]}, "FEAT-10"),
    ],
)
def test_a_source_that_changed_under_a_declared_view_is_refused(schema: Any, columns: Any, code: str) -> None:
    store = open_both(view_of(schema=schema), log_of(**columns))

    for act in (
        lambda: store.get_historical_features([{"customer_id": 1, "event_time": day(9)}], ["v"]),
        lambda: store.materialize(None, day(9)),
        lambda: store.push("v", log_of(**columns)),
    ):
        with pytest.raises(MillraceError) as caught:
            act()
        assert caught.value.code == code
        assert "'x'" in caught.value.what


@pytest.mark.parametrize(
    ("rule", "declared"),
    [
        (mr.count(), "float"), (mr.mean("x"), "int"), (mr.sum("x"), "float"), (mr.last_k("x", 2), "int"),
        (mr.ratio(mr.count(), mr.count()), "int"), (mr.days_since_first(), "timestamp"),
    ],
    ids=str,
)  # fmt: skip
def test_a_rule_that_gives_another_type_than_declared_is_refused(rule: Any, declared: str) -> None:
    store = open_both(view_of(schema=[Field("y", declared)], features={"y": rule}), log_of(x=[1, 2]))

    with pytest.raises(DataError) as caught:
        store.get_historical_features([{"customer_id": 1, "event_time": day(9)}], ["v"])

    assert caught.value.code == "FEAT-09"
    assert f"declared {declared}" in caught.value.what


def test_a_source_whose_type_changed_after_the_first_rows_is_refused_and_what_was_stored_stays() -> None:
    store = open_both(view_of(features={"x": "x"}), log_of(x=[1, 2]))
    store.materialize(None, day(9))

    with pytest.raises(DataError) as caught:
        store.push("v", [{"customer_id": 1, "ts": day(5), "x": "text"}])

    assert caught.value.code == "FEAT-10"
    assert store.plan(["v"]).read({"customer_id": 1}, day(9)) == [2]


# --- arrays


ARRAYS: dict[str, Any] = {
    "list[int]": ([[1, None, 2**53 + 1], [], None], pa.list_(pa.int16())),
    "list[float]": ([[0.5, None], [-0.0], []], pa.list_(pa.float32())),
    "list[bool]": ([[True, None], [], [False]], pa.list_(pa.bool_())),
    "list[string]": ([["ä", "", None], [], None], pa.large_list(pa.string())),
    "list[timestamp]": ([[day(1), None], [], None], pa.list_(pa.timestamp("ns", "UTC"))),
}


@pytest.mark.parametrize("dtype", ARRAYS)
def test_arrays_of_each_kind_come_back_as_they_went_in(dtype: str) -> None:
    values, arrow = ARRAYS[dtype]
    arrow = pa.list_(pa.int64()) if dtype == "list[int]" else arrow
    log = log_of(x=pa.array(values, arrow), n=[1, 2, 3])
    view = view_of(
        schema=[Field("x", dtype)], features={"first": mr.first("x"), "lag": mr.lag("x", 1), "n": mr.count("x")}
    )

    rows = ask_both(view, log, [{"customer_id": 1, "event_time": day(at)} for at in (0, 1, 2)])

    assert [row["x"] for row in rows] == values
    assert [row["first"] for row in rows] == [values[0]] * 3
    assert [row["lag"] for row in rows] == [None, *values[:2]]
    assert rows[-1]["n"] == sum(one is not None for one in values)


def test_a_list_column_of_a_parquet_file_and_its_slices(tmp_path: Any) -> None:
    import pyarrow.parquet as pq

    log = log_of(x=pa.array([[1.0] * n if n % 3 else None for n in range(50)], pa.list_(pa.float64())))
    pq.write_table(log, tmp_path / "log.parquet", row_group_size=7)
    read = pq.read_table(tmp_path / "log.parquet").slice(5)
    view = view_of(features={"x": "x"})

    rows = ask_both(view, read, [{"customer_id": 1, "event_time": day(at)} for at in (4, 5, 6, 49)])

    assert [row["x"] for row in rows] == [None, [1.0] * 5, None, [1.0] * 49]


def test_a_fixed_size_list_is_an_array() -> None:
    log = log_of(x=pa.array([[1.0, 2.0], None, [3.0, None]], pa.list_(pa.float64(), 2)))

    rows = ask_both(view_of(features={"x": "x"}), log, [{"customer_id": 1, "event_time": day(at)} for at in (0, 1, 2)])

    assert [row["x"] for row in rows] == [[1.0, 2.0], None, [3.0, None]]


def test_whole_numbers_in_a_kept_array_become_floats_when_floats_come() -> None:
    tables = {"orders": log_of(x=pa.array([[1, None, 3]], pa.list_(pa.int64())))}
    store = open_both(view_of(features={"x": "x", "old": mr.lag("x", 1)}), tables)
    store.materialize(None, day(1))
    before = store.plan(["v:x"]).read({"customer_id": 1}, day(9))
    tables["orders"] = log_of(x=[[1.0, None, 3.0], [0.5]])
    store.materialize(day(1), day(9))
    store.push("v", [{"customer_id": 2, "ts": day(1), "x": []}])

    assert before == [[1, None, 3]]
    now, then = (store.get_online_features(["v"], entity_ids=[1, 2], at=day(at)).values for at in (9, 0))
    assert bits(now["x"] + now["old"]) == bits([[0.5], [], [1.0, None, 3.0], None])
    assert bits(then["x"]) == bits([[1.0, None, 3.0], None])
    with pytest.raises(DataError) as caught:
        store.push("v", [{"customer_id": 1, "ts": day(2), "x": ["a"]}])
    assert caught.value.code == "FEAT-10"


def test_pushed_lists_from_every_library_are_arrays() -> None:
    rows = {"customer_id": [1, 1], "ts": [day(0), day(1)], "x": [["a"], ["b", None]]}
    frames = [rows, pd.DataFrame(rows), pl.DataFrame(rows), pa.table(rows), [dict(zip(rows, one, strict=True))
              for one in zip(*rows.values(), strict=True)]]  # fmt: skip

    for frame in frames:
        store = open_both(view_of(features={"x": "x"}), log_of(x=[["a"], ["b", None]]))
        assert store.push("v", frame) == 2
        assert store.plan(["v"]).read({"customer_id": 1}, day(9)) == [["b", None]]
        assert store.push("v", frame) == 2
        assert store.plan(["v"]).read({"customer_id": 1}, day(9)) == [["b", None]]


def test_an_empty_array_is_an_array_of_whatever_the_column_holds() -> None:
    for some in (["a"], [1], [0.5], [True], [day(0)]):
        store = open_both(view_of(features={"x": "x"}), log_of(x=[some]))
        store.materialize(None, day(9))
        for place, empty in enumerate(([], [None], [None, None])):
            store.push("v", [{"customer_id": 1, "ts": day(1 + place), "x": empty}])
            assert store.plan(["v"]).read({"customer_id": 1}, day(9)) == [empty]


@pytest.mark.parametrize(
    "rule", [mr.sum("x"), mr.mean("x"), mr.count_distinct("x"), mr.last_k("x", 2), mr.max("x")], ids=str
)
def test_rules_that_arrays_do_not_allow_say_so(rule: Any) -> None:
    store = open_both(view_of(features={"y": rule}), log_of(x=[[1], [2]]))

    with pytest.raises(DataError) as caught:
        store.get_historical_features([{"customer_id": 1, "event_time": day(9)}], ["v"])

    assert (caught.value.code, rule.kind in caught.value.what) == ("FEAT-09", True)


def test_a_list_of_lists_and_a_struct_cannot_be_features() -> None:
    for column in ([[[1]], [[2]]], [{"a": 1}, {"a": 2}]):
        store = open_both(view_of(features={"x": "x"}), log_of(x=column))
        with pytest.raises(DataError) as caught:
            store.materialize(None, day(9))
        assert caught.value.code == "FEAT-09"
        assert kind_of(pa.array(column).type) is None


def test_decimals_and_dates_are_kept_as_floats_and_times() -> None:
    from decimal import Decimal

    log = log_of(x=pa.array([Decimal("1.10"), None]), d=pa.array([date(2024, 1, 1), date(2024, 5, 1)]))

    (row,) = ask_both(
        view_of(features={"x": mr.first("x"), "d": "d", "sum": mr.sum("x")}),
        log,
        [{"customer_id": 1, "event_time": day(9)}],
    )

    assert row == {"x": 1.1, "d": datetime(2024, 5, 1, tzinfo=UTC), "sum": 1.1}
