"""The rules that say when to retrain: pure functions of evidence.

A verdict here judges the model's health: *pass* means healthy, *fail* means retrain (the trigger fires), and
*inconclusive* means there is not enough to tell, which never fires.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from millrace.core.clock import from_micros, from_text, to_text
from millrace.core.verdict import Outcome, Verdict

DEGRADATION = "monitor.degradation"
DRIFT = "monitor.drift"
SCHEDULE = "monitor.schedule"
MANUAL = "monitor.manual"
LABEL_INCIDENT = "monitor.label_incident"

CHANCE_LIMIT = 0.001  # how unlikely one-sided labels must be before they are an incident


def judge_degradation(evidence: Mapping[str, Any]) -> Verdict:
    """Fail when the metric's point estimate is beyond `limit`; inconclusive below `min_samples`.

    The point estimate decides, so that a fall is answered early; `interval_excludes_limit` says whether chance alone
    could explain it.
    """
    metric, n, value, limit = (evidence[name] for name in ("metric", "n", "value", "limit"))
    if n < evidence["min_samples"]:
        text = f"{n} labelled predictions of the {evidence['min_samples']} that {metric} needs"
        return Verdict(DEGRADATION, "inconclusive", text, evidence)
    if value is None or limit is None:
        missing = f"{metric} is not defined on this window" if value is None else f"{metric} has no limit to meet"
        return Verdict(DEGRADATION, "inconclusive", missing, evidence)
    is_higher_better = evidence["higher_is_better"]
    is_beyond = value < limit if is_higher_better else value > limit
    side = "below" if is_higher_better else "above"
    text = f"{metric} {value:.4g} over {n} labels is {side if is_beyond else f'not {side}'} {limit:.4g}"
    if evidence["deploy_score"] is not None:
        text += f" (at deploy {evidence['deploy_score']:.4g})"
    if is_beyond and evidence["interval_excludes_limit"] is not None:
        low, high = evidence["interval"]
        sure = "leaves it out" if evidence["interval_excludes_limit"] else "still holds it"
        text += f"; the 95 % interval {low:.4g} to {high:.4g} {sure}"
    return Verdict(DEGRADATION, "fail" if is_beyond else "pass", text, evidence)


def judge_drift_trigger(evidence: Mapping[str, Any]) -> Verdict:
    """Fail when enough of the watched columns drifted, or a signal that was asked for did; inconclusive when too few
    could be compared.

    Enough is `min_columns` of them, or, where `min_share` stands, so large a share of what the model relies on: of
    `importances` when they are known, else of the columns.
    """
    outcome, text = _judge_share(evidence) if evidence.get("min_share") is not None else _judge_count(evidence)
    outcomes, told = [outcome], [text]
    for name, of_signal in (evidence.get("signals") or {}).items():
        outcomes.append(of_signal["outcome"])
        if of_signal["outcome"] != "pass":
            told.append(f"{name.replace('_', ' ')}: {of_signal['reason']}")
    combined: Outcome = "fail" if "fail" in outcomes else "inconclusive" if "inconclusive" in outcomes else "pass"
    return Verdict(DRIFT, combined, "; ".join(told), evidence)


def _judge_count(evidence: Mapping[str, Any]) -> tuple[Outcome, str]:
    outcomes = evidence["columns"]
    drifted, unknown = _split(outcomes)
    wanted = evidence["min_columns"]
    if len(drifted) >= wanted:
        return "fail", f"{len(drifted)} of {len(outcomes)} columns drifted: {', '.join(drifted)}"
    if not outcomes or len(drifted) + len(unknown) >= wanted:
        names = ", ".join(unknown) or "no column"
        return "inconclusive", f"{len(drifted)} columns drifted; not comparable: {names}"
    return "pass", f"{len(drifted)} of {len(outcomes)} columns drifted, fewer than {wanted}"


def _judge_share(evidence: Mapping[str, Any]) -> tuple[Outcome, str]:
    outcomes, wanted, importances = evidence["columns"], evidence["min_share"], evidence.get("importances")
    drifted, unknown = _split(outcomes)
    weights = {name: 1.0 if importances is None else importances.get(name, 0.0) for name in outcomes}
    total = sum(weights.values())
    of_what = "the columns" if importances is None else "what the model relies on"
    if not total > 0:
        return "inconclusive", f"no watched column has a share of {of_what}"
    share = sum(weights[name] for name in drifted) / total
    in_doubt = sum(weights[name] for name in unknown) / total
    if share >= wanted:
        return "fail", f"{share:.0%} of {of_what} drifted, {wanted:.0%} is the limit: {', '.join(drifted)}"
    if share + in_doubt >= wanted:
        return "inconclusive", f"{share:.0%} of {of_what} drifted; not comparable: {', '.join(unknown)}"
    return "pass", f"{share:.0%} of {of_what} drifted, less than {wanted:.0%}"


def _split(outcomes: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """(columns that drifted, columns nothing is known of)."""
    drifted = sorted(name for name, outcome in outcomes.items() if outcome == "drift")
    return drifted, sorted(name for name, outcome in outcomes.items() if outcome not in ("drift", "ok"))


def judge_schedule(evidence: Mapping[str, Any]) -> Verdict:
    """Fail when the interval since the last training is over; a model never trained is due."""
    last, now = evidence["last_at"], evidence["now"]
    if last is None:
        return Verdict(SCHEDULE, "fail", "the model was never trained", evidence)
    due = from_text(last) + timedelta(seconds=evidence["interval_s"])
    is_due = from_text(now) >= due
    text = f"last trained on data up to {last[:16]}, {'was' if is_due else 'not'} due {to_text(due)[:16]}"
    return Verdict(SCHEDULE, "fail" if is_due else "pass", text, evidence)


def judge_manual(evidence: Mapping[str, Any]) -> Verdict:
    """Fail: a person asked for a retrain."""
    return Verdict(MANUAL, "fail", f"asked for by {evidence['requested_by']}: {evidence['reason']}", evidence)


def judge_label_incident(evidence: Mapping[str, Any]) -> Verdict:
    """Fail when every label of a window is the same: a broken feed, not a model to retrain.

    With `reference_share`, the usual share of that label, an incident also needs that chance is not an explanation:
    99 negatives in a row are normal where one case in a thousand is positive.
    """
    n, distinct, chance = evidence["n"], evidence["distinct"], evidence["chance"]
    if n < evidence["min_samples"]:
        text = f"{n} labels of the {evidence['min_samples']} needed"
        return Verdict(LABEL_INCIDENT, "inconclusive", text, evidence)
    if distinct != 1:
        return Verdict(LABEL_INCIDENT, "pass", f"{distinct} different labels among {n}", evidence)
    if chance is not None and chance >= evidence["chance_limit"]:
        text = f"all {n} labels are {evidence['label']}, which happens by chance with probability {chance:.3g}"
        return Verdict(LABEL_INCIDENT, "pass", text, evidence)
    text = f"all {n} labels of the window are {evidence['label']}: the label feed looks broken"
    return Verdict(LABEL_INCIDENT, "fail", text, evidence)


def drift_evidence(
    columns: Mapping[str, str],
    *,
    watched: Iterable[str] | None,
    min_columns: int,
    min_share: float | None = None,
    importances: Mapping[str, float] | None = None,
    signals: Mapping[str, Verdict] | None = None,
) -> dict[str, Any]:
    """Evidence for `judge_drift_trigger` from a report's outcome per column (ok, drift, insufficient, error).

    A watched column that the report lacks counts as ``missing``: it is never taken to be well.

    Parameters
    ----------
    min_share : float, optional
        Takes the place of `min_columns`.
    importances : mapping of str to float, optional
        How much the model relies on each column.
    signals : mapping of str to Verdict, optional
        What fires too: verdicts on the model's scores, its estimated performance, or a classifier.
    """
    names = list(columns) if watched is None else list(watched)
    evidence: dict[str, Any] = {
        "columns": {name: columns.get(name, "missing") for name in names},
        "min_columns": min_columns,
    }
    if min_share is not None:
        known = None if importances is None else {name: importances.get(name, 0.0) for name in names}
        evidence |= {"min_share": min_share, "importances": known}
    if signals:
        evidence["signals"] = {name: {"outcome": v.outcome, "reason": v.reason} for name, v in signals.items()}
    return evidence


def drift_headline(model: str, drifted: Iterable[str]) -> str:
    """What an alert is called when drift fired: by its columns, or by none, when only a signal moved.

    >>> drift_headline("churn", ["price"]), drift_headline("churn", [])
    ("inputs of 'churn' drifted: price", "'churn' meets other data than it learned from")
    """
    names = ", ".join(drifted)
    return f"inputs of '{model}' drifted: {names}" if names else f"'{model}' meets other data than it learned from"


def schedule_evidence(*, interval: timedelta, last_at: str | None, now: str) -> dict[str, Any]:
    """Evidence for `judge_schedule`. `last_at` is when the current model's training data ended, or it was trained."""
    return {"interval_s": interval.total_seconds(), "last_at": last_at, "now": now}


def schedule_slot(evidence: Mapping[str, Any]) -> str:
    """The time at which the newest slot of a schedule was due: part of its trigger key, so a slot fires once."""
    now, interval = from_text(evidence["now"]), timedelta(seconds=evidence["interval_s"])
    if evidence["last_at"] is None:
        epoch = from_micros(0)
        return to_text(epoch + interval * ((now - epoch) // interval))
    began = from_text(evidence["last_at"])
    return to_text(began + interval * max((now - began) // interval, 1))
