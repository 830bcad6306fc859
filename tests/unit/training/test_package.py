"""Real estimators become bundles, proven by the server's own loader."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
)
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import LinearSVC

from millrace.adapters import sklearn as adapter
from millrace.core.bundle import Column, Manifest
from millrace.core.errors import ModelError
from millrace.core.ids import digest_json
from millrace.serving.predictor import Answer, load_predictor
from millrace.store.blobs import FileBlobs
from millrace.training.fit import predict_fitted
from millrace.training.package import installed_exporters, package, store_manifest, to_rows


@pytest.fixture
def blobs(tmp_path):
    return FileBlobs(tmp_path / "blobs")


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(5)
    X = pd.DataFrame(
        {
            "amount": rng.lognormal(size=400),
            "orders": rng.integers(0, 50, 400),
            "is_new": rng.random(400) < 0.4,
            "share": rng.random(400),
        }
    )
    y = pd.Series((X["amount"] + X["is_new"] + rng.normal(size=400) > 1.5).astype(int))
    return X, y


COLUMNS = [Column("amount", "float"), Column("orders", "int"), Column("is_new", "bool"), Column("share", "float")]


def pack(fitted, sample, blobs, *, task="binary", classes=(0, 1), columns=COLUMNS, exporters=(adapter.export,)):
    return package(
        fitted,
        sample,
        model="churn",
        task=task,
        columns=columns,
        classes=classes,
        lineage={"seed": 1},
        blobs=blobs,
        exporters=exporters,
        load=load_predictor,
    )


@pytest.mark.parametrize(
    "estimator",
    [
        LogisticRegression(max_iter=500),
        RandomForestClassifier(20, random_state=0),
        GradientBoostingClassifier(n_estimators=10),
        HistGradientBoostingClassifier(max_iter=15),
        make_pipeline(StandardScaler(), LogisticRegression()),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_a_classifier_becomes_onnx_that_answers_the_same(estimator, rows, blobs):
    X, y = rows
    fitted = estimator.fit(X, y)

    manifest = pack(fitted, X, blobs)

    assert manifest.format == "onnx"
    assert manifest.lineage["canonical_format"] == "skops"
    parity = manifest.lineage["parity"]
    assert (parity["rows"], parity["flips"], parity["refused"]) == (400, 0, [])
    assert parity["max_difference"] <= parity["tolerance"]
    outputs, scores = predict_fitted(fitted, X, classes=[0, 1])
    answer = load_predictor(manifest, blobs).predict(to_rows(X))
    assert answer.outputs == outputs.tolist()
    assert np.abs(np.array(answer.scores) - scores).max() <= 1e-5


@pytest.mark.parametrize(
    "estimator", [Ridge(), HistGradientBoostingRegressor(max_iter=15)], ids=lambda e: type(e).__name__
)
def test_a_regression_becomes_onnx(estimator, rows, blobs):
    X, _ = rows
    target = X["amount"] * 1000 + X["orders"]

    manifest = pack(estimator.fit(X, target), X, blobs, task="regression", classes=())

    assert manifest.format == "onnx"
    answer = load_predictor(manifest, blobs).predict(to_rows(X))
    assert answer.outputs == pytest.approx(estimator.predict(X).tolist(), rel=1e-5, abs=1e-5)
    assert answer.scores == [[]] * 400


def test_three_classes_of_text(rows, blobs):
    X, y = rows
    words = pd.Series(np.where(X["share"] > 0.8, "high", np.where(y == 1, "mid", "low")))
    fitted = RandomForestClassifier(10, random_state=1).fit(X, words)

    manifest = pack(fitted, X, blobs, task="multiclass", classes=["high", "low", "mid"])

    assert manifest.format == "onnx"
    assert load_predictor(manifest, blobs).predict(to_rows(X)).outputs == predict_fitted(fitted, X)[0].tolist()


def test_what_float32_cannot_tell_is_refused_and_served_from_skops(blobs):
    seconds = 1.7e9 + np.arange(400.0)  # neighbours differ by less than a float32 step
    X = pd.DataFrame({"at": seconds})
    fitted = KNeighborsClassifier(1).fit(X, np.arange(400) % 2)

    manifest = pack(fitted, X, blobs, columns=[Column("at", "float")])

    assert manifest.format == "skops"
    refused = manifest.lineage["parity"]["refused"]
    assert [entry["format"] for entry in refused] == ["onnx"]
    assert "answers differ" in refused[0]["why"]
    assert load_predictor(manifest, blobs).predict(to_rows(X)).outputs == [0, 1] * 200


def test_text_and_nulls_go_through_skops(rows, blobs):
    X, y = rows
    X = X.assign(plan=np.where(X["share"] > 0.5, "free", "paid"), amount=X["amount"].where(X["amount"] > 0.3))
    columns = [*COLUMNS, Column("plan", "string")]
    encode = ColumnTransformer([("plan", OneHotEncoder(handle_unknown="ignore"), ["plan"])], remainder="passthrough")
    fitted = make_pipeline(encode, HistGradientBoostingClassifier(max_iter=5)).fit(X, y)

    manifest = pack(fitted, X, blobs, columns=columns)

    assert manifest.format == "skops"
    assert manifest.files["model"] == manifest.files["canonical"]
    assert manifest.lineage["parity"]["refused"][0]["why"] == "column 'plan' is text; ONNX bundles take numbers only"
    answer = load_predictor(manifest, blobs).predict([[None, 3, True, 0.5, None], [1.0, 3, False, 0.1, "never seen"]])
    assert all(output in (0, 1) for output in answer.outputs)


def test_nulls_reach_an_onnx_model_as_nan(rows, blobs):
    X, y = rows
    X = X.assign(amount=X["amount"].where(X["amount"] > 0.5), orders=X["orders"].where(X["orders"] > 5))
    fitted = HistGradientBoostingClassifier(max_iter=20).fit(X.astype(float), y)

    manifest = pack(fitted, X, blobs)

    assert manifest.format == "onnx"
    assert None in to_rows(X)[int(np.flatnonzero(X["amount"].isna())[0])]


def test_a_classifier_without_probabilities_answers_classes(rows, blobs):
    X, y = rows
    fitted = LinearSVC().fit(X, y)

    manifest = pack(fitted, X, blobs)

    assert manifest.format == "skops"
    answer = load_predictor(manifest, blobs).predict(to_rows(X))
    assert answer.outputs == fitted.predict(X).tolist()
    assert answer.scores == [[]] * 400


class Majority:
    """A user's own model, of a module, so that pickle can write it."""

    classes_ = np.array([0, 1])

    def predict(self, X):
        return np.zeros(len(X), dtype=int)


