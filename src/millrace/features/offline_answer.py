"""Training rows as an engine gives them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

Change = Callable[["pa.Table"], "pa.Table"]


class OfflineAnswer(Protocol):
    """Rows with features, wherever they are."""

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the columns that were added."""
        ...

    @property
    def as_known(self) -> bool:
        """Whether rows of a source that were created after the moment asked were hidden."""
        ...

    @property
    def table(self) -> pa.Table:
        """The rows as `to_arrow` gives them."""
        ...

    def to_arrow(self) -> pa.Table:
        """All rows, in the order they were given."""
        ...

    def map(self, change: Change, features: Sequence[str]) -> OfflineAnswer:
        """The rows, each changed by itself.

        Parameters
        ----------
        change : callable (pyarrow.Table) -> pyarrow.Table
            Gives as many rows, with the columns that are no features and with `features`; asked for some of the rows
            at a time, or for none.
        """
        ...

    def to_df(self) -> pd.DataFrame:
        """All rows as a pandas table, in the order they were given."""
        ...
