"""The embedded runner: orders the steps of a run, durable per step, resumable after a crash at any instant."""

from __future__ import annotations

import graphlib
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from millrace.core.clock import Clock, SystemClock, to_text
from millrace.core.errors import MillraceError, MissingExtra, ModelError, ProjectError, StoreError
from millrace.flow.lifecycle import get_pipeline
from millrace.flow.pipeline import Pipeline
from millrace.flow.run import OPEN, RunRecord, find_run, find_step
from millrace.flow.run_step import StepResult
from millrace.flow.runs import Runs
from millrace.flow.tell import tracked_run
from millrace.flow.workers import InlineWorker, Task, Worker, make_worker
from millrace.store.lease import DEFAULT_LEASE_S, Lease, acquire, holding, release, renew

if TYPE_CHECKING:
    from millrace.flow.project import Project

_POLL_S = 0.5
_RENEW_EVERY_S = 15.0
_INLINE_LEASE_S = 86400.0

Listener = Callable[[str, Mapping[str, Any]], None]


@dataclass(frozen=True)
class RunResult:
    """How a run ended."""

    run: RunRecord
    steps: Mapping[str, StepResult]

    @property
    def status(self) -> str:
        return self.run.status

    @property
    def exit_code(self) -> int:
        """0 when it succeeded, 1 when it was refused, else that of the error that ended it."""
        if self.status == "succeeded":
            return 0
        errors = [step.error for step in self.steps.values() if step.error is not None]
        return int(errors[-1].get("exit_code", 1)) if errors else 1

    def to_dict(self) -> dict[str, Any]:
        return {**self.run.to_dict(), "steps": {name: step.to_dict() for name, step in self.steps.items()}}


@dataclass
class _Progress:
    """One execution's bookkeeping; everything durable is in the ledger."""

    results: dict[str, StepResult] = field(default_factory=dict)
    busy: dict[str, tuple[Worker, float]] = field(default_factory=dict)
    waiting: dict[str, float] = field(default_factory=dict)
    failures: dict[str, int] = field(default_factory=dict)
    failed: str | None = None
    refused: str | None = None

    @property
    def is_over(self) -> bool:
        return self.failed is not None or self.refused is not None


