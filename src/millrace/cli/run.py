"""`millrace run` and `millrace status`."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Mapping
from typing import Any

from millrace.cli.options import a_time, command, open_project, open_settings
from millrace.cli.output import has_color, outcome, paint, print_json, print_table
from millrace.core.errors import MillraceError


def add(commands: Any) -> None:
    """The grammar of these commands."""
    run = command(commands, "run", "train, judge and deploy a model; goes on with an interrupted run", run_pipeline)
    run.add_argument("model", nargs="?", help="which model (needed when there are several)")
    run.add_argument("--pipeline", default="train", help="which pipeline (default: train)")
    run.add_argument("--from", dest="from_step", metavar="STEP", help="start at this step with the last run's results")
    run.add_argument("--dry-run", action="store_true", help="check everything and show the steps; run nothing")
    run.add_argument(
        "--as-of", type=a_time, metavar="TIME", help="as if it were this time (ISO 8601): nothing later is read"
    )
    run.add_argument("--executor", choices=("inline", "fork", "spawn"), help="where steps run")
    run.add_argument("--reason", default="manual", help="why, for the record")
    command(commands, "status", "what is in production, what runs, what waits", show_status)


def run_pipeline(options: argparse.Namespace) -> int:
    """Run a pipeline and follow it."""
    from millrace.core.clock import SystemClock
    from millrace.flow.lifecycle import TRAIN, get_pipeline
    from millrace.flow.prepare import check_columns
    from millrace.flow.runner import Runner
    from millrace.flow.wiring import Wiring

    project = open_project(options)
    model = project.get_model(options.model).name if options.pipeline == TRAIN or options.model else None
    pipeline = get_pipeline(project, options.pipeline)
    if options.dry_run:
        if model is not None:
            check_columns(Wiring(project, SystemClock()), project.get_model(model))
        return _show_plan(options, pipeline.order, {name: sorted(pipeline.needs[name]) for name in pipeline.order})
    show = _ignore if options.json else _Live(len(pipeline.order))
    with (
        Runner(project, executor=options.executor, on_event=show) as runner,
        runner.alone(options.pipeline, model),
    ):
        if options.from_step:
            run = runner.start_from(options.from_step, options.pipeline, model, reason=options.reason)
        elif options.as_of:
            run = runner.start(options.pipeline, model, reason=options.reason, as_of=options.as_of, is_replay=True)
        else:
            run = runner.resume_or_start(options.pipeline, model, reason=options.reason)
        result = runner.execute(run.run_id)
    if options.json:
        print_json(result.to_dict())
    else:
        _show_end(result)
    _tell_others(project)
    return result.exit_code


def _tell_others(project: Any) -> None:
    """Alerts now, the tracker in the background: what the run queued should not wait for the loop."""
    from millrace.core.clock import SystemClock
    from millrace.flow.tell import deliver_all, start_mirror
    from millrace.flow.wiring import Wiring

    wiring = Wiring(project, SystemClock())
    try:
        deliver_all(wiring)
    except MillraceError as error:  # the run is done and recorded; its alerts wait
        print(f"alerts wait: {error.render(color=has_color(sys.stderr))}", file=sys.stderr)
    start_mirror(wiring)
    wiring.close()


def show_status(options: argparse.Namespace) -> int:
    """Print what is true now."""
    from millrace.flow.status import read_status
    from millrace.store.ledger import Ledger

    settings = open_settings(options)
    status = read_status(settings, Ledger.open(settings.active.ledger))
    if options.json:
        print_json(status)
        return 0
    print(f"{paint(status['project'], 'bold')}  environment {status['environment']}  {status['events']} events")
    if not status["models"]:
        print("nothing was trained yet: millrace run")
    for model in status["models"]:
        print(f"\n{paint(model['model'], 'bold')}  {model['versions']} versions")
        for name, alias in model["aliases"].items():
            print(f"  {name:<12} v{alias}")
        for release in model["releases"]:
            print(
                f"  {release['environment']:<12} v{release['version']}  since {release['at'][:19]}  {release['reason']}"
            )
        if model["trigger"]:
            print(f"  {'trigger':<12} {model['trigger']}")
    if status["runs"]:
        print()
        print_table(status["runs"], ["run_id", "model", "status", "started_at", "reason"])
    for alert in status["alerts"]:
        print(f"{outcome(alert['severity'])}  {alert['at'][:19]}  {alert['title']}")
    if status["waiting"]:
        print(f"waiting to be told: {', '.join(f'{topic} {count}' for topic, count in status['waiting'].items())}")
    return 0


def _show_plan(options: argparse.Namespace, order: tuple[str, ...], needs: Mapping[str, list[str]]) -> int:
    if options.json:
        print_json({"steps": [{"step": name, "needs": needs[name]} for name in order]})
        return 0
    for name in order:
        print(f"{name:<20} {'after ' + ', '.join(needs[name]) if needs[name] else 'first'}")
    return 0


def _show_end(result: Any) -> None:
    run = result.run
    print(f"{outcome(run.status)}  {run.run_id}" + (f"  {run.message}" if run.message else ""))
    for step in result.steps.values():
        if step.status == "failed" and step.error:
            print(MillraceError.from_dict(dict(step.error)).render(color=has_color()))


class _Live:
    """One line per step, rewritten while it runs on a terminal."""

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._done = 0
        self._is_terminal = sys.stderr.isatty()

    def __call__(self, kind: str, facts: Mapping[str, Any]) -> None:
        # Nobody watching is no reason to stop a run.
        with contextlib.suppress(BrokenPipeError):
            self._show(kind, facts)

    def _show(self, kind: str, facts: Mapping[str, Any]) -> None:
        if kind != "step":
            return
        status = facts["status"]
        if status == "started":
            if self._is_terminal:
                print(f"\r\x1b[K  {facts['step']} ...", end="", file=sys.stderr, flush=True)
            return
        if status == "succeeded":
            self._done += 1
        note = "from the interrupted run" if facts.get("resumed") else facts.get("reason") or ""
        if status == "waiting":
            note = f"attempt {facts['attempt']} in {facts['seconds']:.0f} s"
        if facts.get("cached"):
            note = "same code and inputs as before: result used again"
        clear = "\r\x1b[K" if self._is_terminal else ""
        seconds = "" if status == "waiting" else f"{facts['seconds']:8.3f} s"
        print(
            f"{clear}[{self._done}/{self._steps}] {facts['step']:<20} {outcome(status):<10} {seconds}  {note}".rstrip(),
            file=sys.stderr,
            flush=True,
        )


def _ignore(kind: str, facts: Mapping[str, Any]) -> None:
    """No live view."""
