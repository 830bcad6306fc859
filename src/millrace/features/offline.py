"""The port to an offline engine: who works out features as of the past, here or on many machines.

`millrace.testing.offline_engine` holds the conformance suite of this port.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from millrace.core.plugins import load_plugin, scheme_of
from millrace.features.columns import to_table
from millrace.features.historical import retrieve
from millrace.features.materialization import Read
from millrace.features.request import Feature

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from millrace.features.historical import HistoricalFeatures


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

    def to_df(self) -> pd.DataFrame:
        """All rows as a pandas table, in the order they were given."""
        ...


class OfflineEngine(Protocol):
    """Joins features onto rows as of each row's time. Safe to share between threads.

    Every row comes back, in its order, with the same bits that any other engine answers.
    """

    def column_names(self, rows: Any) -> list[str]:
        """The columns of rows of a kind that this engine takes.

        Raises
        ------
        DataError
            FEAT-10 when it does not take them.
        """
        ...

    def retrieve(
        self, rows: Any, features: Sequence[Feature], read: Read, *, event_time: str, as_known: bool
    ) -> OfflineAnswer:
        """`rows` with one more column per feature.

        Parameters
        ----------
        rows : pandas, polars or Arrow table, list of dict, or what else the engine takes
        features : sequence of Feature
            What to answer, and how to call it.
        read : callable (source, start, end) -> pyarrow.Table
            How to read a source that the engine cannot read itself.
        event_time : str
            Column of `rows` with the moment to answer for.
        as_known : bool
            Hide rows of a source created after that moment.

        Raises
        ------
        DataError
            FEAT-05 to FEAT-10, as for `FeatureStore.get_historical_features`.
        """
        ...


class EmbeddedEngine:
    """Joins in this process."""

    def column_names(self, rows: Any) -> list[str]:
        return list(rows.columns) if hasattr(rows, "iloc") else to_table(rows).column_names

    def retrieve(
        self, rows: Any, features: Sequence[Feature], read: Read, *, event_time: str, as_known: bool
    ) -> HistoricalFeatures:
        table = rows if hasattr(rows, "iloc") else to_table(rows)
        return retrieve(table, features, read, event_time=event_time, as_known=as_known)


def open_embedded(url: str = "embedded://", *, root: Path | None = None) -> EmbeddedEngine:
    """The engine of this process; `url` and `root` are only how a configuration names it."""
    return EmbeddedEngine()


def open_offline(url: str, *, root: Path | None = None) -> OfflineEngine:
    """The offline engine behind `url`, such as ``embedded://`` or ``spark://local[4]``.

    Parameters
    ----------
    root : Path, optional
        The folder that relative paths of sources start at; the working folder by default.
    """
    engine: OfflineEngine = load_plugin("offline_engines", scheme_of(url))(url, root=root)
    return engine
