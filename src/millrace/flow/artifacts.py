"""Artifacts: what a step leaves for the next. A reference is a kind and a digest; the bytes are a blob."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from typing import Any, Literal

from millrace.core.errors import ModelError
from millrace.core.ids import canonical_json
from millrace.store.blobs import BlobStore

Kind = Literal["json", "table", "bytes"]


@dataclass(frozen=True, slots=True)
class ArtifactRef:
    """Where a step's output is: its form and the digest of its bytes."""

    kind: Kind
    digest: str
    size_bytes: int

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, "digest": self.digest, "size_bytes": self.size_bytes}

    @classmethod
    def from_dict(cls, facts: dict[str, Any]) -> ArtifactRef:
        return cls(**facts)


def save_artifact(value: Any, blobs: BlobStore) -> ArtifactRef:
    """Store `value` durably: a pyarrow.Table as Parquet, bytes as they are, anything else as JSON.

    Raises
    ------
    ModelError
        PIPE-20 when the value is none of these.
    """
    kind, data = _encode(value)
    return ArtifactRef(kind, blobs.put(data), len(data))


def load_artifact(reference: ArtifactRef, blobs: BlobStore) -> Any:
    """The value behind a reference, its bytes checked."""
    data = blobs.get(reference.digest)
    if reference.kind == "json":
        return json.loads(data)
    if reference.kind == "table":
        import pyarrow.parquet

        return pyarrow.parquet.read_table(io.BytesIO(data))
    return data


def _encode(value: Any) -> tuple[Kind, bytes]:
    if isinstance(value, bytes):
        return "bytes", value
    if type(value).__module__.startswith("pyarrow"):
        import pyarrow.parquet

        sink = io.BytesIO()
        pyarrow.parquet.write_table(value, sink, compression="zstd")
        return "table", sink.getvalue()
    try:
        return "json", canonical_json(value).encode()
    except (TypeError, ValueError) as error:
        raise ModelError(
            "PIPE-20",
            f"a step's output of type {type(value).__name__} cannot be stored: {error}",
            fix="return a pyarrow.Table, bytes, or JSON values without NaN",
        ) from error
