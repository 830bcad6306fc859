"""Contexts the gate tests share."""

import numpy as np
from scipy.stats import rankdata

from millrace.core.bundle import Column
from millrace.gates.context import GateContext


def score(task, y_true, outputs, scores, classes):
    """Some metrics of a task, bare so that thousands of resamples are quick; NaN where one is undefined."""
    if task == "regression":
        miss = outputs - y_true
        return {"rmse": float(np.sqrt(np.mean(miss**2))), "mae": float(np.mean(np.abs(miss)))}
    positive, answered = y_true == classes[-1], outputs == classes[-1]
    both = np.sum(positive & answered)
    found = {
        "accuracy": float(np.mean(outputs == y_true)),
        "f1": float(2 * both / max(1, positive.sum() + answered.sum())),
    }
    if scores is not None:
        found["roc_auc"] = area_under_roc(positive, scores[:, 1])
    return found


def area_under_roc(positive, scores):
    n = int(positive.sum())
    if n in (0, len(positive)):
        return float("nan")
    ranks = rankdata(scores)
    return float((ranks[positive].sum() - n * (n + 1) / 2) / (n * (len(positive) - n)))


def from_counts(both_right, only_candidate, only_champion, both_wrong, **more):
    """A binary context in which candidate and champion are right on exactly so many rows."""
    right = np.repeat([1, 1, 0, 0], [both_right, only_candidate, only_champion, both_wrong])
    champion_right = np.repeat([1, 0, 1, 0], [both_right, only_candidate, only_champion, both_wrong])
    y = np.arange(len(right)) % 2
    return GateContext(
        task="binary",
        y_true=y,
        outputs=np.where(right, y, 1 - y),
        champion_outputs=np.where(champion_right, y, 1 - y),
        classes=[0, 1],
        score=score,
        **more,
    )


def regression(n=400, noise=1.0, champion_noise=1.0, seed=0, **more):
    """y is N(0, 2); each model is off by its noise, the same draw so that the two are paired."""
    rng = np.random.default_rng(seed)
    y, miss = rng.normal(0, 2, n), rng.normal(0, 1, n)
    return GateContext(
        task="regression",
        y_true=y,
        outputs=y + noise * miss,
        champion_outputs=y + champion_noise * miss,
        score=score,
        **more,
    )


def asked(predict, n=500, types=("float", "int", "string"), **more):
    """A context with rows of mixed columns and a model to ask."""
    rng = np.random.default_rng(3)
    made = {
        "float": lambda: rng.normal(0, 1000, n).tolist(),
        "int": lambda: rng.integers(0, 500, n).tolist(),
        "string": lambda: rng.choice(["a", "b"], n).tolist(),
        "bool": lambda: (rng.uniform(size=n) < 0.5).tolist(),
    }
    rows = [list(row) for row in zip(*(made[kind]() for kind in types), strict=True)]
    settings = {
        "task": "binary",
        "y_true": np.zeros(n, int),
        "outputs": np.zeros(n, int),
        "classes": [0, 1],
        "score": score,
    } | more
    return GateContext(
        rows=rows, columns=[Column(f"{kind}_{i}", kind) for i, kind in enumerate(types)], predict=predict, **settings
    )


class Timer:
    """A clock of which each call takes the next of the given milliseconds."""

    def __init__(self, times_ms):
        self._steps = iter([step for ms in times_ms for step in (0.0, ms / 1000)])
        self._now = 0.0

    def __call__(self):
        self._now += next(self._steps)
        return self._now
