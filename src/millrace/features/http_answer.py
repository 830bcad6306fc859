"""Answers of the feature server, in Feast's form.

    {"metadata": {"feature_names": [...]},
     "results": [{"values": [...], "statuses": [...], "event_timestamps": [...]}, ...]}

One result per name, each with one entry per entity: first the key columns, then the features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from math import floor, isfinite
from typing import Any

import msgspec

from millrace.core.errors import MillraceError
from millrace.features.lookup import OnlineFeatures

WORDS: Mapping[str, str] = {
    "present": "PRESENT",
    "null": "NULL_VALUE",
    "expired": "OUTSIDE_MAX_AGE",
    "missing": "NOT_FOUND",
    "trimmed": "INVALID",
    "unavailable": "INVALID",
}
"""Our statuses in Feast's words."""

_NO_TIME = "1970-01-01T00:00:00Z"  # what Feast writes where there is none; its client cannot read null
_encode = msgspec.json.Encoder().encode


class AnswerForm:
    """What answers to requests for the same names have in common.

    Parameters
    ----------
    keys : sequence of str
        Columns of the request that are given back.
    names : sequence of str
        The features, as the answer calls them.
    views : sequence of str, optional
        Told as metadata when given.
    """

    def __init__(self, keys: Sequence[str], names: Sequence[str], views: Sequence[str] | None) -> None:
        self.keys = tuple(keys)
        self.names = tuple(names)
        metadata: dict[str, Any] = {"feature_names": [*keys, *names]}
        if views is not None:
            metadata["feature_view_metadata"] = [{"name": view} for view in views]
        self._head = b'{"metadata":' + _encode(metadata) + b',"results":['

    def encode(
        self,
        columns: Mapping[str, Sequence[Any]],
        rows: int,
        found: OnlineFeatures | None,
        error: MillraceError | None = None,
    ) -> bytes:
        """The answer that holds what was found; INVALID throughout when nothing could be, and why."""
        results = [_key_result(columns[key]) for key in self.keys]
        if found is None:
            results.extend(
                [_result([None] * rows, _encode(["INVALID"] * rows), _times([None] * rows))] * len(self.names)
            )
        else:
            # The features of one view share their lists: each is written once.
            texts: dict[int, bytes] = {}
            times = found.event_times
            for name, values in found.values.items():
                statuses, moments = found.statuses[name], times[name]
                told = texts.get(id(statuses))
                if told is None:
                    told = texts[id(statuses)] = _encode([WORDS[status] for status in statuses])
                when = texts.get(id(moments))
                if when is None:
                    when = texts[id(moments)] = _times(moments)
                results.append(_result(json_values(values), told, when))
        end = b"]}" if error is None else b'],"unavailable":' + _encode(error.to_dict()) + b"}"
        return self._head + b",".join(results) + end


def _result(values: Sequence[Any], statuses: bytes, times: bytes) -> bytes:
    return b'{"values":' + _encode(values) + b',"statuses":' + statuses + b',"event_timestamps":' + times + b"}"


def _times(moments: Sequence[datetime | None]) -> bytes:
    return _encode([_NO_TIME if moment is None else moment for moment in moments])


def _key_result(values: Sequence[Any]) -> bytes:
    statuses = _encode(["NULL_VALUE" if value is None else "PRESENT" for value in values])
    return _result(values, statuses, _times([None] * len(values)))


def json_values(values: Sequence[Any]) -> Sequence[Any]:
    """One feature's values as Feast's server writes them.

    A time is its whole seconds since 1970. NaN and the infinities, which JSON has no numbers for, are the texts
    ``NaN``, ``Infinity`` and ``-Infinity``, also within arrays.
    """
    for value in values:
        if value is not None:
            break
    else:
        return values
    # All values of a feature are of one kind.
    if isinstance(value, float):
        return values if all(map(isfinite, filter(None, values))) else [_number(one) for one in values]
    if isinstance(value, datetime):
        return [None if one is None else floor(one.timestamp()) for one in values]
    if isinstance(value, list):
        return [None if one is None else json_values(one) for one in values]
    return values


def _number(value: Any) -> Any:
    if not isinstance(value, float) or isfinite(value):
        return value
    return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
