"""`python -m benchmarks`: each benchmark in a process of its own, one after the other."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence

from benchmarks.measure import Row, table

NAMES = (
    "steps",
    "serving",
    "online_read",
    "online_burst",
    "feature_join",
    "feature_http",
    "feature_feast",
    "validation",
    "row_checker",
    "incidents",
    "drift",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks that are named, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", nargs="*", help=f"which: {', '.join(NAMES)} (default: all)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    unknown = [name for name in options.name if name not in NAMES]
    if unknown:
        parser.error(f"no benchmark '{unknown[0]}'; one of: {', '.join(NAMES)}")
    if options.inside:
        rows = importlib.import_module(f"benchmarks.{options.name[0]}").run()
        print(json.dumps([row.to_dict() for row in rows]))
        return 0
    report = {"machine": describe_machine(), "benchmarks": {}}
    for name in options.name or NAMES:
        report["benchmarks"][name] = measure(name)
        if not options.json:
            show(name, report["benchmarks"][name])
    if options.json:
        print(json.dumps(report))
    else:
        print(f"\n{report['machine']}")
    return 0


def measure(name: str) -> dict[str, object]:
    """One benchmark in a fresh interpreter: what another one imported must not weigh on it."""
    before, started = os.getloadavg()[0], time.perf_counter()
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    environment.setdefault("OMP_NUM_THREADS", "1")
    words = [sys.executable, "-m", "benchmarks", name, "--inside"]
    done = subprocess.run(words, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return {
        "rows": json.loads(done.stdout.splitlines()[-1]),
        "load_before": before,
        "load_after": os.getloadavg()[0],
        "seconds": time.perf_counter() - started,
    }


def show(name: str, found: dict[str, object]) -> None:
    """Print one benchmark's table."""
    load = f"load average {found['load_before']:.2f} before, {found['load_after']:.2f} after"
    print(f"\n{name} ({load}; {found['seconds']:.0f} s)\n")
    print(table([Row.from_dict(facts) for facts in found["rows"]]), flush=True)


def describe_machine() -> str:
    """The machine in one line."""
    return f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}"


if __name__ == "__main__":
    sys.exit(main())
