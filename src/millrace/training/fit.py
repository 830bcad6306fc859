"""Run the user's training function, and ask what it returned."""

from __future__ import annotations

import random
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from millrace.core.bundle import TIE
from millrace.core.errors import ModelError

Fitted = Any
TrainFunction = Callable[[pd.DataFrame, "pd.Series[Any]"], Fitted]


def fit(function: TrainFunction, X: pd.DataFrame, y: pd.Series[Any], seed: int) -> Fitted:
    """The object that `function(X, y)` returns, with Python's and numpy's random numbers seeded.

    The function gets copies, so it cannot change the rows the model is judged on; the caller's random state is as
    before afterwards.

    Parameters
    ----------
    function : callable
        The user's; takes X of shape (n, k) and y of shape (n,), returns an object with ``predict``.
    X : DataFrame of shape (n, k)
    y : Series of shape (n,)
    seed : int
        From 0 to 2**32 - 1.

    Raises
    ------
    ModelError
        TRAIN-01 no rows or columns, TRAIN-02 lengths differ, TRAIN-03 missing labels, TRAIN-04 only one label value
        (all of these at once, as findings of TRAIN-00, when there are several); TRAIN-05 the function raised,
        TRAIN-06 it did not return a model.
    """
    name = describe_function(function)
    problems = _problems(name, X, y)
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise ModelError("TRAIN-00", f"{name} cannot be trained on these rows", findings=problems)
    with seeded(seed):
        try:
            fitted = function(X.copy(), y.copy())
        except ModelError:
            raise
        except Exception as error:
            raise _raised(name, X, y, error) from error
    if not callable(getattr(fitted, "predict", None)):
        returned = "nothing" if fitted is None else f"an object of type {type(fitted).__name__}"
        raise ModelError(
            "TRAIN-06",
            f"{name} returned {returned}, which has no predict",
            where=_place(function),
            fix="end the function with: return model (fitted, with a predict method)",
        )
    return fitted


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Python's and numpy's global random numbers start from `seed` inside the block."""
    python_state, numpy_state = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed)
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)


def predict_fitted(
    fitted: Fitted, X: pd.DataFrame, *, classes: Sequence[Any] = (), threshold: float = 0.5
) -> tuple[npt.NDArray[Any], npt.NDArray[np.float64] | None]:
    """What a fitted object answers, by the rule of the server.

    Parameters
    ----------
    fitted : object with ``predict``, and ``predict_proba`` where it has probabilities
    X : DataFrame of shape (n, k)
    classes : sequence of length m, optional
        Class labels; by default those of the fitted object.
    threshold : float
        Probability from which the second of two classes is answered.

    Returns
    -------
    outputs : array of shape (n,)
        Classes, or numbers for a regression.
    scores : array of shape (n, m) or None
        Probabilities, in the order of the classes; None where the object has none.

    Raises
    ------
    ModelError
        TRAIN-07 when predicting raises, or the answer's shape is not one per row.
    """
    try:
        rows = as_trained(fitted, X)
        if callable(getattr(fitted, "predict_proba", None)):
            scores = np.asarray(fitted.predict_proba(rows), dtype=np.float64)
            labels = list(classes) or plain_labels(fitted.classes_)
            _check_shape(fitted, scores, (len(X), len(labels)))
            return decide(scores, labels, threshold), scores
        outputs = np.asarray(fitted.predict(rows))
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(
            "TRAIN-07",
            f"the fitted {type(fitted).__name__} cannot predict: {type(error).__name__}: {error}",
            why=f"asked with {_shape(X)}",
            fix="its predict must take the same columns it was trained on",
        ) from error
    _check_shape(fitted, outputs, (len(X),))
    return outputs, None


def as_trained(fitted: Fitted, X: pd.DataFrame) -> Any:
    """`X` in the form the object was fitted on: bare values when it counted its columns but never saw their names."""
    is_nameless = hasattr(fitted, "n_features_in_") and not hasattr(fitted, "feature_names_in_")
    return X.to_numpy() if is_nameless else X


def decide(scores: npt.NDArray[np.float64], classes: Sequence[Any], threshold: float) -> npt.NDArray[Any]:
    """The class answered for each row of probabilities, of shape (n, m); ties as `core.bundle.TIE` says."""
    labels = np.empty(len(classes), dtype=object)
    labels[:] = classes
    if len(classes) == 2:
        chosen = (scores[:, 1] >= threshold - TIE).astype(np.int64)
    else:
        chosen = np.argmax(scores >= scores.max(axis=1, keepdims=True) - TIE, axis=1)
    return np.array(labels[chosen].tolist())


def plain_labels(values: Any) -> list[Any]:
    """Labels as JSON-ready Python values, in their order."""
    return [value.item() if isinstance(value, np.generic) else value for value in values]


def find_classes(y: Any) -> list[Any]:
    """The sorted distinct labels of `y`, as JSON-ready Python values."""
    return plain_labels(np.unique(np.asarray(y)))


def describe_function(function: Callable[..., Any]) -> str:
    """How messages call the user's function: ``model function 'churn'``."""
    return f"model function '{getattr(function, '__name__', type(function).__name__)}'"


