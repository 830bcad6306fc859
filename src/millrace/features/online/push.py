"""Rows that are pushed: which views they feed, and what they are to each."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from millrace.core.errors import DataError, MillraceError, did_you_mean
from millrace.features.events import Events, read_events
from millrace.features.online.materialization import source_schema
from millrace.features.online.port import OnlineStore
from millrace.features.online.stored_schema import StoredSchema, find_schema
from millrace.features.scan import Read
from millrace.features.view import EventSource, FeatureView


def fed_by(target: str | FeatureView | EventSource, views: Mapping[str, FeatureView]) -> list[FeatureView]:
    """The views that rows of `target` feed: a view alone, or every view of a source.

    A name that both have, the view being fed by the source, is the source's.

    Raises
    ------
    DataError
        FEAT-11 when no view or source has that name, or two that have nothing to do with each other.
    """
    name = target if isinstance(target, str) else target.name
    fed = [view for view in views.values() if view.source.name == name]
    own = views.get(name)
    if isinstance(target, FeatureView) and own == target:
        return [target]
    if own is not None and not fed and isinstance(target, str):
        return [own]
    if isinstance(target, str) and own is not None and own not in fed:
        raise DataError(
            "FEAT-11",
            f"'{name}' is a view, and another source than that view's",
            fix="push to the view or the source itself instead of its name, or rename one of them",
        )
    if not fed or isinstance(target, FeatureView):
        known = {*views, *(view.source.name for view in views.values())}
        raise DataError("FEAT-11", f"the store has no view or source '{name}' like that", fix=did_you_mean(name, known))
    return fed


def events_to_push(rows: pa.Table, view: FeatureView, online: OnlineStore | None, read: Read) -> Events:
    """The events of a view in pushed rows, of the kinds that the store or the source has.

    Raises
    ------
    DataError
        FEAT-05 to FEAT-10 when the rows do not fit.
    """
    schema = (None if online is None else find_schema(online, view)) or _source_kinds(view, read)
    keys, kinds = (None, None) if schema is None else (schema.keys, schema.columns)
    return read_events(rows, view, key_kinds=keys, kinds=kinds)


def _source_kinds(view: FeatureView, read: Read) -> StoredSchema | None:
    try:
        return StoredSchema.of(read_events(source_schema(read, view.source), view))
    except MillraceError:
        # A stream may begin before its log exists: then the first rows say what the columns are.
        return None
