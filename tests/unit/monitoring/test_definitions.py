"""What a project may say about retraining, and what it is told when it says it wrongly."""

import subprocess
import sys
from datetime import timedelta

import pytest

from millrace.core.definition import collecting
from millrace.core.errors import ProjectError
from millrace.monitoring.definitions import Every, Manual, OnDegradation, OnDrift


def test_defaults():
    policy = OnDegradation()

    assert policy.floors == {"accuracy": None}
    assert (policy.window, policy.min_samples, policy.drop) == (timedelta(days=7), 100, 0.05)
    assert [trigger.cooldown for trigger in (policy, OnDrift(), Every("1d"))] == [timedelta(hours=6)] * 3
    assert Manual().cooldown == timedelta(0)
    assert [trigger.kind for trigger in (policy, OnDrift(), Every("1d"), Manual())] == [
        "degradation",
        "drift",
        "schedule",
        "manual",
    ]


def test_floors_are_named_by_metric():
    policy = OnDegradation(window="1d", cooldown=0, accuracy=0.85, rmse=4.0)

    assert policy.floors == {"accuracy": 0.85, "rmse": 4.0}
    assert policy.cooldown == timedelta(0)
    assert policy.describe() == (
        "accuracy below 0.85 or 0.05 under its score at deploy, rmse above 4 or 5% over its score at deploy, "
        "over 1d with at least 100 labels"
    )


def test_a_definition_remembers_its_place_and_not_in_comparisons():
    here, there = Every("7d"), Every("7d")

    assert here == there
    assert here.place != there.place or here.place.startswith(__file__)
    assert OnDegradation(accuracy=0.8).place.startswith(__file__)


@pytest.mark.parametrize(
    ("write", "code", "fix"),
    [
        (lambda: OnDegradation(acuracy=0.85), "PROJ-60", "did you mean 'accuracy'?"),
        (lambda: OnDegradation(min_sample=5), "PROJ-60", "did you mean 'min_samples'?"),
        (lambda: OnDegradation(min_samples=0), "PROJ-61", "at least 1"),
        (lambda: OnDegradation(drop=-0.1), "PROJ-62", "0 or more"),
        (lambda: OnDegradation(drop=None), "PROJ-63", "name a floor"),
        (lambda: OnDrift(min_columns=0), "PROJ-64", "at least 1"),
        (lambda: OnDrift(columns=["a"], min_columns=2), "PROJ-64", "1 to 1"),
        (lambda: Every("0d"), "PROJ-65", "above 0"),
        (lambda: Every("7d", cooldown=-1), "PROJ-65", "0 for none"),
        (lambda: OnDrift(window="a week"), "PROJ-10", "write a number and a unit"),
    ],
)
def test_a_mistake_says_how_to_mend_it(write, code, fix):
    with pytest.raises(ProjectError) as caught:
        write()

    assert caught.value.code == code
    assert fix in caught.value.fix
    assert caught.value.where.startswith(__file__)


def test_all_mistakes_are_collected():
    with collecting() as problems:
        OnDegradation(acuracy=0.85, min_samples=0, window="soon")
        Every("never")

    assert sorted(problem.code for problem in problems) == ["PROJ-10", "PROJ-10", "PROJ-60", "PROJ-61"]


def test_the_room_needs_the_standard_library_only():
    modules = ["deployment.deploy", "deployment.decisions", "registry.registry"]
    modules += [f"monitoring.{name}" for name in ("definitions", "labels", "evaluation", "evidence", "decisions")]
    imports = ", ".join(f"millrace.{name}" for name in modules)
    heavy = ["numpy", "pandas", "polars", "pyarrow", "scipy", "sklearn", "mlflow"]
    code = f"import sys, {imports}; print(sorted(set({heavy}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"
