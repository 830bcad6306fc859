"""Reports that a `millrace data` command writes beside what it prints."""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from millrace.core.errors import DataError, did_you_mean
from millrace.store.disk import write_atomic

KINDS = ("html", "json")

_PATIENCE_S = 1.0
_REDRAW_S = 0.2


def add_report(parser: argparse.ArgumentParser, kinds: Sequence[str] = KINDS) -> None:
    """The option that asks for reports."""
    parser.add_argument(
        "--report",
        nargs="+",
        action="extend",
        default=[],
        metavar="|".join([*kinds, "FILE"]),
        help="write reports: the file's ending says which; a kind alone makes a name from the batch's",
    )


def wanted_reports(words: Sequence[str], batch: str, kinds: Sequence[str] = KINDS) -> list[tuple[str, Path]]:
    """Each report asked for: its kind and its file.

    A kind may stand before its file, ``--report html out.html``, and stands alone for a file named after the batch.

    Raises
    ------
    DataError
        VALID-60 for a word that is neither.
    """
    found: list[tuple[str, Path]] = []
    waiting: str | None = None
    for word in words:
        kind = Path(word).suffix.lower().removeprefix(".")
        if word in kinds:
            found += [] if waiting is None else [(waiting, _named_after(batch, waiting))]
            waiting = word
        elif kind not in kinds:
            raise DataError(
                "VALID-60",
                f"'{word}' is no report: it ends in none of {', '.join(f'.{one}' for one in kinds)}",
                fix=did_you_mean(word, kinds) if "." not in word else f"--report {Path(word).stem}.html",
            )
        else:
            if waiting is not None and waiting != kind:
                found.append((waiting, _named_after(batch, waiting)))
            found.append((kind, Path(word)))
            waiting = None
    return found if waiting is None else [*found, (waiting, _named_after(batch, waiting))]


def write_reports(reports: Sequence[tuple[str, Path]], makers: Mapping[str, Callable[[], bytes]]) -> None:
    """Write each report, whole or not at all. Raises StoreError STORE-01 or STORE-04 when the disk refuses."""
    for kind, path in reports:
        write_report(path, makers[kind]())


def write_report(path: Path, content: bytes) -> None:
    """Write one file and say so on standard error."""
    write_atomic(path, content)
    print(f"written: {path}", file=sys.stderr)


@contextmanager
def waiting(label: str) -> Iterator[None]:
    """Shows on a terminal, after a second, that something goes on and for how long."""
    stream = sys.stderr
    if not stream.isatty():
        yield
        return
    done, began = threading.Event(), time.monotonic()

    def show() -> None:
        if done.wait(_PATIENCE_S):
            return
        while not done.wait(_REDRAW_S):
            print(f"\r\x1b[K{label} {time.monotonic() - began:.1f} s", end="", file=stream, flush=True)
        print("\r\x1b[K", end="", file=stream, flush=True)

    thread = threading.Thread(target=show, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _named_after(batch: str, kind: str) -> Path:
    return Path(f"{Path(batch).stem or 'batch'}.report.{kind}")
