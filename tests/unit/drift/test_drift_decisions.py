"""The decision is a pure function of the evidence."""

import copy
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from millrace.core.errors import DataError, ProjectError
from millrace.core.verdict import Verdict
from millrace.drift.compare import compare
from millrace.drift.decisions import DECISIONS, judge_drift
from millrace.drift.detector import DriftDetector
from millrace.drift.profile import ReferenceProfile
from millrace.drift.report import DriftReport


def tables():
    rng = np.random.default_rng(11)
    reference = pa.table({"kept": rng.normal(size=500), "moved": rng.normal(size=500), "plan": ["a", "b"] * 250})
    current = pa.table({"kept": rng.normal(size=400), "moved": rng.normal(1, 1, size=400), "plan": ["a", "b"] * 200})
    return reference, current


def test_report_names_what_moved():
    report = compare(*tables())
    assert report.drifted == ["moved"]
    moved = report["moved"]
    assert (moved.n_reference, moved.n_current, moved.null_rate_current) == (500, 400, 0.0)
    assert moved.q_value >= moved.p_value
    assert moved.effect == moved.statistic
    assert report.verdict().reason == "2 of 3 columns are ok; drifted: moved"
    assert report.explain().splitlines()[1].split()[:2] == ["drift", "moved"]


def test_verdict_is_recomputed_from_its_json_evidence():
    verdict = compare(*tables()).verdict()
    recorded = json.loads(json.dumps(verdict.to_dict()))
    assert DECISIONS[recorded["rule"]](recorded["evidence"]) == Verdict.from_dict(recorded) == verdict


def test_report_is_read_back_from_its_record():
    report = compare(*tables())
    assert DriftReport.from_dict(json.loads(json.dumps(report.to_dict()))).to_dict() == report.to_dict()


def test_outcomes_follow_the_recorded_limits():
    evidence = copy.deepcopy(dict(compare(*tables()).evidence))
    evidence["effect"] = 0.99
    assert judge_drift(evidence).outcome == "pass"
    assert "the difference is real but small" in DriftReport(evidence)["moved"].reason
    evidence["effect"], evidence["q"] = 0.1, 1e-300
    assert judge_drift(evidence).outcome == "pass"


@pytest.mark.parametrize("field", ["p_value", "effect"])
def test_statistic_that_is_no_number_is_never_ok(field):
    evidence = copy.deepcopy(dict(compare(*tables()).evidence))
    for worthless in (None, float("nan")):
        evidence["columns"][0]["tests"][0][field] = worthless
        assert DriftReport(evidence)["kept"].outcome == "error"


def test_one_drift_outweighs_what_could_not_be_tested():
    reference, current = tables()
    reference = reference.append_column("id", pa.array([f"a{i}" for i in range(500)]))
    current = current.append_column("id", pa.array([f"b{i}" for i in range(400)]))
    assert compare(reference, current).verdict().outcome == "fail"
    assert compare(reference, current, columns=["kept", "id"]).verdict().outcome == "inconclusive"
    assert compare(reference, current, columns=[]).verdict().outcome == "inconclusive"


