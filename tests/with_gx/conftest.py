"""Great Expectations as the oracle. Its import takes seconds: all of these tests run in one worker."""

import importlib.util

import pytest

if importlib.util.find_spec("great_expectations") is None:
    # It comes with the extra `gx`, which the development environment has; Feast's has not.
    collect_ignore_glob = ["test_*.py"]


def pytest_collection_modifyitems(items):
    for item in items:
        if "with_gx" in item.path.parts:
            item.add_marker(pytest.mark.xdist_group("great_expectations"))
            # What GX and its packages warn of is theirs; what Millrace's own modules warn of stays an error.
            item.add_marker(pytest.mark.filterwarnings("ignore::Warning:(great_expectations|pandas|pyspark)\\..*"))
