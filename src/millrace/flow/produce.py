"""The second half of the training pipeline: fit, judge, register."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from millrace.core.bundle import Column
from millrace.core.ids import digest_json
from millrace.core.refusal import Refused
from millrace.flow.column_types import column_type
from millrace.flow.pinned_features import keep_definitions
from millrace.flow.run_step import StepContext
from millrace.flow.serving_rules import keep_serving_rules

if TYPE_CHECKING:
    import pyarrow as pa

    from millrace.flow.model import Model
    from millrace.flow.wiring import Wiring

GOLDEN_ROWS = 20
SAMPLE_ROWS = 1000


def train(context: StepContext, training: pa.Table, snapshot: dict[str, Any]) -> dict[str, Any]:
    """Fit the user's function on the training rows and package what it returns; the holdout stays unseen."""
    from millrace.serving.predictor import load_predictor
    from millrace.training.fit import find_classes, fit
    from millrace.training.lineage import trace_lineage
    from millrace.training.package import installed_exporters, package, store_manifest

    wiring = context.wiring
    model = wiring.project.get_model(context.run.model)
    learn, holdout = split(model, training)
    columns = model_columns(wiring, model, training)
    names = [column.name for column in columns]
    X, y = to_frame(learn.select(names)), learn.column(model.labels.column).to_pandas()
    fitted = fit(model.function, X, y, model.seed)
    keep_definitions(wiring.ledger, wiring.feature_definitions(model))
    classes = [] if model.task == "regression" else find_classes(y)
    lineage = trace_lineage(
        model.function,
        root=wiring.project.root,
        seed=model.seed,
        project_digest=wiring.project.digest,
        snapshot=snapshot,
        data_digest=snapshot["digest"],
        feature_digest=digest_json(wiring.feature_pins(model)),
        feature_pins=wiring.feature_pins(model),
        parameters=parameters_of(fitted),
        run_id=context.run.run_id,
        rows_trained=learn.num_rows,
    )
    manifest = package(
        fitted,
        to_frame(holdout.select(names)).head(SAMPLE_ROWS),
        model=model.name,
        task=model.task,
        columns=columns,
        classes=classes,
        lineage=lineage,
        blobs=wiring.blobs,
        exporters=installed_exporters(),
        load=load_predictor,
        files=keep_serving_rules(wiring, model, columns),
    )
    return {
        "bundle": {"digest": store_manifest(manifest, wiring.blobs), "format": manifest.format},
        "holdout": holdout,
        "learned": learn.select([model.labels.column]),
    }


def recheck_bundle(wiring: Wiring, outputs: Mapping[str, Any]) -> None:
    """Raise StoreError unless every byte of a cached bundle is there as it was packaged."""
    for digest in wiring.manifest(outputs["bundle"]["digest"]).files.values():
        wiring.blobs.get_file(digest)


def validate_model(context: StepContext, bundle: dict[str, Any], holdout: pa.Table, learned: pa.Table) -> Any:
    """Put every gate to the candidate, record each verdict, and write down golden rows for the smoke test."""
    from millrace.gates.evaluate import blocks, evaluate_all

    wiring = context.wiring
    model = wiring.project.get_model(context.run.model)
    trial = judge_context(wiring, model, bundle["digest"], holdout, learned)
    verdicts = [
        wiring.record_verdict(
            verdict,
            subject=model.name,
            key=f"{context.key}:{number}:{verdict.rule}",
            extra={"run": context.run.run_id, "step": context.step, "digest": bundle["digest"]},
        )
        for number, verdict in enumerate(evaluate_all(model.gates, trial))
    ]
    metrics = trial.score(model.task, trial.y_true, trial.outputs, trial.scores, trial.classes)
    facts: dict[str, Any] = {
        "verdicts": [verdict.to_dict() for verdict in verdicts],
        "metrics": {name: value for name, value in metrics.items() if value == value},
        "golden": wiring.blobs.put(golden_rows(wiring, model, bundle["digest"], holdout)),
    }
    refusals = [verdict for verdict in verdicts if blocks(verdict)]
    if not refusals:
        return facts
    reasons = "; ".join(verdict.reason for verdict in refusals)
    wiring.alert(
        f"{context.key}:alert",
        "warning",
        model.name,
        f"a candidate for '{model.name}' was refused: production stays as it is",
        reasons,
        {"run": context.run.run_id, "gates": [verdict.rule for verdict in refusals]},
    )
    return Refused(reasons, {"validation": facts})


def register(context: StepContext, bundle: dict[str, Any], validation: dict[str, Any]) -> dict[str, Any]:
    """Make the candidate a version. The same run registers once, however often this step is tried."""
    wiring = context.wiring
    model = wiring.project.get_model(context.run.model)
    manifest = wiring.manifest(bundle["digest"])
    champion = wiring.registry.find(model.name, "champion")
    if champion is not None and champion.digest == bundle["digest"]:
        return champion.to_dict()  # the same code on the same rows: there is nothing new to number
    version = wiring.registry.register(
        model.name,
        digest=bundle["digest"],
        golden=validation["golden"],
        run_id=context.run.run_id,
        metrics=validation["metrics"],
        parameters=manifest.lineage.get("parameters", {}),
        lineage=manifest.lineage,
        files=manifest.files,
        key=context.key,
    )
    wiring.registry.move_alias(
        model.name,
        "challenger",
        version.version,
        reason=f"passed its gates in {context.run.run_id}",
        key=f"{context.key}:challenger",
    )
    return version.to_dict()


