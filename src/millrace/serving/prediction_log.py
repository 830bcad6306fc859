"""Every answered prediction, durably: append-only segments of JSON lines.

One thread writes: every 50 ms (`sync="interval"`) it takes what has been answered since, writes one block and calls
fdatasync, so that a crash of the machine loses at most the last 50 ms, and a kill of the process at most what was not
yet written. With `sync="each"` an answer waits for its own fdatasync; requests that wait at the same time share one.

When the disk refuses (full, unmounted), nothing is silent: `is_failing` turns true (/ready answers 503), `failures`
grows, and up to `capacity` records wait in memory and are written when the disk takes them again; beyond that the
oldest are dropped and counted in `dropped`. Predictions are still answered with `sync="interval"`; with
`sync="each"` a request is answered 503, since its record is not on the disk.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import msgspec

from millrace.core.clock import Clock, SystemClock, to_micros, to_text
from millrace.core.errors import StoreError
from millrace.core.records import Prediction
from millrace.store.disk import disk_error, sync_folder

logger = logging.getLogger("millrace.serving")

Sync = Literal["interval", "each"]

_SUFFIX = ".jsonl"
_TIME_AT = len('{"event_time":"')
_TIME_WIDTH = len("2024-05-01T12:00:00.000000Z")


class _Line(msgspec.Struct):
    """A prediction as it is written. The time comes first, so that a reader can skip a line without parsing it."""

    event_time: str
    at: str
    model: str
    version: int
    request_id: str
    key: Mapping[str, Any]
    features: Sequence[Any]
    output: Any
    scores: Sequence[float]
    supplied: Sequence[str] | None = None
    flags: Sequence[str] | msgspec.UnsetType = msgspec.UNSET  # most predictions have none: nothing is written of it
    coerced: Mapping[str, Any] | msgspec.UnsetType = msgspec.UNSET


class PredictionLog:
    """Writes predictions to segments in a folder.

    Parameters
    ----------
    folder : Path
        Made when missing. Several processes may write to one folder: each has its own segments.
    sync : {"interval", "each"}
    interval_ms : float
        Between two writes.
    segment_bytes : int
        A segment larger than this is closed and a new one begun.
    capacity : int
        Records kept in memory while the disk refuses.
    clock : Clock
        For the names of segments.
    """

    def __init__(
        self,
        folder: Path,
        *,
        sync: Sync = "interval",
        interval_ms: float = 50.0,
        segment_bytes: int = 64 << 20,
        capacity: int = 100_000,
        clock: Clock | None = None,
    ) -> None:
        self.folder = folder
        self.sync = sync
        self.failures = 0
        self.dropped = 0
        self.written = 0
        self._taken = 0
        self.error: StoreError | None = None
        self._interval = interval_ms / 1000.0
        self._segment_bytes = segment_bytes
        self._capacity = capacity
        self._clock = clock or SystemClock()
        # A deque's append and popleft are atomic: requests never wait for the writer.
        self._queue: deque[_Line] = deque()
        self._waiting: deque[Future[None]] = deque()
        self._segment: _Segment | None = None
        self._wake = threading.Event()
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name="millrace-prediction-log", daemon=True)
        self._thread.start()

    @property
    def is_failing(self) -> bool:
        """Whether the last write was refused; False again after the next that succeeds."""
        return self.error is not None

    @property
    def pending(self) -> int:
        """How many taken predictions are not on the disk yet: what a kill at this instant would lose."""
        return self._taken - self.written - self.dropped

    def append(self, predictions: Iterable[Prediction]) -> Future[None] | None:
        """Take predictions for writing.

        Returns
        -------
        Future or None
            With `sync="each"` a future that is done once they are on the disk, and fails with StoreError when the
            disk refuses; None otherwise.
        """
        # A list, so that the queue takes all of them at once: one call's predictions are written together.
        lines = [_to_line(prediction) for prediction in predictions]
        self._queue.extend(lines)
        self._taken += len(lines)
        if self.sync != "each":
            return None
        done: Future[None] = Future()
        self._waiting.append(done)
        self._wake.set()
        return done

    def close(self) -> None:
        """Write what is left, and stop the thread."""
        self._is_closing = True
        self._wake.set()
        self._thread.join()
        if self._queue and self.error is not None:
            logger.error("%d predictions could not be logged: %s", len(self._queue), self.error)

    def _run(self) -> None:
        while not self._is_closing:
            self._wake.wait(self._interval)
            self._wake.clear()
            self._flush()
        self._flush()
        if self._segment is not None:
            self._segment.close()

    def _flush(self) -> None:
        # Waiters first: their records were queued before them, so they are in the batch taken after.
        waiting = [self._waiting.popleft() for _ in range(len(self._waiting))]
        batch = [self._queue.popleft() for _ in range(len(self._queue))]
        problem = self._try_to_write(batch) if batch else None
        for done in waiting:
            if not done.set_running_or_notify_cancel():
                continue  # the client has gone
            if problem is None:
                done.set_result(None)
            else:
                done.set_exception(problem)

    def _try_to_write(self, batch: list[_Line]) -> StoreError | None:
        """Write the batch; what went wrong otherwise. Whatever it is, the thread lives and the failure shows."""
        try:
            block, lost = _encode(batch)
            self._write(block)
        except Exception as error:  # noqa: BLE001  # see above
            self.error = error if isinstance(error, StoreError) else _unexpected(error, self.folder)
            self.failures += 1
            if self.sync == "interval":  # with "each" the caller is told, and may ask again
                self._keep(batch)
            return self.error
        self.written += len(batch) - lost
        self.dropped += lost
        self.error = None
        return None

    def _write(self, block: bytes) -> None:
        if self._segment is None or self._segment.size >= self._segment_bytes:
            if self._segment is not None:
                self._segment.close()
            self._segment = None
            self._segment = _Segment.create(self.folder, self._clock.now())
        try:
            self._segment.write(block)
        except StoreError:
            if self._segment.is_torn:
                self._segment.close()
                self._segment = None
            raise

    def _keep(self, batch: list[_Line]) -> None:
        self._queue.extendleft(reversed(batch))
        while len(self._queue) > self._capacity:
            self._queue.popleft()
            self.dropped += 1


class _Segment:
    """One file of the log, open for writing."""

    def __init__(self, path: Path, handle: int) -> None:
        self.path = path
        self.size = 0
        self.is_torn = False
        self._handle = handle

    @classmethod
    def create(cls, folder: Path, now: datetime) -> _Segment:
        # A new file for every start: a line torn by a kill is always the last of its segment.
        path = folder / f"predictions-{to_micros(now):020d}-{os.getpid()}-{os.urandom(3).hex()}{_SUFFIX}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
            sync_folder(folder)
        except OSError as error:
            raise disk_error(error, path) from error
        return cls(path, handle)

    def write(self, block: bytes) -> None:
        """Write all of `block` durably, or nothing of it. Raises StoreError."""
        try:
            view = memoryview(block)
            while view:
                view = view[os.write(self._handle, view) :]
            os.fdatasync(self._handle)
        except OSError as error:
            try:
                os.ftruncate(self._handle, self.size)  # works on a full disk: it frees
            except OSError:
                self.is_torn = True
            raise disk_error(error, self.path) from error
        self.size += len(block)

    def close(self) -> None:
        with suppress(OSError):  # every block was synced when it was written
            os.close(self._handle)


def read_predictions(
    folder: Path,
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    model: str | None = None,
) -> Iterator[Prediction]:
    """The predictions in `folder`, segment after segment, in the order they were answered.

    A torn last line of a segment (a process was killed, or is writing it now) is left out.

    Parameters
    ----------
    start, end : datetime, optional
        Only predictions with start <= event_time < end.
    model : str, optional
        Only those of this model.

    Raises
    ------
    StoreError
        SERVE-30 for a whole line that is not a prediction: the file was damaged.
    """
    first = to_text(start).encode() if start is not None else b""
    last = to_text(end).encode() if end is not None else b"\xff"
    decoder = msgspec.json.Decoder(_Line)
    for path in sorted(folder.glob(f"predictions-*{_SUFFIX}")):
        with open(path, "rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.endswith(b"\n"):
                    break
                if not first <= line[_TIME_AT : _TIME_AT + _TIME_WIDTH] < last:
                    continue
                try:
                    found = decoder.decode(line)
                except msgspec.MsgspecError as error:
                    raise _damaged(path, number, error) from error
                if model is None or found.model == model:
                    yield _from_line(found)


_RARE = ("flags", "coerced")
_FIELDS = tuple(name for name in Prediction.__slots__ if name not in _RARE)


def _to_line(prediction: Prediction) -> _Line:
    facts = {name: getattr(prediction, name) for name in _FIELDS}
    return _Line(**facts, flags=prediction.flags or msgspec.UNSET, coerced=prediction.coerced or msgspec.UNSET)


def _from_line(line: _Line) -> Prediction:
    facts = {name: getattr(line, name) for name in _FIELDS}
    rare = {name: value for name in _RARE if (value := getattr(line, name)) is not msgspec.UNSET}
    return Prediction(**facts, **rare)


def _encode(batch: Sequence[_Line]) -> tuple[bytes, int]:
    """The batch as JSON lines, and how many of it JSON cannot say (half a surrogate pair in a key)."""
    try:
        return _ENCODER.encode_lines(batch), 0
    except (TypeError, ValueError, RecursionError):
        lines = []
        for line in batch:
            with suppress(TypeError, ValueError, RecursionError):
                lines.append(_ENCODER.encode(line) + b"\n")
        return b"".join(lines), len(batch) - len(lines)


def _plain(value: Any) -> Any:
    """What a feature store may answer that JSON cannot say: numpy scalars, decimals and the like."""
    item = getattr(value, "item", None)
    return item() if callable(item) else str(value)


_ENCODER = msgspec.json.Encoder(enc_hook=_plain)


def _unexpected(error: Exception, folder: Path) -> StoreError:
    return StoreError(
        "SERVE-31",
        f"the prediction log cannot be written: {type(error).__name__}: {error}",
        where=str(folder),
        why="predictions wait in memory until it can be",
        fix="see the server's log, and report this: it is not a matter of the disk",
    )


def _damaged(path: Path, number: int, error: Exception) -> StoreError:
    return StoreError(
        "SERVE-30",
        f"line {number} of the prediction log is not a prediction: {error}",
        where=f"{path}:{number}",
        why="the file was changed or damaged after it was written",
        fix="restore the file from a backup, or remove that line",
    )
