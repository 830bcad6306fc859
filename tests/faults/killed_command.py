"""A command in a process that is killed once after each of its effects: argv is the project, then the command's words.

An effect is a transaction that put one of the events below on the record. Each is counted once over all processes.
"""

import sys
from pathlib import Path

import killed_lifecycle
from killed_lifecycle import kill_after_effects

from millrace.cli.main import main

EFFECTS = ("snapshot", "quarantine", "alert", "batch_release", "batch_use", "batch_return")

if __name__ == "__main__":
    killed_lifecycle.EFFECTS = EFFECTS
    project = Path(sys.argv[1])
    kill_after_effects(project)
    sys.exit(main([*sys.argv[2:], "--project", str(project)]))
