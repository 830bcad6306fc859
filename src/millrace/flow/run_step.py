"""Run one step of one run: the one thing every engine calls."""

from __future__ import annotations

import hashlib
import inspect
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from millrace.core.errors import Conflict, MillraceError, ModelError, StoreError
from millrace.core.ids import digest_json
from millrace.core.refusal import Refused
from millrace.flow.artifacts import ArtifactRef, load_artifact, save_artifact
from millrace.flow.pipeline import Pipeline, Step
from millrace.flow.run import RunRecord, find_run, find_step
from millrace.store.lease import Lease
from millrace.store.ledger import Transaction
from millrace.training.lineage import environment_digest

if TYPE_CHECKING:
    from millrace.flow.wiring import Wiring

_FINAL = ("succeeded", "refused")
# Trying again does not mend these: the code is wrong; or, by exit code, the input is, or durable state is damaged.
_PERMANENT = (2, 4)
_WRONG_CODE = (ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, NameError, TypeError)


@dataclass(frozen=True)
class StepContext:
    """What a step function may ask for beside its inputs."""

    wiring: Wiring
    run: RunRecord
    step: str
    attempt: int

    @property
    def key(self) -> str:
        """Idempotency key for an effect of this step: the same in every attempt."""
        return f"{self.run.run_id}/{self.step}"


@dataclass(frozen=True)
class StepResult:
    """How a step ended: ``succeeded``, ``refused`` or ``failed``."""

    step: str
    status: str
    attempt: int
    seconds: float
    outputs: Mapping[str, ArtifactRef] = field(default_factory=dict)
    reason: str | None = None
    error: Mapping[str, Any] | None = None
    cached: bool = False

    def to_dict(self) -> dict[str, Any]:
        facts: dict[str, Any] = {
            "step": self.step,
            "status": self.status,
            "attempt": self.attempt,
            "seconds": self.seconds,
            "outputs": {name: reference.to_dict() for name, reference in self.outputs.items()},
        }
        if self.reason is not None:
            facts["reason"] = self.reason
        if self.error is not None:
            facts["error"] = dict(self.error)
        if self.cached:
            facts["cached"] = True
        return facts

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> StepResult:
        return cls(
            step=facts["step"],
            status=facts["status"],
            attempt=facts["attempt"],
            seconds=facts.get("seconds", 0.0),
            outputs={name: ArtifactRef.from_dict(ref) for name, ref in facts.get("outputs", {}).items()},
            reason=facts.get("reason"),
            error=facts.get("error"),
            cached=facts.get("cached", False),
        )


def run_step(wiring: Wiring, pipeline: Pipeline, run_id: str, step_name: str, lease: Lease | None = None) -> StepResult:
    """Run one step and record it.

    A step that already ended is not run again. Whatever the function raises is recorded as a failed attempt; the
    caller decides on a retry. A process killed here leaves an attempt that started and did not end.

    Parameters
    ----------
    lease : Lease, optional
        The runner's lease; when it is lost, nothing is recorded and Conflict LEASE-02 is raised.
    """
    ledger = wiring.ledger
    run = find_run(ledger, run_id)
    step = pipeline.get_step(step_name)
    earlier = find_step(ledger, run_id, step_name)
    if earlier is not None and earlier["status"] in _FINAL:
        return StepResult.from_dict(earlier)
    attempt = (earlier["attempt"] if earlier is not None else 0) + 1
    references = _input_references(wiring, run_id, step)
    cache_key = _cache_key(wiring, run, step, references) if step.cached else None
    started = time.perf_counter()
    # Whoever asks for a run from this very step wants it run.
    hit = None if run.parameters.get("from") == step_name else _cached_outputs(wiring, step, cache_key)
    if hit is None:
        with ledger.transaction(lease) as transaction:
            _record(transaction, run_id, {"step": step_name, "status": "started", "attempt": attempt})
        result = _execute(StepContext(wiring, run, step_name, attempt), step, references, started)
    else:
        seconds = round(time.perf_counter() - started, 6)
        result = StepResult(step_name, "succeeded", attempt, seconds, hit, cached=True)
    with ledger.transaction(lease) as transaction:
        facts = result.to_dict()
        extra: list[tuple[str, str, Mapping[str, Any]]] = []
        if cache_key is not None and result.status == "succeeded" and not result.cached:
            extra.append(("cache", cache_key, {"outputs": facts["outputs"], "run": run_id}))
        _record(transaction, run_id, facts, extra)
    return result


def _record(
    transaction: Transaction,
    run_id: str,
    facts: dict[str, Any],
    extra: list[tuple[str, str, Mapping[str, Any]]] | None = None,
) -> None:
    transaction.append("step", run_id, facts, sets=[("step", f"{run_id}/{facts['step']}", facts), *(extra or [])])