def _problems(name: str, X: pd.DataFrame, y: pd.Series[Any]) -> list[ModelError]:
    problems = []
    if X.shape[0] == 0 or X.shape[1] == 0:
        problems.append(
            ModelError("TRAIN-01", f"{name} has nothing to learn from: {_shape(X)}", fix="widen the training window")
        )
    if len(X) != len(y):
        problems.append(
            ModelError(
                "TRAIN-02",
                f"{name} got {len(X)} rows and {len(y)} labels",
                fix="every row needs exactly one label: check how labels are joined",
            )
        )
    missing = _count_missing(y)
    if missing:
        problems.append(
            ModelError(
                "TRAIN-03",
                f"{name}: {missing} of {len(y)} labels are missing or not finite",
                fix="train on rows whose label has arrived: set the labels' delay, or drop rows without one",
            )
        )
    elif len(y) and y.nunique() == 1:
        problems.append(
            ModelError(
                "TRAIN-04",
                f"{name}: all {len(y)} labels are {y.iloc[0]!r}",
                why="a model of one answer cannot be judged",
                fix="widen the training window until it holds more than one label value",
            )
        )
    return problems


def _count_missing(y: pd.Series[Any]) -> int:
    missing = int(y.isna().sum())
    if pd.api.types.is_float_dtype(y.dtype):
        missing += int(np.isinf(y.to_numpy(dtype=np.float64, na_value=np.nan)).sum())
    return missing


def _raised(name: str, X: pd.DataFrame, y: pd.Series[Any], error: Exception) -> ModelError:
    frames = traceback.extract_tb(error.__traceback__)[1:]  # the first is ours
    return ModelError(
        "TRAIN-05",
        f"{name} raised {type(error).__name__}: {error}",
        where=f"{frames[0].filename}:{frames[0].lineno}" if frames else None,
        why=f"called with {_shape(X)} and y of {len(y)} labels ({y.dtype})",
        fix="mend the function; the line above is where it called out",
    )


def _shape(X: pd.DataFrame) -> str:
    return f"X of {X.shape[0]} rows x {X.shape[1]} columns ({', '.join(map(str, X.columns))})"


def _check_shape(fitted: Fitted, values: npt.NDArray[Any], expected: tuple[int, ...]) -> None:
    if values.shape != expected:
        raise ModelError(
            "TRAIN-07",
            f"the fitted {type(fitted).__name__} answered shape {values.shape}, not {expected}",
            fix="it must answer one value per row, and one probability per row and class",
        )


def _place(function: Callable[..., Any]) -> str | None:
    code = getattr(function, "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code is not None else None
