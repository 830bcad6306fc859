"""`millrace run` in a process that is killed once at each of its points: argv is the project and where to kill.

``steps``: before each step's function, and after its effect but before that is recorded.
``effects``: right after each transaction in which something other than a step's progress became true.
"""

import os
import signal
import sys
from contextlib import contextmanager
from dataclasses import replace
from functools import wraps
from pathlib import Path

from millrace.cli.main import main
from millrace.flow.lifecycle import train_pipeline
from millrace.store.ledger import Ledger

EFFECTS = ("snapshot", "decision", "version", "alias", "release")


def kill_once(folder, point):
    """SIGKILL this process the first time any process gets to `point` in this project."""
    done = folder / "killed.txt"
    points = done.read_text().splitlines() if done.exists() else []
    if point in points:
        return
    done.write_text("\n".join([*points, point]))
    os.kill(os.getpid(), signal.SIGKILL)


def kill_around_steps(folder):
    def wrap(step):
        function = step.function

        @wraps(function)
        def killed(*arguments, **options):
            kill_once(folder, f"before {step.name}")
            value = function(*arguments, **options)
            kill_once(folder, f"after {step.name}")
            return value

        return replace(step, function=killed)

    steps = train_pipeline().steps
    for name, step in list(steps.items()):
        steps[name] = wrap(step)


def kill_after_effects(folder):
    transaction_of = Ledger.transaction

    @contextmanager
    def transaction(ledger, lease=None):
        made = []
        with transaction_of(ledger, lease) as opened:
            append_to = opened.append

            def append(kind, subject, body, **options):
                event = append_to(kind, subject, body, **options)
                if kind in EFFECTS and event.is_new:
                    made.append(f"{kind} {event.key}")
                return event

            opened.append = append
            yield opened
        for point in made:
            kill_once(folder, point)

    Ledger.transaction = transaction


if __name__ == "__main__":
    project, where = Path(sys.argv[1]), sys.argv[2]
    {"steps": kill_around_steps, "effects": kill_after_effects}[where](project)
    sys.exit(main(["run", "--project", str(project)]))