def _execute(context: StepContext, step: Step, references: Mapping[str, ArtifactRef], started: float) -> StepResult:
    blobs = context.wiring.blobs
    try:
        arguments = {name: load_artifact(reference, blobs) for name, reference in references.items()}
        if step.wants_context:
            arguments["context"] = context
        value = step.function(**arguments)
        refused = value if isinstance(value, Refused) else None
        outputs = _named_outputs(step, value)
        saved = {name: save_artifact(output, blobs) for name, output in outputs.items()}
    except Conflict as error:
        if error.code == "LEASE-02":
            raise
        return _failed(step, context.attempt, started, error)
    except Exception as error:  # noqa: BLE001 - a user's step may raise anything; it is recorded with its text
        return _failed(step, context.attempt, started, error)
    seconds = round(time.perf_counter() - started, 6)
    status = "refused" if refused is not None else "succeeded"
    reason = refused.reason if refused is not None else None
    return StepResult(step.name, status, context.attempt, seconds, saved, reason=reason)


def _failed(step: Step, attempt: int, started: float, error: Exception) -> StepResult:
    permanent = isinstance(error, (MillraceError, *_WRONG_CODE)) and getattr(error, "exit_code", 2) in _PERMANENT
    if not isinstance(error, MillraceError):
        import traceback

        frames = traceback.extract_tb(error.__traceback__)
        last = frames[-1] if frames else None
        error = ModelError(
            "PIPE-21",
            f"step '{step.name}' stopped with {type(error).__name__}: {error}",
            where=f"{last.filename}:{last.lineno}" if last else step.place,
            why=last.line if last and last.line else None,
            fix=f"mend the cause, then: millrace run --from {step.name}",
        )
    seconds = round(time.perf_counter() - started, 6)
    facts = {**error.to_dict(), "exit_code": error.exit_code, "is_permanent": permanent}
    return StepResult(step.name, "failed", attempt, seconds, reason=error.what, error=facts)


def _named_outputs(step: Step, value: Any) -> Mapping[str, Any]:
    if isinstance(value, Refused):
        value = value.outputs
        return {name: value[name] for name in step.outputs if name in value}
    if not step.outputs:
        return {}
    if len(step.outputs) == 1 and not (isinstance(value, Mapping) and set(value) == set(step.outputs)):
        return {step.outputs[0]: value}
    if not isinstance(value, Mapping) or set(value) != set(step.outputs):
        given = sorted(value) if isinstance(value, Mapping) else type(value).__name__
        raise ModelError(
            "PIPE-22",
            f"step '{step.name}' returned {given}, not its outputs {sorted(step.outputs)}",
            where=step.place,
            fix="return a mapping with exactly these names",
        )
    return value


def _input_references(wiring: Wiring, run_id: str, step: Step) -> dict[str, ArtifactRef]:
    references = {}
    for parameter, reference in step.inputs.items():
        source, _, output = reference.partition(".")
        facts = find_step(wiring.ledger, run_id, source)
        if facts is None or output not in facts.get("outputs", {}):
            raise ModelError(
                "PIPE-23",
                f"step '{step.name}' needs '{reference}', which run '{run_id}' does not have yet",
                fix=f"run the step '{source}' first",
            )
        references[parameter] = ArtifactRef.from_dict(facts["outputs"][output])
    return references


def _cache_key(wiring: Wiring, run: RunRecord, step: Step, references: Mapping[str, ArtifactRef]) -> str:
    return digest_json(
        {
            "code": code_digest(step.function),
            "project": wiring.project.digest,
            "environment": environment_digest(),
            "model": run.model,
            "inputs": {name: reference.digest for name, reference in references.items()},
            "outputs": list(step.outputs),
        }
    )


def _cached_outputs(wiring: Wiring, step: Step, cache_key: str | None) -> dict[str, ArtifactRef] | None:
    state = wiring.ledger.state("cache", cache_key) if cache_key is not None else None
    if state is None:
        return None
    outputs = {name: ArtifactRef.from_dict(ref) for name, ref in state.value["outputs"].items()}
    try:
        values = {name: load_artifact(reference, wiring.blobs) for name, reference in outputs.items()}
        if step.recheck is not None:
            step.recheck(wiring, values)
    except StoreError:
        return None  # its bytes are gone or were changed: it is made again
    return outputs


@lru_cache(maxsize=256)
def code_digest(function: Any) -> str:
    """Digest of the file a function stands in: a change anywhere in it counts as a change of the function."""
    try:
        path = inspect.getsourcefile(inspect.unwrap(function))
        with open(path or "", "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()
    except (OSError, TypeError):
        return hashlib.sha256(repr(function).encode()).hexdigest()
