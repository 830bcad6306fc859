"""What tests/docs does for every other module, for those that import Feast; and the snippets of docs/feast.md."""

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import feast
import pytest
import yaml

import millrace.adapters

DOCS = Path(__file__).resolve().parents[2] / "docs"
MODULES = [one.name for one in pkgutil.iter_modules(millrace.adapters.__path__) if one.name.startswith("feast")]


@pytest.mark.parametrize("name", MODULES)
def test_a_module_is_importable_and_its_examples_run(name):
    module = importlib.import_module(f"millrace.adapters.{name}")

    assert doctest.testmod(module, raise_on_error=False).failed == 0


def test_the_settings_of_the_page_open_a_store_and_serve(tmp_path):
    (text,) = re.findall(r"```yaml\n(.*?)```", (DOCS / "feast.md").read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "feature_store.yaml").write_text(text)

    store = feast.FeatureStore(repo_path=str(tmp_path))

    provider = store._get_provider()
    named = yaml.safe_load(text)
    parts = {"online_store": provider.online_store, "offline_store": provider.offline_store}
    parts["batch_engine"] = provider.batch_engine
    for key, part in parts.items():
        assert f"{type(part).__module__}.{type(part).__name__}" == named[key]["type"]


def test_every_python_block_of_the_page_imports_what_there_is():
    for text in re.findall(r"```python\n(.*?)```", (DOCS / "feast.md").read_text(encoding="utf-8"), re.DOTALL):
        lines = [line for line in text.splitlines() if line.startswith(("from ", "import "))]
        exec("\n".join(lines), {})
