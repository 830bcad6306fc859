"""From the recorded statistics to outcomes: a pure function, standard library only, so that it can be replayed.

A column drifted when one of its tests is significant after the correction over all tests of the batch and its effect
reaches the limit that the evidence names. What could not be tested is never ok.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from millrace.core.verdict import Outcome, Verdict

RULE = "drift.columns"
ColumnOutcome = Literal["ok", "drift", "insufficient", "error"]
Severity = Literal["minor", "major"]
_VALUE_TESTS = ("ks", "chi2", "permutation")
# Which limit of the evidence an effect is held against: the distribution's or that for a share of rows.
_LIMITS = dict.fromkeys(_VALUE_TESTS, "effect") | dict.fromkeys(
    ("nulls", "infinite", "unseen", "constant"), "rate_effect"
)
_MAJOR_PSI = 0.25  # the credit scorers' own limit for "act"


_RECOGNISED = (
    "every value is different, as in an identifier, which has no distribution: declare it an identifier or leave it out"
)


@dataclass(frozen=True, slots=True)
class ColumnDrift:
    """What is said of one column, and why.

    `statistic`, `p_value`, `q_value` and `effect` are those of the test of its values (KS or chi-square), None when
    none was made; `tests` holds all tests with their q-values. Rows are counted without nulls. `severity` is said of
    drift alone. `effects` are the sizes of the move that were measured (`d` or `total_variation`, `psi`, `js`,
    `wasserstein` in standard deviations of the reference) beside what chance alone would show; `moves` the tenths of
    the reference, or the levels, whose share moved most.
    """

    name: str
    kind: str | None
    outcome: ColumnOutcome
    reason: str
    n_reference: int
    n_current: int
    null_rate_reference: float | None
    null_rate_current: float | None
    tests: tuple[Mapping[str, Any], ...] = ()
    severity: Severity | None = None
    effects: Mapping[str, float | None] = field(default_factory=dict)
    moves: tuple[Mapping[str, Any], ...] = ()

    @property
    def is_recognised(self) -> bool:
        """Whether it was recognised as an identifier: its type and nulls hold, its values are not tested."""
        return self.outcome == "insufficient" and self.reason == _RECOGNISED

    @property
    def test(self) -> str | None:
        return next((test["test"] for test in self.tests if test["test"] in _VALUE_TESTS), None)

    @property
    def statistic(self) -> float | None:
        return self._of_values("statistic")

    @property
    def p_value(self) -> float | None:
        return self._of_values("p_value")

    @property
    def q_value(self) -> float | None:
        return self._of_values("q_value")

    @property
    def effect(self) -> float | None:
        return self._of_values("effect")

    def _of_values(self, field: str) -> float | None:
        found: float | None = next((test[field] for test in self.tests if test["test"] in _VALUE_TESTS), None)
        return found

    def to_dict(self) -> dict[str, Any]:
        plain = (
            "name kind outcome severity reason test statistic p_value q_value effect n_reference n_current "
            "null_rate_reference null_rate_current"
        )
        return {name: getattr(self, name) for name in plain.split()} | {
            "tests": [dict(test) for test in self.tests],
            "effects": dict(self.effects),
            "moves": [dict(move) for move in self.moves],
        }


def judge_columns(evidence: Mapping[str, Any]) -> list[ColumnDrift]:
    """The outcome of every column, recomputed from the recorded statistics, in the evidence's order."""
    corrected = _with_q_values(evidence["columns"], CORRECTIONS[evidence.get("correction", "bh")])
    return [_judge_column(facts, tests, evidence) for facts, tests in zip(evidence["columns"], corrected, strict=True)]


def judge_drift(evidence: Mapping[str, Any]) -> Verdict:
    """Fail if a column drifted or is broken; inconclusive if some could not be tested; else pass."""
    columns = judge_columns(evidence)
    names = {
        outcome: [column.name for column in columns if column.outcome == outcome]
        for outcome in ("drift", "error", "insufficient", "ok")
    }
    outcome: Outcome = "pass"
    if names["drift"] or names["error"]:
        outcome = "fail"
    elif names["insufficient"] or not columns:
        outcome = "inconclusive"
    return Verdict(RULE, outcome, _sentence(names, len(columns)), evidence)


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values: the smallest false-discovery rate at which each would be called significant.

    >>> [round(q, 3) for q in benjamini_hochberg([0.01, 0.04, 0.03, 0.5])]
    [0.04, 0.053, 0.053, 0.5]
    """
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted = [0.0] * len(p_values)
    smallest = 1.0
    for rank in range(len(order), 0, -1):
        place = order[rank - 1]
        smallest = min(smallest, p_values[place] * len(order) / rank)
        adjusted[place] = smallest
    return adjusted


def bonferroni(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values: the smallest chance of any false call at which each would be called significant.

    >>> bonferroni([0.01, 0.4])
    [0.02, 0.8]
    """
    return [min(1.0, p_value * len(p_values)) for p_value in p_values]


