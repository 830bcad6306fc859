"""What requests to the feature server bring, in Feast's forms, checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, TypeVar

import msgspec

from millrace.core.clock import from_text
from millrace.core.errors import DataError, did_you_mean

Target = Literal["online", "offline", "online_and_offline"]
Rows = list[dict[str, Any]]


class FeatureRequest(msgspec.Struct):
    """The body of POST /get-online-features. Fields of newer Feast clients are passed over."""

    entities: dict[str, list[Any]]
    features: list[str] = []
    feature_service: str | None = None
    full_feature_names: bool = False
    include_feature_view_version_metadata: bool = False


class PushRequest(msgspec.Struct):
    """The body of POST /push: `df` holds columns."""

    push_source_name: str
    df: dict[str, list[Any]]
    to: Target = "online"


class MaterializeRequest(msgspec.Struct):
    """The body of POST /materialize."""

    start_ts: str | None = None
    end_ts: str | None = None
    feature_views: list[str] | None = None
    disable_event_timestamp: bool = False


class IncrementRequest(msgspec.Struct):
    """The body of POST /materialize-incremental."""

    end_ts: str
    feature_views: list[str] | None = None


_T = TypeVar("_T", FeatureRequest, PushRequest, MaterializeRequest, IncrementRequest)

_EXAMPLES: Mapping[type, str] = {
    FeatureRequest: '{"features": ["view:feature"], "entities": {"customer_id": [7]}}',
    PushRequest: '{"push_source_name": "orders", "df": {"customer_id": [7], ...}, "to": "online"}',
    MaterializeRequest: '{"start_ts": "2024-05-01T00:00:00Z", "end_ts": "2024-06-01T00:00:00Z"}',
    IncrementRequest: '{"end_ts": "2024-06-01T00:00:00Z"}',
}


class BodyReader:
    """Decodes bodies; made once, as decoders are worth keeping."""

    def __init__(self) -> None:
        self._decoders: dict[type, msgspec.json.Decoder[Any]] = {form: msgspec.json.Decoder(form) for form in _EXAMPLES}

    def read(self, body: bytes | bytearray, form: type[_T]) -> _T:
        """The request in a body. Raises DataError FEAT-50 when it is not JSON, or not of that form."""
        try:
            try:
                found: _T = self._decoders[form].decode(body)
                return found
            except msgspec.ValidationError as error:
                raise _not_of_form(form, error, msgspec.json.decode(body)) from error
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise DataError(
                "FEAT-50", f"the body is not JSON: {error}", fix=f"send {_EXAMPLES[form]} as UTF-8 JSON"
            ) from error


def rows_of(columns: Mapping[str, Sequence[Any]], limit: int) -> Rows:
    """One mapping per entity; a request without entities asks once for features without a key.

    Raises
    ------
    DataError
        FEAT-51 when the columns differ in length, FEAT-52 when there are more than `limit` rows.
    """
    if len(columns) == 1:
        ((name, values),) = columns.items()
        check_count(len(values), limit)
        return [{name: value} for value in values]
    if not columns:
        return [{}]
    check_lengths(columns, "entities")
    check_count(len(next(iter(columns.values()))), limit)
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def check_lengths(columns: Mapping[str, Sequence[Any]], where: str) -> None:
    """Raise DataError FEAT-51 unless all columns are of one length."""
    if len({len(values) for values in columns.values()}) > 1:
        shown = ", ".join(f"{name} {len(values)}" for name, values in list(columns.items())[:20])
        raise DataError(
            "FEAT-51",
            f"the columns hold different numbers of values: {shown}",
            where=where,
            fix="one value per row in each column; null where there is none",
        )


def check_count(rows: int, limit: int) -> None:
    """Raise DataError FEAT-52 when there are more than `limit` rows."""
    if rows > limit:
        raise DataError(
            "FEAT-52",
            f"{rows:,} rows in one request are more than the {limit:,} this server takes",
            fix="send several requests",
        )


def too_large(limit: int) -> DataError:
    """The error for a body that is larger than `limit` bytes."""
    return DataError(
        "FEAT-52",
        f"the body is larger than the {limit:,} bytes this server takes",
        fix="send fewer rows in one request",
    )


def read_time(text: str | None, where: str) -> datetime:
    """A time of a request, UTC when it names no zone. Raises DataError FEAT-50 when it is missing or none."""
    try:
        return from_text(text or "")
    except (ValueError, OverflowError) as error:
        what = f"{where} is missing" if text is None else f"{where} {text!r} is not a time"
        raise DataError("FEAT-50", what, where=where, fix="write ISO 8601, such as 2024-05-01T12:00:00Z") from error


def _not_of_form(form: type[Any], error: Exception, found: Any) -> DataError:
    fields = form.__struct_fields__
    strange = [str(name) for name in found if name not in fields] if isinstance(found, dict) else []
    fix = f"send {_EXAMPLES[form]}"
    if strange:
        fix += f"; '{strange[0][:60]}': {did_you_mean(strange[0][:60], fields)}"
    return DataError("FEAT-50", f"the body is not a request: {error}", fix=fix)
