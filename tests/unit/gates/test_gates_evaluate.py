import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest
from gate_scenes import asked, from_counts, regression

from millrace.core.errors import DataError
from millrace.core.verdict import Verdict
from millrace.gates.beats_baseline import BeatsBaseline
from millrace.gates.decisions import DECISIONS
from millrace.gates.evaluate import blocks, evaluate_all
from millrace.gates.latency import Latency
from millrace.gates.no_regression import NoRegression
from millrace.gates.robustness import Robustness
from millrace.gates.threshold import Threshold

GATES = [Threshold(accuracy=0.5), NoRegression(), BeatsBaseline(), Latency(calls=60), Robustness()]


def context():
    whole = asked(lambda rows: (np.array([int(row[0] > 0) for row in rows]), None))
    y = np.array([int(row[0] > 0) for row in whole.rows])
    champion = np.where(np.arange(len(y)) < 100, 1 - y, y)
    return dataclasses.replace(whole, y_true=y, outputs=y, champion_outputs=champion, y_train=y)


def test_every_gate_gives_a_verdict_in_order():
    verdicts = evaluate_all(GATES, context())
    assert [(v.rule, v.outcome) for v in verdicts] == [
        ("gate.threshold", "pass"),
        ("gate.no_regression", "pass"),
        ("gate.beats_baseline", "pass"),
        ("gate.latency", "pass"),
        ("gate.robustness", "pass"),
    ]


def test_every_verdict_is_recomputed_from_its_json_evidence():
    broken = dataclasses.replace(context(), predict=None, y_train=None)
    for verdict in [*evaluate_all(GATES, context()), *evaluate_all(GATES, broken)]:
        recorded = json.loads(json.dumps(verdict.to_dict(), allow_nan=False))
        assert DECISIONS[verdict.rule](recorded["evidence"]) == Verdict.from_dict(recorded) == verdict


def test_every_gate_says_what_it_asks():
    assert all(gate.describe() for gate in GATES)
    assert sorted(DECISIONS) == sorted(f"gate.{gate.name}" for gate in GATES)


def test_gate_that_raises_is_a_refusal_and_the_others_still_speak():
    def crash(rows):
        raise RuntimeError("onnx says no")

    verdicts = evaluate_all(GATES, dataclasses.replace(context(), predict=crash))
    assert [v.outcome for v in verdicts] == ["pass", "pass", "pass", "fail", "fail"]
    assert verdicts[3].reason == "the gate could not be evaluated: RuntimeError: onnx says no"
    assert blocks(verdicts[3])


def test_refusal_for_want_of_something_keeps_the_code():
    verdict = evaluate_all([BeatsBaseline()], from_counts(9, 0, 0, 1))[0]
    assert (verdict.outcome, verdict.evidence["error_code"]) == ("fail", "GATE-04")


def test_evidence_that_json_cannot_say_is_a_refusal():
    @dataclasses.dataclass
    class Careless:
        name = "careless"

        def measure(self, context):
            return {"value": float("nan")}

        def judge(self, evidence):
            return Verdict("gate.careless", "pass", "fine", evidence)

    assert evaluate_all([Careless()], context())[0].outcome == "fail"


@pytest.mark.parametrize(
    ("outcome", "evidence", "expected"),
    [
        ("pass", {}, False),
        ("fail", {"when_inconclusive": "promote"}, True),
        ("inconclusive", {"when_inconclusive": "promote"}, False),
        ("inconclusive", {"when_inconclusive": "hold"}, True),
        ("inconclusive", {}, True),
    ],
)
def test_what_blocks(outcome, evidence, expected):
    verdict = Verdict("gate.any", outcome, "", evidence)
    assert blocks(verdict) is blocks(verdict, evidence) is expected


def test_context_of_unequal_lengths_is_refused_with_all_of_them():
    with pytest.raises(DataError) as caught:
        dataclasses.replace(regression(n=40), outputs=np.zeros(39), champion_outputs=np.zeros(41))
    assert [finding.what for finding in caught.value.findings] == [
        "outputs has 39 rows, y_true has 40",
        "champion_outputs has 41 rows, y_true has 40",
    ]


def test_context_without_rows_is_refused():
    with pytest.raises(DataError, match="GATE-02"):
        from_counts(0, 0, 0, 0)


def test_definitions_and_decisions_load_no_engine():
    code = (
        "import sys, millrace.gates.decisions, millrace.gates.evaluate, millrace.gates.context;"
        "print(sorted({'numpy', 'scipy', 'pyarrow', 'pandas', 'polars', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
