"""The page on single rows is run, and tells what it is said to tell."""

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "serving-data.md"


def test_the_page_runs_and_says_what_it_says(capsys):
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    names = {}
    for block in blocks:
        exec(block, names)
    printed = capsys.readouterr().out

    assert len(blocks) == 3
    assert printed.startswith("True {'age': '17'}\nVALID-40  age: values between 18 and 100; it is 17\n")
    assert "['age: mean between 30 and 50']" in printed
    assert "3 1 {'age: values between 18 and 100': 1}" in printed
    assert "people: blocked." in printed
    assert names["serving_data"].policy == "reject"
