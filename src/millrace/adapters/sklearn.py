"""scikit-learn: write fitted estimators as ONNX or skops, and load what the server is given.

Entry points: ``millrace.exporters: sklearn = export``, ``millrace.loaders: skops = load_skops, pickle = load_pickle``.
"""

from __future__ import annotations

import importlib
import pickle  # loaded only by a server whose settings allow it, from bytes with a checked digest
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from millrace.core.bundle import Column, Manifest
from millrace.core.errors import MissingExtra, ModelError
from millrace.training.fit import as_trained

Infer = Callable[[Sequence[Sequence[Any]]], npt.NDArray[Any]]

TRUSTED = (
    "numpy.dtype",
    "numpy.dtypes.Float64DType",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.metrics._dist_metrics.EuclideanDistance64",
    "sklearn.metrics._dist_metrics.ManhattanDistance64",
    "sklearn.metrics._dist_metrics.MinkowskiDistance64",
    "sklearn.neighbors._ball_tree.BallTree",
    "sklearn.neighbors._kd_tree.KDTree",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    "sklearn.tree._tree.Tree",
    "sklearn.utils._bunch.Bunch",
)
"""Types beyond skops' own list that a bundle may hold. The list is here, in the server's code, and never in the
file: a file that named its own trusted types would be trusted by whoever changed it."""


def export(fitted: Any, file_format: str, columns: Sequence[Column]) -> bytes:
    """A fitted scikit-learn estimator as ``onnx`` or ``skops`` bytes.

    Raises
    ------
    ModelError
        TRAIN-11 when the estimator cannot be written in that format.
    MissingExtra
        When skl2onnx or skops is not installed.
    """
    if not hasattr(fitted, "get_params"):
        raise ModelError("TRAIN-11", f"{type(fitted).__name__} is not a scikit-learn estimator")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # converters warn of versions they have not seen; parity is the judge
            return _to_onnx(fitted, len(columns)) if file_format == "onnx" else _to_skops(fitted)
    except (ModelError, MissingExtra):
        raise
    except Exception as error:
        raise ModelError(
            "TRAIN-11",
            f"{type(fitted).__name__} has no {file_format} form: {type(error).__name__}: {error}",
        ) from error


def load_skops(data: bytes, manifest: Manifest) -> Infer:
    """Answer rows with the estimator in skops bytes. Raises ModelError SERVE-04 for a type outside `TRUSTED`."""
    return _answer_with(read_estimator(data, "skops"), manifest)


def load_pickle(data: bytes, manifest: Manifest) -> Infer:
    """Answer rows with the estimator in pickle bytes. Loading runs code: the caller has asked for it."""
    return _answer_with(read_estimator(data, "pickle"), manifest)


def read_estimator(data: bytes, file_format: str) -> Any:
    """The fitted object in a bundle's ``canonical`` file; `file_format` is ``skops`` or ``pickle``.

    Raises
    ------
    ModelError
        SERVE-04 when the bytes cannot be read, or hold a type that is not trusted.
    """
    try:
        if file_format == "pickle":
            return pickle.loads(data)  # noqa: S301  # see load_pickle
        skops = _vendor("skops.io")
        strange = sorted(set(skops.get_untrusted_types(data=data)) - set(TRUSTED))
        if not strange:
            return skops.loads(data, trusted=list(TRUSTED))
    except MissingExtra:
        raise
    except Exception as error:
        raise ModelError(
            "SERVE-04", f"the {file_format} file cannot be loaded: {type(error).__name__}: {error}"
        ) from error
    raise ModelError(
        "SERVE-04",
        f"the skops file holds types that are not trusted: {', '.join(strange)}",
        why="loading them could run code that nobody has looked at",
        fix="train with estimators of scikit-learn only",
    )


def _to_skops(fitted: Any) -> bytes:
    skops = _vendor("skops.io")
    data: bytes = skops.dumps(fitted)
    strange = sorted(set(skops.get_untrusted_types(data=data)) - set(TRUSTED))
    if strange:
        raise ModelError("TRAIN-11", f"holds types that no server trusts: {', '.join(strange)}")
    return data