def false_alarm_chance(evidence: Mapping[str, Any]) -> float:
    """The chance, at most, that a batch like this one is flagged though nothing drifted.

    min(q, sum over all tests of the chance that its effect reaches the limit). The first holds because both
    corrections keep the chance of any false call at q when all tests are independent, or positively dependent; the
    second because a flag needs the effect too, and with many rows chance alone does not bring it about.
    """
    chances = [test.get("chance", 1.0) for facts in evidence["columns"] for test in facts["tests"]]
    chances += [facts.get("constant_chance", 0.0) for facts in evidence["columns"]]
    return float(min(evidence["q"], sum(chances)))


def expected_false_alarms(
    batches: int, columns: int, *, rows_reference: int, rows_current: int, effect: float = 0.05, q: float = 0.05
) -> float:
    """How many of `batches` batches are flagged at most though nothing drifted, for planning a schedule.

    batches x min(q, columns x 2.17 exp(-2 effect^2 nm/(n + m))), for n and m rows a side: `false_alarm_chance` of
    columns without nulls.

    >>> round(expected_false_alarms(30, 20, rows_reference=1_000, rows_current=1_000), 2)
    1.5
    >>> expected_false_alarms(30, 20, rows_reference=10_000, rows_current=10_000) < 1e-6
    True
    """
    weight = rows_reference * rows_current / (rows_reference + rows_current) if rows_reference and rows_current else 0.0
    return batches * min(q, columns * min(1.0, 2.17 * math.exp(-2 * effect**2 * weight)))


CORRECTIONS: dict[str, Callable[[Sequence[float]], list[float]]] = {
    "bh": benjamini_hochberg,
    "bonferroni": bonferroni,
}
DECISIONS: dict[str, Callable[[Mapping[str, Any]], Verdict]] = {RULE: judge_drift}


def _with_q_values(
    columns: Sequence[Mapping[str, Any]], correct: Callable[[Sequence[float]], list[float]]
) -> list[list[dict[str, Any]]]:
    tests = [[dict(test) for test in facts["tests"]] for facts in columns]
    family = [test for of_column in tests for test in of_column if _is_number(test["p_value"])]
    for test, q_value in zip(family, correct([t["p_value"] for t in family]), strict=True):
        test["q_value"] = q_value
    for of_column in tests:
        for test in of_column:
            test.setdefault("q_value", None)
    return tests


def _judge_column(facts: Mapping[str, Any], tests: list[dict[str, Any]], evidence: Mapping[str, Any]) -> ColumnDrift:
    outcome, reason = _broken(facts, tests) or _too_small(evidence) or _decided(facts, tests, evidence)
    n, m = facts["n_reference"], facts["n_current"]
    return ColumnDrift(
        name=facts["name"],
        kind=facts["kind"],
        outcome=outcome,
        reason=reason,
        n_reference=n,
        n_current=m,
        null_rate_reference=_rate(facts["nulls_reference"], n + facts["nulls_reference"]),
        null_rate_current=_rate(facts["nulls_current"], m + facts["nulls_current"]),
        tests=tuple(tests),
        severity=_severity(facts, tests, evidence) if outcome == "drift" else None,
        effects=facts.get("effects", {}),
        moves=tuple(facts.get("moves", ())),
    )


def _broken(facts: Mapping[str, Any], tests: Sequence[Mapping[str, Any]]) -> tuple[ColumnOutcome, str] | None:
    for side in ("reference", "current"):
        if facts[f"type_{side}"] is None:
            hint = f"; {facts['hint']}" if facts.get("hint") else ""
            return "error", f"the column is missing from the {side} data{hint}"
    if facts["type_changed"]:
        declared = f" (declared {facts['declared']})" if facts["declared"] else ""
        return "error", f"its type was {facts['type_reference']} and is {facts['type_current']}{declared}"
    if facts["error"] is not None:
        return "error", f"it could not be tested: {facts['error']}"
    for test in tests:
        if not (_is_number(test["p_value"]) and _is_number(test["effect"])):
            return "error", f"the {test['test']} test gave no number"
    return None


def _too_small(evidence: Mapping[str, Any]) -> tuple[ColumnOutcome, str] | None:
    for side in ("reference", "current"):
        rows = evidence[f"rows_{side}"]
        if rows == 0:
            return "insufficient", f"the {side} data is empty"
        if rows < evidence["min_rows"]:
            return "insufficient", f"{rows} {side} rows are fewer than {evidence['min_rows']}"
    return None


