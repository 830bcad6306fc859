import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression

from millrace.gates.beats_baseline import BeatsBaseline
from millrace.gates.no_regression import NoRegression
from millrace.gates.threshold import Threshold
from millrace.gates.validator import ModelValidator


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"amount": rng.normal(0, 100, 3000), "orders": rng.integers(0, 50, 3000)})
    y = (X["amount"] / 50 + (X["orders"] - 25) / 10 + rng.normal(0, 0.3, 3000) > 0).astype(int)
    return X[:1000], y[:1000], X[1000:], y[1000:]


@pytest.mark.parametrize("form", [lambda X: X, lambda X: X.to_numpy()])
def test_good_model_may_go_out(data, form):
    X_train, y_train, X, y = data
    model = LogisticRegression(max_iter=1000).fit(form(X_train), y_train)
    passed, results = ModelValidator(model, form(X), y, baseline=model).validate_all()
    assert {name: result["outcome"] for name, result in results.items()} == {
        "threshold": "pass",
        "no_regression": "pass",
        "latency": "pass",
        "robustness": "pass",
    }
    assert passed


def test_model_worse_than_production_stays_out(data):
    X_train, y_train, X, y = data
    production = LogisticRegression(max_iter=1000).fit(X_train, y_train)
    candidate = DummyClassifier().fit(X_train, y_train)
    passed, results = ModelValidator(candidate, X, y, baseline=production, y_train=y_train).validate_all()
    assert not passed
    assert [name for name, result in results.items() if not result["passed"]] == ["threshold", "no_regression"]
    assert results["no_regression"]["details"]["only_champion"] > 500


def test_own_gates_and_two_of_one_name(data):
    X_train, y_train, X, y = data
    model = LogisticRegression(max_iter=1000).fit(X_train, y_train)
    gates = [Threshold(accuracy=0.8), Threshold(accuracy=0.999), BeatsBaseline()]
    passed, results = ModelValidator(model, X, y, gates=gates, y_train=y_train).validate_all()
    assert (passed, {name: result["passed"] for name, result in results.items()}) == (
        False,
        {"threshold": True, "threshold_2": False, "beats_baseline": True},
    )


def test_regression_model(data):
    X_train, _, X, _ = data
    model = LinearRegression().fit(X_train, X_train["amount"])
    worse = LinearRegression().fit(X_train[["orders"]].assign(amount=0.0)[["amount", "orders"]], X_train["amount"])
    gates = [NoRegression(), Threshold(rmse=1.0)]
    assert ModelValidator(model, X, X["amount"], baseline=worse, gates=gates).validate_all()[0]
    assert not ModelValidator(worse, X, X["amount"], baseline=model, gates=gates).validate_all()[0]


def test_model_that_cannot_answer_single_rows_is_refused_with_its_error(data):
    class Batches:
        classes_ = (0, 1)

        def predict(self, X):
            if len(X) < 10:
                raise ValueError("give me more rows")
            return np.ones(len(X), int)

    _, _, X, y = data
    passed, results = ModelValidator(Batches(), X, y).validate_all()
    assert not passed
    assert results["latency"]["reason"].endswith("ValueError: give me more rows")
