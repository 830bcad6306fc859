"""`millrace deploy`, `promote`, `rollback`: change what an environment runs, and change it back."""

from __future__ import annotations

import argparse
import time
from typing import Any

from millrace.cli.options import command, open_wiring
from millrace.cli.output import outcome, print_json
from millrace.core.errors import ProjectError


def add(commands: Any) -> None:
    """The grammar of these commands."""
    deploy = command(commands, "deploy", "bring a version to staging, prove it, then to production", deploy_version)
    deploy.add_argument("version", help="MODEL:VERSION, or MODEL@ALIAS; VERSION alone when there is one model")
    deploy.add_argument(
        "--to", choices=("staging", "production"), default="production", help="how far (default: production)"
    )
    deploy.add_argument(
        "--lift-quarantine", action="store_true", help="deploy a bundle although it was taken back before"
    )
    deploy.add_argument("--reason", default="by hand", help="why, for the record")
    promote = command(commands, "promote", "move an alias to a version", promote_version)
    promote.add_argument("version", help="MODEL:VERSION, or MODEL@ALIAS")
    promote.add_argument("alias", help="such as challenger; champion follows production")
    promote.add_argument("--reason", default="by hand", help="why, for the record")
    rollback = command(commands, "rollback", "production runs the last good version again", roll_back_version)
    rollback.add_argument("model", nargs="?", help="which model (needed when there are several)")
    rollback.add_argument("--to", type=int, metavar="VERSION", help="which version (default: the last good one)")
    rollback.add_argument("--reason", default="by hand", help="why, for the record")


def deploy_version(options: argparse.Namespace) -> int:
    """Deploy one version."""
    from millrace.core.ids import new_id
    from millrace.deployment.quarantine import lift_quarantine
    from millrace.flow.release import STAGES, release
    from millrace.flow.tell import start_mirror

    wiring = open_wiring(options)
    version = wiring.get_version(options.version)
    stages = STAGES[: STAGES.index(options.to) + 1]
    if options.lift_quarantine:
        lift_quarantine(wiring.ledger, version.digest, reason=options.reason)
    result = release(wiring, version, key=new_id("deploy", wiring.clock.now()), reason=options.reason, stages=stages)
    start_mirror(wiring)
    if options.json:
        print_json(result.to_dict())
    else:
        print(f"{outcome(result.outcome)}: {result.reason}")
    return 0 if result.is_deployed else 1


def promote_version(options: argparse.Namespace) -> int:
    """Move one alias."""
    from millrace.flow.tell import start_mirror

    if options.alias == "champion":
        raise ProjectError(
            "REG-06",
            "'champion' follows production and is not moved by hand",
            why="gates compare with it, and a tracker shows it as what is served",
            fix=f"millrace deploy {options.version}, or millrace rollback",
        )
    wiring = open_wiring(options)
    version = wiring.get_version(options.version)
    moved = wiring.registry.move_alias(version.model, options.alias, version.version, reason=options.reason)
    start_mirror(wiring)
    if options.json:
        print_json(moved.to_dict())
    else:
        before = f" (was v{moved.previous})" if moved.previous else " (a new alias)"
        print(f"{version.model}@{options.alias} is v{version.version}{before}")
    return 0


def roll_back_version(options: argparse.Namespace) -> int:
    """Roll production back."""
    from millrace.flow.release import await_rollback, roll_back
    from millrace.flow.tell import start_mirror

    started = time.perf_counter()
    wiring = open_wiring(options)
    model = wiring.project.get_model(options.model).name
    release = roll_back(wiring, model, reason=options.reason, to=options.to)
    live = await_rollback(wiring, release)
    seconds = time.perf_counter() - started
    start_mirror(wiring)
    if options.json:
        print_json({**release.to_dict(), "is_live": live, "seconds": round(seconds, 3)})
    else:
        state = {True: "the server runs it", None: "no server is running"}.get(live, "the server has not taken it yet")
        print(f"production runs {model} v{release.version} (was v{release.previous}): {state}, {seconds:.2f} s")
    return 0 if live is not False else 5
