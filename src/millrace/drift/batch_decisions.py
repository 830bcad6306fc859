"""Rules on a batch as a whole: told apart, scored otherwise, estimated worse. Pure functions of recorded evidence.

Each has its own small chance of a false alarm, so that all together stay near the columns' own: with the defaults at
most 0.05 + 0.01 + 0.01 of healthy batches are flagged by columns, classifier and scores.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from millrace.core.verdict import Outcome, Verdict
from millrace.drift.decisions import RULE as COLUMNS
from millrace.drift.decisions import judge_drift, shown

CLASSIFIER = "drift.classifier"
SCORES = "drift.scores"
PERFORMANCE = "drift.estimated_performance"
BATCH = "drift.batch"

Judge = Callable[[Mapping[str, Any]], Verdict]


def judge_classifier(evidence: Mapping[str, Any]) -> Verdict:
    """Fail when held-out rows are told apart beyond chance and by enough; inconclusive when that could not be asked."""
    auc, p_value, limit = evidence["auc"], evidence["p_value"], evidence["auc_limit"]
    if auc is None:
        return Verdict(CLASSIFIER, "inconclusive", _not_asked(evidence), evidence)
    if not (_is_number(auc) and _is_number(p_value)):
        return Verdict(CLASSIFIER, "inconclusive", "the classifier gave no number", evidence)
    is_sure = p_value <= evidence["alpha"]
    measured = f"area under the curve {auc:.3f}, p {shown(p_value)}"
    if is_sure and auc >= limit:
        terms = [entry["term"] for entry in evidence["contributors"][:3]]
        by = f", by {', '.join(terms)}" if terms else ""
        return Verdict(CLASSIFIER, "fail", f"current rows are told from reference rows: {measured}{by}", evidence)
    if is_sure:
        return Verdict(CLASSIFIER, "pass", f"the difference is real but small: {measured}, limit {limit:g}", evidence)
    return Verdict(CLASSIFIER, "pass", f"rows are not told apart beyond chance: {measured}", evidence)


def judge_scores(evidence: Mapping[str, Any]) -> Verdict:
    """Fail when the model's answers moved beyond chance and by enough; inconclusive when there are too few, or when
    scores could not be compared that were to be.
    """
    tests = evidence["tests"]
    unknown, asked = evidence["missing_current"], evidence["n_current"]
    # Before the tests: of answers that are all none there is no test.
    if unknown and asked >= evidence["min_rows"] and unknown / asked >= evidence["effect"]:
        text = f"{unknown} of {asked} answers are no number or of no known class"
        return Verdict(SCORES, "fail", text, evidence)
    if not tests:
        n, m = (evidence[f"n_{side}"] - evidence.get(f"missing_{side}", 0) for side in ("reference", "current"))
        least = evidence["min_rows"]
        return Verdict(SCORES, "inconclusive", f"{n} and {m} answers to compare, {least} of each are needed", evidence)
    if not all(_is_number(test["p_value"]) and _is_number(test["effect"]) for test in tests):
        return Verdict(SCORES, "inconclusive", "a test of the answers gave no number", evidence)
    moved = [
        test
        for test in tests
        if test["p_value"] * len(tests) <= evidence["alpha"] and test["effect"] >= evidence["effect"]
    ]
    if moved:
        worst = sorted(moved, key=lambda test: -test["effect"])[:3]
        said = "; ".join(f"{test['of']} by {test['effect']:.3f} (p {shown(test['p_value'])})" for test in worst)
        return Verdict(SCORES, "fail", f"the model's answers moved: {said}", evidence)
    largest = max(tests, key=lambda test: float(test["effect"]))
    text = f"the model's answers did not move by enough beyond chance: {largest['of']} by {largest['effect']:.3f}"
    if evidence.get("untested"):
        unsaid = "; ".join(f"{name} could not be compared: {why}" for name, why in evidence["untested"].items())
        return Verdict(SCORES, "inconclusive", f"{text}; {unsaid}", evidence)
    return Verdict(SCORES, "pass", text, evidence)


def judge_estimated_performance(evidence: Mapping[str, Any]) -> Verdict:
    """Fail when a metric's whole interval is below its limit; inconclusive when it holds the limit and is on its wrong
    side, when a metric with a limit has no estimate, when scores say nothing of the truth, or when there are too few
    rows.
    """
    if evidence.get("lacking"):
        text = f"a limit is set, and nothing can be estimated without {evidence['lacking']}"
        return Verdict(PERFORMANCE, "inconclusive", text, evidence)
    n, m = evidence["n_holdout"], evidence["n_current"]
    if n < evidence["min_holdout"] or m < evidence["min_rows"]:
        text = (
            f"{n} holdout rows with labels and {m} current ones: "
            f"{evidence['min_holdout']} and {evidence['min_rows']} are needed"
        )
        return Verdict(PERFORMANCE, "inconclusive", text, evidence)
    error = evidence["calibration"]["mended"]["error"]
    if not error <= evidence["calibration_limit"]:
        text = f"the scores cannot be calibrated: even mended they are off by {error:.3f}"
        return Verdict(PERFORMANCE, "inconclusive", text, evidence)
    judged = {name: facts for name, facts in evidence["metrics"].items() if facts["limit"] is not None}
    untold = [
        f"{name} has a limit and no estimate: {why}" for name, why in evidence.get("without_estimate", {}).items()
    ]
    if not judged:
        text = "; ".join(untold) or "no metric has both an estimate and a limit"
        return Verdict(PERFORMANCE, "inconclusive", text, evidence)
    unclear = sorted(name for name, facts in judged.items() if not all(map(_is_number, _judged_numbers(facts))))
    if unclear:
        return Verdict(PERFORMANCE, "inconclusive", f"no number: {', '.join(unclear)} or its limit", evidence)
    below = {name: facts for name, facts in judged.items() if facts["high"] < facts["limit"]}
    unsure = {name: facts for name, facts in judged.items() if facts["value"] < facts["limit"] <= facts["high"]}
    outcome: Outcome = "fail" if below else "inconclusive" if unsure or untold else "pass"
    said = [_estimate(name, facts) for name, facts in (below or unsure or judged).items()]
    return Verdict(PERFORMANCE, outcome, f"without labels: {'; '.join([*said, *untold])}", evidence)


def judge_batch(evidence: Mapping[str, Any]) -> Verdict:
    """Fail when any part fails, inconclusive when any part is, else pass: columns, classifier, scores, performance."""
    parts = judge_parts(evidence)
    outcomes = [verdict.outcome for verdict in parts.values()]
    outcome: Outcome = "fail" if "fail" in outcomes else "inconclusive" if "inconclusive" in outcomes else "pass"
    told = [verdict.reason for verdict in parts.values() if verdict.outcome == outcome]
    return Verdict(BATCH, outcome, "; ".join(told), evidence)


def judge_parts(evidence: Mapping[str, Any]) -> dict[str, Verdict]:
    """The verdict of each part that was measured, by name: columns, classifier, scores, estimated_performance."""
    parts = {"columns": judge_drift(evidence)}
    parts |= {name: judge(evidence[name]) for name, judge in PARTS.items() if evidence.get(name) is not None}
    return parts


PARTS: dict[str, Judge] = {
    "classifier": judge_classifier,
    "scores": judge_scores,
    "estimated_performance": judge_estimated_performance,
}
"""What a batch's evidence may hold beside its columns, and the rule for each."""

DECISIONS: dict[str, Judge] = {
    CLASSIFIER: judge_classifier,
    SCORES: judge_scores,
    PERFORMANCE: judge_estimated_performance,
    BATCH: judge_batch,
}


def _estimate(name: str, facts: Mapping[str, Any]) -> str:
    text = f"estimated {name} {facts['value']:.3f} ({facts['low']:.3f} to {facts['high']:.3f})"
    if facts["at_deploy"] is not None:
        text += f", {facts['at_deploy']:.3f} on the holdout"
    return f"{text}, limit {facts['limit']:.3f}"


def _judged_numbers(facts: Mapping[str, Any]) -> list[Any]:
    return [facts[name] for name in ("value", "low", "high", "limit")]


def _not_asked(evidence: Mapping[str, Any]) -> str:
    for side in ("reference", "current"):
        rows = evidence[f"rows_{side}"]
        if rows < evidence["min_rows"]:
            return f"{rows} {side} rows are fewer than {evidence['min_rows']}"
    return "no column can be weighed: none is the same on both sides, and neither constant nor an identifier"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


__all__ = ["BATCH", "CLASSIFIER", "COLUMNS", "DECISIONS", "PARTS", "PERFORMANCE", "SCORES", "judge_batch"]
