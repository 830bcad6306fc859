"""Data incidents: batches that keep every rule and still cannot be the world as it is. Pure functions, no imports of
engines: a verdict follows from its evidence.

*fail* means: keep the model, do not retrain on this batch, tell somebody. *inconclusive* means there is too little to
tell, which stops nothing. What is only drift is no incident: each limit asks for a move so large that a feed that
broke is the likelier reason, and for one that chance does not explain.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from millrace.core.verdict import Outcome, Verdict

LABELS = "validation.label_incident"
POPULATION = "validation.population_incident"
ROW_COUNT = "validation.row_count_incident"
STALE = "validation.stale_incident"
CLOCK = "validation.clock_incident"
UNITS = "validation.unit_incident"

_LEAST_SPREAD = 0.05
_DAY_S = 86_400.0
_LEAST_DAYS = 2.0


def judge_labels(evidence: Mapping[str, Any]) -> Verdict:
    """Fail when no label came, all labels are one, or a class's share moved further than labels do.

    One label only: unless the reference's share of it makes that likely. A move: the odds of a class changed by
    `odds` or more, and two samples of one share would differ so much with a probability below `chance` (Wald's test
    of the log odds ratio with Haldane's correction, divided among the classes).

    Parameters
    ----------
    evidence : mapping
        ``n``, ``missing`` (rows without a label), ``counts`` (label as text to rows), ``reference`` (the same of the
        reference, or None), ``min_samples``, ``odds``, ``chance``.
    """
    counts, reference, n = evidence["counts"], evidence["reference"], evidence["n"]
    missing = evidence.get("missing", 0)
    if n == 0 and missing >= evidence["min_samples"]:
        text = f"none of the {missing:,} rows has a label: the label feed looks broken"
        return _verdict(LABELS, "fail", text, evidence)
    if n < evidence["min_samples"]:
        return _verdict(LABELS, "inconclusive", f"{n} labels of the {evidence['min_samples']} needed", evidence)
    total = sum(reference.values()) if reference else 0
    if len(counts) == 1:
        (label,) = counts
        chance = (reference.get(label, 0) / total) ** n if total else 0.0
        if chance >= evidence["chance"]:
            text = f"all {n:,} labels are {label}, which happens by chance with probability {chance:.3g}"
            return _verdict(LABELS, "pass", text, evidence)
        was = f"; {reference.get(label, 0) / total:.1%} were" if total and reference else ""
        text = f"all {n:,} labels are {label}{was}: the label feed looks broken"
        return _verdict(LABELS, "fail", text, evidence)
    if total < evidence["min_samples"] or not reference:
        return _verdict(LABELS, "pass", f"{len(counts)} different labels among {n:,}", evidence)
    return _judge_shares(counts, reference, n, total, evidence)


def _judge_shares(
    counts: Mapping[str, int], reference: Mapping[str, int], n: int, total: int, evidence: Mapping[str, Any]
) -> Verdict:
    classes = sorted({*counts, *reference})
    moves = [(*_log_odds_ratio(counts.get(c, 0), n, reference.get(c, 0), total), c) for c in classes]
    limit = evidence["chance"] / len(classes)
    # A rare class moves far by chance alone: it must not stand before one that moved for sure.
    sure = [move for move in moves if move[1] < limit]
    ratio, p, label = max(sure or moves, key=lambda move: (round(abs(move[0]), 9), move[2]))
    share, was = counts.get(label, 0) / n, reference.get(label, 0) / total
    text = f"label {label} is {share:.1%} of {n:,} rows and was {was:.1%} of {total:,}"
    factor = math.exp(min(abs(ratio), 700.0))
    if factor >= evidence["odds"] and p < limit:
        seldom = f"once in {1 / evidence['chance']:,.0f} batches"
        text += f": the odds moved by a factor of {factor:.3g}, which the same feed shows {seldom}"
        return _verdict(LABELS, "fail", text, evidence)
    return _verdict(LABELS, "pass", text, evidence)


def judge_population(evidence: Mapping[str, Any]) -> Verdict:
    """Fail when many rows are of groups that the reference never held, groups with many of its rows are gone, or many
    rows moved from some groups to others.

    Were the mix the same, n rows would miss groups with a share s of it with a probability of (1 - s) to the n, and
    the total variation of the shares would exceed its expectation by t with one of exp(-2 t^2 nm/(n + m)) at most
    (McDiarmid).
    Fail, too, when the column itself is gone that was asked for, and the reference had it; inconclusive when it is one
    that nobody asked for, or one that the reference never had.

    Parameters
    ----------
    evidence : mapping
        ``column``, ``n``, ``reference_n``, ``unseen`` and ``vanished`` (group as text to its rows, here and in the
        reference), ``mix`` (``n``, ``reference_n``, ``distance``, ``by_chance``, ``moves``, or None),
        ``unseen_limit``, ``vanished_limit``, ``mix_limit``, ``min_samples``, ``chance``; where a side lacks the
        column, ``absent`` (``batch``, ``reference``), ``nearest`` and ``is_asked``.
    """
    n, total, column = evidence["n"], evidence["reference_n"], evidence["column"]
    if evidence.get("absent"):
        return _absent_population(evidence)
    if min(n, total) < evidence["min_samples"]:
        text = f"{column}: {n:,} rows against {total:,}, of the {evidence['min_samples']} needed"
        return _verdict(POPULATION, "inconclusive", text, evidence)
    unseen, vanished = sum(evidence["unseen"].values()) / n, sum(evidence["vanished"].values()) / total
    parts = []
    if unseen >= evidence["unseen_limit"] and (1 - unseen) ** total < evidence["chance"]:
        parts.append(f"{unseen:.1%} of the rows are of groups the reference never held ({_names(evidence['unseen'])})")
    if vanished >= evidence["vanished_limit"] and (1 - vanished) ** n < evidence["chance"]:
        names = _names(evidence["vanished"])
        parts.append(f"groups that were {vanished:.1%} of the reference are gone ({names})")
    mix = evidence.get("mix")
    if not parts and mix and _is_another_mix(mix, evidence):
        moves = ", ".join(f"{name} {was:.1%} to {now:.1%}" for name, (was, now) in mix["moves"].items())
        parts.append(f"{mix['distance']:.1%} of the rows moved between groups ({moves})")
    if parts:
        return _verdict(POPULATION, "fail", f"{column}: {'; '.join(parts)}: another population", evidence)
    text = f"{column}: {unseen:.1%} of the rows are of new groups, {vanished:.1%} of the reference's are gone"
    text += f", {mix['distance']:.1%} moved between groups" if mix else ""
    return _verdict(POPULATION, "pass", text, evidence)


def _is_another_mix(mix: Mapping[str, Any], evidence: Mapping[str, Any]) -> bool:
    n, total = mix["n"], mix["reference_n"]
    if mix["distance"] < evidence["mix_limit"] or min(n, total) < evidence["min_samples"]:
        return False
    beyond = max(0.0, mix["distance"] - mix["by_chance"])
    return bool(math.exp(-2 * beyond**2 * n * total / (n + total)) < evidence["chance"])


def _absent_population(evidence: Mapping[str, Any]) -> Verdict:
    column, absent = evidence["column"], evidence["absent"]
    hint = f"; did you mean '{evidence['nearest']}'?" if evidence.get("nearest") else ""
    if absent == ["reference"]:
        text = f"{column}: the reference has no such column, so its groups have nothing to be compared with"
        return _verdict(POPULATION, "inconclusive", text, evidence)
    if len(absent) > 1:
        text = f"{column}: neither the batch nor the reference has such a column{hint}"
        return _verdict(POPULATION, "inconclusive", text, evidence)
    groups = f" and its groups ({_names(evidence['vanished'])})" if evidence["vanished"] else ""
    text = f"{column}: the column{groups} {'are' if groups else 'is'} gone from the batch{hint}"
    return _verdict(POPULATION, "fail" if evidence["is_asked"] else "inconclusive", text, evidence)


def judge_row_count(evidence: Mapping[str, Any]) -> Verdict:
    """Fail when nothing came, or the rows fell or rose by `factor` or more, and far beyond how they moved so far.

    The step from the last batch is measured against the median of the earlier steps, on the log scale, in robust
    standard deviations (median absolute deviation times 1.4826, at least 0.05); the limit is 8 (1 + 8 / batches).
    By simulation, with 8 or more earlier batches: at most 1 false alarm in 1,000 batches when counts scatter
    log-normally, 1 in 400 with the tails of Student's t with 4 degrees of freedom.

    Parameters
    ----------
    evidence : mapping
        ``rows``; ``history``, rows of earlier batches, oldest first; ``min_history``; ``factor``.
    """
    rows, history = evidence["rows"], [count for count in evidence["history"] if count > 0]
    if rows == 0:
        after = f" after {history[-1]:,}" if history else ""
        return _verdict(ROW_COUNT, "fail", f"0 rows{after}: nothing came", evidence)
    if len(history) < evidence["min_history"]:
        text = f"{len(history)} earlier batches of the {evidence['min_history']} needed"
        return _verdict(ROW_COUNT, "inconclusive", text, evidence)
    last = history[-1]
    text = f"{rows:,} rows after {last:,}"
    logs = [math.log(count) for count in history]
    steps = [after - before for before, after in pairwise(logs)]
    from statistics import median  # which loads hashes and random numbers

    usual = median(steps)
    spread = max(1.4826 * median([abs(step - usual) for step in steps]), _LEAST_SPREAD)
    step = math.log(rows) - logs[-1]
    limit = 8 * (1 + 8 / len(history))
    if abs(step) >= math.log(evidence["factor"]) and abs(step - usual) > limit * spread:
        word = "fell" if step < 0 else "rose"
        text += f": it {word} {math.exp(abs(step)):.3g}-fold, {abs(step - usual) / spread:.0f} times its usual scatter"
        return _verdict(ROW_COUNT, "fail", text, evidence)
    return _verdict(ROW_COUNT, "pass", text, evidence)


def judge_stale(evidence: Mapping[str, Any]) -> Verdict:
    """Fail when the newest event is older than the source's own habit, or the age that was allowed.

    The habit: three times the longest lag of earlier batches, and no less than twice the longest gap between events of
    this batch. If lags come in no order, the next one of k + 1 is the longest with a chance of 1 / (k + 1), and three
    times the longest much more seldom.

    Parameters
    ----------
    evidence : mapping
        ``newest`` and ``as_of`` (ISO 8601), ``lag_s``, ``lags_s`` of earlier batches, ``longest_gap_s``,
        ``max_age_s`` or None, ``min_history``.
    """
    lag, allowed = evidence["lag_s"], evidence["max_age_s"]
    if lag is None:
        return _verdict(STALE, "inconclusive", "no row has an event time", evidence)
    text = f"the newest event is of {evidence['newest'][:16]}, {_span(lag)} before {evidence['as_of'][:16]}"
    if allowed is None:
        lags = evidence["lags_s"]
        if len(lags) < evidence["min_history"]:
            known = f"{len(lags)} earlier batches of the {evidence['min_history']} needed, and no max_age"
            return _verdict(STALE, "inconclusive", f"{text}; {known}", evidence)
        allowed = max(3 * max(lags), 2 * (evidence["longest_gap_s"] or 0.0))
        text += f"; by its habit at most {_span(allowed)}"
    else:
        text += f"; at most {_span(allowed)} is allowed"
    return _verdict(STALE, "fail" if lag > allowed else "pass", text, evidence)


def judge_clock(evidence: Mapping[str, Any]) -> Verdict:
    """Fail when the events' hours of the day are the reference's, moved by two hours or more: a time zone was mixed up.

    The total variation between both shares of hours falls by `gain` or more once the batch is moved back, to at most
    `fit` beyond what chance makes of two samples. One hour is daylight saving and no incident. Were the hours the
    same, they would be so far apart unmoved with a probability below `chance` (source: Bretagnolle and Huber's
    inequality for multinomial shares, as in Weissman et al., 2003).

    Parameters
    ----------
    evidence : mapping
        ``column``; ``hours`` and ``reference_hours``, 24 numbers of rows, UTC; ``days`` and ``reference_days``, spans;
        ``gain``, ``fit``, ``chance``, ``min_samples``.
    """
    column, n, total = evidence["column"], sum(evidence["hours"]), sum(evidence["reference_hours"])
    days = min(evidence["days"], evidence["reference_days"])
    if min(n, total) < evidence["min_samples"] or days < _LEAST_DAYS:
        text = f"{column}: {n:,} events over {evidence['days']:.3g} days against {total:,}: too few to tell the hours"
        return _verdict(CLOCK, "inconclusive", text, evidence)
    now = [count / n for count in evidence["hours"]]
    before = [count / total for count in evidence["reference_hours"]]
    apart = [sum(abs(now[(h + lag) % 24] - before[h]) for h in range(24)) / 2 for lag in range(24)]
    lag = min(range(24), key=lambda hours: (apart[hours], hours))
    shift = lag if lag <= 12 else lag - 24
    by_chance = _apart_by_chance(n, evidence["chance"]) + _apart_by_chance(total, evidence["chance"])
    is_moved = abs(shift) >= 2 and apart[0] - apart[lag] >= evidence["gain"]
    if is_moved and apart[0] > by_chance and apart[lag] <= evidence["fit"] + by_chance:
        text = f"{column}: the hours of the day are the reference's moved by {shift:+d} h ({apart[0]:.0%} of the events"
        return _verdict(CLOCK, "fail", f"{text} stand elsewhere, {apart[lag]:.0%} once moved back)", evidence)
    return _verdict(CLOCK, "pass", f"{column}: {apart[0]:.0%} of the events stand in other hours of the day", evidence)


def judge_units(evidence: Mapping[str, Any]) -> Verdict:
    """Fail when the values are the reference's times one factor of `units` or more, or its inverse: cents for euros.

    The Kolmogorov-Smirnov distance falls, once the batch is divided by the factor, to at most `fit` beyond what
    chance makes of two samples of one law (at its 5 % point). Were the law the same, the distance would be as large
    undivided with a probability below `chance` (the Dvoretzky-Kiefer-Wolfowitz inequality on either side).

    Parameters
    ----------
    evidence : mapping
        ``column``; ``n`` and ``reference_n``, values that are neither missing, infinite nor 0; ``factor``, that of the
        medians of their sizes; ``apart`` and ``apart_divided``, distances; ``units``, ``fit``, ``chance``,
        ``min_samples``.
    """
    column, n, total = evidence["column"], evidence["n"], evidence["reference_n"]
    if min(n, total) < evidence["min_samples"]:
        text = f"{column}: {n:,} numbers against {total:,}, of the {evidence['min_samples']} needed"
        return _verdict(UNITS, "inconclusive", text, evidence)
    factor, apart, divided = evidence["factor"], evidence["apart"], evidence["apart_divided"]
    by_chance = sum(math.sqrt(math.log(4 / evidence["chance"]) / (2 * rows)) for rows in (n, total))
    fit = evidence["fit"] + 1.36 * math.sqrt(1 / n + 1 / total)
    if max(factor, 1 / factor) >= evidence["units"] and apart > by_chance and divided <= min(fit, apart / 2):
        text = f"{column}: the numbers are the reference's times {factor:.3g} (distance {apart:.3f}, {divided:.3f} once"
        return _verdict(UNITS, "fail", f"{text} divided): a unit was changed", evidence)
    text = f"{column}: the median number is {factor:.3g} times the reference's"
    return _verdict(UNITS, "pass", text, evidence)


def explain_incidents(verdicts: Sequence[Verdict]) -> str:
    """The failed ones in one line."""
    return "data incident: " + "; ".join(verdict.reason for verdict in verdicts if verdict.is_fail)


def _apart_by_chance(n: int, chance: float) -> float:
    """Total variation of n draws over 24 hours from their law that is exceeded with half of `chance` at most."""
    return math.sqrt((24 * math.log(2) + math.log(2 / chance)) / (2 * n))


def _log_odds_ratio(count: int, n: int, reference: int, total: int) -> tuple[float, float]:
    cells = [count + 0.5, n - count + 0.5, reference + 0.5, total - reference + 0.5]
    ratio = math.log(cells[0] * cells[3] / (cells[1] * cells[2]))
    z = abs(ratio) / math.sqrt(sum(1 / cell for cell in cells))
    return ratio, math.erfc(z / math.sqrt(2))


def _names(groups: Mapping[str, int]) -> str:
    ordered = sorted(groups, key=lambda name: (-groups[name], name))
    return ", ".join(ordered[:5]) + (f", and {len(ordered) - 5} more" if len(ordered) > 5 else "")


def _span(seconds: float) -> str:
    if abs(seconds) < 3600:
        return f"{seconds / 60:.3g} min"
    return f"{seconds / 3600:.3g} h" if abs(seconds) < 2 * _DAY_S else f"{seconds / _DAY_S:.3g} days"


def _verdict(rule: str, outcome: Outcome, reason: str, evidence: Mapping[str, Any]) -> Verdict:
    return Verdict(rule, outcome, reason, dict(evidence))


INCIDENTS: dict[str, Callable[[Mapping[str, Any]], Verdict]] = {
    LABELS: judge_labels,
    POPULATION: judge_population,
    ROW_COUNT: judge_row_count,
    STALE: judge_stale,
    CLOCK: judge_clock,
    UNITS: judge_units,
}
