"""Turn a fitted object into an immutable bundle that provably answers the same.

The bundle's model file is the first of ONNX, skops and pickle that can be written *and*, loaded by the server's own
loader, answers the sample rows as the fitted object does. The file to retrain or inspect from (`canonical`) is kept
beside it.
"""

from __future__ import annotations

import pickle  # written only; a server loads one only when its settings allow it
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import pandas as pd

from millrace.core.bundle import Column, Manifest, Task
from millrace.core.errors import MillraceError, MissingExtra, ModelError, did_you_mean
from millrace.core.ids import canonical_json
from millrace.core.plugins import load_plugin, plugin_names
from millrace.store.blobs import BlobStore
from millrace.training.fit import Fitted, plain_labels, predict_fitted

TOLERANCE = 1e-5
"""Largest difference of a probability (or of a number, relative to its size when above 1) that counts as the same."""

FORMATS = ("onnx", "skops", "pickle")


class Exporter(Protocol):
    """Writes a fitted object in a format; raises ModelError when it cannot."""

    def __call__(self, fitted: Fitted, file_format: str, columns: Sequence[Column]) -> bytes: ...


class Servable(Protocol):
    """What answers rows: see `millrace.serving.predictor.Predictor`."""

    def predict(self, rows: Sequence[Sequence[Any]]) -> Any:
        """An object with `outputs` (n answers) and `scores` (n lists of probabilities, empty without)."""
        ...


class Load(Protocol):
    """The server's loader, `millrace.serving.predictor.load_predictor`."""

    def __call__(self, manifest: Manifest, blobs: BlobStore, *, allow_pickle: bool) -> Servable: ...


def package(
    fitted: Fitted,
    sample: pd.DataFrame,
    *,
    model: str,
    task: Task,
    columns: Sequence[Column],
    classes: Sequence[Any],
    lineage: Mapping[str, Any],
    blobs: BlobStore,
    exporters: Sequence[Exporter],
    load: Load,
    threshold: float = 0.5,
    files: Mapping[str, str] | None = None,
) -> Manifest:
    """The manifest of a stored bundle whose answers on `sample` are those of `fitted`.

    Parameters
    ----------
    fitted : object with ``predict``
    sample : DataFrame of shape (n, k), n >= 1
        Rows the parity is proven on; its columns are those of `columns`, in their order.
    classes : sequence
        Labels in the order of the probability columns, as the fitted object holds them; empty for regression.
    exporters : sequence of Exporter
        Tried in order for each format; pickle needs none.
    load : Load
        The loader of the server, so that what is proven here is what is served.
    files : mapping of str to str, optional
        What else goes into the bundle: role to digest of a stored blob.

    Returns
    -------
    Manifest
        ``lineage["parity"]`` says format, rows, max_difference, flips, tolerance, and why better formats were
        refused; ``lineage["canonical_format"]`` is skops or pickle; ``lineage["example"]`` is the first sample row,
        which a server is warmed with.

    Raises
    ------
    ModelError
        TRAIN-08 the sample does not have the columns, TRAIN-09 the classes are not those of the fitted object,
        TRAIN-10 no format answers as the fitted object does (a finding for each).
    """
    _check_sample(sample, columns)
    _check_classes(fitted, classes)
    expected = predict_fitted(fitted, sample, classes=classes, threshold=threshold)
    rows = to_rows(sample)
    written, refused = _write_all(fitted, columns, exporters)
    canonical = next((name for name in ("skops", "pickle") if name in written), None)
    digests = {name: blobs.put(data) for name, data in written.items()}
    for name in written:
        own = {"model": digests[name]} | ({"canonical": digests[canonical]} if canonical else {})
        all_files = {**(files or {}), **own}
        manifest = Manifest(model, task, list(columns), list(classes), name, all_files, threshold)
        try:
            parity = _compare(load(manifest, blobs, allow_pickle=True).predict(rows), *expected)
        except MillraceError as error:
            refused.append(_refusal(name, error.what))
            continue
        if parity["is_proven"]:
            facts = {
                **lineage,
                "canonical_format": canonical,
                "example": rows[0],
                "parity": {"format": name, **parity, "refused": refused},
            }
            return Manifest(model, task, list(columns), list(classes), name, all_files, threshold, facts)
        refused.append(_refusal(name, _explain(parity)))
    raise ModelError(
        "TRAIN-10",
        f"model '{model}' ({type(fitted).__name__}) cannot be packaged: no format answers as the fitted object does",
        why="\n".join(f"{refusal['format']}: {refusal['why']}" for refusal in refused),
        fix="return a model of scikit-learn, or one that pickle can write (a class of a module, not of a function)",
    )


