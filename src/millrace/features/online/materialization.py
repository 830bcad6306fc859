"""From the sources into the online store, by intervals of event time, resumable after a crash.

An interval is done when its events are merged *and* synced; only then is it recorded. A process killed in between
repeats at most the interval it was in, and merging is idempotent. What was done into another store, or into one that
was emptied since, does not count.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa

from millrace.core.clock import Clock, as_utc, from_text, to_micros, to_text
from millrace.core.errors import DataError
from millrace.features.buckets import count_buckets, open_buckets, places_by_key
from millrace.features.events import Events, read_events
from millrace.features.freshness import STATE, materialization_state
from millrace.features.keys import key_arrays
from millrace.features.online.batch import pack_events
from millrace.features.online.port import OnlineStore
from millrace.features.online.stored_schema import StoredSchema, find_schema, store_mark, widen_schema
from millrace.features.online.tail import Retention, retention_of
from millrace.features.online.tail_merge import TailMerge
from millrace.features.scan import NOWHERE, open_scan
from millrace.features.scan import Read as Read
from millrace.features.view import EventSource, FeatureView
from millrace.features.workspace import Progress, Workspace
from millrace.store.ledger import Ledger

logger = logging.getLogger("millrace.features")

CHUNK = timedelta(days=30)
_PARTS = 100


class Materializer:
    """Writes views into one online store, and remembers in the ledger how far it came.

    Parameters
    ----------
    read : callable (source, start, end) -> pyarrow.Table
        Rows with start <= event time < end; None for no bound.
    online : OnlineStore
    ledger : Ledger or None
        None: progress is remembered in this object only.
    clock : Clock
    late : timedelta
        How far before a key's newest event a read may ask.
    workspace : Workspace, optional
        How much memory an interval may take, and where what does not fit waits.
    """

    def __init__(
        self,
        read: Read,
        online: OnlineStore,
        ledger: Ledger | None,
        clock: Clock,
        late: timedelta,
        workspace: Workspace | None = None,
    ) -> None:
        self._workspace = workspace or Workspace()
        self._read = read
        self._online = online
        self._ledger = ledger
        self._clock = clock
        self._late = round(late.total_seconds() * 1_000_000)
        self._memory: dict[str, dict[str, Any]] = {}

    def write(self, view: FeatureView, events: Events, *, is_replay: bool) -> None:
        """Merge events of one view, whichever way they came."""
        if events.size == 0:
            return
        widen_schema(self._online, view, StoredSchema.of(events))
        retention: Retention = retention_of(view, self._late)
        now = to_micros(self._clock.now())
        self._online.merge(
            view.storage_id(),
            pack_events(events, view, retention=retention, now=now),
            TailMerge(retention, now, is_replay=is_replay),
        )

    def materialize(
        self,
        view: FeatureView,
        start: datetime | None,
        end: datetime,
        *,
        chunk: timedelta = CHUNK,
        progress: Progress | None = None,
    ) -> int:
        """Merge the events with start <= event time < end; return how many were read.

        The same call after a crash goes on after the last interval that was done.

        Raises
        ------
        DataError
            FEAT-13 when the interval is empty or reversed, or `chunk` is no span of time; what reading and merging
            raise.
        """
        end = as_utc(end)
        start = None if start is None else as_utc(start)
        if chunk <= timedelta(0):
            raise DataError("FEAT-13", f"chunks of {chunk} never come to an end", fix='chunk="30d"')
        if start is not None and start >= end:
            raise DataError(
                "FEAT-13",
                f"nothing lies from {to_text(start)} to {to_text(end)}",
                fix="start is before end; end itself is not included",
            )
        intervals = _intervals(start, end, chunk)
        asked = [None if start is None else to_text(start), to_text(end)]
        mark = store_mark(self._online) or store_mark(self._online, make=True)
        running = self._here(view, mark).get("running") or {}
        resumed = running.get("done") if running.get("asked") == asked else None
        rows = 0
        for place, (begin, stop) in enumerate(intervals):
            if resumed is None or to_text(stop) > resumed:
                read = 0
                for part, events in self._read_events(view, begin, stop):
                    read += events.size
                    self.write(view, events, is_replay=True)
                    if progress is not None and part < 1:
                        progress(int((place + part) * _PARTS), len(intervals) * _PARTS)
                self._online.sync()
                self._record(view, asked, begin, stop, rows=read, mark=mark)
                rows += read
            if progress is not None:
                progress((place + 1) * _PARTS, len(intervals) * _PARTS)
        return rows

    def state(self, view: FeatureView) -> Mapping[str, Any]:
        """How far the present definition of `view` came: ``until``, and ``running`` while a call is under way."""
        if self._ledger is None:
            return self._memory.get(view.storage_id(), {})
        return materialization_state(self._ledger, view)

    def until(self, view: FeatureView) -> datetime | None:
        """The end of what is materialized without a hole, None for nothing."""
        text = self.state(view).get("until")
        return None if text is None else from_text(text)

    def reached(self, view: FeatureView) -> datetime | None:
        """`until` of this very store: None when the record speaks of another, or of one that was emptied since."""
        recorded = self.until(view)
        text = self._here(view, store_mark(self._online)).get("until") if recorded is not None else None
        if recorded is not None and text is None:
            logger.warning("the online store holds nothing of view '%s' any more: from the beginning", view.name)
        return None if text is None else from_text(text)

    def _here(self, view: FeatureView, mark: str | None) -> Mapping[str, Any]:
        state = self.state(view)
        # A record of before stores had marks is believed.
        return state if state.get("mark") in (None, mark) else {}

    def _read_events(self, view: FeatureView, start: datetime | None, end: datetime) -> Iterator[tuple[float, Events]]:
        """The events of an interval, all of a key's together, and after each lot how much is done, from 0 to 1."""
        scan = open_scan(self._read, view.source, view.source_columns, start, end)
        schema = find_schema(self._online, view)
        kinds = None if schema is None else schema.keys
        count = count_buckets(scan.bytes, self._workspace.limit()) if view.keys else 1
        empty = scan.schema.empty_table()
        with open_buckets(count, self._workspace) as buckets:
            for piece in scan.pieces():
                keys = key_arrays(piece, view.keys, expected=kinds) if count > 1 else ()
                buckets.add(piece, places_by_key(keys, piece.num_rows, count) if count > 1 else None)
            for number in range(count):
                yield (number + 1) / count, read_events(buckets.take(number, empty), view, key_kinds=kinds)

    def _record(
        self,
        view: FeatureView,
        asked: list[str | None],
        begin: datetime | None,
        stop: datetime,
        *,
        rows: int,
        mark: str | None,
    ) -> None:
        before = self._here(view, mark)
        done, until = to_text(stop), before.get("until")
        # A hole between what was done and this interval leaves `until` where it is: the next increment fills it.
        is_joined = until is None or begin is None or to_text(begin) <= until
        value = {
            "storage_id": view.storage_id(),
            "until": max(until or done, done) if is_joined else until,
            "running": None if done == asked[1] else {"asked": asked, "done": done},
            "mark": mark,
        }
        if self._ledger is None:
            self._memory[view.storage_id()] = value
            return
        facts = {
            "view": view.name,
            "definition": view.digest(),
            "start": None if begin is None else to_text(begin),
            "end": done,
            "rows": rows,
        }
        self._ledger.append("materialization", view.name, facts, sets=[(STATE, view.storage_id(), value)])


def source_schema(read: Read, source: EventSource) -> pa.Table:
    """No rows of a source: its columns and their types."""
    return open_scan(read, source, (), NOWHERE, NOWHERE).schema.empty_table()


def _intervals(start: datetime | None, end: datetime, chunk: timedelta) -> list[tuple[datetime | None, datetime]]:
    if start is None:
        return [(None, end)]
    edges = [start]
    while edges[-1] + chunk < end:
        edges.append(edges[-1] + chunk)
    return list(zip(edges, [*edges[1:], end], strict=True))
