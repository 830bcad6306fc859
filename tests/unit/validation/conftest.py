"""Rules are judged here by Millrace alone: the extra `gx` is not there. Tests of both stand in tests/with_gx."""

import pytest

from millrace.core.errors import MissingExtra
from millrace.validation import fallback


@pytest.fixture(autouse=True)
def no_great_expectations(monkeypatch):
    def refuse(group, name):
        raise MissingExtra("great_expectations", "gx", f"'{name}' for {group}")

    monkeypatch.setattr(fallback, "load_plugin", refuse)
