"""What a packaged model is: an immutable set of files, each with its digest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

TIE = 1e-6
"""Scores closer than this are equal. Serving computes in float32: without it, a forest that is split exactly in half
would answer one class in training and the other one in production."""

Task = Literal["binary", "multiclass", "regression"]
ColumnType = Literal["int", "float", "bool", "string"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column a model takes, in the model's order.

    `feature` is the store's reference ``view:name`` when the value comes from the feature store, None when the
    request must bring it.
    """

    name: str
    type: ColumnType
    feature: str | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything a server needs to answer with a model, and where each byte of it came from.

    The bundle's digest is the SHA-256 of the canonical JSON of this manifest; through `files` it covers every byte.

    Parameters
    ----------
    model : str
    task : {"binary", "multiclass", "regression"}
    columns : sequence of Column
        What the model takes, in order.
    classes : sequence
        Class labels in the order of the probability columns; empty for regression.
    format : str
        What `files["model"]` is: ``onnx``, ``skops`` or ``pickle``.
    files : mapping of str to str
        Role (``model``, ``canonical``, ``serving_data``) to SHA-256 in the blob store.
    threshold : float
        Probability from which the second class is answered; binary only.
    lineage : mapping
        Code commit, data digest, feature digest, environment digest, seed, parameters.
    """

    model: str
    task: Task
    columns: Sequence[Column]
    classes: Sequence[Any]
    format: str
    files: Mapping[str, str]
    threshold: float = 0.5
    lineage: Mapping[str, Any] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """Column names in the model's order."""
        return [column.name for column in self.columns]

    @property
    def features(self) -> list[str]:
        """References of the columns that come from the feature store."""
        return [column.feature for column in self.columns if column.feature is not None]

    def to_dict(self) -> dict[str, Any]:
        return {
            "form": "millrace-bundle-1",
            "model": self.model,
            "task": self.task,
            "columns": [{"name": c.name, "type": c.type, "feature": c.feature} for c in self.columns],
            "classes": list(self.classes),
            "format": self.format,
            "files": dict(self.files),
            "threshold": self.threshold,
            "lineage": dict(self.lineage),
        }

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Manifest:
        return cls(
            model=facts["model"],
            task=facts["task"],
            columns=[Column(c["name"], c["type"], c.get("feature")) for c in facts["columns"]],
            classes=facts["classes"],
            format=facts["format"],
            files=facts["files"],
            threshold=facts["threshold"],
            lineage=facts["lineage"],
        )