class Runner(Runs):
    """Runs pipelines of a project. Use as a context manager: it ends its worker processes.

    Parameters
    ----------
    executor : {"inline", "fork", "spawn"}, optional
        Where steps run; the environment's setting when None.
    on_event : callable, optional
        Called with ``("step", facts)`` and ``("run", facts)`` as they change, for live progress.
    """

    def __init__(
        self,
        project: Project,
        *,
        executor: str | None = None,
        clock: Clock | None = None,
        on_event: Listener | None = None,
    ) -> None:
        super().__init__(project, clock)
        self._executor = executor or project.settings.active.executor
        self._on_event = on_event or _ignore
        self._idle: list[Worker] = []
        self._workers: list[Worker] = []
        self._held: dict[tuple[str, str | None], Lease] = {}
        self.kept: list[Lease] = []
        """Further leases to keep alive while a run takes its time: the loop's."""

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()

    def close(self) -> None:
        """End the worker processes."""
        for worker in self._workers:
            worker.close()
        self._workers.clear()
        self._idle.clear()

    def execute(self, run_id: str) -> RunResult:
        """Run what is left of a run.

        Raises
        ------
        Conflict
            LEASE-01 while another process runs this model's pipeline.
        """
        run = find_run(self.ledger, run_id)
        pipeline = get_pipeline(self._project, run.pipeline)
        if run.status != OPEN:
            return RunResult(run, self._recorded(pipeline, run_id))
        held = self._held.get((run.pipeline, run.model))
        lease = held or acquire(self.ledger.database, _resource(run.pipeline, run.model), seconds=self._lease_s)
        try:
            progress = self._drive(pipeline, run, lease)
            return self._finish(run, progress, lease)
        finally:
            self._stop_busy()
            if held is None:
                release(self.ledger.database, lease)

    @contextmanager
    def alone(self, pipeline: str, model: str | None) -> Iterator[None]:
        """The right to run this pipeline, from before a run is recorded: who comes second leaves no open run behind.

        Raises
        ------
        Conflict
            LEASE-01 while another process runs this model's pipeline.
        """
        with holding(self.ledger.database, _resource(pipeline, model), seconds=self._lease_s) as lease:
            self._held[pipeline, model] = lease
            try:
                yield
            finally:
                del self._held[pipeline, model]

    def _drive(self, pipeline: Pipeline, run: RunRecord, lease: Lease) -> _Progress:
        progress = _Progress(results=self._recorded(pipeline, run.run_id))
        self._on_event("run", run.to_dict())
        for name, result in progress.results.items():
            self._on_event("step", {**result.to_dict(), "resumed": True})
            if result.status == "refused":
                progress.refused = name
        sorter = graphlib.TopologicalSorter(pipeline.needs)
        sorter.prepare()
        renewed = time.monotonic()
        ready: list[str] = []
        while sorter.is_active() and not (progress.is_over and not progress.busy):
            for name in sorter.get_ready():
                if name in progress.results:
                    sorter.done(name)
                else:
                    ready.append(name)
            if not progress.is_over:
                ready = self._submit_ready(ready, run, lease, progress)
            if not progress.busy and not ready and not sorter.is_active():
                break
            for name in self._collect(pipeline, run, lease, progress, ready):
                sorter.done(name)
            if time.monotonic() - renewed > _RENEW_EVERY_S:
                for held in (lease, *self.kept):
                    renew(self.ledger.database, held)
                renewed = time.monotonic()
        return progress

    @property
    def _lease_s(self) -> float:
        """An inline step cannot be interrupted to renew; a dead process of this machine is noticed at once anyway."""
        return _INLINE_LEASE_S if self._executor == "inline" else DEFAULT_LEASE_S

    def _submit_ready(self, ready: list[str], run: RunRecord, lease: Lease, progress: _Progress) -> list[str]:
        later = []
        for name in ready:
            if progress.waiting.get(name, 0.0) > time.monotonic():
                later.append(name)
                continue
            worker = self._take_worker()
            if worker is None:
                later.append(name)
                continue
            progress.waiting.pop(name, None)
            self._on_event("step", {"step": name, "status": "started"})
            progress.busy[name] = (worker, time.monotonic())
            worker.submit(Task(run.run_id, name, lease))
        return later

    def _collect(
        self, pipeline: Pipeline, run: RunRecord, lease: Lease, progress: _Progress, ready: list[str]
    ) -> list[str]:
        """Take what workers answered; the names of steps that succeeded."""
        done = []
        if not progress.busy:
            soonest = min((progress.waiting.get(name, 0.0) for name in ready), default=0.0)
            self._wait(max(0.0, soonest - time.monotonic()), progress, ready)
        share = _POLL_S / max(1, len(progress.busy))
        for name, (worker, began) in list(progress.busy.items()):
            step = pipeline.get_step(name)
            if not worker.poll(share):
                if step.timeout_s is None or time.monotonic() - began < step.timeout_s:
                    continue
                worker.kill()
                result = self._overdue(run, name, step.timeout_s, lease)
            else:
                result = self._answer(worker, run, name, lease)
            del progress.busy[name]
            self._idle.append(worker)
            self._on_event("step", result.to_dict())
            if self._settle(pipeline, name, result, progress):
                done.append(name)
            elif name in progress.waiting:
                ready.append(name)
        return done

    def _settle(self, pipeline: Pipeline, name: str, result: StepResult, progress: _Progress) -> bool:
        """Note a step's end; whether its successors may run."""
        if result.status == "succeeded":
            progress.results[name] = result
            return True
        if result.status == "refused":
            progress.results[name] = result
            progress.refused = name
            return False
        failures = progress.failures[name] = progress.failures.get(name, 0) + 1
        step = pipeline.get_step(name)
        if failures > step.retries or (result.error or {}).get("is_permanent"):
            progress.results[name] = result
            progress.failed = name
            return False
        jitter = 1 + random.random() * 0.25  # noqa: S311 - spreads retries, guards nothing
        delay = step.delay_s(failures) * jitter
        self._on_event("step", {"step": name, "status": "waiting", "seconds": delay, "attempt": result.attempt + 1})
        progress.waiting[name] = time.monotonic() + delay
        return False

    def _wait(self, seconds: float, progress: _Progress, ready: list[str]) -> None:
        if seconds <= 0:
            return
        if isinstance(self._clock, SystemClock):
            time.sleep(min(seconds, _POLL_S))
            return
        self._clock.sleep(seconds)  # a replayed clock jumps
        for name in ready:
            progress.waiting.pop(name, None)

    def _answer(self, worker: Worker, run: RunRecord, name: str, lease: Lease) -> StepResult:
        try:
            return worker.result()
        except MillraceError as error:
            if error.code == "LEASE-02":
                raise
            return self._record_failure(run, name, error, lease)

    def _overdue(self, run: RunRecord, name: str, timeout_s: float, lease: Lease) -> StepResult:
        error = ModelError(
            "RUN-11",
            f"step '{name}' took longer than {timeout_s:g} s and was ended",
            fix="give the step more time (timeout=), or look at what it waits for",
        )
        return self._record_failure(run, name, error, lease)

    def _record_failure(self, run: RunRecord, name: str, error: MillraceError, lease: Lease) -> StepResult:
        """Write down an attempt that could not write its own end; if it could after all, that end stands."""
        key = f"{run.run_id}/{name}"
        with self.ledger.transaction(lease) as transaction:
            state = transaction.state("step", key)
            if state is not None and state.value["status"] in ("succeeded", "refused"):
                return StepResult.from_dict(state.value)
            attempt = state.value["attempt"] if state is not None else 1
            permanent = isinstance(error, ProjectError | MissingExtra | StoreError)  # time mends none of these
            facts = {**error.to_dict(), "exit_code": error.exit_code, "is_permanent": permanent}
            result = StepResult(name, "failed", attempt, 0.0, reason=error.what, error=facts)
            transaction.append("step", run.run_id, result.to_dict(), sets=[("step", key, result.to_dict())])
        return result

    def _finish(self, run: RunRecord, progress: _Progress, lease: Lease) -> RunResult:
        if progress.failed is not None:
            status, message = "failed", progress.results[progress.failed].reason
        elif progress.refused is not None:
            status, message = "refused", progress.results[progress.refused].reason
        else:
            status, message = "succeeded", None
        ended = replace(run, status=status, message=message, finished_at=to_text(self._clock.now()))
        tells = [("tracker", f"run:{run.run_id}", tracked_run(self._project, self.ledger, ended))] if run.model else []
        with self.ledger.transaction(lease) as transaction:
            self._end(transaction, ended, tells)
        self._on_event("run", ended.to_dict())
        return RunResult(ended, progress.results)

    def _recorded(self, pipeline: Pipeline, run_id: str) -> dict[str, StepResult]:
        found = {}
        for name in pipeline.order:
            state = find_step(self.ledger, run_id, name)
            if state is not None and state["status"] in ("succeeded", "refused"):
                found[name] = StepResult.from_dict(state)
        return found

    def _take_worker(self) -> Worker | None:
        if self._idle:
            return self._idle.pop()
        limit = 1 if self._executor == "inline" else self._project.settings.active.workers
        if len(self._workers) >= limit:
            return None
        worker = make_worker(self._project, self._executor)
        self._workers.append(worker)
        return worker

    def _stop_busy(self) -> None:
        for worker in self._workers:
            if worker not in self._idle:
                if not isinstance(worker, InlineWorker):
                    worker.kill()
                self._idle.append(worker)


def _resource(pipeline: str, model: str | None) -> str:
    return f"run:{pipeline}/{model or ''}"


def _ignore(kind: str, facts: Mapping[str, Any]) -> None:
    """No listener."""
