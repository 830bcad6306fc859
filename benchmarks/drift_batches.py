"""Drift of whole batches by simulation: the second half of the tables of docs/drift.md.

    python -m benchmarks.drift_batches [--runs-scale 0.1] [correlation] [digits] [performance]

Every draw is seeded, so the tables are the same each time. `digits` follows Rabanser, Guennemann and Lipton ("Failing
Loudly", NeurIPS 2019) on the digits that come with scikit-learn: a third of the images trains a model, a third is the
reference, and batches with a known shift are drawn from the last third.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.drift_rates import share_text
from millrace.drift.batch_decisions import judge_classifier, judge_scores
from millrace.drift.compare import compare
from millrace.drift.estimated_performance import estimate_performance
from millrace.drift.multivariate import tell_apart
from millrace.drift.scores import compare_scores

Images = Any
METHODS = ("columns", "classifier", "scores", "all together")
SHIFTS = (
    "none",
    "class 0 gone",
    "half of class 0 gone",
    *(f"noise sd {sd:g}, {share:.0%}" for sd in (0.5, 2, 5) for share in (0.1, 0.5, 1.0)),
    *(f"moved a pixel, {share:.0%}" for share in (0.1, 0.5, 1.0)),
)
RUNS = {"none": 400, "class 0 gone": 200}
OTHER_RUNS = 40
SIZES = (100, 200, 500)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables that are named, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.drift_batches", description=__doc__)
    parser.add_argument("table", nargs="*", help="correlation, digits, performance (default: all)")
    parser.add_argument("--runs-scale", type=float, default=1.0, help="a share of the runs, for a quick look")
    options = parser.parse_args(arguments)
    tables: dict[str, Callable[[float], None]] = {
        "correlation": correlation,
        "digits": digits,
        "performance": performance,
    }
    for name in options.table or tables:
        started = time.perf_counter()
        tables[name](options.runs_scale)
        print(f"\n{time.perf_counter() - started:.0f} s\n", flush=True)
    return 0


def correlation(scale: float) -> None:
    """The classifier without drift, and where only the correlation of two of ten columns turned round."""
    print("| rows a side | correlation turned | batches | classifier flags | a column is flagged |")
    print("|---:|---|---:|---|---|")
    for n, strength, full in (
        (200, 0.0, 1000),
        (1_000, 0.0, 1000),
        (10_000, 0.0, 200),
        (300, 0.3, 200),
        (500, 0.3, 200),
        (1_000, 0.3, 200),
        (300, 0.6, 200),
        (1_000, 0.6, 100),
    ):
        runs = _runs(full, scale)
        told = columns = 0
        for seed in range(runs):
            rng = np.random.default_rng([n, seed, 1])
            before, after = _pairs(rng, n, strength), _pairs(rng, n, -strength)
            told += judge_classifier(tell_apart(before, after)).is_fail
            columns += bool(compare(before, after).drifted)
        turned = f"{strength:g} to {-strength:g}" if strength else "no"
        print(f"| {n:,} | {turned} | {runs} | {share_text(told, runs)} | {share_text(columns, runs)} |", flush=True)


def digits(scale: float) -> None:
    """How often each part, and all together, flags a batch of digits."""
    print("| rows | shift | batches | columns | classifier | scores | all together |")
    print("|---:|---|---:|---|---|---|---|")
    detected: dict[int, list[Any]] = {n: [] for n in SIZES}
    for shift in SHIFTS:
        runs = _runs(RUNS.get(shift, OTHER_RUNS), scale)
        for n in SIZES:
            flags = np.array([flag_digits(seed, n, shift) for seed in range(runs)])
            cells = " | ".join(share_text(int(count), runs) for count in flags.sum(axis=0))
            print(f"| {n} | {shift} | {runs} | {cells} |", flush=True)
            if shift != "none":
                detected[n].append(flags.mean(axis=0))
    print(f"\n| rows | {' | '.join(METHODS)} |\n|---:|{'---:|' * len(METHODS)}")
    for n, rates in detected.items():
        print(f"| {n} | {' | '.join(f'{rate:.2f}' for rate in np.mean(rates, axis=0))} |")


def performance(scale: float) -> None:
    """How often the estimate's 95 % interval holds the accuracy that labels show, and how far it is off."""
    print("| holdout | batch | what happens | batches | interval holds the truth | mean error | fails | labels show |")
    print("|---:|---:|---|---:|---|---:|---|---:|")
    cases = {
        "nothing": {},
        "easier (inputs move by 1 sd)": {"centre": 1.0},
        "harder (inputs narrow to half)": {"spread": 0.5},
        "overconfident model, harder": {"spread": 0.5, "sharpness": 3.0},
        "concept: labels follow half as closely": {"slope": 1.0},
        "concept: labels shift": {"offset": -1.5},
    }
    for holdout, rows in ((500, 300), (2_000, 1_000), (5_000, 5_000)):
        for name, case in cases.items():
            runs = _runs(200, scale)
            found = np.array(
                [_estimate(np.random.default_rng([holdout, seed]), holdout, rows, **case) for seed in range(runs)]
            )
            covered, error, failed, truth = found.sum(axis=0)
            holds, fails = share_text(int(covered), runs), share_text(int(failed), runs)
            print(
                f"| {holdout:,} | {rows:,} | {name} | {runs} | {holds} | {error / runs:+.3f} | {fails} | "
                f"{truth / runs:.3f} |",
                flush=True,
            )


