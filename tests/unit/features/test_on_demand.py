"""Features worked out at the moment of asking: what the function sees, what it may answer, and what it may not."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from both_stores import ask_both, open_both
from orders_shop import day, make_source

from millrace.core.errors import DataError, ProjectError
from millrace.features import aggregation as mr
from millrace.features.columns import TIME
from millrace.features.entity import Entity
from millrace.features.field import Field
from millrace.features.on_demand import OnDemandView, on_demand
from millrace.features.view import FeatureView

CUSTOMER = Entity("customer", key="customer_id")
LOG = pa.table(
    {
        "customer_id": [1, 2, 3],
        "ts": pa.array([day(0), day(1), day(2)], TIME),
        "n": [3, None, 2**53 + 2],
        "f": [0.5, None, float("nan")],
        "b": [True, None, False],
        "s": ["x", None, ""],
        "t": pa.array([day(5), None, day(7)], TIME),
        "a": [[1, 2], None, []],
        "l": [["u", None], [], None],
    }
)
V = FeatureView(
    "v", entity=CUSTOMER, source=make_source(), features={name: name for name in ("n", "f", "b", "s", "t", "a", "l")}
)
ASKED = [{"customer_id": key, "event_time": day(9)} for key in (1, 2, 3, 4)]


def view_of(function: Callable[..., Any], inputs: Any, outputs: Any, name: str = "d") -> OnDemandView:
    return on_demand(inputs=inputs, outputs=outputs, name=name)(function)


def ask(function: Callable[..., Any], inputs: Any, outputs: Any, asked: Any = None) -> list[dict[str, Any]]:
    """The answers for customers 1 to 4, of whom the last is unknown."""
    view = view_of(function, inputs, outputs)
    return ask_both([V, view], LOG, ASKED if asked is None else asked, [view])


def test_numbers_and_bools_come_as_floats_with_nan_for_null() -> None:
    seen: list[Any] = []

    def see(n: Any, f: Any, b: Any) -> Any:
        seen.append((n, f, b))
        return {"ok": ~np.isnan(n), "sum": n + np.where(b == 1, 10, 0), "is_half": f == 0.5}

    rows = ask(see, {"n": "v:n", "f": "v:f", "b": "v:b"}, {"ok": "bool", "sum": "float", "is_half": "bool"})

    assert all(array.dtype == np.float64 for arrays in seen for array in arrays)
    assert [row["ok"] for row in rows] == [True, False, True, False]
    assert [row["sum"] for row in rows] == [13.0, None, float(2**53 + 2), None]
    assert [row["is_half"] for row in rows] == [True, False, False, False]


def test_times_texts_and_arrays_come_as_numpy_has_them() -> None:
    seen: list[Any] = []

    def see(t: Any, s: Any, a: Any, l: Any) -> Any:  # noqa: E741
        seen.append((t.dtype, s.dtype, a.dtype, l.dtype))
        return {
            "year": np.array([None if np.isnat(one) else one.astype("datetime64[Y]").astype(int) + 1970 for one in t]),
            "upper": [None if one is None else one.upper() + "!" for one in s],
            "most": [max(one) if one else None for one in a],
            "twice": [None if one is None else one + one for one in l],
            "later": t + np.timedelta64(1, "D"),
        }

    rows = ask(
        see,
        {"t": "v:t", "s": "v:s", "a": "v:a", "l": "v:l"},
        {"year": "int", "upper": "string", "most": "int", "twice": "list[string]", "later": "timestamp"},
    )

    assert {str(dtype) for dtypes in seen for dtype in dtypes[:1]} == {"datetime64[us]"}
    assert {str(dtype) for dtypes in seen for dtype in dtypes[1:]} == {"object"}
    assert [row["year"] for row in rows] == [2024, None, 2024, None]
    assert [row["upper"] for row in rows] == ["X!", None, "!", None]
    assert [row["most"] for row in rows] == [2, None, None, None]
    assert [row["twice"] for row in rows] == [["u", None, "u", None], [], None, None]
    assert [row["later"] for row in rows] == [day(6), None, day(8), None]


@pytest.mark.parametrize(
    ("make", "dtype", "expected"),
    [
        (lambda n: n * 2, "float", [6.0, None, float(2**54 + 4), None]),
        (lambda n: np.where(n > 5, 1, 0), "int", [0, 0, 1, 0]),
        (lambda n: n, "int", [3, None, 2**53 + 2, None]),  # whole floats are whole numbers
        (lambda n: np.where(n > 5, 1, 0), "float", [0.0, 0.0, 1.0, 0.0]),
        (lambda n: pd.Series(n).fillna(-1.0), "float", [3.0, -1.0, float(2**53 + 2), -1.0]),
        (lambda n: pd.array([None] * len(n), dtype="Int64"), "int", [None] * 4),
        (lambda n: [None] * len(n), "string", [None] * 4),
        (lambda n: np.full(len(n), np.nan), "bool", [None] * 4),
        (lambda n: np.ma.masked_invalid(n), "float", [3.0, None, float(2**53 + 2), None]),
        (lambda n: pa.array([1] * len(n)), "int", [1] * 4),
        (lambda n: tuple(True for _ in n), "bool", [True] * 4),
        (lambda n: 1 / np.where(n == 3, 0.0, 1.0), "float", [float("inf"), 1.0, 1.0, 1.0]),
        (lambda n: ["2024-05-01"] * len(n), "string", ["2024-05-01"] * 4),
        (lambda n: [[one] for one in n], "list[float]", [[3.0], [None], [float(2**53 + 2)], [None]]),
        (lambda n: [[1, None]] * len(n), "list[float]", [[1.0, None]] * 4),
        (lambda n: [datetime(2024, 5, 1)] * len(n), "timestamp", [datetime(2024, 5, 1, tzinfo=UTC)] * 4),  # noqa: DTZ001
    ],
)
def test_an_answer_of_any_library_becomes_the_declared_type(make: Any, dtype: str, expected: list[Any]) -> None:
    rows = ask(lambda n: make(n), {"n": "v:n"}, {"y": dtype})

    assert [row["y"] for row in rows] == expected


@pytest.mark.parametrize(
    ("make", "dtype", "words"),
    [
        (lambda n: 1.5, "float", "float is not an array"),
        (lambda n: "text", "string", "str is not an array"),
        (lambda n: None, "float", "NoneType is not an array"),
        (lambda n: n[:-1] if len(n) > 1 else np.append(n, n), "float", "values for"),
        (lambda n: n + 0.5, "int", "not int"),
        (lambda n: ["1"] * len(n), "int", "not int"),
        (lambda n: [1] * len(n), "string", "not string"),
        (lambda n: [1, "x", *n][: len(n)], "string", "not string"),
        (lambda n: n > 1, "float", "not float"),
        (lambda n: [{"a": 1}] * len(n), "string", "cannot be kept"),
        (lambda n: np.zeros((len(n), 2)), "float", "d:y"),
        (lambda n: {"z": n}, "float", "answered ['z'], and is declared to give ['y']"),
        (lambda n: {"y": n, "z": n}, "float", "answered ['y', 'z']"),
    ],
)
def test_an_answer_that_is_not_as_declared_is_refused_in_both_stores(make: Any, dtype: str, words: str) -> None:
    view = view_of(lambda n: make(n), {"n": "v:n"}, {"y": dtype})
    store = open_both([V, view], LOG)
    store.materialize(None, day(9))
    log = [{"customer_id": 1, "event_time": day(9)}] * 3

    for act in (
        lambda: store.get_historical_features(log, ["d"]),
        lambda: store.get_online_features(["d"], entity_ids=[1, 1, 1], at=day(9)),
        lambda: store.plan(["d"]).read({"customer_id": 1}, day(9)),
    ):
        with pytest.raises(DataError) as caught:
            act()
        assert caught.value.code == "FEAT-33"
        assert words in str(caught.value)


def test_an_exception_is_told_with_the_line_it_came_from() -> None:
    def fails(n: Any) -> Any:
        return {}["missing"]

    view = view_of(fails, {"n": "v:n"}, {"y": "float"})
    store = open_both([V, view], LOG)

    for act in (lambda: store.get_historical_features(ASKED, ["d"]), lambda: store.plan("d").read({"customer_id": 1})):
        with pytest.raises(DataError) as caught:
            act()
        assert caught.value.code == "FEAT-32"
        assert "KeyError: 'missing'" in caught.value.what
        assert "test_on_demand.py" in str(caught.value.where)
        assert caught.value.why == 'return {}["missing"]'


@pytest.mark.parametrize(
    "make",
    [
        lambda n: n - np.nanmean(n),
        lambda n: np.nancumsum(n),
        lambda n: pd.Series(n).rank().to_numpy(),
        lambda n: np.full(len(n), float(len(n))),
        lambda n: pd.Series(n).ffill().to_numpy(),
    ],
)
def test_a_value_that_depends_on_other_rows_is_refused_before_it_trains_a_model(make: Any) -> None:
    view = view_of(lambda n: make(n), {"n": "v:n"}, {"y": "float"})

    with pytest.raises(DataError) as caught:
        open_both([V, view], LOG).get_historical_features(ASKED, ["d"])

    assert caught.value.code == "FEAT-34"
    assert "alone" in caught.value.what


def test_a_value_that_is_not_a_number_alone_and_among_others_is_no_difference() -> None:
    rows = ask(lambda n: np.log(-np.abs(n)), {"n": "v:n"}, {"y": "float"})

    assert [row["y"] for row in rows] == [None] * 4


def test_what_a_request_brings_along() -> None:
    fields = {
        "usual": "v:f",
        "now": Field("amount", "float"),
        "where": Field("shop", "string"),
        "at": Field("at", "timestamp"),
    }

    def compare(usual: Any, now: Any, where: Any, at: Any) -> Any:
        return {
            "ratio": now / usual,
            "label": [None if one is None else f"in {one}" for one in where],
            "hour": (at - at.astype("datetime64[D]")) / np.timedelta64(1, "h"),
        }

    asked = [
        {**row, "amount": amount, "shop": shop, "at": at}
        for row, amount, shop, at in zip(
            ASKED, (2, 1.5, None, 4), ("a", None, "", "ü"), (day(0.5), None, day(1), day(2.75)), strict=True
        )
    ]
    rows = ask(compare, fields, {"ratio": "float", "label": "string", "hour": "float"}, asked)

    assert [row["ratio"] for row in rows] == [4.0, None, None, None]
    assert [row["label"] for row in rows] == ["in a", None, "in ", "in ü"]
    assert [row["hour"] for row in rows] == [12.0, None, 0.0, 18.0]


def test_a_request_column_that_is_missing_or_of_another_type_is_named() -> None:
    view = view_of(lambda x: x, {"x": Field("amount", "float")}, {"y": "float"})
    also = view_of(lambda n, x: n + x, {"n": "v:n", "x": Field("amount", "float")}, {"y": "float"}, "e")
    store = open_both([V, view, also], LOG)
    key = {"customer_id": 1}
    asks: list[tuple[Any, ...]] = [("FEAT-30", "'amount' (float)", {}), ("FEAT-31", "takes float", {"amount": "much"})]
    for code, words, extra in asks:
        for act in (
            lambda extra=extra: store.get_historical_features([{**ASKED[0], **extra}], ["e"]),
            lambda extra=extra: store.get_online_features(["e"], [{**key, **extra}]),
            lambda extra=extra: store.plan(["e"]).read({**key, **extra}),
            lambda extra=extra: store.plan(["d"]).read(extra),
        ):
            with pytest.raises(DataError) as caught:
                act()
            assert (caught.value.code, words in str(caught.value)) == (code, True)
            assert "nothing is defined" not in str(caught.value)


def test_of_several_rows_one_that_lacks_a_request_column_is_refused() -> None:
    view = view_of(lambda x: x, {"x": Field("amount", "float")}, {"y": "float"})
    rows = [{"customer_id": 1, "amount": 1.0}, {"customer_id": 2}]

    with pytest.raises(DataError) as caught:
        open_both([V, view], LOG).get_online_features(["d", "v:n"], rows)

    assert caught.value.code == "FEAT-30"


def test_a_function_without_stored_inputs_needs_no_key() -> None:
    view = view_of(lambda x: x + 1, {"x": Field("amount", "int")}, {"y": "int"})
    store = open_both([view], LOG)

    assert store.plan(["d"]).keys == ()
    assert store.plan(["d"]).read({"amount": 2}) == [3]
    rows = [{"event_time": day(0), "amount": 2}, {"event_time": day(1), "amount": None}]
    assert store.get_historical_features(rows, ["d"]).to_arrow()["y"].to_pylist() == [3, None]


def test_one_function_with_several_outputs_runs_once_and_hides_its_inputs() -> None:
    calls: list[int] = []

    def halves(n: Any, f: Any) -> Any:
        calls.append(len(n))
        return {"half": n / 2, "twice": n * 2}

    view = view_of(halves, {"n": "v:n", "f": "v:f"}, {"half": "float", "twice": "float"})
    store = open_both([V, view], LOG)
    store.materialize(None, day(9))

    past = store.get_historical_features(ASKED, ["d:twice", "v:n", "d:half"])

    assert past.to_arrow().column_names == ["customer_id", "event_time", "twice", "n", "half"]
    assert past.features == ("twice", "n", "half")
    assert calls == [4, 1, 1, 1]  # all rows, and three of them alone
    calls.clear()
    answer = store.get_online_features(["d:twice", "v:n", "d:half"], entity_ids=[1, 4], at=day(9))
    assert list(answer.values) == ["twice", "n", "half"]
    assert calls == [2]
    assert answer.statuses == {
        "twice": ["present", "null"], "n": ["present", "missing"], "half": ["present", "null"]
    }  # fmt: skip


def test_an_input_that_is_also_asked_for_keeps_its_type() -> None:
    """The function sees a float; the answer is the whole number that is stored."""
    view = view_of(lambda n: n, {"n": "v:n"}, {"y": "float"})

    rows = ask_both([V, view], LOG, ASKED, ["v:n", "d:y"])

    assert [(row["n"], row["y"]) for row in rows] == [
        (3, 3.0), (None, None), (2**53 + 2, float(2**53 + 2)), (None, None)
    ]  # fmt: skip


def test_two_answers_of_one_name_are_refused_unless_they_carry_their_views() -> None:
    view = view_of(lambda n: n * 2, {"n": "v:n"}, {"n": "float"})
    store = open_both([V, view], LOG)

    with pytest.raises(DataError) as caught:
        store.get_historical_features(ASKED, ["v:n", "d:n"])

    assert caught.value.code == "FEAT-04"
    full = store.get_historical_features(ASKED[:1], ["v:n", "d:n"], full_feature_names=True).to_arrow()
    assert full.column_names[2:] == ["v__n", "d__n"]
    assert full["d__n"].to_pylist() == [6.0]


def test_a_request_column_may_not_be_called_like_an_answer() -> None:
    view = view_of(lambda x: x, {"x": Field("amount", "float")}, {"amount": "float"})

    with pytest.raises(DataError) as caught:
        open_both([V, view], LOG).get_historical_features([{**ASKED[0], "amount": 1.0}], ["d"])

    assert caught.value.code == "FEAT-04"


def test_no_rows_give_no_answers_of_the_right_type() -> None:
    view = view_of(lambda n, x: n + x, {"n": "v:n", "x": Field("amount", "float")}, {"y": "float"})
    store = open_both([V, view], LOG)
    rows = pa.table(
        {
            "customer_id": pa.array([], pa.int64()),
            "event_time": pa.array([], TIME),
            "amount": pa.array([], pa.float64()),
        }
    )

    answer = store.get_historical_features(rows, ["d"]).to_arrow()

    assert answer.schema.field("y").type == pa.float64()
    assert store.get_online_features(["d"], []).values == {"y": []}


def test_before_anything_is_stored_the_function_sees_nulls() -> None:
    view = view_of(lambda n: np.where(np.isnan(n), -1.0, n), {"n": "v:n"}, {"y": "float"})
    store = open_both([V, view], LOG)

    assert store.plan(["d"]).read({"customer_id": 1}) == [-1.0]
    store.materialize(None, day(9))
    assert store.plan(["d"]).read({"customer_id": 1}, day(9)) == [3.0]


def test_it_is_still_the_function_it_was() -> None:
    @on_demand(inputs={"n": "v:n"}, outputs={"y": "float"})
    def double(n: Any) -> Any:
        """Twice as much.

        And more words.
        """
        return n * 2

    assert double(4) == 8
    assert (double.name, double.description) == ("double", "Twice as much.")


def test_the_digest_is_of_what_it_does() -> None:
    def one(n: Any) -> Any:
        return n * 2

    def same(n: Any) -> Any:
        """Said in words."""
        # and in a comment
        return n * 2

    def other(n: Any) -> Any:
        return n * 3

    same.__name__ = other.__name__ = "one"
    digests = [view_of(function, {"n": "v:n"}, {"y": "float"}).digest() for function in (one, other)]
    assert digests[0] != digests[1]
    assert view_of(one, {"n": "v:f"}, {"y": "float"}).digest() != digests[0]
    assert view_of(one, {"n": "v:n"}, {"y": "int"}).digest() != digests[0]
    assert view_of(one, {"n": Field("n", "int")}, {"y": "float"}).digest() != digests[0]


@pytest.mark.parametrize(
    ("code", "options"),
    [
        ("PROJ-42", {"name": "a b"}),
        ("PROJ-42", {"outputs": {"a:b": "float"}}),
        ("PROJ-43", {"outputs": {}}),
        ("PROJ-43", {"inputs": {}}),
        ("PROJ-43", {"inputs": {"n": "v"}}),
        ("PROJ-43", {"inputs": {"n": 5}}),
        ("PROJ-43", {"inputs": {"other": "v:n"}}),
        ("PROJ-47", {"outputs": {"y": "flaot"}}),
    ],
)
def test_a_mistake_is_refused_where_it_is_written(code: str, options: dict[str, Any]) -> None:
    with pytest.raises(ProjectError) as caught:
        on_demand(**{"inputs": {"n": "v:n"}, "outputs": {"y": "float"}, "name": "d", **options})(lambda n: n)

    assert caught.value.code == code
    assert "test_on_demand.py" in str(caught.value.where)


def test_an_input_that_is_itself_on_demand_is_refused() -> None:
    first = view_of(lambda n: n, {"n": "v:n"}, {"y": "float"})
    second = view_of(lambda y: y, {"y": "d:y"}, {"z": "float"}, "e")

    with pytest.raises(DataError) as caught:
        open_both([V, first, second], LOG).plan(["e"])

    assert caught.value.code == "FEAT-01"
    assert "itself worked out on demand" in caught.value.what


def test_an_input_that_does_not_exist_names_the_nearest() -> None:
    view = view_of(lambda n: n, {"n": "v:nn"}, {"y": "float"})

    with pytest.raises(DataError) as caught:
        open_both([V, view], LOG).plan(["d"])

    assert (caught.value.code, "'n'" in str(caught.value.fix)) == ("FEAT-02", True)


def test_windows_feed_functions_as_they_are_at_each_moment() -> None:
    source = make_source()
    sums = FeatureView(
        "sums",
        entity=CUSTOMER,
        source=source,
        features={"week": mr.sum("n", window="7d"), "all": mr.sum("n"), "kept": mr.last_k("s", 2)},
    )
    view = view_of(
        lambda week, whole, kept: {"share": np.nan_to_num(week) / whole, "kept": [len(one or []) for one in kept]},
        {"week": "sums:week", "whole": "sums:all", "kept": "sums:kept"},
        {"share": "float", "kept": "int"},
    )
    log = pa.table(
        {"customer_id": [1] * 3, "ts": pa.array([day(0), day(4), day(8)], TIME), "n": [1, 2, 3], "s": ["a", "b", "c"]}
    )

    rows = ask_both([sums, view], log, [{"customer_id": 1, "event_time": day(at)} for at in (0, 4, 8, 20)], [view])

    assert rows == [
        {"share": 1.0, "kept": 1},
        {"share": 1.0, "kept": 2},
        {"share": 5 / 6, "kept": 2},
        {"share": 0.0, "kept": 2},
    ]


RATE, TABLE = 2.0, {"a": 1}


def scaled(x: Any) -> Any:
    return x * RATE


def made_with(rate: float) -> Any:
    @on_demand(inputs={"x": "v:x"}, outputs={"y": "float"}, name="made")
    def made(x: Any) -> Any:
        return scaled(x) * rate + TABLE["a"]

    return made


def test_what_a_function_uses_of_its_file_counts_as_its_code(monkeypatch: pytest.MonkeyPatch) -> None:
    before = made_with(3.0).digest()

    assert made_with(3.0).digest() == before
    assert made_with(4.0).digest() != before
    for name, value in [("RATE", 5.0), ("TABLE", {"a": 2}), ("scaled", lambda x: x)]:
        with monkeypatch.context() as patch:
            patch.setitem(globals(), name, value)
            assert made_with(3.0).digest() != before, name
