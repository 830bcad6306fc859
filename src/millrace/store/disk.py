"""Writing files so that a reader sees the old one or the new one, never half of either."""

from __future__ import annotations

import errno
import os
from pathlib import Path

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
    """Put `data` at `path`: durable, and whole at every instant.

    Raises
    ------
    StoreError
        STORE-01 when the disk is full, STORE-04 when the path cannot be written. The old file is then untouched.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(3).hex()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise disk_error(error, path) from error


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
