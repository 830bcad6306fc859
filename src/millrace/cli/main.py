"""`millrace`: reads the words, calls one function of the library, prints what it answers.

Exit codes: 0 done, 1 a verdict said no, 2 wrong input or usage, or a step that cannot run, 3 somebody else was first,
4 durable state is damaged or full, 5 a server or vendor did not answer, 70 a defect of Millrace.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import traceback
from collections.abc import Sequence

from millrace.core.errors import MillraceError

# One module per noun; each has add(subparsers) and is imported only to build its own parser.
_NOUNS = ("project", "run", "ledger", "data", "features", "model", "release", "serve", "monitor", "demo")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    if not hasattr(options, "command"):
        parser.print_help()
        return 0
    try:
        code: int = options.command(options) or 0
    except MillraceError as error:
        return _tell(error, as_json=getattr(options, "json", False))
    except KeyboardInterrupt:
        print("stopped; the same command goes on from what was finished", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Whoever read has gone. What was being done may not be finished: not 0.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Exception:  # noqa: BLE001 - nobody catches it after us, and Python's own exit code 1 is a verdict's
        traceback.print_exc()
        print("this is a defect of Millrace; the lines above say where", file=sys.stderr)
        return 70
    return code


def build_parser() -> argparse.ArgumentParser:
    """The whole grammar."""
    parser = argparse.ArgumentParser(
        prog="millrace",
        description="The whole life of a production model from one project.",
        epilog="millrace COMMAND --help tells more. Start with: millrace init NAME, or millrace demo.",
    )
    parser.add_argument("--version", action="version", version=_version())
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for noun in _NOUNS:
        importlib.import_module(f"millrace.cli.{noun}").add(commands)
    return parser


def _version() -> str:
    import millrace

    return f"millrace {millrace.__version__}"


def _tell(error: MillraceError, *, as_json: bool) -> int:
    from millrace.cli.output import has_color, print_json

    if as_json:
        print_json({"error": error.to_dict()})
    else:
        print(error.render(color=has_color(sys.stderr)), file=sys.stderr)
    return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
