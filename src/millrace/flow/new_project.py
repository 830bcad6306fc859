"""A new project folder from a template: files that run at once, with data to run on."""

from __future__ import annotations

import os
import re
import shutil
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from millrace.core.errors import ProjectError
from millrace.core.ids import digest_bytes
from millrace.store.disk import disk_error

TEMPLATES = ("tabular", "stream")
_SUFFIX = ".template"
_FORM = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
# Below the range from which systems take ports for outgoing connections.
_FIRST_PORT, _LAST_PORT = 10_000, 30_000


@dataclass(frozen=True)
class NewProject:
    """What was written. `files` are relative to `folder`."""

    name: str
    template: str
    folder: Path
    files: tuple[str, ...]
    servers: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {
            "name": self.name,
            "template": self.template,
            "folder": str(self.folder),
            "files": list(self.files),
            "servers": dict(self.servers),
        }


def create_project(folder: Path, *, template: str, end: datetime) -> NewProject:
    """Write a project into `folder`, which is named after it; all of it or nothing.

    Parameters
    ----------
    folder : Path
        Does not exist, or is empty. Folders above it are made.
    template : {"tabular", "stream"}
    end : datetime
        The present of the data.

    Raises
    ------
    ProjectError
        PROJ-09 for a name that cannot be one, or a folder that holds something.
    StoreError
        STORE-01 when the disk is full, STORE-04 when the folder cannot be written.
    """
    folder = folder.resolve()
    _check(folder)
    staging, production = _free_ports(folder)
    servers = {"staging": f"http://127.0.0.1:{staging}", "production": f"http://127.0.0.1:{production}"}
    words = {"name": folder.name, **{f"{stage}_url": url for stage, url in servers.items()}}
    # A neighbour that is renamed in the end: who stops halfway leaves no half project.
    draft = folder.with_name(f".{folder.name}.{os.getpid()}.new")
    try:
        draft.mkdir(parents=True)
        _write_files(files("millrace.flow") / "templates" / template, draft, words)
        _write_data(draft / "data", template, end)
        written = tuple(sorted(str(path.relative_to(draft)) for path in draft.rglob("*") if path.is_file()))
        _move(draft, folder)
    except OSError as error:
        raise disk_error(error, folder) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return NewProject(folder.name, template, folder, written, servers)


def _check(folder: Path) -> None:
    if not _FORM.fullmatch(folder.name):
        proposal = re.sub(r"[^A-Za-z0-9_-]+", "-", folder.name).strip("-_0123456789")[:64]
        raise ProjectError(
            "PROJ-09",
            f"'{folder.name}' cannot name a project",
            why="a name is a letter, then letters, digits, '_' and '-', at most 64 in all",
            fix=f"millrace init {proposal or 'my-project'}",
        )
    if folder.exists() and not folder.is_dir():
        raise ProjectError("PROJ-09", f"'{folder.name}' is a file", where=str(folder), fix="choose another name")
    if folder.is_dir() and (found := sorted(entry.name for entry in folder.iterdir())):
        shown = ", ".join(found[:5]) + (f" and {len(found) - 5} more" if len(found) > 5 else "")
        raise ProjectError(
            "PROJ-09",
            f"the folder '{folder.name}' is not empty: nothing was written",
            where=str(folder),
            why=f"it holds {shown}",
            fix="choose another name, or empty the folder",
        )


def _write_files(template: Traversable, folder: Path, words: Mapping[str, str]) -> None:
    for source, relative in _walk(template, Path()):
        text = source.read_text(encoding="utf-8")
        target = folder / relative
        if target.name.endswith(_SUFFIX):
            name = target.name.removesuffix(_SUFFIX)
            target = target.with_name(".gitignore" if name == "gitignore" else name)
            for word, value in words.items():
                text = text.replace(f"@{word}@", value)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")


def _walk(folder: Traversable, place: Path) -> Iterator[tuple[Traversable, Path]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _walk(entry, place / entry.name)
        else:
            yield entry, place / entry.name


def _write_data(folder: Path, template: str, end: datetime) -> None:
    import pyarrow.parquet as pq

    from millrace.flow.template_data import TABLES

    folder.mkdir()
    for name, table in TABLES[template](end).items():
        pq.write_table(table, folder / f"{name}.parquet", compression="zstd")


def _move(draft: Path, folder: Path) -> None:
    if not folder.exists():
        draft.rename(folder)
        return
    # The folder may be somebody's working folder: fill it rather than replace it.
    for entry in draft.iterdir():
        entry.rename(folder / entry.name)


def _free_ports(folder: Path) -> tuple[int, int]:
    """Two loopback ports nobody listens on. Where to look first follows from the path, so projects rarely meet."""
    span = _LAST_PORT - _FIRST_PORT
    start = int(digest_bytes(str(folder).encode())[:8], 16)
    free = (port for step in range(span) if _is_free(port := _FIRST_PORT + (start + step) % span))
    return next(free), next(free)


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