def test_the_users_own_class_is_a_pickle_that_servers_refuse_by_default(rows, blobs):
    X, _ = rows

    manifest = pack(Majority(), X, blobs)

    assert manifest.format == "pickle"
    assert manifest.lineage["canonical_format"] == "pickle"
    with pytest.raises(ModelError) as caught:
        load_predictor(manifest, blobs)
    assert caught.value.code == "SERVE-03"


def test_without_exporters_a_pickle_remains(rows, blobs):
    X, y = rows

    manifest = pack(LogisticRegression(max_iter=500).fit(X, y), X, blobs, exporters=())

    assert manifest.format == "pickle"
    assert [entry["why"] for entry in manifest.lineage["parity"]["refused"]] == ["no exporter is installed"] * 2


def test_the_adapter_is_found_by_its_entry_point():
    assert installed_exporters() == [adapter.export]


def test_what_no_format_can_hold_is_refused_with_every_reason(rows, blobs):
    class Local(Majority):
        pass

    with pytest.raises(ModelError) as caught:
        pack(Local(), rows[0], blobs)

    assert caught.value.code == "TRAIN-10"
    assert [line.split(":")[0] for line in caught.value.why.splitlines()] == ["onnx", "skops", "pickle"]


def test_classes_other_than_the_fitted_are_refused(rows, blobs):
    X, y = rows
    fitted = LogisticRegression(max_iter=500).fit(X, y)

    with pytest.raises(ModelError) as caught:
        pack(fitted, X, blobs, classes=("no", "yes"))

    assert caught.value.code == "TRAIN-09"


@pytest.mark.parametrize("change", [lambda X: X.rename(columns={"orders": "order"}), lambda X: X.iloc[:0]])
def test_a_sample_that_is_not_the_models_is_refused(rows, blobs, change):
    X, y = rows
    fitted = LogisticRegression(max_iter=500).fit(X, y)

    with pytest.raises(ModelError) as caught:
        pack(fitted, change(X), blobs)

    assert caught.value.code == "TRAIN-08"


def test_the_digest_names_the_manifest_and_equal_onnx_models_are_one_blob(rows, blobs):
    X, y = rows
    first, second = (pack(LogisticRegression(max_iter=500).fit(X, y), X, blobs) for _ in range(2))

    digest = store_manifest(first, blobs)

    assert digest == digest_json(first.to_dict()) == load_predictor(first, blobs).digest
    assert Manifest.from_dict(json.loads(blobs.get(digest))).to_dict() == first.to_dict()
    assert first.files["model"] == second.files["model"]


def test_a_type_outside_the_list_is_not_loaded(blobs, rows):
    import skops.io

    data = skops.io.dumps(Majority())

    with pytest.raises(ModelError) as caught:
        adapter.read_estimator(data, "skops")
    assert caught.value.code == "SERVE-04"
    assert "Majority" in caught.value.what

    X, y = rows
    restored = adapter.read_estimator(skops.io.dumps(RandomForestClassifier(3).fit(X, y)), "skops")
    assert restored.n_estimators == 3


@pytest.mark.parametrize(
    ("shift", "is_flipped", "why"),
    [
        (2e-5, False, "and 0 answers differ"),
        (0.0, True, "and 400 answers differ"),
        (float("nan"), False, "the largest difference is None"),
    ],
)
def test_either_a_difference_or_a_flip_refuses_a_format(rows, blobs, shift, is_flipped, why):
    X, y = rows

    class Off:
        def __init__(self, predictor):
            self.predictor = predictor

        def predict(self, asked):
            answer = self.predictor.predict(asked)
            outputs = [1 - output if is_flipped else output for output in answer.outputs]
            return Answer(outputs, [[first + shift, second - shift] for first, second in answer.scores])

    def load(manifest, blobs, *, allow_pickle):
        predictor = load_predictor(manifest, blobs, allow_pickle=allow_pickle)
        return Off(predictor) if manifest.format == "onnx" else predictor

    fitted = LogisticRegression(max_iter=500).fit(X, y)
    manifest = package(
        fitted,
        X,
        model="churn",
        task="binary",
        columns=COLUMNS,
        classes=[0, 1],
        lineage={},
        blobs=blobs,
        exporters=[adapter.export],
        load=load,
    )

    assert manifest.format == "skops"
    assert why in manifest.lineage["parity"]["refused"][0]["why"]
