"""Options that many commands share, and what they open."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from millrace.core.clock import from_text

if TYPE_CHECKING:
    from millrace.flow.project import Project
    from millrace.flow.settings import Settings
    from millrace.flow.wiring import Wiring
    from millrace.store.ledger import Ledger

Command = Callable[[argparse.Namespace], int | None]


def command(
    commands: Any, name: str, help_text: str, function: Command, *, in_project: bool = True
) -> argparse.ArgumentParser:
    """A subcommand with the options that every command has."""
    parser: argparse.ArgumentParser = commands.add_parser(name, help=help_text, description=help_text)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    if in_project:
        parser.add_argument("--project", default=".", metavar="FOLDER", help="the project (default: here or above)")
        parser.add_argument("--env", default=None, metavar="NAME", help="environment (default: millrace.toml's)")
    parser.set_defaults(command=function)
    return parser


def a_time(text: str) -> datetime:
    """A time on the command line. Raises ArgumentTypeError, which argparse tells with the option's name."""
    try:
        return from_text(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a time: write 2024-05-01 or 2024-05-01T12:00:00Z") from None


def a_port(text: str) -> int:
    """A port on the command line. Raises ArgumentTypeError: a number beyond would be taken for another port."""
    if not (text.isascii() and text.isdigit() and int(text) <= 65_535):
        raise argparse.ArgumentTypeError(f"'{text}' is not a port: write a number from 0 to 65535")
    return int(text)


def open_project(options: argparse.Namespace) -> Project:
    """The project the options name."""
    from millrace.flow.project import load_project

    return load_project(options.project, environment=options.env)


def open_wiring(options: argparse.Namespace) -> Wiring:
    """The project's open parts."""
    from millrace.core.clock import SystemClock
    from millrace.flow.wiring import Wiring

    return Wiring(open_project(options), SystemClock())


def open_settings(options: argparse.Namespace) -> Settings:
    """millrace.toml alone, without running the definitions: enough for commands that read the record."""
    from pathlib import Path

    from millrace.flow.settings import find_root, load_settings

    return load_settings(find_root(Path(options.project).resolve()), environment=options.env)


def open_ledger(options: argparse.Namespace) -> Ledger:
    """The ledger of the project's active environment."""
    from millrace.store.ledger import Ledger

    return Ledger.open(open_settings(options).active.ledger)
