"""Rules on the order of a column's values, from the first row to the last; missing values are passed over."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from millrace.validation.batch import Batch, CannotCheck
from millrace.validation.check import Check
from millrace.validation.expression import as_number, compare, previous
from millrace.validation.rules.values import on_present

Kwargs = Mapping[str, Any]


def monotonic(*, rises: bool) -> Callable[[Batch, Kwargs], Check]:
    """A rule on a value and the one before it; the first has none before it and is as expected."""

    def build(batch: Batch, kwargs: Kwargs) -> Check:
        column = kwargs["column"]
        kind = batch.kind(column)
        if kind not in ("number", "bool", "time", "date", "nothing"):
            raise CannotCheck(f"{batch.describe(column)}: rising and falling need numbers or times")
        values = as_number(batch.values(column)) if kind == "bool" else batch.values(column)
        if kwargs.get("strictly"):
            unexpected = compare("le" if rises else "ge", values, previous(values))
        else:
            unexpected = compare("lt" if rises else "gt", values, previous(values))
        return on_present(batch, kwargs, unexpected)

    return build


ORDER_RULES: dict[str, Callable[[Batch, Kwargs], Check]] = {
    "expect_column_values_to_be_increasing": monotonic(rises=True),
    "expect_column_values_to_be_decreasing": monotonic(rises=False),
}
