"""Replay history through the real loop: real requests to a real server, labels that arrive later, real retrains.

Time is the stream's own. Row by row, what has become known is pushed to the feature store and a prediction is asked
over HTTP; after each batch the loop looks, as it would on a schedule.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from millrace.core.clock import ManualClock, to_text
from millrace.core.errors import MillraceError, ServiceError
from millrace.flow.endpoint import Endpoint, start_server
from millrace.flow.lifecycle import TRAIN
from millrace.flow.loop import Happening, Loop
from millrace.flow.produce import to_rows
from millrace.flow.runner import Runner

if TYPE_CHECKING:
    from millrace.flow.model import Model
    from millrace.flow.project import Project

_FLUSH_S = 20.0


@dataclass
class Batch:
    """One batch of the stream as production answered it."""

    start: datetime
    rows: int
    right: int
    version: int
    accuracy: float | None = None
    accuracy_static: float | None = None
    accuracy_naive: float | None = None
    happenings: list[Happening] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        return {
            "start": to_text(self.start)[:10],
            "rows": self.rows,
            "version": self.version,
            "accuracy": self.accuracy,
            "accuracy_static": self.accuracy_static,
            "accuracy_naive": self.accuracy_naive,
        }


@dataclass
class Replayed:
    """The whole stream, batch by batch."""

    batches: list[Batch]
    requests: int
    failed_requests: int
    seconds: float

    def share(self, kind: str) -> float:
        """Share of right answers over all rows: ``accuracy``, ``accuracy_static`` or ``accuracy_naive``."""
        counted = [(getattr(batch, kind), batch.rows) for batch in self.batches if getattr(batch, kind) is not None]
        rows = sum(count for _, count in counted)
        return sum(value * count for value, count in counted) / rows if rows else float("nan")


class Replay:
    """Drives one model of a project over its labels' source, from `start` on.

    Parameters
    ----------
    start : datetime
        Training sees what was known before; serving begins here.
    length : timedelta
        Of one batch.
    first_window : str, optional
        Training window of the first model; the model's own when None.
    on_event : callable
        Told of ``("stage", text)``, ``("batch", Batch)``, ``("happening", Happening)`` and ``("step", facts)``.
    """

    def __init__(
        self,
        project: Project,
        model: Model,
        *,
        start: datetime,
        length: timedelta = timedelta(days=7),
        end: datetime | None = None,
        first_window: str | None = None,
        on_event: Callable[[str, Any], None],
    ) -> None:
        self._project = project
        self._model = model
        self._start, self._length, self._end = start, length, end
        self._first_window = first_window
        self._tell = on_event
        self._clock = ManualClock(start)
        self._happenings: list[Happening] = []
        self._requests = self._failed = 0

    def run(self) -> Replayed:
        """Train, serve, and let the loop act until the stream ends."""
        began = time.perf_counter()
        with Runner(
            self._project, executor="spawn", clock=self._clock, on_event=lambda kind, facts: self._tell(kind, facts)
        ) as runner:
            loop = Loop(
                self._project, runner, clock=self._clock, is_replay=True, on_happening=self._hear
            )
            table = self._read_stream(loop)
            self._train_first(runner)
            folder = self._project.root / ".millrace" / "servers"
            folder.mkdir(parents=True, exist_ok=True)
            servers = [self._serve(stage, folder) for stage in ("staging", "production")]
            try:
                batches = self._follow(loop, table)
            finally:
                for process in servers:
                    process.terminate()
                for process in servers:
                    process.wait(timeout=30)
            self._compare(loop, batches, table)
            loop.wiring.close()
        return Replayed(batches, self._requests, self._failed, time.perf_counter() - began)

    def _read_stream(self, loop: Loop) -> Any:
        labels = self._model.labels
        table = loop.wiring.read(labels.source, self._start, self._end)
        loop.wiring.features.materialize(None, self._start)
        return table.sort_by(labels.event_time)

    def _train_first(self, runner: Runner) -> None:
        self._tell("stage", f"training on what was known before {self._start:%Y-%m-%d}")
        run = runner.start(
            TRAIN,
            self._model.name,
            reason="first model",
            as_of=self._start,
            is_replay=True,
            parameters={"window": self._first_window} if self._first_window else {},
        )
        result = runner.execute(run.run_id)
        if result.status != "succeeded":
            failed = next((step for step in result.steps.values() if step.error), None)
            facts = dict(failed.error) if failed is not None and failed.error is not None else {}
            raise MillraceError(
                facts.get("code", "RUN-20"),
                facts.get("what", f"the first model was {result.status}: {result.run.message}"),
                where=facts.get("where"),
                why=facts.get("why"),
                fix=facts.get("fix", "there must be a first model before a stream can be served"),
            )

    def _serve(self, stage: str, folder: Path) -> Any:
        from urllib.parse import urlsplit

        url = self._project.settings.environments[stage].server
        process, live = start_server(
            self._project.root, stage, self._model.name, folder, port=urlsplit(url).port or 0
        )
        self._tell("stage", f"{stage} answers on {live}")
        return process

    def _follow(self, loop: Loop, table: Any) -> list[Batch]:
        labels = self._model.labels
        wiring = loop.wiring
        version = wiring.registry.get(self._model.name, "champion")
        endpoint = Endpoint(self._project.settings.environments["production"].server)
        if not endpoint.await_digest(version.digest, _FLUSH_S):
            raise ServiceError("SERVE-33", "production does not run the champion", fix="millrace serve")
        feed = _Feed(wiring, self._project, self._start)
        times = table.column(labels.event_time).to_pylist()
        truth = table.column(labels.column).to_pylist()
        rows = to_rows(table, self._model.inputs)
        keys = wiring.entity_keys(self._model)
        key_rows = to_rows(table, keys) if keys else [[] for _ in times]
        batches: list[Batch] = []
        position = 0
        while position < len(times):
            start = self._start + self._length * len(batches)
            until = start + self._length
            batch = Batch(start, 0, 0, 0)
            while position < len(times) and times[position] < until:
                moment = times[position]
                feed.advance(moment)
                inputs = dict(zip(self._model.inputs, rows[position], strict=True))
                key = dict(zip(keys, key_rows[position], strict=True))
                answer = self._ask(endpoint, {"inputs": inputs, "key": key, "event_time": to_text(moment)})
                if answer is not None:
                    batch.right += answer["predictions"][0]["output"] == truth[position]
                    batch.version = answer["version"]
                batch.rows += 1
                position += 1
            batch.accuracy = batch.right / batch.rows if batch.rows else None
            self._await_log(endpoint)
            self._clock.set(until + labels.delay)
            self._happenings = batch.happenings
            loop.tick()
            batches.append(batch)
            self._tell("batch", batch)
        endpoint.close()
        return batches

    def _ask(self, endpoint: Endpoint, request: Mapping[str, Any]) -> dict[str, Any] | None:
        self._requests += 1
        try:
            return endpoint.predict(request)
        except MillraceError:
            self._failed += 1
            return None

    def _await_log(self, endpoint: Endpoint) -> None:
        """Wait until the server has written what it answered: the loop reads the log, not this process's memory."""
        answered = self._requests - self._failed
        end = time.monotonic() + _FLUSH_S
        while time.monotonic() < end:
            log = endpoint.health().get("log") or {}
            if log.get("written", 0) + log.get("dropped", 0) >= answered:
                return
            time.sleep(0.005)

    def _hear(self, happening: Happening) -> None:
        self._happenings.append(happening)
        self._tell("happening", happening)

    def _compare(self, loop: Loop, batches: list[Batch], table: Any) -> None:
        """What the first model would have answered all along, and "same as the last label"."""
        labels, wiring = self._model.labels, loop.wiring
        first = wiring.registry.get(self._model.name, 1)
        names = wiring.manifest(first.digest).names
        keys = wiring.entity_keys(self._model)
        entity = table.select(
            list(dict.fromkeys([*keys, labels.event_time, *self._model.inputs, labels.column]))
        )
        joined = wiring.features.get_historical_features(
            entity, wiring.feature_references(self._model), event_time=labels.event_time
        ).to_arrow()
        outputs = wiring.predictor(first.digest).predict(to_rows(joined, names)).outputs
        truth = table.column(labels.column).to_pylist()
        before = self._last_label(loop)
        position = 0
        for batch in batches:
            stop = position + batch.rows
            if batch.rows:
                static = sum(a == b for a, b in zip(outputs[position:stop], truth[position:stop], strict=True))
                shifted = [before, *truth[position : stop - 1]] if position == 0 else truth[position - 1 : stop - 1]
                naive = sum(a == b for a, b in zip(shifted, truth[position:stop], strict=True))
                batch.accuracy_static, batch.accuracy_naive = static / batch.rows, naive / batch.rows
            position = stop

    def _last_label(self, loop: Loop) -> Any:
        labels = self._model.labels
        earlier = loop.wiring.read(labels.source, self._start - timedelta(days=1), self._start)
        values = earlier.sort_by(labels.event_time).column(labels.column).to_pylist()
        return values[-1] if values else None


