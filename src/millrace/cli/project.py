"""`millrace init`: a new project that runs at once."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from millrace.cli.options import command
from millrace.cli.output import paint, print_json

_TEMPLATES = {"tabular": "customers and their orders", "stream": "hourly readings of pumps"}


def add(commands: Any) -> None:
    """The grammar of this command."""
    init = command(commands, "init", "write a new project that runs at once", init_project, in_project=False)
    init.add_argument("name", metavar="NAME", help="the project, and the folder it is written to")
    init.add_argument(
        "--template",
        choices=tuple(_TEMPLATES),
        default="tabular",
        help=f"{'; '.join(f'{name}: {text}' for name, text in _TEMPLATES.items())} (default: tabular)",
    )


def init_project(options: argparse.Namespace) -> int:
    """Write the folder and say what to do next."""
    from millrace.core.clock import SystemClock
    from millrace.flow.new_project import create_project

    made = create_project(Path(options.name), template=options.template, end=SystemClock().now())
    if options.json:
        print_json(made.to_dict())
        return 0
    print(f"{paint(made.name, 'bold')} is in {made.folder}")
    for name in made.files:
        print(f"  {name}")
    print("\nnext")
    if made.folder != Path.cwd():
        print(f"  cd {options.name}")
    print("  millrace run       train, judge and release the model")
    print("  millrace status    what is in production")
    print("  millrace serve     answer predictions")
    return 0