def _to_onnx(fitted: Any, width: int) -> bytes:
    """One float32 input ``X`` of shape (n, width): a float64 graph was off by > 1e-3 on 1.8 % of forest rows."""
    is_classifier = hasattr(fitted, "classes_")
    if is_classifier and not hasattr(fitted, "predict_proba"):
        raise ModelError("TRAIN-11", f"{type(fitted).__name__} answers classes without probabilities")
    skl2onnx = _vendor("skl2onnx")
    float_tensor = importlib.import_module("skl2onnx.common.data_types").FloatTensorType
    converters, shapes = _boosting_converters()
    graph = skl2onnx.convert_sklearn(
        fitted,
        name="millrace",  # by default a random name, and the same model would have a new digest each time
        initial_types=[("X", float_tensor([None, width]))],
        options={id(fitted): {"zipmap": False}} if is_classifier else None,
        custom_conversion_functions=converters,
        custom_shape_calculators=shapes,
    )
    data: bytes = graph.SerializeToString()
    return data


def _boosting_converters() -> tuple[dict[type, Any], dict[type, Any]]:
    """skl2onnx's converters for histogram boosting, with integers where they write booleans.

    skl2onnx 1.20 says whether missing values go left as a mix of booleans and integers, which protobuf 7 refuses.
    """
    ensemble = importlib.import_module("sklearn.ensemble")
    registry = importlib.import_module("skl2onnx.common._registration")
    names = importlib.import_module("skl2onnx._supported_operators").sklearn_operator_name_map
    converters, shapes = {}, {}
    for kind in (ensemble.HistGradientBoostingClassifier, ensemble.HistGradientBoostingRegressor):
        converters[kind] = _with_integers(registry.get_converter(names[kind]))
        shapes[kind] = registry.get_shape_calculator(names[kind])
    return converters, shapes


def _with_integers(convert: Callable[[Any, Any, Any], None]) -> Callable[[Any, Any, Any], None]:
    return lambda scope, operator, container: convert(scope, operator, _IntegerContainer(container))


class _IntegerContainer:
    """A converter's container that writes lists of booleans as integers."""

    def __init__(self, container: Any) -> None:
        self._container = container

    def __getattr__(self, name: str) -> Any:
        return getattr(self._container, name)

    def add_node(self, kind: str, inputs: Any, outputs: Any, **attributes: Any) -> Any:
        for name, values in attributes.items():
            if isinstance(values, list) and any(isinstance(value, (bool, np.bool_)) for value in values):
                attributes[name] = [int(value) for value in values]
        return self._container.add_node(kind, inputs, outputs, **attributes)


def _answer_with(fitted: Any, manifest: Manifest) -> Infer:
    ask = getattr(fitted, "predict_proba", None) or fitted.predict

    def infer(rows: Sequence[Sequence[Any]]) -> npt.NDArray[Any]:
        return np.asarray(ask(as_trained(fitted, _frame(rows, manifest.columns))))

    return infer


def _frame(rows: Sequence[Sequence[Any]], columns: Sequence[Column]) -> pd.DataFrame:
    """The rows as the training function saw them: typed columns; a numeric column with nulls is float with NaN."""
    values = zip(*rows, strict=True)
    return pd.DataFrame({column.name: _typed(found, column) for column, found in zip(columns, values, strict=True)})


def _typed(values: Sequence[Any], column: Column) -> Any:
    if column.type == "string":
        return pd.Series(list(values))
    has_null = any(value is None for value in values)
    kinds: dict[str, npt.DTypeLike] = {"int": np.int64, "float": np.float64, "bool": np.bool_}
    return np.array(values, dtype=np.float64 if has_null else kinds[column.type])


def _vendor(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise MissingExtra(name.split(".")[0], "sklearn", "packaging and loading scikit-learn models") from error
