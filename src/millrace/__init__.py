"""Millrace: the whole life of a production model from one project.

    >>> import millrace as mr

The public names below are imported on first use; importing the package does no work.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_NAMES = {
    "AUTO": "",
}


def __getattr__(name: str) -> Any:
    module = _NAMES.get(name)
    if not module:
        raise AttributeError(f"module 'millrace' has no attribute {name!r}")
    value = getattr(importlib.import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_NAMES])
