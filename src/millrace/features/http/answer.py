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

from millrace.core.clock import from_micros
from millrace.core.errors import MillraceError
from millrace.features.online.lookup import OnlineFeatures, ViewReading

WORDS: Mapping[str | None, str] = {
    None: "NULL_VALUE",  # of a key
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
# Most requests are for one entity: what its answer is made of stands ready.
_ONE_WORD = {status: _encode([word]) for status, word in WORDS.items()}
_ONE_END = {status: b',"statuses":' + word + b',"event_timestamps":' for status, word in _ONE_WORD.items()}
_ONE_NO_TIME = _encode([_NO_TIME])


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

    def encode_one(self, columns: Mapping[str, Sequence[Any]], views: Sequence[ViewReading]) -> bytes:
        """The answer for one entity."""
        parts: dict[str, bytes] = {}
        for names, values, status, micros in views:
            end = _ONE_END[status] + (_ONE_NO_TIME if micros is None else _encode([from_micros(micros)])) + b"}"
            for name, value in zip(names, values, strict=True):
                if value is None and status == "present":
                    parts[name] = b'{"values":[null]' + _ONE_END["null"] + end[len(_ONE_END[status]) :]
                else:
                    parts[name] = b'{"values":' + _encode(json_values((value,))) + end
        results = [_result(columns[key], _words(_key_statuses(columns[key])), _ONE_NO_TIME) for key in self.keys]
        results.extend([parts[name] for name in self.names])
        return self._head + b",".join(results) + b"]}"

    def encode(
        self,
        columns: Mapping[str, Sequence[Any]],
        rows: int,
        found: OnlineFeatures | None,
        error: MillraceError | None = None,
    ) -> bytes:
        """The answer that holds what was found; INVALID throughout when nothing could be, and why."""
        nothing: Sequence[None] = [None] * rows
        no_times = _times(nothing)
        results = [_result(columns[key], _words(_key_statuses(columns[key])), no_times) for key in self.keys]
        if found is None:
            results.extend([_result(nothing, _words(["unavailable"] * rows), no_times)] * len(self.names))
        else:
            # The features of one view share their lists: each is written once.
            texts: dict[int, bytes] = {}
            times = found.event_times
            for name, values in found.values.items():
                statuses, moments = found.statuses[name], times[name]
                told = texts.get(id(statuses)) or texts.setdefault(id(statuses), _words(statuses))
                when = texts.get(id(moments)) or texts.setdefault(id(moments), _times(moments))
                results.append(_result(json_values(values), told, when))
        end = b"]}" if error is None else b'],"unavailable":' + _encode(error.to_dict()) + b"}"
        return self._head + b",".join(results) + end


def _result(values: Sequence[Any], statuses: bytes, times: bytes) -> bytes:
    return b'{"values":' + _encode(values) + b',"statuses":' + statuses + b',"event_timestamps":' + times + b"}"


def _key_statuses(values: Sequence[Any]) -> list[str | None]:
    return [None if value is None else "present" for value in values]


def _words(statuses: Sequence[str | None]) -> bytes:
    if len(statuses) == 1:
        return _ONE_WORD[statuses[0]]
    return _encode([WORDS[status] for status in statuses])


def _times(moments: Sequence[datetime | None]) -> bytes:
    if len(moments) == 1 and moments[0] is None:
        return _ONE_NO_TIME
    return _encode([_NO_TIME if moment is None else moment for moment in moments])


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
