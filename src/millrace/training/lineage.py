"""Where a model comes from: code, environment, data, seed."""

from __future__ import annotations

import inspect
import os
import platform
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from millrace.core.ids import digest_bytes, digest_parts

_GIT_SECONDS = 10


def trace_lineage(function: Callable[..., Any], *, root: Path, seed: int, **facts: Any) -> dict[str, Any]:
    """Everything that is known of a model's origin, JSON-ready.

    Parameters
    ----------
    function : callable
        The user's training function.
    root : Path
        Folder of the project, for its git commit.
    seed : int
    **facts
        What the caller knows: data_digest, feature_digest, feature_pins, parameters, run_id.
    """
    return {
        "code": read_commit(root),
        "function_digest": function_digest(function),
        "environment_digest": environment_digest(),
        "python": platform.python_version(),
        "seed": seed,
        **facts,
    }


def read_commit(root: Path) -> dict[str, Any]:
    """``{"commit": str or None, "is_dirty": bool or None}`` of the repository `root` lies in.

    None for what cannot be known: no git, no repository, no commit yet. Dirty means that a file under `root` differs
    from the commit or is not in it.
    """
    commit = _git(root, "rev-parse", "--verify", "--quiet", "HEAD")
    changes = _git(root, "status", "--porcelain", "--", ".")
    return {"commit": commit or None, "is_dirty": None if changes is None else changes != ""}


@cache
def environment_digest() -> str:
    """SHA-256 of the sorted installed distributions, ``name==version``; read once per process."""
    return digest_parts(installed())


def installed() -> list[str]:
    """The installed distributions, ``name==version``, sorted."""
    found = {f"{entry.name.lower().replace('_', '-')}=={entry.version}" for entry in distributions() if entry.name}
    return sorted(found)


def function_digest(function: Callable[..., Any]) -> str | None:
    """SHA-256 of the function's source text; None where there is no source (a notebook long gone, a builtin)."""
    try:
        return digest_bytes(inspect.getsource(inspect.unwrap(function)).encode())
    except (OSError, TypeError):
        return None


def _git(root: Path, *arguments: str) -> str | None:
    """What git prints, stripped; None when it is not installed, refuses or takes too long."""
    program = shutil.which("git")
    if program is None:
        return None
    try:
        done = subprocess.run(
            [program, "-C", str(root), *arguments],
            capture_output=True,
            text=True,
            timeout=_GIT_SECONDS,
            check=False,
            # Looking must not take git's lock from somebody who is committing.
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