def _pairs(rng: np.random.Generator, n: int, strength: float) -> pa.Table:
    """Eight normal columns, the first two correlated, and two of categories."""
    values = rng.standard_normal((n, 8))
    values[:, 1] = strength * values[:, 0] + math.sqrt(1 - strength**2) * values[:, 1]
    columns = {f"x{i}": values[:, i] for i in range(8)}
    return pa.table(columns | {"a": rng.integers(0, 4, n).astype(str), "b": rng.integers(0, 50, n).astype(str)})


@cache
def _trained(seed: int) -> tuple[Any, Images, Any, Images, Any]:
    """A model of a third of the digits, the reference with the model's answers, and the last third with its labels."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    images, labels = _digits()
    order = np.random.default_rng(seed).permutation(len(images))
    images, labels = images[order], labels[order]
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000)).fit(images[:600], labels[:600])
    reference = images[600:1200]
    return model, reference, model.predict_proba(reference), images[1200:], labels[1200:]


@cache
def _digits() -> tuple[Images, Any]:
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    return images, labels


def flag_digits(seed: int, n: int, shift: str) -> tuple[bool, bool, bool, bool]:
    """Whether columns, classifier, scores, or any of them flag a batch of `n` digits with one of `SHIFTS`."""
    model, reference, known, images, labels = _trained(seed)
    rng = np.random.default_rng([seed, n, SHIFTS.index(shift)])
    pool = _shifted(rng, images, labels, shift)
    batch = pool[rng.permutation(len(pool))[:n]]
    before, after = (pa.table({f"p{i}": part[:, i] for i in range(64)}) for part in (reference, batch))
    now = model.predict_proba(batch)
    scores = compare_scores(
        known.argmax(axis=1).tolist(),
        now.argmax(axis=1).tolist(),
        classes=list(range(10)),
        reference_scores=known,
        current_scores=now,
    )
    found = (
        bool(compare(before, after).drifted),
        judge_classifier(tell_apart(before, after)).is_fail,
        judge_scores(scores).is_fail,
    )
    return (*found, any(found))


def _shifted(rng: np.random.Generator, images: Images, labels: Any, shift: str) -> Images:
    if shift == "none":
        return images
    if shift == "class 0 gone":
        return images[labels != 0]
    if shift == "half of class 0 gone":
        return images[(labels != 0) | (rng.random(len(labels)) < 0.5)]
    share = float(shift.rpartition(", ")[2].rstrip("%")) / 100
    touched = rng.random(len(images)) < share
    if shift.startswith("noise"):
        spread = float(shift.split(",")[0].rpartition(" ")[2])
        changed = np.clip(images + rng.normal(0, spread, images.shape), 0, 16)
    else:
        changed = np.roll(images.reshape(-1, 8, 8), 1, axis=2).reshape(-1, 64)
    return np.where(touched[:, None], changed, images)


def _estimate(
    rng: np.random.Generator,
    holdout: int,
    rows: int,
    *,
    centre: float = 0.0,
    spread: float = 1.0,
    sharpness: float = 1.0,
    slope: float = 2.0,
    offset: float = 0.0,
) -> tuple[float, float, float, float]:
    """(interval holds the truth, estimate less truth, verdict fails, truth) of one batch."""
    from millrace.drift.batch_decisions import judge_estimated_performance

    def draw(n: int, centre: float, spread: float, slope: float, offset: float) -> tuple[Any, Any, Any]:
        x = rng.normal(centre, spread, n)
        labels = (rng.random(n) < 1 / (1 + np.exp(-(slope * x + offset)))).astype(int)
        p = 1 / (1 + np.exp(-2 * sharpness * x))
        return np.column_stack([1 - p, p]), (p >= 0.5).astype(int), labels

    kept, _, labels = draw(holdout, 0.0, 1.0, 2.0, 0.0)
    scores, outputs, truth = draw(rows, centre, spread, slope, offset)
    evidence = estimate_performance(kept, labels, scores, outputs, classes=[0, 1])
    accuracy, facts = float((outputs == truth).mean()), evidence["metrics"]["accuracy"]
    holds = facts["low"] <= accuracy <= facts["high"]
    return holds, facts["value"] - accuracy, judge_estimated_performance(evidence).is_fail, accuracy


def _runs(full: int, scale: float) -> int:
    return max(5, math.ceil(full * scale))


if __name__ == "__main__":
    sys.exit(main())
