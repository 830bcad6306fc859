"""What the page on places of rows shows is run."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "validation-sources.md"


def test_the_source_of_the_page_is_judged(tmp_path, monkeypatch, capsys):
    pytest.importorskip("sqlalchemy")
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names = {}

    exec(code, names)  # the page is ours

    assert [one.success for one in names["result"].results] == [False, False, True]
    assert "orders: blocked" in capsys.readouterr().out


def test_every_dialect_is_named_on_the_page():
    from millrace.validation.sql import dialects as sql_dialects

    text = PAGE.read_text(encoding="utf-8").lower()
    names = {each.name for each in vars(sql_dialects).values() if isinstance(each, sql_dialects.Dialect)}

    assert {"sqlite", "postgresql", "duckdb", "spark"} == names
    assert all(name in text for name in names)
