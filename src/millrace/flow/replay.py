"""Replay history through the real loop: real requests to real servers, labels that arrive later, real retrains.

Time is the stream's own. Row by row, what has become known is pushed to the feature store and predictions are asked
over HTTP; after each batch the loop looks, as it would on a schedule.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from millrace.core.clock import ManualClock, to_text
from millrace.core.errors import MillraceError, ProjectError, ServiceError
from millrace.flow.endpoint import Endpoint, start_server, stop_server
from millrace.flow.lifecycle import TRAIN
from millrace.flow.loop import Happening, Loop
from millrace.flow.produce import to_rows
from millrace.flow.runner import Runner

if TYPE_CHECKING:
    from millrace.flow.model import Model
    from millrace.flow.project import Project
    from millrace.flow.wiring import Wiring

_WAIT_S = 20.0

Listener = Callable[[str, Any], None]


@dataclass
class Batch:
    """One batch of the stream as production answered it with one model."""

    model: str
    start: datetime
    rows: int = 0
    right: int = 0
    version: int = 0
    right_static: int | None = None
    right_naive: int | None = None

    @property
    def accuracy(self) -> float | None:
        return self.right / self.rows if self.rows else None

    def to_dict(self) -> dict[str, Any]:
        def share(right: int | None) -> float | None:
            return right / self.rows if right is not None and self.rows else None

        return {
            "start": to_text(self.start)[:10],
            "rows": self.rows,
            "version": self.version,
            "accuracy": share(self.right),
            "accuracy_static": share(self.right_static),
            "accuracy_naive": share(self.right_naive),
        }


@dataclass
class Story:
    """One model over the whole stream."""

    model: str
    batches: list[Batch] = field(default_factory=list)
    happenings: list[Happening] = field(default_factory=list)

    def share(self, kind: str) -> float:
        """Share of right answers over all rows: ``right``, ``right_static`` or ``right_naive``."""
        rows = sum(batch.rows for batch in self.batches)
        return sum(getattr(batch, kind) or 0 for batch in self.batches) / rows if rows else float("nan")


@dataclass
class Replayed:
    """What a replay did."""

    stories: list[Story]
    requests: int
    failed_requests: int
    seconds: float


@dataclass
class _Lane:
    """One model's part of the stream."""

    model: Model
    endpoint: Endpoint
    rows: list[list[Any]]
    keys: list[str]
    key_rows: list[list[Any]]
    story: Story


