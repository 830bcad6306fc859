"""Check what a request brings against what the model takes, and fill in what the feature store knows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from millrace.core.bundle import Manifest
from millrace.core.clock import from_text
from millrace.core.errors import MillraceError, ModelError, did_you_mean
from millrace.core.row_rules import RowRules

Lookup = Callable[[list[str], Mapping[str, Any], datetime], Sequence[Any]]
"""``lookup(["view:feature", ...], {"customer_id": 7}, at)`` answers the values as of `at`, None where unknown.

The mapping holds the key and, beside it, the inputs of the request."""

_LARGEST = 3.4e38  # what a float32 holds
_SHOWN = 20
_ACCEPTED: Mapping[str, frozenset[type]] = {
    "int": frozenset({int}),
    "float": frozenset({float, int}),
    "bool": frozenset({bool}),
    "string": frozenset({str}),
}
_MISSING = object()


class Request(msgspec.Struct, forbid_unknown_fields=True):
    """The body of POST /predict. For several rows `key` and `event_time` are one for all, or a list."""

    inputs: dict[str, Any] | list[dict[str, Any]] = msgspec.field(default_factory=dict)
    key: dict[str, Any] | list[dict[str, Any]] | None = None
    event_time: str | list[str] | None = None
    request_id: str | None = None


class Rows(msgspec.Struct):
    """What the model is asked: n rows of values in its column order, with the n keys and moments they are about.

    `supplied` names, for each row, the features that the request brought instead of having them looked up; `coerced`
    holds, by column, what was sent where the values are another form of it.
    """

    values: list[list[Any]]
    keys: list[dict[str, Any]]
    times: list[datetime]
    is_batch: bool
    supplied: list[list[str]]
    coerced: list[dict[str, Any]]


class InputReader:
    """Reads requests for one model. Made once per loaded bundle, so that a request pays for its values only.

    Parameters
    ----------
    manifest : Manifest
    lookup : Lookup, optional
        Without one requests bring every input.
    rules : RowRules, optional
        What the rows are judged by (see `millrace.serving.row_check`); they may read values that were sent in another
        form than the model takes.
    """

    def __init__(self, manifest: Manifest, lookup: Lookup | None, rules: RowRules | None = None) -> None:
        self.rules = rules
        self._names = manifest.names
        self._order = [column.name for column in manifest.columns]
        self._columns = [
            (column.name, _ACCEPTED[column.type], column.type, column.feature) for column in manifest.columns
        ]
        self._supplied = [(place, column.name) for place, column in enumerate(manifest.columns) if column.feature]
        self._features = {
            position: column.feature
            for position, column in enumerate(manifest.columns)
            if column.feature is not None and lookup is not None
        }
        self._lookup = lookup

    @property
    def names(self) -> list[str]:
        """The columns of a row, in their order."""
        return self._names

    def read(self, request: Request, now: datetime) -> Rows:
        """The rows of a request, every one complete and of the right types.

        Raises
        ------
        ModelError
            SERVE-10 with every problem of the request among its findings: SERVE-11 unknown input, SERVE-12 missing
            input, SERVE-13 wrong type or range, SERVE-14 a key is needed, SERVE-15 lists of different lengths or no
            row, SERVE-16 event_time is not a time.
        """
        is_batch = isinstance(request.inputs, list) or isinstance(request.key, list)
        problems: list[MillraceError] = []
        count = self._count(request, problems)
        inputs = _spread(request.inputs, count)
        keys = _spread(request.key or {}, count)
        times = _times(request.event_time, count, now, problems)
        values: list[list[Any]] = []
        coerced: list[dict[str, Any]] = []
        for row, given in enumerate(inputs):
            coerced.append({})
            place = row_place(row, is_batch)
            values.append(self._read_row(given, request.key is not None, place, problems, coerced[-1]))
        if problems:
            self._judge_rest(values, is_batch, problems)
            raise _refusal(problems)
        supplied = [[name for place, name in self._supplied if row[place] is not _MISSING] for row in values]
        self._fill(values, keys, times)
        return Rows(values, keys, times, is_batch, supplied, coerced)

    def _count(self, request: Request, problems: list[MillraceError]) -> int:
        lengths = {
            name: len(value)
            for name, value in (("inputs", request.inputs), ("key", request.key), ("event_time", request.event_time))
            if isinstance(value, list)
        }
        if len(set(lengths.values())) > 1 or 0 in lengths.values():
            shown = ", ".join(f"{name} {length}" for name, length in lengths.items())
            problems.append(
                ModelError(
                    "SERVE-15",
                    f"the lists do not hold the same number of rows, at least one: {shown}",
                    fix="give one entry per row, or one that holds for all rows instead of a list",
                )
            )
            raise _refusal(problems)
        if "event_time" in lengths and len(lengths) == 1 and lengths["event_time"] > 1:
            problems.append(ModelError("SERVE-15", "event_time is a list, inputs and key are one row"))
            raise _refusal(problems)
        return next(iter(lengths.values()), 1)

    def _read_row(
        self,
        given: Mapping[str, Any],
        has_key: bool,
        place: str,
        problems: list[MillraceError],
        coerced: dict[str, Any],
    ) -> list[Any]:
        row: list[Any] = []
        used = 0
        wanted: list[str] = []
        for name, accepted, kind, feature in self._columns:
            value = given.get(name, _MISSING)
            if value is _MISSING:
                row.append(_MISSING)
                if feature is None or self._lookup is None:
                    problems.append(_missing(name, kind, feature, place))
                elif not has_key:
                    wanted.append(name)
                continue
            used += 1
            if value is not None and (type(value) not in accepted or _is_too_large(value)):
                value = self._convert(value, name, kind, place, problems, coerced)
            row.append(value)
        if used < len(given):
            problems.extend(self._unknown(given, place))
        if wanted:
            problems.append(_keyless(wanted, place))
        return row

    def _convert(
        self,
        value: Any,
        name: str,
        kind: str,
        place: str,
        problems: list[MillraceError],
        coerced: dict[str, Any],
    ) -> Any:
        if self.rules is not None and type(value) not in _ACCEPTED[kind]:
            read = self.rules.coerce(name, value)
            if type(read) in _ACCEPTED[kind] and not _is_too_large(read):
                coerced[name] = value
                return read
        return _convert(value, kind, f"{place}.{name}", problems)

    def _judge_rest(self, values: Sequence[Sequence[Any]], is_batch: bool, problems: list[MillraceError]) -> None:
        """Add what the rules refuse of the values that could be read, so that all is told at once."""
        if self.rules is None:
            return
        troubled = {problem.where for problem in problems}
        for row, found in enumerate(values):
            place = row_place(row, is_batch)
            read = {
                name: value
                for name, value in zip(self._names, found, strict=True)
                if value is not _MISSING and f"{place}.{name}" not in troubled
            }
            verdict = self.rules.judge(read, place)
            known = {f"{place}.{name}" for name in read}
            problems.extend(error for error in (verdict.errors if verdict else ()) if error.where in known)

    def _unknown(self, given: Mapping[str, Any], place: str) -> list[ModelError]:
        return [
            ModelError(
                "SERVE-11",
                f"the model takes no input '{name}'",
                where=f"{place}.{name}",
                fix=did_you_mean(name, self._names),
            )
            for name in given
            if name not in self._names
        ]

    def _fill(self, values: list[list[Any]], keys: Sequence[Mapping[str, Any]], times: Sequence[datetime]) -> None:
        """Look up what was not given. The store's own refusals pass through."""
        if self._lookup is None or not self._features:
            return
        for row, key, at in zip(values, keys, times, strict=True):
            open_places = [position for position in self._features if row[position] is _MISSING]
            if not open_places:
                continue
            # What is worked out on demand may need what the request brought besides the key.
            given = {name: value for name, value in zip(self._order, row, strict=True) if value is not _MISSING}
            found = self._lookup([self._features[position] for position in open_places], {**given, **key}, at)
            for position, value in zip(open_places, found, strict=True):
                row[position] = value


