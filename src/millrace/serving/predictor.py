"""Answer rows with a bundle. Every byte is checked against its digest before it is loaded."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from millrace.core.bundle import TIE, Manifest
from millrace.core.errors import ModelError
from millrace.core.ids import digest_json
from millrace.core.plugins import load_plugin
from millrace.store.blobs import BlobStore

Infer = Callable[[Sequence[Sequence[Any]]], npt.NDArray[Any]]
"""Rows to probabilities of shape (n, classes), or to answers of shape (n,) where the model has no probabilities."""

Loader = Callable[[bytes, Manifest], Infer]


@dataclass(frozen=True, slots=True)
class Answer:
    """The model's answers to n rows: n outputs, and n lists of class probabilities (empty without)."""

    outputs: list[Any]
    scores: list[list[float]]


class Predictor:
    """A loaded bundle.

    Attributes
    ----------
    manifest : Manifest
    digest : str
        The bundle's: SHA-256 of the manifest's canonical JSON.
    """

    def __init__(self, manifest: Manifest, infer: Infer) -> None:
        self.manifest = manifest
        self.digest = digest_json(manifest.to_dict())
        self._infer = infer
        self._classes = list(manifest.classes)
        self._cut = manifest.threshold - TIE

    def predict(self, rows: Sequence[Sequence[Any]]) -> Answer:
        """Answers to `rows`, each the values of the model's columns in their order, None for null.

        Raises
        ------
        ModelError
            SERVE-07 when an answer is not finite, SERVE-08 when the model cannot be asked with these rows.
        """
        try:
            found = self._infer(rows)
        except Exception as error:
            raise ModelError(
                "SERVE-08",
                f"the model '{self.manifest.model}' failed on {len(rows)} rows: {type(error).__name__}: {error}",
                why=f"{self.manifest.format} bundle {self.digest[:12]}",
                fix="send the values the model's columns ask for; if they are right, roll back to the last release",
            ) from error
        if found.ndim == 1:
            outputs = found.tolist()
            if found.dtype.kind == "f" and not np.isfinite(found).all():
                raise self._not_finite()
            return Answer(outputs, [[] for _ in outputs])
        scores = found.tolist()
        for row in scores:
            if not all(map(isfinite, row)):
                raise self._not_finite()
        return Answer(self._decide(scores), scores)

    def warm(self) -> None:
        """Answer one row, so that the first request pays for nothing.

        The row is the example the bundle was packaged with; a bundle that cannot answer it raises what `predict`
        does. Without an example made-up zeros are asked, and no answer to those is no fault.
        """
        example = self.manifest.lineage.get("example")
        if example is not None:
            self.predict([example])
            return
        zeros: Mapping[str, Any] = {"int": 0, "float": 0.0, "bool": False, "string": ""}
        with suppress(ModelError):
            self.predict([[zeros[column.type] for column in self.manifest.columns]])

    def _decide(self, scores: list[list[float]]) -> list[Any]:
        if len(self._classes) == 2:
            first, second, cut = self._classes[0], self._classes[1], self._cut
            return [second if row[1] >= cut else first for row in scores]
        answers = []
        for row in scores:
            enough = max(row) - TIE
            answers.append(self._classes[next(i for i, value in enumerate(row) if value >= enough)])
        return answers

    def _not_finite(self) -> ModelError:
        return ModelError(
            "SERVE-07",
            f"the model '{self.manifest.model}' answered a number that is not finite",
            why="usually a null where the model was never trained on nulls",
            fix="send every input, or train with an imputer",
        )


def read_manifest(digest: str, blobs: BlobStore) -> Manifest:
    """The manifest of the bundle `digest`, checked.

    Raises
    ------
    StoreError
        BLOB-01 or BLOB-02 when it is missing or changed.
    """
    return Manifest.from_dict(json.loads(blobs.get(digest)))


def load_predictor(
    manifest: Manifest,
    blobs: BlobStore,
    *,
    allow_pickle: bool = False,
    loaders: Mapping[str, Loader] | None = None,
) -> Predictor:
    """A predictor of the bundle.

    Parameters
    ----------
    manifest : Manifest
    blobs : BlobStore
    allow_pickle : bool
        Whether to load a pickle, which runs code of whoever wrote it.
    loaders : mapping of format to Loader, optional
        Used before the installed ones (entry points ``millrace.loaders``).

    Raises
    ------
    StoreError
        BLOB-01 or BLOB-02 when a file of the bundle is missing or changed; nothing is loaded from it.
    ModelError
        SERVE-03 for a pickle that is not allowed, SERVE-04 when the file cannot be loaded.
    """
    if manifest.format == "pickle" and not allow_pickle:
        raise ModelError(
            "SERVE-03",
            f"the bundle of '{manifest.model}' is a pickle, which this server does not load",
            why="loading a pickle runs code of whoever wrote it",
            fix="train a model that has an ONNX or skops form, or allow pickles in the server's settings",
        )
    data = {role: blobs.get(digest) for role, digest in manifest.files.items()}["model"]
    loader = (loaders or {}).get(manifest.format)
    if loader is None:
        loader = _load_onnx if manifest.format == "onnx" else load_plugin("loaders", manifest.format)
    return Predictor(manifest, loader(data, manifest))


def _load_onnx(data: bytes, manifest: Manifest) -> Infer:
    options = onnxruntime.SessionOptions()
    # One row costs 30 us: handing it to other threads costs more, and their spinning takes the server's core.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        entry = session.get_inputs()[0]
        names = [output.name for output in session.get_outputs()]
    except Exception as error:
        raise ModelError(
            "SERVE-04", f"the ONNX file of '{manifest.model}' cannot be loaded: {type(error).__name__}: {error}"
        ) from error
    if entry.shape[-1] != len(manifest.columns):
        raise ModelError(
            "SERVE-04",
            f"the ONNX file of '{manifest.model}' takes {entry.shape[-1]} columns, its manifest names "
            f"{len(manifest.columns)}",
            fix="package the model again",
        )
    is_classifier = "probabilities" in names
    wanted, feed = ["probabilities" if is_classifier else names[0]], entry.name

    def infer(rows: Sequence[Sequence[Any]]) -> npt.NDArray[Any]:
        found: npt.NDArray[Any] = session.run(wanted, {feed: np.array(rows, dtype=np.float32)})[0]
        return found if is_classifier else found.reshape(-1)

    return infer