class Replay:
    """Drives models of a project over the source of their labels, from `start` on.

    Parameters
    ----------
    models : sequence of Model
        All labelled by one source.
    start : datetime
        Training sees what was known before; serving begins here.
    length : timedelta
        Of one batch.
    first_window : str, optional
        Training window of the first models; each model's own when None.
    on_event : callable
        Told of ``("stage", text)``, ``("batch", Batch)``, ``("happening", Happening)`` and ``("step", facts)``.
    """

    def __init__(
        self,
        project: Project,
        models: Sequence[Model],
        *,
        start: datetime,
        length: timedelta = timedelta(days=7),
        end: datetime | None = None,
        first_window: str | None = None,
        on_event: Listener,
    ) -> None:
        if len({model.labels.source.name for model in models}) != 1:
            raise ProjectError(
                "RUN-21",
                "a replay follows one source of labels",
                why=f"given: {', '.join(model.name for model in models)}",
                fix="replay these models one after the other",
            )
        self._project = project
        self._models = list(models)
        self._start, self._length, self._end = start, length, end
        self._first_window = first_window
        self._tell = on_event
        self._clock = ManualClock(start)
        self._stories = {model.name: Story(model.name) for model in models}
        self._requests = self._failed = 0

    def run(self) -> Replayed:
        """Train, serve, and let the loop act until the stream ends."""
        began = time.perf_counter()
        with (
            Runner(self._project, executor="spawn", clock=self._clock, on_event=self._tell) as runner,
            ExitStack() as stack,
        ):
            loop = Loop(self._project, runner, clock=self._clock, is_replay=True, on_happening=self._hear)
            stack.callback(loop.wiring.close)
            labels = self._models[0].labels
            table = loop.wiring.read(labels.source, self._start, self._end).sort_by(labels.event_time)
            loop.wiring.features.materialize(None, self._start)
            for model in self._models:
                self._train_first(runner, model)
                for stage in ("staging", "production"):
                    self._serve(stage, model, stack)
            lanes = [self._open_lane(loop.wiring, model, table, stack) for model in self._models]
            self._follow(loop, table, lanes)
            for lane in lanes:
                compare_with_static_and_naive(loop.wiring, lane.model, lane.story.batches, table)
        return Replayed(list(self._stories.values()), self._requests, self._failed, time.perf_counter() - began)

    def _train_first(self, runner: Runner, model: Model) -> None:
        self._tell("stage", f"training '{model.name}' on what was known before {self._start:%Y-%m-%d}")
        run = runner.start(
            TRAIN,
            model.name,
            reason="first model",
            as_of=self._start,
            is_replay=True,
            parameters={"window": self._first_window} if self._first_window else {},
        )
        result = runner.execute(run.run_id)
        if result.status == "succeeded":
            return
        failed = next((step.error for step in result.steps.values() if step.error), None) or {}
        raise MillraceError(
            failed.get("code", "RUN-20"),
            failed.get("what", f"the first '{model.name}' was {result.status}: {result.run.message}"),
            where=failed.get("where"),
            why=failed.get("why"),
            fix=failed.get("fix", "there must be a first model before a stream can be served"),
        )

    def _serve(self, stage: str, model: Model, stack: ExitStack) -> None:
        folder = self._project.root / ".millrace" / "servers" / model.name
        folder.mkdir(parents=True, exist_ok=True)
        url = self._project.settings.environments[stage].server_of(model.name)
        process, live = start_server(self._project.root, stage, model.name, folder, port=urlsplit(url).port or 0)
        stack.callback(stop_server, process)
        self._tell("stage", f"'{model.name}' answers in {stage} on {live}")

    def _open_lane(self, wiring: Wiring, model: Model, table: Any, stack: ExitStack) -> _Lane:
        url = self._project.settings.environments["production"].server_of(model.name)
        endpoint = Endpoint(url)
        stack.callback(endpoint.close)
        champion = wiring.registry.get(model.name, "champion")
        if not endpoint.await_digest(champion.digest, _WAIT_S):
            raise ServiceError("SERVE-35", f"{url} does not run the champion of '{model.name}'", fix="millrace serve")
        keys = wiring.entity_keys(model)
        key_rows = to_rows(table, keys) if keys else [[] for _ in range(table.num_rows)]
        return _Lane(model, endpoint, to_rows(table, model.inputs), keys, key_rows, self._stories[model.name])

    def _follow(self, loop: Loop, table: Any, lanes: list[_Lane]) -> None:
        labels = self._models[0].labels
        feed = _Feed(loop.wiring, self._project, self._start)
        times = table.column(labels.event_time).to_pylist()
        truth = [table.column(lane.model.labels.column).to_pylist() for lane in lanes]
        position = count = 0
        while position < len(times):
            start = self._start + self._length * count
            until = start + self._length
            count += 1
            batches = [Batch(lane.model.name, start) for lane in lanes]
            while position < len(times) and times[position] < until:
                feed.advance(times[position])
                sent = [self._send(lane, position, times[position]) for lane in lanes]  # all at once: they overlap
                for lane, batch, answers, is_sent in zip(lanes, batches, truth, sent, strict=True):
                    self._receive(lane, batch, answers[position], is_sent)
                position += 1
            for lane, batch in zip(lanes, batches, strict=True):
                _await_log(lane.endpoint)
                lane.story.batches.append(batch)
                self._tell("batch", batch)
            self._clock.set(until + max(lane.model.labels.delay for lane in lanes))
            loop.tick()

    def _send(self, lane: _Lane, position: int, moment: datetime) -> bool:
        request = {
            "inputs": dict(zip(lane.model.inputs, lane.rows[position], strict=True)),
            "key": dict(zip(lane.keys, lane.key_rows[position], strict=True)),
            "event_time": to_text(moment),
        }
        try:
            lane.endpoint.send("POST", "/predict", request)
        except MillraceError:
            return False
        return True

    def _receive(self, lane: _Lane, batch: Batch, truth: Any, is_sent: bool) -> None:
        batch.rows += 1
        self._requests += 1
        try:
            answer = lane.endpoint.receive("/predict") if is_sent else None
        except MillraceError:
            answer = None
        if answer is None:
            self._failed += 1
            return
        batch.right += answer["predictions"][0]["output"] == truth
        batch.version = answer["version"]

    def _hear(self, happening: Happening) -> None:
        if happening.model in self._stories:
            self._stories[happening.model].happenings.append(happening)
        self._tell("happening", happening)