def read_request(body: bytes | bytearray, decoder: msgspec.json.Decoder[Request]) -> Request:
    """The request in a body. Raises ModelError SERVE-20 (not JSON) or SERVE-21 (not the form of a request)."""
    try:
        try:
            return decoder.decode(body)
        except msgspec.ValidationError as error:
            raise _not_a_request(error, msgspec.json.decode(body)) from error
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ModelError(
            "SERVE-20", f"the body is not JSON: {error}", fix='send {"inputs": {...}} as UTF-8 JSON'
        ) from error


def _not_a_request(error: Exception, found: Any) -> ModelError:
    fields = Request.__struct_fields__
    strange = [name for name in found if name not in fields] if isinstance(found, dict) else []
    fix = 'send {"inputs": {...}}, with "key", "event_time" and "request_id" where needed'
    if strange:
        fix = f"'{strange[0]}': {did_you_mean(strange[0], fields)}"
    return ModelError("SERVE-21", f"the body is not a request: {error}", fix=fix)


def row_place(row: int, is_batch: bool) -> str:
    """Where a row stands in its request."""
    return f"inputs[{row}]" if is_batch else "inputs"


def _spread(value: Any, count: int) -> list[Any]:
    return value if isinstance(value, list) else [value] * count


def _times(given: str | list[str] | None, count: int, now: datetime, problems: list[MillraceError]) -> list[datetime]:
    if not isinstance(given, list):
        return [_time(given, "event_time", now, problems)] * count
    return [_time(text, f"event_time[{row}]", now, problems) for row, text in enumerate(given)]


