"""The page on drift: its code prints what it says, and what it names is there."""

import inspect
import re
from pathlib import Path

from millrace.drift import compare as compare_module
from millrace.drift.compare import compare
from millrace.drift.numeric import CELLS
from millrace.drift.profile import LEVEL_LIMIT

PAGE = Path(__file__).resolve().parents[2] / "docs" / "drift.md"
TEXT = PAGE.read_text(encoding="utf-8")


def test_its_code_prints_what_it_says(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    facts = {}
    shown = re.findall(r"```python\n(.*?)```\n(?:\n```text\n(.*?)```)?", TEXT, flags=re.DOTALL)
    assert shown
    for code, printed in shown:
        exec(code, facts)
        assert capsys.readouterr().out == printed


def test_its_limits_are_the_defaults():
    defaults = {name: part.default for name, part in inspect.signature(compare).parameters.items()}
    assert f"than `min_rows` ({defaults['min_rows']}) values" in TEXT
    assert f"of {defaults['effect']:g} (`effect`)" in TEXT
    assert (
        f"{defaults['rate_effect']:.0%} of the rows (`rate_effect`) | {5 * defaults['rate_effect']:.0%} |".replace(
            "%", " %"
        )
        in TEXT
    )
    assert (compare_module._MAJOR, compare_module._MAJOR_RATE) == (2, 5)
    assert f"up to {CELLS:,} distinct ones" in TEXT
    assert f"more than {LEVEL_LIMIT:,} levels" in TEXT


def test_every_effect_of_a_report_is_explained():
    import pyarrow as pa

    table = pa.table({"number": list(range(0, 1000, 2)), "level": ["a", "b"] * 250})
    report = compare(table, table, types={"number": "numeric"})
    measured = {name for column in report.columns for name in column.effects}
    section = TEXT.partition("## When it is drift\n")[2].partition("\n## ")[0]
    assert {name for name in measured if f"`{name}`" not in section} == set()
