"""What a durable step costs beyond the work it does, against the least that durability can cost on this disk."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.measure import Row, in_turns

STEPS = 30
COLD_STEPS = 10
ROUNDS = 9
LIMIT = "two synced SQLite rows and a synced file"

PROJECT = """
import os

import millrace as mr


def begin():
    return os.urandom(8).hex()


def follow(value):
    return value + os.urandom(8).hex()


def chain(name, length):
    steps = [mr.Step("s0", begin, outputs=["value"])]
    for number in range(1, length):
        steps.append(mr.Step(f"s{number}", follow, {"value": f"s{number - 1}.value"}, ["value"]))
    return mr.Pipeline(name, steps)


warm = chain("warm", STEPS)
cold = chain("cold", COLD_STEPS)
"""


def run() -> list[Row]:
    """Overhead per step inline, forked and spawned; and a whole command of ten steps."""
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder:
        return [*_warm(Path(folder)), *_cold(Path(folder))]


def write_project(folder: Path) -> Path:
    """A project with a chain of steps that do nothing but hand on a new small value."""
    folder.mkdir(parents=True)
    (folder / "millrace.toml").write_text('name = "bench"\n')
    (folder / "project.py").write_text(PROJECT.replace("COLD_STEPS", str(COLD_STEPS)).replace("STEPS", str(STEPS)))
    return folder


def _warm(folder: Path) -> list[Row]:
    from millrace.flow.project import load_project
    from millrace.flow.runner import Runner

    with ExitStack() as stack:
        subjects: dict[str, Any] = {LIMIT: _raw_limit(folder / "raw", stack)}
        for executor in ("inline", "fork", "spawn"):
            project = load_project(write_project(folder / executor))
            runner = stack.enter_context(Runner(project, executor=executor))
            subjects[executor] = lambda runner=runner: _execute(runner)
        times = in_turns(subjects, rounds=ROUNDS, per=STEPS)
    limits = {"inline": 5.0, "fork": 10.0, "spawn": None}
    names = {"inline": "step, inline", "fork": "step, forked worker", "spawn": "step, fresh interpreter"}
    return [Row(names[name], times[name], LIMIT, times[LIMIT], limits[name]) for name in names]


def _execute(runner: Any) -> None:
    result = runner.execute(runner.start("warm", None).run_id)
    assert result.status == "succeeded", result


def _raw_limit(folder: Path, stack: ExitStack) -> Any:
    """For each step: a row that it began, its result in a file, a row that it ended; each synced to the disk."""
    folder.mkdir()
    connection = sqlite3.connect(folder / "raw.db", isolation_level=None)
    stack.callback(connection.close)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE event (seq INTEGER PRIMARY KEY, body TEXT)")

    def write_row() -> None:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO event (body) VALUES (?)", ("x" * 200,))
        connection.execute("COMMIT")

    def steps() -> None:
        for number in range(STEPS):
            write_row()
            with open(folder / f"result-{number}", "wb") as file:
                file.write(os.urandom(32))
                file.flush()
                os.fsync(file.fileno())
            write_row()

    return steps


def _cold(folder: Path) -> list[Row]:
    """`millrace run` of ten steps on a new project each time, less an interpreter that does nothing."""
    template = write_project(folder / "template")
    numbers = iter(range(1_000_000))

    def command(executor: str) -> Any:
        def start() -> None:
            target = folder / f"cold-{next(numbers)}"
            shutil.copytree(template, target)
            words = [sys.executable, "-m", "millrace", "run", "--pipeline", "cold", "--executor", executor]
            words += ["--json", "--project", str(target)]
            subprocess.run(words, check=True, stdout=subprocess.DEVNULL)

        return start

    def nothing() -> None:
        subprocess.run([sys.executable, "-c", "pass"], check=True)

    times = in_turns({"pass": nothing, "fork": command("fork"), "inline": command("inline")}, rounds=ROUNDS)
    return [
        Row(
            f"cold run of {COLD_STEPS} steps, {name}",
            times[key] - times["pass"],
            "python -c pass",
            times["pass"],
            limit,
        )
        for key, name, limit in (("fork", "forked worker", 500.0), ("inline", "inline", 500.0))
    ]