class _Feed:
    """Pushes each source's rows to the feature store once they are known."""

    def __init__(self, wiring: Any, project: Project, start: datetime) -> None:
        self._features = wiring.features
        self._queues: list[tuple[Any, list[dict[str, Any]], list[datetime], int]] = []
        sources = {view.source.name: view for view in project.views.values()}
        for view in sources.values():
            source = view.source
            # Rows that were not yet known at the start are the first to arrive.
            table = wiring.read(source, start - (source.delay or timedelta(0)), None).sort_by(source.event_time)
            columns = {name for other in project.views.values() for name in other.columns}
            keys = view.entity.keys if view.entity is not None else ()
            names = [n for n in table.column_names if n in columns or n in keys or n in (source.event_time, source.created)]
            rows = table.select(names).to_pylist()
            known = [row[source.event_time] + (source.delay or timedelta(0)) for row in rows]
            self._queues.append((source, rows, known, 0))

    def advance(self, moment: datetime) -> None:
        """Push what is known at `moment`."""
        for number, (source, rows, known, position) in enumerate(self._queues):
            stop = position
            while stop < len(rows) and known[stop] <= moment:
                stop += 1
            if stop > position:
                self._features.push(source, rows[position:stop])
                self._queues[number] = (source, rows, known, stop)
