"""What the page on whole batches shows is run."""

import re
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "drift-batches.md"


def test_the_examples_print_what_the_page_says():
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    names = {}
    for block in blocks:
        printed = StringIO()
        with redirect_stdout(printed):
            exec(compile(block, str(PAGE), "exec"), names)
        shown = re.findall(r"^# (.*)$", block, flags=re.MULTILINE)
        assert printed.getvalue().splitlines() == shown

    assert len(blocks) == 3
    assert "<h1>today: " in names["page"]
    assert [trigger.kind for trigger in names["retrain"]] == ["drift", "drift"]
