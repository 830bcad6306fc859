"""Implementations of ports, found by entry-point name and imported late."""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from millrace.core.errors import MissingExtra, ProjectError, did_you_mean


@cache
def find_plugin(group: str, name: str) -> EntryPoint | None:
    """The entry point `name` of ``millrace.<group>``, or None. What is installed does not change under a process."""
    return next(iter(entry_points(group=f"millrace.{group}", name=name)), None)


def plugin_names(group: str) -> list[str]:
    """Names of all implementations installed for a port."""
    return sorted(entry.name for entry in entry_points(group=f"millrace.{group}"))


def load_plugin(group: str, name: str) -> Any:
    """The implementation `name` of a port, imported now.

    Raises
    ------
    ProjectError
        PROJ-11 when no installed package offers it.
    MissingExtra
        When the package behind it is not installed.
    """
    entry = find_plugin(group, name)
    if entry is None:
        raise ProjectError(
            "PROJ-11",
            f"no implementation '{name}' of the port '{group}' is installed",
            fix=did_you_mean(name, plugin_names(group)),
        )
    try:
        return entry.load()
    except ModuleNotFoundError as error:
        if error.name and error.name.split(".")[0] != "millrace":
            raise MissingExtra(error.name, _extra_of(entry), f"'{name}' for {group}") from error
        raise


def _extra_of(entry: EntryPoint) -> str:
    """The extra that brings an implementation's package: it is called as the adapter, which may have several names."""
    module = entry.module.rpartition(".")
    return module[2] if module[0] == "millrace.adapters" else entry.name


def scheme_of(url: str) -> str:
    """The part before ``://``; "file" for a bare path.

    >>> scheme_of("sqlite:///x.db"), scheme_of("data/blobs")
    ('sqlite', 'file')
    """
    return url.split("://", 1)[0].split("+", 1)[0] if "://" in url else "file"
