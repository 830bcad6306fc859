"""What the ledger knows of a run and its steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from millrace.core.clock import from_text, to_text
from millrace.core.errors import ProjectError, did_you_mean
from millrace.store.ledger import Ledger

OPEN = "running"
ABANDONED = "abandoned"


@dataclass(frozen=True)
class RunRecord:
    """One execution of a pipeline.

    Parameters
    ----------
    as_of : datetime
        The moment the run is about: no row known later is read.
    is_replay : bool
        Whether time stands at `as_of` for the whole run (history is replayed) or is the machine's.
    code : str
        Digest of the project's definitions when the run began.
    reason : str
        Why it was started, e.g. ``manual`` or a trigger's text.
    """

    run_id: str
    pipeline: str
    model: str | None
    as_of: datetime
    is_replay: bool
    status: str
    reason: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    started_at: str = ""
    finished_at: str | None = None
    message: str | None = None
    code: str = ""

    def to_dict(self) -> dict[str, Any]:
        return {
            "run_id": self.run_id,
            "pipeline": self.pipeline,
            "model": self.model,
            "as_of": to_text(self.as_of),
            "is_replay": self.is_replay,
            "status": self.status,
            "reason": self.reason,
            "parameters": dict(self.parameters),
            "started_at": self.started_at,
            "finished_at": self.finished_at,
            "message": self.message,
            "code": self.code,
        }

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> RunRecord:
        return cls(**{**facts, "as_of": from_text(facts["as_of"])})


def find_run(ledger: Ledger, run_id: str) -> RunRecord:
    """The run `run_id`. Raises ProjectError RUN-01 with the nearest identifier."""
    state = ledger.state("run", run_id)
    if state is None:
        known = [other.key for other in ledger.states("run")]
        raise ProjectError("RUN-01", f"there is no run '{run_id}'", fix=did_you_mean(run_id, known[-20:]))
    return RunRecord.from_dict(state.value)


def list_runs(ledger: Ledger, *, model: str | None = None) -> list[RunRecord]:
    """All runs, oldest first."""
    runs = [RunRecord.from_dict(state.value) for state in sorted(ledger.states("run"), key=lambda state: state.seq)]
    return [run for run in runs if model is None or run.model == model]


def find_step(ledger: Ledger, run_id: str, step: str) -> dict[str, Any] | None:
    """The newest record of a step in a run, or None when it has not begun."""
    state = ledger.state("step", f"{run_id}/{step}")
    return None if state is None else state.value
