"""What a batch is compared with: made once from what a version learned from, kept as blobs, named in the ledger.

So a look at production reads the current batch alone. A reference is a profile of the columns, a sample of rows for the
classifier, and the model's answers on its holdout.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from millrace.core.ids import canonical_json, digest_json
from millrace.core.records import ModelVersion
from millrace.flow.artifacts import ArtifactRef, load_artifact, save_artifact
from millrace.flow.run import find_step

if TYPE_CHECKING:
    import pyarrow as pa

    from millrace.drift.batch import Answers
    from millrace.drift.profile import ReferenceProfile
    from millrace.flow.model import Model
    from millrace.flow.wiring import Wiring

SAMPLE_ROWS = 10_000
HOLDOUT_ROWS = 5_000
_SEED = 20_250_104


@dataclass(frozen=True)
class Reference:
    """Columns as they were: their profile, a sample of rows, and how often each label stood there, as text."""

    profile: ReferenceProfile
    sample: pa.Table
    label_shares: Mapping[str, float]


@dataclass(frozen=True)
class Holdout:
    """What a version answered on rows it had not seen, with their labels; `reliance` is None when it has none."""

    answers: Answers
    classes: Sequence[Any]
    reliance: Mapping[str, float] | None


def keep_reference(
    wiring: Wiring,
    subject: str,
    digest: str,
    columns: Sequence[str],
    load: Callable[[], pa.Table],
    *,
    label: str | None = None,
) -> Reference:
    """The reference of the data under `digest`; `load` is called only when it was not kept yet.

    Writes the blobs first and then the event ``reference``: what the ledger names is there.
    """
    from millrace.drift.profile import ReferenceProfile

    key = f"reference:{digest}:{digest_json([*columns, label])[:16]}"
    event = wiring.ledger.find(key)
    if event is None:
        table = load()
        profile = ReferenceProfile.of(table, columns=columns)
        body = {
            "data": digest,
            "rows": table.num_rows,
            "profile": wiring.blobs.put(profile.to_bytes()),
            "sample": save_artifact(_sample(table.select(list(columns)), SAMPLE_ROWS), wiring.blobs).to_dict(),
            "label_shares": _shares(table, label),
        }
        event = wiring.ledger.append("reference", subject, body, key=key)
    return Reference(
        ReferenceProfile.from_bytes(wiring.blobs.get(event.body["profile"])),
        load_artifact(ArtifactRef.from_dict(event.body["sample"]), wiring.blobs),
        event.body["label_shares"],
    )


def training_reference(wiring: Wiring, model: Model, version: ModelVersion) -> Reference | None:
    """The rows a version learned from, as its run kept them; None when that run is not on the record."""
    step = find_step(wiring.ledger, version.run_id, "build_features")
    if step is None:
        return None
    artifact = ArtifactRef.from_dict(step["outputs"]["training"])
    names = wiring.manifest(version.digest).names
    return keep_reference(
        wiring,
        model.name,
        artifact.digest,
        names,
        lambda: load_artifact(artifact, wiring.blobs),
        label=model.labels.column,
    )


def holdout_of(wiring: Wiring, model: Model, version: ModelVersion) -> Holdout | None:
    """A version's answers on its own holdout, asked once; None when its run is not on the record."""
    from millrace.drift.batch import Answers

    manifest = wiring.manifest(version.digest)
    key = f"holdout_answers:{version.digest}:{version.run_id}"
    event = wiring.ledger.find(key)
    if event is None:
        step = find_step(wiring.ledger, version.run_id, "train")
        if step is None:
            return None
        body = _ask_holdout(wiring, model, version, ArtifactRef.from_dict(step["outputs"]["holdout"]))
        event = wiring.ledger.append("holdout_answers", model.name, body, key=key)
    kept = json.loads(wiring.blobs.get(event.body["answers"]))
    return Holdout(
        Answers(kept["outputs"], kept["scores"], kept["labels"]), list(manifest.classes), event.body["reliance"]
    )


def _ask_holdout(wiring: Wiring, model: Model, version: ModelVersion, holdout: ArtifactRef) -> dict[str, Any]:
    import numpy as np

    from millrace.drift.reliance import model_reliance
    from millrace.flow.produce import to_rows

    table = _sample(load_artifact(holdout, wiring.blobs), HOLDOUT_ROWS)
    predictor, names = wiring.predictor(version.digest), wiring.manifest(version.digest).names
    rows = to_rows(table, names)
    answer = predictor.predict(rows)
    has_scores = bool(answer.scores and answer.scores[0])

    def numbers(asked: Any) -> Any:
        found = predictor.predict(asked)
        return np.asarray(found.scores if has_scores else found.outputs, dtype=np.float64)

    can_rely = has_scores or model.task == "regression"
    facts = {
        "outputs": list(answer.outputs),
        "scores": [list(scores) for scores in answer.scores] if has_scores else None,
        "labels": table.column(model.labels.column).to_pylist(),
    }
    return {
        "version": version.version,
        "rows": table.num_rows,
        "answers": wiring.blobs.put(canonical_json(facts).encode()),
        "reliance": model_reliance(rows, names, numbers) if can_rely else None,
    }


def _sample(table: pa.Table, most: int) -> pa.Table:
    """At most so many rows, the same ones each time, in their order."""
    if table.num_rows <= most:
        return table
    import numpy as np

    random = np.random.default_rng(_SEED)
    return table.take(np.sort(random.choice(table.num_rows, most, replace=False)))


def _shares(table: pa.Table, label: str | None) -> dict[str, float]:
    """How often each label stood there: a rare class makes long runs of the other normal."""
    if label is None or label not in table.column_names or table.num_rows == 0:
        return {}
    counts = Counter(str(value) for value in table.column(label).to_pylist())
    return {value: count / table.num_rows for value, count in counts.items()}