def compare_with_static_and_naive(wiring: Wiring, model: Model, batches: Sequence[Batch], table: Any) -> None:
    """Note in each batch what the first model would have answered, and "same as the last known label"."""
    labels = model.labels
    first = wiring.registry.get(model.name, 1)
    columns = dict.fromkeys([*wiring.entity_keys(model), labels.event_time, *model.inputs, labels.column])
    joined = wiring.features.get_historical_features(
        table.select(list(columns)), wiring.feature_references(model), event_time=labels.event_time
    ).to_arrow()
    outputs = wiring.predictor(first.digest).predict(to_rows(joined, wiring.manifest(first.digest).names)).outputs
    truth = table.column(labels.column).to_pylist()
    naive = [_last_label(wiring, model, batches[0].start), *truth[:-1]] if batches else []
    position = 0
    for batch in batches:
        part = slice(position, position + batch.rows)
        batch.right_static = sum(a == b for a, b in zip(outputs[part], truth[part], strict=True))
        batch.right_naive = sum(a == b for a, b in zip(naive[part], truth[part], strict=True))
        position += batch.rows


def _last_label(wiring: Wiring, model: Model, before: datetime) -> Any:
    labels = model.labels
    earlier = wiring.read(labels.source, before - timedelta(days=1), before).sort_by(labels.event_time)
    values = earlier.column(labels.column).to_pylist()
    return values[-1] if values else None


def _await_log(endpoint: Endpoint) -> None:
    """Wait until the server has written what it answered: the loop reads the log, not this process's memory."""
    end = time.monotonic() + _WAIT_S
    while time.monotonic() < end:
        log: Mapping[str, Any] = endpoint.health().get("log") or {}
        if not log.get("pending"):
            return
        time.sleep(0.005)


class _Feed:
    """Pushes each source's rows to the feature store once they are known."""

    def __init__(self, wiring: Wiring, project: Project, start: datetime) -> None:
        self._features = wiring.features
        self._queues: list[tuple[Any, list[dict[str, Any]], list[datetime]]] = []
        self._positions: list[int] = []
        for source in {view.source.name: view.source for view in project.views.values()}.values():
            views = [view for view in project.views.values() if view.source.name == source.name]
            delay = source.delay or timedelta(0)
            wanted = {name for view in views for name in view.source_columns}
            # Rows that were not yet known at the start are the first to arrive.
            table = wiring.read(source, start - delay, None).sort_by(source.event_time)
            rows = table.select([name for name in table.column_names if name in wanted]).to_pylist()
            self._queues.append((source, rows, [row[source.event_time] + delay for row in rows]))
            self._positions.append(0)

    def advance(self, moment: datetime) -> None:
        """Push what is known at `moment`."""
        for number, (source, rows, known) in enumerate(self._queues):
            begin = stop = self._positions[number]
            while stop < len(rows) and known[stop] <= moment:
                stop += 1
            if stop > begin:
                self._features.push(source, rows[begin:stop])
                self._positions[number] = stop
