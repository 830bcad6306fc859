"""Files that cannot be read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from millrace.core.errors import DataError, MillraceError


def damaged(file: Path, error: BaseException) -> DataError:
    """VALID-10 for a file that cannot be read."""
    return DataError(
        "VALID-10",
        f"'{file.name}' cannot be read: {(str(error).splitlines() or ['damaged'])[0]}",
        where=str(file),
        why="it was cut short, damaged on its way, or is no Parquet",
        fix="write the file again, or copy it again from where it came; no row of it was judged",
    )


def raise_all(findings: Sequence[MillraceError]) -> None:
    """Raise what is wrong with several files, all of it at once; nothing when there is nothing."""
    if len(findings) == 1:
        raise findings[0]
    if findings:
        raise DataError(findings[0].code, f"{len(findings)} files cannot be read", findings=findings)
