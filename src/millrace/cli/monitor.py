"""`millrace monitor` and `millrace trigger`: the loop, and asking it for a retrain."""

from __future__ import annotations

import argparse
import getpass
import sys
from typing import Any

from millrace.cli.options import command, open_project, open_wiring
from millrace.cli.output import print_json


def add(commands: Any) -> None:
    """The grammar of these commands."""
    monitor = command(commands, "monitor", "judge what production answers, and retrain when it is time", watch)
    monitor.add_argument("--once", action="store_true", help="one look, then end")
    monitor.add_argument("--interval", type=float, default=60.0, metavar="SECONDS", help="between looks (default 60)")
    command(commands, "mirror", "tell the tracker (MLflow) of every run, version and alias it has not heard of", tell)
    trigger = command(commands, "trigger", "ask for a retrain; the loop runs it at its next look", ask)
    trigger.add_argument("model", nargs="?", help="which model (needed when there are several)")
    trigger.add_argument("--reason", default="by hand", help="why, for the record")


def watch(options: argparse.Namespace) -> int:
    """Run the loop."""
    from millrace.flow.loop import Happening, Loop
    from millrace.flow.runner import Runner

    project = open_project(options)
    seen: list[dict[str, Any]] = []

    def show(happening: Happening) -> None:
        seen.append({"kind": happening.kind, "model": happening.model, "text": happening.text, **happening.facts})
        if not options.json:
            print(f"{happening.kind:<12} {happening.model}: {happening.text}", file=sys.stderr, flush=True)

    # The loop reads tables before it runs anything, and threads of their libraries do not survive a fork.
    executor = "spawn" if project.settings.active.executor == "fork" else None
    with Runner(project, executor=executor) as runner:
        loop = Loop(project, runner, on_happening=show, with_mirror=True)
        loop.run(interval_s=options.interval, once=options.once)
    if options.json:
        print_json(seen)
    elif not seen:
        print("no window is over and no retrain is due")
    return loop.errors[-1].exit_code if loop.errors else 0


def tell(options: argparse.Namespace) -> int:
    """Empty the tracker's outbox."""
    from millrace.flow.tell import mirror

    wiring = open_wiring(options)
    done = mirror(wiring, due_only=False)
    if options.json:
        print_json({"sent": done.sent, "failed": done.failed, "error": done.last_error})
    elif not wiring.environment.tracker:
        print('no tracker is set: add tracker = "mlflow" to millrace.toml')
    else:
        print(f"told of {done.sent}" + (f"; then {done.last_error}: the rest waits" if done.failed else ""))
    return 5 if done.failed else 0


def ask(options: argparse.Namespace) -> int:
    """Fire the manual trigger."""
    from millrace.monitoring.firing import ask_for_retrain

    wiring = open_wiring(options)
    model = wiring.project.get_model(options.model).name
    event = ask_for_retrain(wiring.ledger, model, requested_by=getpass.getuser(), reason=options.reason)
    if options.json:
        print_json(event.to_dict())
    else:
        action = "opened a retrain" if event.body["action"] == "opened" else "joined the retrain that is open"
        print(f"{action} of '{model}': {event.body['run_id']}; `millrace monitor` runs it")
    return 0