def test_decisions_load_no_engine():
    code = (
        "import sys, millrace.drift.decisions, millrace.drift.report;"
        "print(sorted({'numpy', 'scipy', 'pyarrow', 'pandas', 'polars'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("form", [lambda t: t, pl.from_arrow, lambda t: t.to_pandas()])
def test_detector_takes_any_table(form):
    reference, current = tables()
    detector = DriftDetector(form(reference))
    assert detector.detect_drift(form(current)) == {"kept": False, "moved": True, "plan": False}
    assert detector.report(form(current)).drifted == ["moved"]


def test_detector_never_calls_an_untestable_batch_free_of_drift():
    reference, current = tables()
    detector = DriftDetector(reference)
    assert detector.detect_drift(current.slice(0, 0)) == {"kept": True, "moved": True, "plan": True}
    assert detector.detect_drift(current.slice(0, 20)) == {"kept": True, "moved": True, "plan": True}


def test_detector_metrics():
    reference = pa.table({"x": [1.0, 2.0, 3.0, None], "zero": [-1, 0, 1, 0], "s": ["a"] * 4})
    current = pa.table({"x": [2.0, 4.0, 6.0, float("inf")], "zero": [1, 1, 1, 1], "s": ["a"] * 4})
    metrics = DriftDetector(reference).compute_drift_metrics(current)
    assert metrics["x"] == {
        "type": "numerical",
        "mean_shift": 1.0,
        "std_shift": 1.0,
        "ref_mean": 2.0,
        "curr_mean": 4.0,
        "ref_std": 1.0,
        "curr_std": 2.0,
    }
    assert (metrics["zero"]["mean_shift"], sorted(metrics)) == (None, ["x", "zero"])


def test_detector_metrics_of_columns_that_are_gone_or_another_thing_are_none_and_say_why():
    reference = pa.table({name: [1.0, 2.0, 3.0] for name in ("gone", "text", "empty", "twice")})
    current = pa.table(
        [pa.array(["1", "2", "3"]), pa.nulls(3), pa.array([1, 2, 3]), pa.array([1, 2, 3])],
        names=["text", "empty", "twice", "twice"],
    )
    for form in (reference, ReferenceProfile.of(reference)):
        metrics = DriftDetector(form).compute_drift_metrics(current)
        assert {name: facts.get("error") for name, facts in metrics.items()} == {
            "gone": "the column is missing",
            "text": "its type is string",
            "empty": None,
            "twice": "2 columns have this name",
        }
        assert {facts["curr_mean"] for facts in metrics.values()} == {None}
        assert {facts["mean_shift"] for facts in metrics.values()} == {None}
        assert {facts["ref_mean"] for facts in metrics.values()} == {2.0}


def test_columns_that_share_a_name_are_never_ok():
    one = pa.table({"x": list(range(200))})
    two = pa.table([one["x"], pa.array(range(1000, 1200))], names=["x", "x"])
    for reference, current, side in ((one, two, "current"), (two, one, "reference"), (two, two, "reference")):
        for form in (reference, ReferenceProfile.of(reference)):
            (column,) = DriftDetector(form).report(current).columns
            assert (column.outcome, f"2 columns of the {side} data have this name" in column.reason) == ("error", True)
    assert DriftDetector(two).compute_drift_metrics(one)["x"]["ref_mean"] is None


def test_lazy_tables_are_read_and_paths_are_told_how():
    reference, current = tables()
    detector = DriftDetector(pl.from_arrow(reference).lazy())
    assert detector.detect_drift(pl.from_arrow(current).lazy()) == {"kept": False, "moved": True, "plan": False}
    for path, fix in (
        ("then.parquet", "polars.read_parquet('then.parquet')"),
        (Path("then.csv"), "polars.read_csv('then.csv')"),
        ("then.json", "ReferenceProfile.load('then.json')"),
    ):
        with pytest.raises(DataError, match="DRIFT-01") as caught:
            DriftDetector(path)
        assert fix in caught.value.fix


def test_no_column_to_compare_is_refused_and_not_an_empty_answer():
    reference, current = tables()
    for detector in (DriftDetector(pa.table({})), DriftDetector(reference, columns=[])):
        with pytest.raises(DataError, match="DRIFT-09"):
            detector.detect_drift(current)
        assert detector.report(current).verdict().outcome == "inconclusive"


def test_what_a_detector_does_not_know_is_refused_when_it_is_made():
    reference, _ = tables()
    with pytest.raises(ProjectError, match="DRIFT-08") as caught:
        DriftDetector(reference, efect=0.1)
    assert caught.value.fix == "did you mean 'effect'?"
    with pytest.raises(ProjectError, match="DRIFT-08") as caught:
        DriftDetector(reference, efect=0.1, min_row=3)
    assert len(caught.value.findings) == 2
    with pytest.raises(ProjectError, match="PROJ-36"):
        DriftDetector(reference, types={"kept": "numerical"})


def test_one_column_may_be_named_by_itself():
    reference, current = tables()
    assert DriftDetector(reference, columns="moved").detect_drift(current) == {"moved": True}


@pytest.mark.parametrize("data", [42, pd.DataFrame({"x": [1, "two", 3.0]})])
def test_what_is_no_table_is_refused(data):
    with pytest.raises(DataError, match="DRIFT-01"):
        DriftDetector(data)
