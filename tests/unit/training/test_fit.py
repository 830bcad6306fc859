import random

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression

from millrace.core.errors import ModelError
from millrace.training.fit import find_classes, fit, predict_fitted


@pytest.fixture
def rows():
    rng = np.random.default_rng(3)
    X = pd.DataFrame(rng.normal(size=(60, 3)), columns=["a", "b", "c"])
    return X, pd.Series((X["a"] + rng.normal(size=60) > 0).astype(int), name="y")


def forest(X, y):
    return RandomForestClassifier(5).fit(X, y)


def test_the_seed_decides_a_model_that_names_none(rows):
    first, second, other = (fit(forest, *rows, seed=seed).predict_proba(rows[0]) for seed in (1, 1, 2))

    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


def test_the_callers_random_state_is_as_before(rows):
    random.seed(8)
    np.random.seed(8)
    expected = (random.random(), np.random.rand())

    random.seed(8)
    np.random.seed(8)
    fit(forest, *rows, seed=1)

    assert expected == (random.random(), np.random.rand())


def test_the_function_cannot_change_the_rows_it_is_judged_on(rows):
    def cheat(X, y):
        X["a"] = y
        y[:] = 0
        return forest(X, pd.Series([0, 1] * 30))

    X, y = rows
    before = X.copy(), y.copy()
    fit(cheat, X, y, seed=0)

    pd.testing.assert_frame_equal(before[0], X)
    pd.testing.assert_series_equal(before[1], y)


def _refusal(function, X, y):
    with pytest.raises(ModelError) as caught:
        fit(function, X, y, seed=0)
    return caught.value


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("TRAIN-01", lambda X, y: (X.iloc[:0], y.iloc[:0])),
        ("TRAIN-01", lambda X, y: (X[[]], y)),
        ("TRAIN-02", lambda X, y: (X, y.iloc[:-1])),
        ("TRAIN-03", lambda X, y: (X, y.where(y.index > 3))),
        ("TRAIN-03", lambda X, y: (X, y.astype(float).replace(1.0, np.inf))),
        ("TRAIN-04", lambda X, y: (X, y * 0)),
    ],
)
def test_rows_nobody_can_learn_from_are_refused(rows, code, change):
    error = _refusal(forest, *change(*rows))

    assert error.code == code
    assert "model function 'forest'" in error.what


def test_all_problems_are_told_at_once(rows):
    X, y = rows

    error = _refusal(forest, X.iloc[:-1], y * 0)

    assert [finding.code for finding in error.findings] == ["TRAIN-02", "TRAIN-04"]


def test_an_error_in_the_function_names_it_its_line_and_the_shapes(rows):
    def churn(X, y):
        return X["nmae"]

    error = _refusal(churn, *rows)

    assert error.code == "TRAIN-05"
    assert "model function 'churn' raised KeyError: 'nmae'" in error.what
    assert f"{__file__}:{churn.__code__.co_firstlineno + 1}" == error.where
    assert "60 rows x 3 columns (a, b, c)" in error.why


def test_a_wrong_signature_is_told_without_a_line(rows):
    error = _refusal(lambda X: X, *rows)

    assert error.code == "TRAIN-05"
    assert error.where is None


@pytest.mark.parametrize("returned", [None, 3, RandomForestClassifier])
def test_what_is_no_model_is_refused(rows, returned):
    code = _refusal(lambda X, y: returned if returned is not RandomForestClassifier else object(), *rows).code

    assert code == "TRAIN-06"


def test_answers_follow_the_threshold_and_the_order_of_classes(rows):
    X, y = rows
    words = y.map({0: "no", 1: "yes"})
    fitted = fit(lambda X, y: LogisticRegression().fit(X, y), X, words, seed=0)

    outputs, scores = predict_fitted(fitted, X, classes=find_classes(words), threshold=0.8)

    assert find_classes(words) == ["no", "yes"]
    assert np.array_equal(scores, fitted.predict_proba(X))
    assert np.array_equal(outputs == "yes", scores[:, 1] >= 0.8)


def test_a_tie_goes_to_the_second_class_in_both_precisions():
    class Coin:
        def __init__(self, p):
            self.p = p
            self.classes_ = np.array([0, 1])

        def predict(self, X):
            raise AssertionError("probabilities decide")

        def predict_proba(self, X):
            return np.array([[1 - self.p, self.p]] * len(X))

    X = pd.DataFrame({"a": [1.0]})
    answers = [predict_fitted(Coin(p), X)[0].tolist() for p in (0.5, float(np.float32(0.49999988)), 0.4999)]

    assert answers == [[1], [1], [0]]


def test_a_regression_has_no_scores(rows):
    X, y = rows
    fitted = LinearRegression().fit(X.to_numpy(), y)  # nameless: asked with bare values, so it does not warn

    outputs, scores = predict_fitted(fitted, X)

    assert scores is None
    assert np.array_equal(outputs, fitted.predict(X.to_numpy()))


def test_a_model_that_cannot_predict_is_named(rows):
    X, y = rows
    fitted = LinearRegression().fit(X, y)

    with pytest.raises(ModelError) as caught:
        predict_fitted(fitted, X[["a", "b"]])

    assert caught.value.code == "TRAIN-07"
    assert "LinearRegression" in caught.value.what
