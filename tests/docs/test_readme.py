"""The README shows the example as it is."""

from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_project_of_one_page_is_the_example_itself():
    page = (ROOT / "examples" / "electricity" / "project.py").read_text()

    assert f"```python\n{page}```" in (ROOT / "README.md").read_text()
