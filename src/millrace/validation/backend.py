"""The port of validation: rows that can be asked for figures, wherever they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from millrace.validation.column_type import ColumnType
from millrace.validation.expression import Expr

Scopes = Mapping[Expr | None, Sequence[Expr]]
"""Figures wanted, by the condition on rows they are wanted for; None is all rows."""


class CannotCheck(Exception):
    """A rule that this batch gives no answer to; the text says why. It becomes a failed result."""


class Backend(Protocol):
    """A batch: a file, a frame or a table in a database.

    Attributes
    ----------
    names : sequence of str
        Its columns in their order.
    unsupported : set of str
        Operations of `millrace.validation.expression` that it cannot run.
    """

    names: Sequence[str]
    unsupported: frozenset[str]

    def type_of(self, column: str) -> ColumnType:
        """Type of a column that is there."""
        ...

    def compute(self, scopes: Scopes) -> Mapping[Expr | None, Mapping[Expr, Any]]:
        """The figures wanted, as Python values, in as few passes over the rows as can be.

        Raises CannotCheck when one of them cannot be computed; the caller then asks for them one by one.
        """
        ...

    def examples(
        self, unexpected: Expr, shown: Sequence[Expr], *, where: Expr | None, limit: int | None
    ) -> list[tuple[int | None, tuple[Any, ...]]]:
        """The first `limit` rows where `unexpected` is true: position from 0, values.

        The position is None where rows have no order.
        """
        ...

    def frequent(
        self, unexpected: Expr, shown: Sequence[Expr], *, where: Expr | None, limit: int
    ) -> list[tuple[tuple[Any, ...], int]]:
        """The most frequent values among those rows, with their counts; equal counts in the order of first rows."""
        ...


@runtime_checkable
class Queried(Protocol):
    """A batch that answers SQL. It need not: a rule that asks for it is unsupported where it does not."""

    def query(self, text: str, *, limit: int) -> tuple[int, list[dict[str, Any]]]:
        """How many rows a SELECT gives, and the first `limit` of them by the names of its columns.

        ``{batch}`` in `text` stands for the batch, doubled braces for braces. Raises CannotCheck when it is refused.
        """
        ...


def query_on(text: str, batch: str) -> str:
    """A rule's query, with the batch's name `batch` where ``{batch}`` stands and without the semicolon at its end.

    Raises CannotCheck when other braces are in it.
    """
    try:
        return text.format(batch=batch).strip().rstrip(";")
    except (AttributeError, LookupError, ValueError) as error:
        raise CannotCheck(f"the query {text!r} has a brace that is no {{batch}}; double those of SQL") from error
