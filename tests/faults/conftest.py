"""Projects that must have lost nothing when the test is over."""

import pytest
from complaints import read_record

from small_project import copy_project


@pytest.fixture
def moving_shop(trained_project, tmp_path):
    """A project with version 1 in production; after the test its chain must hold."""
    folder = copy_project(trained_project, tmp_path / "orders")
    yield folder
    verified = read_record(folder)[0]
    assert verified["is_intact"], verified["problems"]


@pytest.fixture
def shop(moving_shop):
    """The same, and after the test production must run what it ran."""
    yield moving_shop
    (model,) = read_record(moving_shop)[1]["models"]
    assert {r["environment"]: (r["number"], r["version"]) for r in model["releases"]} == {
        "staging": (1, 1),
        "production": (1, 1),
    }
