"""Writing files so that a reader sees the old one or the new one, never half of either."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from millrace.core.errors import StoreError

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def disk_error(error: OSError, path: Path | str) -> StoreError:
    """What an operating-system error on `path` means for the user."""
    if error.errno in _NO_ROOM:
        return StoreError(
            "STORE-01",
            f"the disk cannot take more: {error.strerror}",
            where=str(path),
            why="nothing was half written: the old state is intact",
            fix="free space on that disk, then run the same command again",
        )
    return StoreError(
        "STORE-04",
        f"cannot read or write: {error.strerror or error}",
        where=str(path),
        fix="check the path and its permissions",
    )


def write_atomic(path: Path, data: bytes | memoryview) -> None:
    """Put `data` at `path`: durable, and whole at every instant. Raises as `write_atomic_as`."""

    def write(file: BinaryIO) -> Path:
        file.write(data)
        return path

    if not path.name:  # `.` and `/`
        raise disk_error(IsADirectoryError(0, "Is a directory"), path)
    write_atomic_as(path, write)


def write_atomic_as(place: Path, write: Callable[[BinaryIO], Path]) -> Path:
    """A file whose name follows from what is written to it: durable, and whole at every instant.

    Parameters
    ----------
    place : Path
        The temporary file is made beside it; its folder is made if it is missing.
    write : callable
        Writes to the open file; returns the path it belongs at, on the same file system.

    Returns
    -------
    Path
        What `write` returned.

    Raises
    ------
    StoreError
        STORE-01 when the disk is full, STORE-04 when the path cannot be written. The old file is then untouched.
    """
    temporary = place.with_name(f".{place.name}.{os.getpid()}.{os.urandom(3).hex()}.tmp")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            path = write(file)
            file.flush()
            os.fsync(file.fileno())
        path.parent.mkdir(parents=True, exist_ok=True)
        os.replace(temporary, path)
        sync_folder(path.parent)
    except BaseException as error:
        with suppress(OSError):  # such as a folder that could not be made
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise disk_error(error, place) from error
        raise
    return path


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