def _decided(
    facts: Mapping[str, Any], tests: Sequence[Mapping[str, Any]], evidence: Mapping[str, Any]
) -> tuple[ColumnOutcome, str]:
    findings = [_finding(facts, test, evidence) for test in _flagged(tests, evidence)]
    if facts["infinite_current"] and not facts["infinite_reference"]:
        findings.append(f"{facts['infinite_current']} values are infinite, none was in the reference")
    if findings:
        return "drift", "; ".join(findings)
    for side in ("reference", "current"):
        present = facts[f"n_{side}"]
        if present == 0:
            return "insufficient", f"every value of the {side} data is null"
        if present < evidence["min_rows"]:
            return "insufficient", f"{present} {side} values are fewer than {evidence['min_rows']}"
    if facts.get("is_moving"):
        return "ok", "its type and nulls hold; its values always move, and are not compared"
    if facts["kind"] == "identifier" and facts["declared"]:
        return "ok", "declared an identifier: its type and nulls hold, its values are not compared"
    if facts["kind"] == "identifier":
        return "insufficient", _RECOGNISED
    return _undrifted(facts, tests, evidence)


def _undrifted(
    facts: Mapping[str, Any], tests: Sequence[Mapping[str, Any]], evidence: Mapping[str, Any]
) -> tuple[ColumnOutcome, str]:
    of_values = next((test for test in tests if test["test"] in _VALUE_TESTS), None)
    if facts.get("untested"):
        return "insufficient", facts["untested"]
    if of_values is None:
        return "insufficient", f"values of type {facts['type_current']} have no test"
    if of_values["q_value"] <= evidence["q"]:
        return "ok", f"the difference is real but small: {_measured(of_values)}"
    return "ok", f"no difference beyond chance: {_measured(of_values)}"


def _flagged(tests: Sequence[Mapping[str, Any]], evidence: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The tests that are both significant and of an effect that counts."""
    return [
        test for test in tests if test["q_value"] <= evidence["q"] and test["effect"] >= evidence[_LIMITS[test["test"]]]
    ]


def _severity(facts: Mapping[str, Any], tests: Sequence[Mapping[str, Any]], evidence: Mapping[str, Any]) -> Severity:
    """Major by a flagged effect beyond the larger limit, by a stability index of 0.25, or by infinities never seen."""
    flagged = _flagged(tests, evidence)
    if not flagged:  # so it was the infinities
        return "major"
    limits = {name: evidence.get(f"major_{name}", 2 * evidence[name]) for name in ("effect", "rate_effect")}
    if any(test["effect"] >= limits[_LIMITS[test["test"]]] for test in flagged):
        return "major"
    if facts["infinite_current"] and not facts["infinite_reference"]:
        return "major"
    effects = facts.get("effects", {})
    beyond = effects.get("psi", 0.0) - effects.get("psi_by_chance", 0.0)
    return "major" if beyond >= _MAJOR_PSI and any(test["test"] in _VALUE_TESTS for test in flagged) else "minor"


def _finding(facts: Mapping[str, Any], test: Mapping[str, Any], evidence: Mapping[str, Any]) -> str:
    if test["test"] == "nulls":
        n, m = facts["n_reference"], facts["n_current"]
        before = facts["nulls_reference"] / (n + facts["nulls_reference"])
        after = facts["nulls_current"] / (m + facts["nulls_current"])
        return f"nulls went from {before:.1%} to {after:.1%}"
    if test["test"] == "infinite":
        before, after = (facts[f"infinite_{side}"] / facts[f"n_{side}"] for side in ("reference", "current"))
        return f"infinite values went from {before:.1%} to {after:.1%}"
    if test["test"] == "unseen":
        return f"{test['statistic']:.1%} of the rows carry levels the reference never saw"
    if test["test"] == "constant":
        return f"all values are one; {test['statistic']:.1%} of the reference's were others"
    limit = evidence["effect"]
    if facts.get("constant_reference") and facts.get("constant_current"):
        return f"a constant became another constant: {_measured(test)}, limit {limit:g}"
    return f"the distribution moved: {_measured(test)}, limit {limit:g}"


def _measured(test: Mapping[str, Any]) -> str:
    name = "KS distance" if test["test"] == "ks" else "total variation beyond chance"
    return f"{name} {test['effect']:.3f}, q {shown(test['q_value'])}"


def shown(p_value: float) -> str:
    """A p-value for a person; one that no longer fits a float is small, not zero."""
    return f"{p_value:.2g}" if p_value > 1e-300 else "below 1e-300"


def _sentence(names: Mapping[str, list[str]], total: int) -> str:
    said = [
        f"{phrase}: {', '.join(names[outcome])}"
        for outcome, phrase in (("drift", "drifted"), ("error", "broken"), ("insufficient", "not testable"))
        if names[outcome]
    ]
    if not total:
        return "there is no column to compare"
    return f"{len(names['ok'])} of {total} columns are ok" + (f"; {'; '.join(said)}" if said else "")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def _rate(part: int, whole: int) -> float | None:
    return part / whole if whole else None
