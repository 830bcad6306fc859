"""What a model relies on is asked of the model."""

import numpy as np
import pytest

from millrace.drift.reliance import model_reliance


def rows(count=300):
    rng = np.random.default_rng(0)
    return [
        [float(a), float(b), str(c)]
        for a, b, c in zip(rng.normal(size=count), rng.normal(size=count), range(count), strict=True)
    ]


def test_the_shares_follow_the_weights_of_a_linear_model():
    found = model_reliance(rows(), ["a", "b", "c"], lambda asked: np.array([3 * r[0] + r[1] for r in asked]))

    assert found["a"] == pytest.approx(0.75, abs=0.05)
    assert found["b"] == pytest.approx(0.25, abs=0.05)
    assert found["c"] == 0


def test_probabilities_of_classes_are_asked_too():
    def answer(asked):
        p = np.array([1 / (1 + np.exp(-r[1])) for r in asked])
        return np.column_stack([1 - p, p])

    assert model_reliance(rows(), ["a", "b", "c"], answer) == {"a": 0, "b": 1, "c": 0}


@pytest.mark.parametrize(
    ("given", "names", "answer"),
    [
        (rows(), ["a", "b", "c"], lambda asked: np.ones(len(asked))),
        (rows()[:1], ["a", "b", "c"], lambda asked: np.array([r[0] for r in asked])),
        ([], ["a"], lambda asked: np.array([])),
        ([[], []], [], lambda asked: np.ones(len(asked))),
        (rows(), ["a", "b", "c"], lambda asked: np.full(len(asked), np.nan)),
    ],
)
def test_of_a_model_that_depends_on_nothing_nothing_is_said(given, names, answer):
    assert model_reliance(given, names, answer) is None


def test_at_most_500_rows_are_asked_about():
    asked = []
    model_reliance(rows(2000), ["a", "b", "c"], lambda some: asked.append(len(some)) or np.array([r[0] for r in some]))

    assert set(asked) == {500}