def split(model: Model, table: pa.Table) -> tuple[pa.Table, pa.Table]:
    """(rows to learn from, rows to judge on), as the model's holdout says."""
    from millrace.data.split import split_by_time, split_random

    if model.holdout == "time" and model.labels.event_time:
        return split_by_time(table, model.labels.event_time, model.holdout_share, model.labels.delay)
    return split_random(table, model.holdout_share, model.seed)


def model_columns(wiring: Wiring, model: Model, table: pa.Table) -> list[Column]:
    """What the model takes, in order: its inputs, then its features."""
    columns = [Column(name, column_type(table, name), None) for name in model.inputs]
    for reference in wiring.feature_references(model):
        name = reference.partition(":")[2]
        columns.append(Column(name, column_type(table, name), reference))
    return columns


def to_frame(table: pa.Table) -> Any:
    """A pandas frame in which a null number is NaN, as scikit-learn takes it."""
    return table.to_pandas()


def parameters_of(fitted: Any) -> dict[str, Any]:
    """What the estimator says of its parameters, JSON-ready; empty when it says nothing."""
    ask = getattr(fitted, "get_params", None)
    found = ask() if callable(ask) else {}
    return {name: value if _is_plain(value) else str(value) for name, value in found.items()}


def judge_context(wiring: Wiring, model: Model, digest: str, holdout: pa.Table, learned: pa.Table) -> Any:
    """What the gates look at: the candidate as it would be served, the champion, and the trivial baselines."""
    import numpy as np

    from millrace.gates.context import GateContext
    from millrace.training.metrics import score

    candidate = wiring.predictor(digest)
    manifest = wiring.manifest(digest)
    rows = to_rows(holdout, manifest.names)
    answer = candidate.predict(rows)
    champion_outputs, champion_scores = champion_answers(wiring, model, holdout)
    return GateContext(
        task=model.task,
        y_true=np.asarray(holdout.column(model.labels.column).to_pylist()),
        outputs=np.asarray(answer.outputs),
        scores=np.asarray(answer.scores, dtype=float) if answer.scores and answer.scores[0] else None,
        classes=list(manifest.classes),
        y_train=np.asarray(learned.column(model.labels.column).to_pylist()),
        champion_outputs=champion_outputs,
        champion_scores=champion_scores,
        persistence_outputs=persistence(model, holdout),
        rows=rows,
        columns=manifest.columns,
        predict=lambda rows: _predict(candidate, rows),
        score=score,
    )


def champion_answers(wiring: Wiring, model: Model, holdout: pa.Table) -> tuple[Any, Any]:
    """The champion's outputs and scores on the same rows; None twice when there is none that can answer them."""
    import numpy as np

    champion = wiring.registry.find(model.name, "champion")
    if champion is None:
        return None, None
    names = wiring.manifest(champion.digest).names
    if not set(names) <= set(holdout.column_names):
        return None, None
    answer = wiring.predictor(champion.digest).predict(to_rows(holdout, names))
    scores = np.asarray(answer.scores, dtype=float) if answer.scores and answer.scores[0] else None
    return np.asarray(answer.outputs), scores


def persistence(model: Model, holdout: pa.Table) -> Any:
    """ "Same as last time" on the holdout's rows, where their order in time is known and unbroken; else None."""
    import numpy as np

    if model.holdout != "time" or not model.labels.event_time or holdout.num_rows < 2:
        return None
    ordered = holdout.sort_by(model.labels.event_time).column(model.labels.column).to_pylist()
    return np.asarray([ordered[0], *ordered[:-1]])


def golden_rows(wiring: Wiring, model: Model, digest: str, holdout: pa.Table) -> bytes:
    """Requests spread over the holdout with the answers the candidate gave, for the smoke test."""
    from millrace.deployment.smoke import Golden

    step = max(1, holdout.num_rows // GOLDEN_ROWS)
    chosen = holdout.take(list(range(0, holdout.num_rows, step))[:GOLDEN_ROWS])
    names = wiring.manifest(digest).names
    predictor = wiring.predictor(digest)
    rows = to_rows(chosen, names)
    # One row at a time, as they will be replayed: a batch may be summed in another order.
    answers = [predictor.predict([row]) for row in rows]
    return Golden(
        requests=[{"inputs": dict(zip(names, row, strict=True))} for row in rows],
        answers=[
            {"output": answer.outputs[0], "scores": list(answer.scores[0]) if answer.scores else []}
            for answer in answers
        ],
    ).to_json()


def to_rows(table: pa.Table, names: list[str]) -> list[list[Any]]:
    """Rows as a request brings them: Python values, None for null and for what JSON cannot say."""
    columns = [
        [None if isinstance(value, float) and not math.isfinite(value) else value for value in column]
        for column in (table.column(name).to_pylist() for name in names)
    ]
    return [list(row) for row in zip(*columns, strict=True)]


def _is_plain(value: Any) -> bool:
    """Whether JSON can say it."""
    return isinstance(value, (int, str, bool)) or (isinstance(value, float) and math.isfinite(value))


def _predict(predictor: Any, rows: Any) -> tuple[Any, Any]:
    answer = predictor.predict(rows)
    return answer.outputs, answer.scores


def load_golden(wiring: Wiring, digest: str) -> Any:
    """The golden rows behind a digest."""
    from millrace.deployment.smoke import Golden

    return Golden.from_json(wiring.blobs.get(digest))
