"""Sources and labels say what is wrong with them, with the nearest right form."""

import subprocess
import sys
from datetime import timedelta

import pytest

from millrace.core.definition import collecting
from millrace.core.errors import ProjectError
from millrace.data.source import Labels, Source


def test_a_source_keeps_what_it_was_given_and_its_place():
    source = Source("orders", "data/orders.parquet", event_time="at", delay="2h", columns={"amount": "AMT"})

    assert source.delay == timedelta(hours=2)
    assert source.renames == {"amount": "AMT"}
    assert source.kept is None
    assert source.is_sql is False
    assert source.place.partition(":")[0] == __file__
    assert Source("a", "b.csv").delay == timedelta(0)
    assert hash(source) == hash(Source("orders", "data/orders.parquet", event_time="at", delay="2h"))


@pytest.mark.parametrize(
    ("code", "arguments"),
    [
        ("PROJ-20", {"name": "my orders"}),
        ("PROJ-21", {"path": ""}),
        ("PROJ-22", {"query": "SELECT 1"}),
        ("PROJ-22", {"path": "sqlite:///a.db"}),
        ("PROJ-22", {"path": "env:URL", "query": "SELECT 1", "table": "t"}),
        ("PROJ-23", {"columns": "amount"}),
        ("PROJ-23", {"columns": ["a", "a"]}),
        ("PROJ-23", {"columns": {"a": "x", "b": "x"}}),
        ("PROJ-24", {"delay": "1h"}),
        ("PROJ-24", {"event_time": "at", "delay": -5}),
        ("PROJ-24", {"event_time": "at", "columns": ["amount"]}),
        ("PROJ-10", {"event_time": "at", "delay": "soon"}),
    ],
)
def test_a_mistake_has_its_code_and_place(code, arguments):
    with pytest.raises(ProjectError) as caught:
        Source(**{"name": "orders", "path": "orders.csv", **arguments})

    assert code == caught.value.code
    assert __file__ in caught.value.where


def test_all_mistakes_of_a_source_are_reported_at_once():
    with collecting() as problems:
        Source("my orders", "", delay="1h")

    assert [problem.code for problem in problems] == ["PROJ-20", "PROJ-21", "PROJ-24"]


def test_labels_take_times_from_their_source_unless_told():
    source = Source("orders", "orders.csv", event_time="at", delay="1h")

    assert Labels(source, "churned").event_time == "at"
    assert Labels(source, "churned").delay == timedelta(hours=1)
    assert Labels(source, "churned", event_time="seen", delay="30d").delay == timedelta(days=30)
    assert Labels("data/my labels.csv", "churned", event_time="at").source.name == "my_labels"
    with pytest.raises(ProjectError, match="PROJ-25"):
        Labels(source, "")


def test_definitions_load_no_engine():
    code = (
        "import sys, millrace.data.source, millrace.validation.suite, millrace.validation.result\n"
        "print([m for m in ('numpy', 'pyarrow', 'polars', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_limits_of_incidents_are_told_from_other_things():
    from millrace.validation.incidents.limits import Incidents

    assert Source("orders", "orders.csv", incidents=Incidents(max_age="2d")).incidents.max_age_s == 172_800
    with pytest.raises(ProjectError) as error:
        Source("orders", "orders.csv", incidents="2d")
    assert error.value.code == "DATA-50"
