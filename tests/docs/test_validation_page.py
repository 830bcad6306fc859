"""What docs/validation.md shows is run."""

import re
from pathlib import Path

from millrace.validation.incidents.limits import DEFAULT
from millrace.validation.incidents.rules import INCIDENTS
from millrace.validation.profiling.suggest import CHANCE

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "validation.md").read_text(encoding="utf-8")


def test_the_python_of_the_page_prints_what_it_says(capsys):
    (shown,) = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(block, {})

    assert capsys.readouterr().out == shown


def test_the_page_names_every_incident_and_the_limits_there_are():
    assert [rule for rule in INCIDENTS if f"`{rule}`" not in PAGE] == []
    assert (DEFAULT.odds, DEFAULT.unseen, DEFAULT.vanished, DEFAULT.mix, DEFAULT.factor) == (10, 0.3, 0.5, 0.5, 3)
    assert DEFAULT.units == 10
    assert (DEFAULT.min_samples, DEFAULT.min_history, DEFAULT.chance, CHANCE) == (50, 8, 1e-4, 1e-5)
