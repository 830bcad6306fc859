"""The loop: look at what production answered, decide, retrain, deploy, tell. One process at a time, under a lease.

A tick is idempotent: what it decides is on the record under a key, so a process killed anywhere is followed by one
that comes to the same.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from millrace.core.clock import Clock, SystemClock, from_text, to_text
from millrace.core.errors import Conflict, MillraceError, ModelError
from millrace.core.records import Alert, ModelVersion, Release
from millrace.flow.lifecycle import TRAIN
from millrace.flow.observe import Observer, Seen
from millrace.flow.runner import Listener, Runner, RunResult
from millrace.flow.tell import deliver_all, start_mirror
from millrace.flow.wiring import Wiring
from millrace.monitoring.evaluation import conclude_window
from millrace.monitoring.firing import Reason, Retrain, claim, find_open, finish, fire, hold, standing_incident
from millrace.monitoring.triggers import drift_headline, judge_schedule, schedule_evidence, schedule_slot
from millrace.monitoring.windows import Window, next_window, restart_windows
from millrace.store.lease import Lease, holding, renew

if TYPE_CHECKING:
    from millrace.flow.model import Model
    from millrace.flow.project import Project

LEASE = "loop"
DEFAULT_INTERVAL_S = 60.0


@dataclass(frozen=True)
class Happening:
    """Something a tick did or found, for whoever watches."""

    kind: str
    model: str
    text: str
    facts: Mapping[str, Any]


class Loop:
    """Watches every model of a project.

    Parameters
    ----------
    runner : Runner
        Runs the pipeline when a retrain is due.
    is_replay : bool
        Whether time is replayed: runs then see no row later than the clock.
    with_mirror : bool
        Whether each look starts to tell the tracker what it has not heard of.
    on_happening : callable, optional
        Told of each `Happening` at once.
    """

    def __init__(
        self,
        project: Project,
        runner: Runner,
        *,
        clock: Clock | None = None,
        is_replay: bool = False,
        with_mirror: bool = False,
        on_happening: Callable[[Happening], None] | None = None,
    ) -> None:
        self._project = project
        self._runner = runner
        self._clock = clock or SystemClock()
        self._is_replay = is_replay
        self._tell = on_happening or _ignore
        self._with_mirror = with_mirror
        self.wiring = Wiring(project, self._clock)
        self._observer = Observer(self.wiring)
        self._lease: Lease | None = None
        self.errors: list[MillraceError] = []
        """What kept the loop from looking after a model, newest last."""

    def run(self, *, interval_s: float = DEFAULT_INTERVAL_S, once: bool = False) -> None:
        """Tick until stopped. Raises Conflict LEASE-01 while another process is the loop."""
        seconds = max(600.0, interval_s * 3)
        with holding(self.wiring.ledger.database, LEASE, seconds=seconds) as lease:
            self._lease = lease
            self._runner.kept.append(lease)
            while True:
                self.tick()
                if once:
                    return
                renew(self.wiring.ledger.database, lease, seconds=seconds)
                self._clock.sleep(interval_s)

    def tick(self) -> None:
        """Judge every window that is over, run every retrain that is due, tell everything that waits.

        What goes wrong with one model is an alert; the others are looked after all the same.
        """
        for model in self._project.models.values():
            self._guarded(model.name, partial(self._look_after, model))
        self._guarded("channels", partial(deliver_all, self.wiring))
        if self._with_mirror:
            start_mirror(self.wiring)

    def _look_after(self, model: Model) -> None:
        if self._lease is not None:
            renew(self.wiring.ledger.database, self._lease, seconds=600.0)
        release = self.wiring.releases.current("production", model.name)
        if release is not None:
            self._observe(model, release)
        self._retrain(model)

    def _guarded(self, subject: str, work: Callable[[], object]) -> None:
        try:
            work()
        except Exception as cause:
            error = cause if isinstance(cause, MillraceError) else _unforeseen(cause)
            if error.code.partition("-")[0] in ("LEASE", "LEDGER", "STORE"):
                raise  # another process is the loop now, or nothing can be written down
            self.errors.append(error)
            today = to_text(self._clock.now())[:10]
            title = f"the loop cannot look after '{subject}': {error.what}"
            key = f"loop:{subject}:{error.code}:{today}"
            self.wiring.alert(key, "critical", subject, title, error.render(), error.to_dict())
            self._tell(Happening("error", subject, error.what, error.to_dict()))

    def _observe(self, model: Model, release: Release) -> None:
        version = self.wiring.registry.get(model.name, release.version)
        for number, trigger in enumerate(model.retrain):
            if trigger.kind == "schedule":
                self._check_schedule(model, trigger, version)
            elif trigger.kind in ("degradation", "drift"):
                monitor = f"{trigger.kind}{number or ''}"
                begin = self._begin(model, release, monitor, trigger.window)
                while (window := self._next(model, trigger, monitor, begin)) is not None:
                    self._judge(model, trigger, version, window)

    def _begin(self, model: Model, release: Release, monitor: str, length: timedelta) -> datetime:
        """When the present release began; its predecessor's answers are not its own."""
        begin = from_text(release.at)
        if release.number > 1:
            first = self.wiring.releases.history("production", model.name)[0]
            restart_windows(
                self.wiring.ledger,
                model.name,
                monitor,
                begin=begin,
                reason=f"release {release.number} of v{release.version}",
                key=str(release.number),
                grid=from_text(first.at),
                length=length,
            )
        return begin

    def _next(self, model: Model, trigger: Any, monitor: str, begin: datetime) -> Window | None:
        delay = model.labels.delay if trigger.kind == "degradation" else timedelta(0)
        return next_window(
            self.wiring.ledger,
            model.name,
            monitor,
            length=trigger.window,
            mature_until=self._clock.now() - delay,
            begin=begin,
        )

    def _judge(self, model: Model, trigger: Any, version: ModelVersion, window: Window) -> None:
        """Conclude one window: verdicts on the record, a trigger when it must be, and whoever watches is told."""
        end = to_text(window.end)
        if trigger.kind == "degradation":
            seen = self._observer.degradation(model, trigger, version, window)
        else:
            seen = self._observer.drift(model, trigger, version, window)
        reasons = [
            Reason(trigger.kind, verdict, end, trigger.cooldown)
            for verdict in seen.verdicts
            if verdict.is_fail and verdict.rule in seen.firing_rules
        ]
        event = conclude_window(
            self.wiring.ledger,
            window,
            seen.verdicts,
            reasons[:1],
            alerts=[self._drift_alert(model, window, seen, reasons[0])] if trigger.kind == "drift" and reasons else [],
            channels=self.wiring.environment.channels,
            lease=self._lease,
        )
        self._tell(Happening(trigger.kind, model.name, seen.text, {"end": end, "event": event.seq, **seen.facts}))

    def _drift_alert(self, model: Model, window: Window, seen: Seen, reason: Reason) -> Alert:
        drifted = list(seen.facts["drifted"])
        return Alert(
            key=f"drift:{model.name}:{to_text(window.end)}",
            severity="warning",
            subject=model.name,
            title=drift_headline(model.name, drifted),
            text=reason.verdict.reason,
            at=to_text(self._clock.now()),
            facts={"window": window.to_dict(), "drifted": drifted},
        )

    def _check_schedule(self, model: Model, trigger: Any, version: ModelVersion) -> None:
        if find_open(self.wiring.ledger, model.name) is not None:
            return
        evidence = schedule_evidence(
            interval=trigger.interval, last_at=version.created_at, now=to_text(self._clock.now())
        )
        verdict = judge_schedule(evidence)
        if verdict.is_fail:
            fire(
                self.wiring.ledger, model.name, [Reason("schedule", verdict, schedule_slot(evidence), trigger.cooldown)]
            )

    def _retrain(self, model: Model) -> None:
        monitors = [f"{trigger.kind}{number or ''}" for number, trigger in enumerate(model.retrain)]
        incident = standing_incident(self.wiring.ledger, model.name, monitors)
        if incident is not None:
            channels = self.wiring.environment.channels
            held = hold(self.wiring.ledger, model.name, incident, channels=channels, lease=self._lease)
            if held is not None:
                if held.is_new:
                    told = {"event": held.seq, "incident": incident.seq}
                    self._tell(Happening("held", model.name, f"data incident: {held.body['reason']}", told))
                return
        retrain = claim(self.wiring.ledger, model.name, lease=self._lease)
        if retrain is None:
            return
        self._tell(
            Happening("retrain", model.name, "; ".join(r["text"] for r in retrain.reasons), {"run": retrain.run_id})
        )
        try:
            result = self._run(model, retrain)
        except Conflict as busy:
            if busy.code != "LEASE-01":
                raise
            # Somebody runs the pipeline by hand: the retrain stays claimed, and the next look takes it up.
            self._tell(Happening("waiting", model.name, busy.what, {"run": retrain.run_id}))
            return
        outcome = {"succeeded": "done", "refused": "refused"}.get(result.status, "failed")
        finish(
            self.wiring.ledger,
            model.name,
            retrain.run_id,
            outcome,  # type: ignore[arg-type]  # one of the three words above
            reason=result.run.message or "deployed",
            channels=self.wiring.environment.channels,
            lease=self._lease,
        )
        facts = {"run": retrain.run_id, "status": result.status, "reasons": retrain.kinds, "result": result.to_dict()}
        self._tell(Happening("run", model.name, result.run.message or "deployed", facts))

    def _run(self, model: Model, retrain: Retrain) -> RunResult:
        reason = "; ".join(f"{entry['kind']}: {entry['text']}" for entry in retrain.reasons)
        run = self._runner.start(
            TRAIN,
            model.name,
            reason=reason,
            run_id=retrain.run_id,
            as_of=self._clock.now(),
            is_replay=self._is_replay,
            parameters={"trigger": retrain.key, "reasons": retrain.kinds},
        )
        return self._runner.execute(run.run_id)


def _ignore(happening: Happening) -> None:
    """Nobody watches."""


__all__ = ["DEFAULT_INTERVAL_S", "Happening", "Listener", "Loop"]


def _unforeseen(cause: Exception) -> MillraceError:
    frames = traceback.extract_tb(cause.__traceback__)
    last = frames[-1] if frames else None
    return ModelError(
        "MON-22",
        f"it stopped with {type(cause).__name__}: {cause}",
        where=f"{last.filename}:{last.lineno}" if last else None,
        why=last.line if last and last.line else None,
        fix="mend the cause; the next look tries again",
    )
