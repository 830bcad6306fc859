"""The names of models and aliases, and how a person points at one version."""

from __future__ import annotations

import re

from millrace.core.errors import ProjectError

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_NUMBER = re.compile(r"v?([0-9]+)")


def check_name(name: str, *, what: str) -> str:
    """`name` itself when it may name a model or an alias.

    Raises
    ------
    ProjectError
        REG-05 when it holds other characters than letters, digits, ``_`` and ``-``, or reads like a version.
    """
    if _NAME.fullmatch(name) is None or _NUMBER.fullmatch(name) is not None or name == "latest":
        raise ProjectError(
            "REG-05",
            f"{what} {name!r} is not a usable name",
            why="a name is a letter, then letters, digits, '_' or '-'; 'v7' and 'latest' would read as versions",
            fix="choose another name",
        )
    return name


def version_number(ref: int | str) -> int | None:
    """The version `ref` names by number (7, "7" or "v7"), or None when it can only be an alias.

    >>> version_number("v7"), version_number("champion")
    (7, None)
    """
    if isinstance(ref, int):
        return ref
    match = _NUMBER.fullmatch(ref.strip())
    return int(match[1]) if match else None


def split_reference(text: str) -> tuple[str, str | None]:
    """Model and version or alias of ``churn:7``, ``churn:v7``, ``churn@champion`` or ``churn``.

    >>> split_reference("churn@champion"), split_reference("churn")
    (('churn', 'champion'), ('churn', None))
    """
    for sign in ("@", ":"):
        model, found, ref = text.partition(sign)
        if found:
            return model, ref
    return text, None
