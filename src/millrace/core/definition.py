"""How a definition in a project file knows its place and reports its mistakes.

A definition used alone raises on a mistake. While a project is loaded, mistakes are collected instead, so that all
of them can be shown at once with file and line.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from millrace.core.errors import MillraceError

_collector: ContextVar[list[MillraceError] | None] = ContextVar("millrace_problems", default=None)


@contextmanager
def collecting() -> Iterator[list[MillraceError]]:
    """Collect the problems that definitions report inside the block."""
    problems: list[MillraceError] = []
    token = _collector.set(problems)
    try:
        yield problems
    finally:
        _collector.reset(token)


def report(problem: MillraceError) -> None:
    """Raise `problem`, or keep it for the project loader when one is collecting."""
    if problem.where is None:
        problem.where = caller_place()
    problems = _collector.get()
    if problems is None:
        raise problem
    problems.append(problem)


def caller_place() -> str | None:
    """``file:line`` of the nearest frame outside this package, or None."""
    frame = sys._getframe(1)
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if not module.startswith("millrace.") and module not in ("dataclasses", "millrace", "contextlib"):
            filename = frame.f_code.co_filename
            if filename != "<string>":  # the generated __init__ of a dataclass
                return f"{filename}:{frame.f_lineno}"
        if frame.f_back is None:
            return None
        frame = frame.f_back
    return None
