"""Which run: a new one, the one that was interrupted, or one that starts in the middle of an earlier one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from millrace.core.clock import Clock, SystemClock, from_text, to_text
from millrace.core.errors import ModelError
from millrace.core.ids import new_id
from millrace.flow.lifecycle import get_pipeline, has_extracted, has_judged
from millrace.flow.quarantine import return_batches
from millrace.flow.run import ABANDONED, OPEN, RunRecord, find_run, find_step, list_runs
from millrace.store.ledger import Ledger, Transaction
from millrace.validation.released import take_over

if TYPE_CHECKING:
    from millrace.flow.project import Project

LONGEST_PAUSE = timedelta(days=1)
"""An interrupted run older than this is not gone on with: its data is yesterday's."""


class Runs:
    """Writes runs down; `Runner` carries them out."""

    def __init__(self, project: Project, clock: Clock | None = None) -> None:
        self._project = project
        self._clock: Clock = clock or SystemClock()
        self.ledger = Ledger.open(project.settings.active.ledger, self._clock)

    def start(
        self,
        pipeline: str,
        model: str | None,
        *,
        reason: str = "manual",
        run_id: str | None = None,
        as_of: datetime | None = None,
        is_replay: bool = False,
        parameters: Mapping[str, Any] | None = None,
    ) -> RunRecord:
        """Record a new run. The same `run_id` twice is the same run."""
        now = self._clock.now()
        run = RunRecord(
            run_id=run_id or new_id("run", now),
            pipeline=pipeline,
            model=model,
            as_of=as_of or now,
            is_replay=is_replay,
            status=OPEN,
            reason=reason,
            parameters=dict(parameters or {}),
            started_at=to_text(now),
            code=self._project.digest,
        )
        facts = run.to_dict()
        event = self.ledger.append(
            "run", model or pipeline, facts, key=f"run:{run.run_id}", sets=[("run", run.run_id, facts)]
        )
        return run if event.is_new else find_run(self.ledger, run.run_id)

    def start_from(self, step: str, pipeline: str, model: str | None, *, reason: str = "manual") -> RunRecord:
        """Record a new run that takes everything before `step` from the newest run that has it.

        Runs of a replayed past do not count, unless there is no other. One that was interrupted is closed: its batch
        is the new run's, and must not wait again when that has learned from it.

        Raises
        ------
        ModelError
            RUN-02 when no earlier run got that far.
        """
        graph = get_pipeline(self._project, pipeline)
        graph.get_step(step)
        kept = [name for name in graph.order if name not in graph.downstream(step)]
        candidates = [run for run in reversed(list_runs(self.ledger, model=model)) if run.pipeline == pipeline]
        for earlier in sorted(candidates, key=lambda run: run.is_replay):
            states = {name: find_step(self.ledger, earlier.run_id, name) for name in kept}
            found = {name: state for name, state in states.items() if state and state["status"] == "succeeded"}
            if len(found) == len(kept):
                if earlier.status == OPEN:
                    self._abandon(earlier)
                parameters = {**earlier.parameters, "from": step, "base": earlier.run_id}
                run = self.start(
                    pipeline,
                    model,
                    reason=reason,
                    as_of=earlier.as_of,
                    is_replay=earlier.is_replay,
                    parameters=parameters,
                )
                sets = [("step", f"{run.run_id}/{name}", {**state, "reused": True}) for name, state in found.items()]
                with self.ledger.transaction() as transaction:
                    transaction.append("step", run.run_id, {"reused": kept, "base": earlier.run_id}, sets=sets)
                    if has_extracted(graph, kept):
                        take_over(transaction, earlier.run_id, run.run_id)
                return run
        raise ModelError(
            "RUN-02",
            f"no earlier run finished everything before '{step}'",
            why=f"a run from there needs the results of: {', '.join(kept)}",
            fix="run the whole pipeline once: millrace run",
        )

    def resume_or_start(self, pipeline: str, model: str | None, *, reason: str = "manual") -> RunRecord:
        """The run that was interrupted, if it may still go on, else a new one.

        It may when the project's code is the same, a day has not passed, time was not replayed, and no later run
        ended since: an old candidate must not replace a newer one. Otherwise it is closed as abandoned.
        """
        runs = [run for run in list_runs(self.ledger, model=model) if run.pipeline == pipeline]
        resumed = None
        for run in runs:
            if run.status != OPEN:
                continue
            if self._may_go_on(run, runs):
                resumed = run
            else:
                self._abandon(run)
        return resumed or self.start(pipeline, model, reason=reason)

    def _may_go_on(self, run: RunRecord, runs: list[RunRecord]) -> bool:
        is_young = self._clock.now() - from_text(run.started_at) <= LONGEST_PAUSE
        is_newest = run is runs[-1]
        return run.code == self._project.digest and is_young and is_newest and not run.is_replay

    def _abandon(self, run: RunRecord) -> None:
        message = "interrupted; a new run took its place"
        ended = replace(run, status=ABANDONED, message=message, finished_at=to_text(self._clock.now()))
        with self.ledger.transaction() as transaction:
            self._end(transaction, ended)

    def _end(
        self, transaction: Transaction, run: RunRecord, tells: Sequence[tuple[str, str, Mapping[str, Any]]] = ()
    ) -> None:
        """Write down how a run ended; what it was to learn from and did not waits again, from the same moment on."""
        facts = run.to_dict()
        transaction.append(
            "run",
            run.model or run.pipeline,
            facts,
            key=f"run-end:{run.run_id}",
            sets=[("run", run.run_id, facts)],
            tells=tells,
        )
        pipeline = get_pipeline(self._project, run.pipeline)
        states = {name: transaction.state("step", f"{run.run_id}/{name}") for name in pipeline.order}
        ended = {name: state.value["status"] for name, state in states.items() if state is not None}
        if run.status != "succeeded" and not has_judged(pipeline, ended):
            return_batches(transaction, run, self._project.settings.active.channels)
