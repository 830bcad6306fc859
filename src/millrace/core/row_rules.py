"""Rules on data as a server asks them: of one row at a time, without knowing whose rules they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from millrace.core.errors import MillraceError
from millrace.core.records import Severity


class RuleName(NamedTuple):
    """A rule as counters and logs name it: what it demands, its severity, and what becomes of a row that breaks it.

    `action` is ``reject``, ``flag`` or ``log``.
    """

    rule: str
    severity: Severity
    action: str


@dataclass(frozen=True, slots=True)
class RowVerdict:
    """What rules say of a row that breaks some.

    Parameters
    ----------
    broken : sequence of RuleName
    errors : sequence of MillraceError
        Why the row must not be used; empty when it may.
    flags : sequence of str
        What somebody who uses the row should know.
    """

    broken: Sequence[RuleName]
    errors: Sequence[MillraceError] = ()
    flags: Sequence[str] = field(default=())


class RowRules(Protocol):
    """Rules on the rows of one model.

    Attributes
    ----------
    names : sequence of RuleName
        All of them.
    """

    names: Sequence[RuleName]

    def coerce(self, column: str, value: Any) -> Any:
        """`value` as the kind of values that `column` holds; the very value when it cannot be, or must not."""
        ...

    def judge(self, row: Mapping[str, Any], where: str) -> RowVerdict | None:
        """What the rules say of a row, from column to value; None when it breaks none. `where` is its place."""
        ...
