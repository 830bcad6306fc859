import json
import subprocess
import sys

import numpy as np
import pytest

from millrace.core.bundle import Column, Manifest
from millrace.core.errors import ModelError, StoreError
from millrace.serving import predictor as serving
from millrace.serving.predictor import Predictor, load_predictor, read_manifest
from millrace.training import fit as training


def _manifest(classes=("no", "yes"), threshold=0.5, task="binary", **facts):
    return Manifest("churn", task, [Column("a", "float")], list(classes), "onnx", {}, threshold, **facts)


def _saying(scores, **facts):
    return Predictor(_manifest(**facts), lambda rows: np.asarray(scores))


def test_an_onnx_bundle_answers(make_release, blobs):
    manifest = read_manifest(make_release(1).digest, blobs)

    answer = load_predictor(manifest, blobs).predict([[3.0, 1, True], [-3.0, 1, False]])

    assert answer.outputs == ["yes-1", "no-1"]
    assert [len(scores) for scores in answer.scores] == [2, 2]
    assert answer.scores[0][1] > 0.9


@pytest.mark.parametrize("role", ["model", "manifest"])
def test_one_changed_byte_is_refused(make_release, blobs, role):
    release = make_release(1)
    manifest = read_manifest(release.digest, blobs)
    path = blobs.get_file(release.digest if role == "manifest" else manifest.files["model"])
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)

    with pytest.raises(StoreError) as caught:
        load_predictor(read_manifest(release.digest, blobs), blobs)
    assert caught.value.code == "BLOB-02"


def test_every_file_of_the_bundle_is_checked_not_only_the_served_one(make_release, blobs, onnx_bytes):
    canonical = blobs.put(b"estimator")
    manifest = read_manifest(
        make_release(1, files={"model": blobs.put(onnx_bytes), "canonical": canonical}).digest, blobs
    )
    blobs.get_file(canonical).write_bytes(b"estimat0r")

    with pytest.raises(StoreError) as caught:
        load_predictor(manifest, blobs)
    assert caught.value.code == "BLOB-02"


def test_a_pickle_is_loaded_only_where_allowed(make_release, blobs):
    manifest = read_manifest(make_release(1, format="pickle").digest, blobs)
    loaders = {"pickle": lambda data, manifest: lambda rows: np.array([[0.2, 0.8]])}

    with pytest.raises(ModelError) as caught:
        load_predictor(manifest, blobs, loaders=loaders)
    assert caught.value.code == "SERVE-03"
    assert load_predictor(manifest, blobs, allow_pickle=True, loaders=loaders).predict([[1]]).outputs == ["yes-1"]


@pytest.mark.parametrize("broken", [{"columns": (Column("a", "float"),)}, {"files": "garbage"}])
def test_a_file_that_is_not_the_manifests_is_refused(make_release, blobs, broken):
    if "files" in broken:
        broken = {"files": {"model": blobs.put(b"not onnx")}}

    with pytest.raises(ModelError) as caught:
        load_predictor(read_manifest(make_release(1, **broken).digest, blobs), blobs)
    assert caught.value.code == "SERVE-04"


@pytest.mark.parametrize(
    ("scores", "facts", "expected"),
    [
        ([[0.2, 0.8]], {"threshold": 0.8}, ["yes"]),
        ([[0.21, 0.79]], {"threshold": 0.8}, ["no"]),
        ([[0.50000012, 0.49999988]], {}, ["yes"]),
        ([[0.2, 0.4, 0.4]], {"classes": ("a", "b", "c"), "task": "multiclass"}, ["b"]),
        ([[0.2, 0.3999999, 0.4]], {"classes": ("a", "b", "c"), "task": "multiclass"}, ["b"]),
    ],
)
def test_the_class_answered(scores, facts, expected):
    assert _saying(scores, **facts).predict([[0]]).outputs == expected


def test_training_and_serving_decide_by_one_rule():
    rng = np.random.default_rng(2)
    assert serving.TIE == training.TIE
    for width, threshold in ((2, 0.5), (2, 0.3), (4, 0.5)):
        classes = list(range(width))
        scores = np.round(rng.dirichlet(np.ones(width), size=500), 1)
        scores += rng.uniform(-2e-6, 2e-6, scores.shape)
        served = _saying(scores, classes=classes, threshold=threshold).predict([[0]] * 500).outputs

        assert served == training.decide(scores, classes, threshold).tolist()


@pytest.mark.parametrize("scores", [[[float("nan"), 0.5]], [[0.0, float("inf")]], [float("nan")]])
def test_an_answer_that_is_not_finite_is_an_error(scores):
    with pytest.raises(ModelError) as caught:
        _saying(scores).predict([[0]])
    assert caught.value.code == "SERVE-07"


def test_a_model_that_fails_is_named():
    with pytest.raises(ModelError) as caught:
        Predictor(_manifest(), lambda rows: 1 / 0).predict([[0]])
    assert caught.value.code == "SERVE-08"
    assert "ZeroDivisionError" in caught.value.what


def test_warming_asks_the_example_and_a_bundle_that_cannot_answer_it_is_refused():
    asked = []

    def infer(rows):
        asked.append(rows)
        return np.array([float("nan")])

    with pytest.raises(ModelError):
        Predictor(_manifest(lineage={"example": [7.0]}), infer).warm()
    Predictor(_manifest(), infer).warm()  # made-up zeros need no answer

    assert asked == [[[7.0]], [[0.0]]]


def test_serving_an_onnx_bundle_imports_no_training_library(make_release, blobs):
    release = make_release(1)
    program = f"""
import json, sys, pathlib
from millrace.serving.server import Server, Settings
from millrace.store.blobs import FileBlobs
from millrace.core.records import Release
release = Release.from_dict({release.to_dict()!r})
server = Server(lambda: release, FileBlobs(pathlib.Path({str(blobs.root)!r})), settings=Settings(port=0))
server.start()
import urllib.request
body = json.dumps({{"inputs": {{"amount": 1.0, "orders": 2, "is_new": True}}}}).encode()
with urllib.request.urlopen(server.url + "/predict", data=body) as reply:
    answer = json.load(reply)
server.stop()
print(json.dumps([answer["version"], sorted({{name.split(".")[0] for name in sys.modules}})]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    version, modules = json.loads(done.stdout)

    assert version == 1
    assert "onnxruntime" in modules
    heavy = {"sklearn", "skl2onnx", "onnx", "skops", "mlflow", "pandas", "scipy", "pyarrow", "polars", "lmdb"}
    assert heavy & set(modules) == set()