def _time(text: str | None, place: str, now: datetime, problems: list[MillraceError]) -> datetime:
    if text is None:
        return now
    try:
        return from_text(text)
    except (ValueError, OverflowError):
        problems.append(
            ModelError(
                "SERVE-16",
                f"event_time {text!r} is not a time",
                where=place,
                fix="write ISO 8601, for example 2024-05-01T12:00:00Z",
            )
        )
        return now


def _is_too_large(value: Any) -> bool:
    return isinstance(value, (int, float)) and not -_LARGEST <= value <= _LARGEST


def _convert(value: Any, kind: str, place: str, problems: list[MillraceError]) -> Any:
    if kind == "int" and type(value) is float and value.is_integer() and not _is_too_large(value):
        return int(value)  # JSON has one kind of number: 3.0 is an integer
    if _is_too_large(value):
        what = f"a number beyond {_LARGEST:g} is more than a model can take"
    else:
        what = f"{_show(value)} is not {'an' if kind == 'int' else 'a'} {kind}"
    problems.append(ModelError("SERVE-13", what, where=place, fix=f"send {_EXAMPLES[kind]}, or null"))
    return None


def _show(value: Any) -> str:
    if isinstance(value, (list, dict)):  # never its text: it may be nested a thousand deep
        return "a list" if isinstance(value, list) else "an object"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


_EXAMPLES = {
    "int": "a whole number such as 3",
    "float": "a number such as 3.5",
    "bool": "true or false",
    "string": "text",
}


def _missing(name: str, kind: str, feature: str | None, place: str) -> ModelError:
    return ModelError(
        "SERVE-12",
        f"the input '{name}' ({kind}) is missing",
        where=place,
        why=f"it is the feature {feature}, and this server has no feature store" if feature else None,
        fix=f'add "{name}"; null is allowed',
    )


def _keyless(names: Sequence[str], place: str) -> ModelError:
    return ModelError(
        "SERVE-14",
        f"without a key nothing can be looked up: {', '.join(names)}",
        where=place,
        fix='add "key": {...} beside "inputs", the entity\'s ({} when it has none), or give these inputs themselves',
    )


def _refusal(problems: Sequence[MillraceError]) -> ModelError:
    more = len(problems) - _SHOWN
    return ModelError(
        "SERVE-10",
        f"the request has {len(problems)} problem{'s' if len(problems) > 1 else ''}"
        + (f"; the first {_SHOWN} are listed" if more > 0 else ""),
        why="nothing was predicted",
        findings=problems[:_SHOWN],
    )
