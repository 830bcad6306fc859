"""Rules on texts that are to be times: of one format, or readable at all. Each distinct text is tried once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from millrace.validation.batch import Batch, CannotCheck
from millrace.validation.check import Check
from millrace.validation.expression import Predicate, holds, negate
from millrace.validation.rules.texts import only_if_empty
from millrace.validation.rules.values import on_present

Kwargs = Mapping[str, Any]


def values_match_format(batch: Batch, kwargs: Kwargs) -> Check:
    """Texts that `datetime.strptime` reads."""
    written = kwargs["strftime_format"]
    try:
        # One that writes but does not read, such as %D, would find every value wrong.
        datetime.strptime(datetime(2024, 2, 29, 13, 14, 15, tzinfo=UTC).strftime(written), written)  # noqa: DTZ007
    except ValueError as error:
        raise CannotCheck(f"strftime_format={written!r} is no format that can be read back: {error}") from error

    def is_of_format(text: str) -> bool:
        try:
            datetime.strptime(text, written)  # noqa: DTZ007 - only whether it can be read is asked
        except ValueError:
            return False
        return True

    return _on_texts(batch, kwargs, Predicate(("strftime", written), is_of_format))


def values_are_times(batch: Batch, kwargs: Kwargs) -> Check:
    """Texts that python-dateutil reads, which takes much: "Monday" and "12" are times."""
    from dateutil.parser import parse

    def is_time(text: str) -> bool:
        try:
            parse(text)
        except (ValueError, OverflowError):
            return False
        return True

    return _on_texts(batch, kwargs, Predicate(("dateutil",), is_time))


def _on_texts(batch: Batch, kwargs: Kwargs, predicate: Predicate) -> Check:
    column = kwargs["column"]
    if batch.kind(column) not in ("text", "nothing"):
        reason = f"{batch.describe(column)}: only texts can be of a format; judge them before they are times"
        return only_if_empty(batch, kwargs, reason)
    return on_present(batch, kwargs, negate(holds(batch.values(column), predicate)))


DATE_RULES: dict[str, Callable[[Batch, Kwargs], Check]] = {
    "expect_column_values_to_match_strftime_format": values_match_format,
    "expect_column_values_to_be_dateutil_parseable": values_are_times,
}