def store_manifest(manifest: Manifest, blobs: BlobStore) -> str:
    """Store the manifest; returns the bundle's digest, the SHA-256 of its canonical JSON."""
    return blobs.put(canonical_json(manifest.to_dict()).encode())


def installed_exporters() -> list[Exporter]:
    """Every exporter whose package is installed."""
    found = []
    for name in plugin_names("exporters"):
        try:
            found.append(load_plugin("exporters", name))
        except MissingExtra:
            continue  # what it would write is then refused by name in the parity record
    return found


def to_rows(frame: pd.DataFrame) -> list[list[Any]]:
    """The rows of a frame as a request brings them: Python values, None for null and for what JSON cannot say."""
    columns = []
    for name in frame.columns:
        values = frame[name].replace([np.inf, -np.inf], np.nan) if frame[name].dtype.kind == "f" else frame[name]
        plain = values.astype(object).where(values.notna(), None)
        columns.append([value.item() if isinstance(value, np.generic) else value for value in plain])
    return [list(row) for row in zip(*columns, strict=True)]


def _write_all(
    fitted: Fitted, columns: Sequence[Column], exporters: Sequence[Exporter]
) -> tuple[dict[str, bytes], list[dict[str, str]]]:
    """Every format that can be written, best first, and why the others cannot."""
    written, refused = {}, []
    for name in FORMATS:
        if name == "pickle" and "skops" in written:
            break  # skops holds the same object and runs no code when loaded
        text = [column.name for column in columns if column.type == "string"]
        try:
            if name == "onnx" and text:
                raise ModelError("TRAIN-11", f"column '{text[0]}' is text; ONNX bundles take numbers only")
            written[name] = _write(fitted, name, columns, exporters)
        except MillraceError as error:
            refused.append(_refusal(name, error.what))
    return written, refused


def _write(fitted: Fitted, name: str, columns: Sequence[Column], exporters: Sequence[Exporter]) -> bytes:
    if name == "pickle":
        try:
            return pickle.dumps(fitted, protocol=5)
        except Exception as error:
            raise ModelError("TRAIN-11", f"{type(error).__name__}: {error}") from error
    problem = ModelError("TRAIN-11", "no exporter is installed", fix="pip install 'millrace[sklearn]'")
    for exporter in exporters:
        try:
            return exporter(fitted, name, columns)
        except ModelError as error:
            problem = error
    raise problem


def _compare(answer: Any, outputs: Any, scores: Any) -> dict[str, Any]:
    """How far the server's answers are from the fitted object's."""
    differences = np.zeros(1)
    if scores is not None:
        served = np.asarray(answer.scores, dtype=np.float64)
        flips = sum(a != b for a, b in zip(answer.outputs, outputs.tolist(), strict=True))
        differences = np.abs(served - scores) if served.shape == scores.shape else np.array([np.inf])
    elif np.issubdtype(outputs.dtype, np.floating):
        flips = 0
        differences = np.abs(np.asarray(answer.outputs) - outputs) / np.maximum(1.0, np.abs(outputs))
    else:
        flips = sum(a != b for a, b in zip(answer.outputs, outputs.tolist(), strict=True))
    largest = float(differences.max())
    is_finite = bool(np.isfinite(largest))
    return {
        "rows": len(outputs),
        "max_difference": largest if is_finite else None,
        "flips": int(flips),
        "tolerance": TOLERANCE,
        "is_proven": is_finite and largest <= TOLERANCE and not flips,
    }


def _explain(parity: Mapping[str, Any]) -> str:
    return (
        f"on {parity['rows']} rows the largest difference is {parity['max_difference']} "
        f"(allowed {parity['tolerance']}), and {parity['flips']} answers differ"
    )


def _refusal(name: str, why: str) -> dict[str, str]:
    return {"format": name, "why": (why.splitlines() or [""])[0][:300]}


def _check_sample(sample: pd.DataFrame, columns: Sequence[Column]) -> None:
    names, found = [column.name for column in columns], [str(name) for name in sample.columns]
    if found == names and len(sample):
        return
    strange = next((name for name in found if name not in names), None)
    raise ModelError(
        "TRAIN-08",
        f"the sample of {len(sample)} rows with columns {found} does not fit the model's columns {names}",
        fix=did_you_mean(strange, names) if strange else "give at least one row with exactly those columns, in order",
    )


def _check_classes(fitted: Fitted, classes: Sequence[Any]) -> None:
    own = getattr(fitted, "classes_", None)
    if own is not None and plain_labels(own) != list(classes):
        raise ModelError(
            "TRAIN-09",
            f"the fitted {type(fitted).__name__} answers the classes {plain_labels(own)}, not {list(classes)}",
            why="it was fitted on other labels than y",
            fix="fit on y as it is given; do not encode or drop labels inside the function",
        )
