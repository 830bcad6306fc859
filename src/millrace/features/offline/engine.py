"""The port to an offline engine: who works out features as of the past, here or on many machines.

`millrace.testing.offline_engine` holds the conformance suite of this port.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from millrace.core.plugins import load_plugin, scheme_of
from millrace.features.columns import to_table
from millrace.features.offline.historical import retrieve
from millrace.features.offline_answer import OfflineAnswer
from millrace.features.request import Feature
from millrace.features.scan import Read
from millrace.features.workspace import Progress, Workspace

if TYPE_CHECKING:
    from millrace.features.offline.historical import HistoricalFeatures


class OfflineEngine(Protocol):
    """Joins features onto rows as of each row's time. Safe to share between threads.

    Every row comes back, in its order, with the same bits that any other engine answers.
    """

    def accept(self, rows: Any) -> tuple[Any, list[str]]:
        """`rows` in the form that `retrieve` takes, and their columns.

        Raises
        ------
        DataError
            FEAT-10 when the engine does not take such rows.
        """
        ...

    def retrieve(
        self,
        rows: Any,
        features: Sequence[Feature],
        read: Read,
        *,
        event_time: str,
        as_known: bool,
        progress: Progress | None = None,
    ) -> OfflineAnswer:
        """`rows` with one more column per feature.

        Parameters
        ----------
        rows : as `accept` gave them
        features : sequence of Feature
            What to answer, and how to call it.
        read : callable (source, start, end) -> pyarrow.Table
            How to read a source that the engine cannot read itself.
        event_time : str
            Column of `rows` with the moment to answer for.
        as_known : bool
            Hide rows of a source created after that moment.
        progress : callable (done, total), optional
            Told as the work goes on.

        Raises
        ------
        DataError
            FEAT-05 to FEAT-10, as for `FeatureStore.get_historical_features`.
        """
        ...


class EmbeddedEngine:
    """Joins in this process.

    Parameters
    ----------
    workspace : Workspace, optional
        How much memory a join may take, and where what does not fit waits.
    """

    def __init__(self, workspace: Workspace | None = None) -> None:
        self._workspace = workspace

    def accept(self, rows: Any) -> tuple[Any, list[str]]:
        return accept_table(rows)

    def retrieve(
        self,
        rows: Any,
        features: Sequence[Feature],
        read: Read,
        *,
        event_time: str,
        as_known: bool,
        progress: Progress | None = None,
    ) -> HistoricalFeatures:
        return retrieve(
            rows, features, read,
            event_time=event_time, as_known=as_known, workspace=self._workspace, progress=progress,
        )  # fmt: skip


class LateEngine:
    """An engine that is opened when it is first asked: reads of the present need none.

    Parameters
    ----------
    open_engine : callable () -> OfflineEngine
    """

    def __init__(self, open_engine: Callable[[], OfflineEngine]) -> None:
        self._open = open_engine

    @cached_property
    def _engine(self) -> OfflineEngine:
        return self._open()

    def accept(self, rows: Any) -> tuple[Any, list[str]]:
        return self._engine.accept(rows)

    def retrieve(
        self,
        rows: Any,
        features: Sequence[Feature],
        read: Read,
        *,
        event_time: str,
        as_known: bool,
        progress: Progress | None = None,
    ) -> OfflineAnswer:
        return self._engine.retrieve(rows, features, read, event_time=event_time, as_known=as_known, progress=progress)


def accept_table(rows: Any) -> tuple[Any, list[str]]:
    """A pandas table as it is, other rows as an Arrow table; and their columns.

    Raises
    ------
    DataError
        FEAT-10 when they are no table.
    """
    if hasattr(rows, "iloc"):
        return rows, list(rows.columns)
    table = to_table(rows)
    return table, table.column_names


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
