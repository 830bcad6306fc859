"""Every gate is evaluated, whatever the others say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from millrace.core.ids import canonical_json
from millrace.core.verdict import Verdict
from millrace.gates.context import Gate, GateContext


def evaluate_all(gates: Iterable[Gate], context: GateContext) -> list[Verdict]:
    """One verdict per gate, in order; a gate that raises is a refusal that says why, never a pass."""
    return [evaluate(gate, context) for gate in gates]


def evaluate(gate: Gate, context: GateContext) -> Verdict:
    """The verdict of one gate."""
    try:
        evidence = gate.measure(context)
        verdict = gate.judge(evidence)
        canonical_json(verdict.to_dict())  # what cannot be recorded could not be replayed
    except Exception as error:  # noqa: BLE001  # the user's model runs in here: whatever breaks is a refusal
        return refusal(gate, error)
    return verdict


def refusal(gate: Gate, error: Exception) -> Verdict:
    """The failing verdict of a gate that raised; its judge gives the same from the evidence."""
    what = getattr(error, "what", None) or f"{type(error).__name__}: {error}"
    evidence = {"error": what, "error_code": getattr(error, "code", None)}
    name = getattr(gate, "name", type(gate).__name__)
    reason = f"the gate could not be evaluated: {what}"
    return Verdict(f"gate.{name}", "fail", reason, evidence)


def blocks(verdict: Verdict, evidence: Mapping[str, Any] | None = None) -> bool:
    """True if the verdict keeps the model out: always on fail, on inconclusive when the gate holds then.

    `evidence` is the verdict's own if not given. An inconclusive verdict that does not say `when_inconclusive` blocks.
    """
    if verdict.outcome == "inconclusive":
        facts = verdict.evidence if evidence is None else evidence
        return bool(facts.get("when_inconclusive", "hold") == "hold")
    return verdict.outcome == "fail"
