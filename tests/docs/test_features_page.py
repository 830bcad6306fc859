"""The shop of features.md is built and asked: each block runs, and says what the comment under it says."""

import ast
import contextlib
import io
import re
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "features.md"


def blocks():
    return re.findall(r"```(python|csv)\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)


def run_block(code, namespace):
    """Run a block; (what the page says, what is so) for each statement with a comment of its own right under it."""
    lines = code.splitlines()
    compared = []
    for statement in ast.parse(code).body:
        after = lines[statement.end_lineno] if statement.end_lineno < len(lines) else ""
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            if isinstance(statement, ast.Expr):
                value = eval(compile(ast.Expression(statement.value), "features.md", "eval"), namespace)
            else:
                exec(compile(ast.Module([statement], []), "features.md", "exec"), namespace)
                value = None
        if after.startswith("# "):
            compared.append((after[2:], printed.getvalue().rstrip("\n") or repr(value)))
    return compared


@pytest.fixture
def shop(tmp_path, monkeypatch):
    found = blocks()
    (tmp_path / "millrace.toml").write_text('name = "shop"\n')
    (tmp_path / "project.py").write_text(next(code for language, code in found if "project.py" in code))
    (tmp_path / "orders.csv").write_text(next(code for language, code in found if language == "csv"))
    monkeypatch.chdir(tmp_path)


def test_every_block_says_what_it_answers(shop):
    namespace = {}
    compared = [
        pair
        for language, code in blocks()
        if language == "python" and "project.py" not in code
        for pair in run_block(code, namespace)
    ]

    assert [actual for _, actual in compared] == [told for told, _ in compared]
    assert len(compared) >= 11


def test_every_rule_and_status_of_the_code_is_on_the_page():
    from typing import get_args

    from millrace.features.aggregation import Kind
    from millrace.features.expression import Expression
    from millrace.features.field import DTYPES
    from millrace.features.online.view_reader import Status

    page = PAGE.read_text(encoding="utf-8")
    methods = [name for name in vars(Expression) if name.islower() and not name.startswith(("_", "to_", "columns"))]

    missing = [kind for kind in get_args(Kind) if f"mr.{kind}" not in page]
    missing += [status for status in get_args(Status) if f"| `{status}` |" not in page]
    missing += [dtype for dtype in DTYPES if f"`{dtype}`" not in page and not dtype.startswith("list")]
    missing += [f".{name}(" for name in methods if f".{name}(" not in page and name not in ("operation", "parts")]
    assert missing == []


def test_the_table_of_types_is_true():
    from decimal import Decimal

    import pandas as pd
    import polars as pl
    import pyarrow as pa

    from millrace.features.columns import kind_of, to_table

    arrow, pandas, polars = {}, {}, {}
    arrow["int"] = [pa.int8(), pa.uint16(), pa.int64()]
    arrow["float"] = [pa.float32(), pa.float64(), pa.decimal128(9, 2)]
    arrow["bool"] = [pa.bool_()]
    arrow["string"] = [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())]
    arrow["time"] = [pa.timestamp("ns"), pa.timestamp("s", "Europe/Rome"), pa.date32()]
    arrow["ints"] = [pa.list_(pa.int8()), pa.large_list(pa.int64()), pa.list_(pa.int64(), 2)]
    arrow[None] = [pa.struct([("a", pa.int64())]), pa.map_(pa.string(), pa.int64()), pa.list_(pa.list_(pa.int64()))]
    for kind, types in arrow.items():
        assert [kind_of(one) for one in types] == [kind] * len(types)

    whole, moments = [1, 2], pd.to_datetime(["2024-05-01", "2024-05-02"])
    pandas["int"] = [pd.Series(whole, dtype=name) for name in ("int8", "uint32", "int64", "Int64")]
    pandas["float"] = [pd.Series([0.5, None], dtype=name) for name in ("float32", "float64", "Float64")]
    pandas["bool"] = [pd.Series([True, False]), pd.Series([True, None], dtype="boolean")]
    pandas["string"] = [pd.Series(["a", None], dtype=name) for name in ("object", "str", "category")]
    pandas["time"] = [pd.Series(moments), pd.Series(moments.tz_localize("Europe/Rome"))]
    pandas["strings"] = [pd.Series([["a"], []])]
    polars["int"] = [pl.Series(whole, dtype=one) for one in (pl.Int8, pl.UInt32, pl.Int64)]
    polars["float"] = [pl.Series([0.5], dtype=pl.Float32), pl.Series([Decimal("1.5")], dtype=pl.Decimal(9, 2))]
    polars["bool"] = [pl.Series([True, None])]
    polars["string"] = [pl.Series(["a", None]), pl.Series(["a", None], dtype=pl.Categorical)]
    polars["time"] = [pl.Series([moments[0].to_pydatetime()]), pl.Series([moments[0].date()])]
    polars["floats"] = [pl.Series([[0.5]]), pl.Series([[0.5]], dtype=pl.Array(pl.Float64, 1))]
    for frames, make in ((pandas, pd.DataFrame), (polars, pl.DataFrame)):
        for kind, columns in frames.items():
            found = [kind_of(to_table(make({"x": column})).schema.field("x").type) for column in columns]
            assert found == [kind] * len(columns)
