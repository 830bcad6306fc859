"""Each incident of examples/incidents on a million rows: the whole command, from its start to its exit code.

Beside it a process that only reads the same file with Polars; a damaged file is set against its sound one.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from types import ModuleType

from benchmarks.measure import Row, in_turns

ROWS = 1_000_000
ROUNDS = 2
LIMIT_MS = 2000.0
EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "incidents" / "break_orders.py"
READ = "import sys, polars; getattr(polars, 'read_' + sys.argv[1].rpartition('.')[2])(sys.argv[1])"


def run(rows: int = ROWS) -> list[Row]:
    """One row for each file, the sound ones first."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = _example().write_all(folder, rows)
        for form in ("parquet", "csv"):
            words = ["suggest", str(folder / f"reference.{form}"), "--output", str(folder / f"{form}.json")]
            _command(words, expected=(0,))
        sound = {f"sound.{form}": folder / f"sound.{form}" for form in ("parquet", "csv")}
        return [_measure(label, file, folder) for label, file in [*sound.items(), *files.items()]]


def _measure(label: str, file: Path, folder: Path) -> Row:
    form, is_sound = file.suffix.removeprefix("."), label.startswith("sound.")
    words = ["validate", str(file), "--suite", str(folder / f"{form}.json")]
    if file.stem in _example().AGAINST:
        words += ["--against", str(folder / "reference.parquet"), "--label", "late"]
    is_damaged = file.stem in ("truncated", "truncated_line", "not_utf8")
    read = folder / f"sound.{form}" if is_damaged else file
    found = in_turns(
        {
            "command": partial(_command, words, expected=(0,) if is_sound else (1, 2)),
            "read": lambda: subprocess.run([sys.executable, "-c", READ, str(read)], check=True),
        },
        rounds=ROUNDS,
    )
    limit = None if is_sound else LIMIT_MS
    return Row(f"{label} ({form})", found["command"], "Polars reads the file", found["read"], limit)


def _command(words: list[str], *, expected: tuple[int, ...]) -> None:
    command = [sys.executable, "-m", "millrace", "data", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in expected:
        raise SystemExit(f"{' '.join(words)} exits {done.returncode}: {done.stdout}{done.stderr}")


def _example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("break_orders", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
