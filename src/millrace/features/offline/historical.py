"""Training rows: the caller's rows, each with the features as they were at its time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa

from millrace.core.clock import from_micros
from millrace.core.errors import DataError, did_you_mean
from millrace.features.columns import Ints, to_table, to_times
from millrace.features.events import to_micros
from millrace.features.offline.partitioned import Rows, Tell, join_view
from millrace.features.on_demand import OnDemandView
from millrace.features.request import Feature
from millrace.features.scan import NOWHERE, Read, open_scan
from millrace.features.service import FeatureService
from millrace.features.view import FeatureView
from millrace.features.workspace import Progress, Workspace

if TYPE_CHECKING:
    import pandas as pd

_FEAST_EVENT_TIME = "event_timestamp"
_PARTS = 100

Named = TypeVar("Named", FeatureView, FeatureView | OnDemandView, FeatureService)


@dataclass(frozen=True)
class HistoricalFeatures:
    """Rows with features; as many and in the order as they were given.

    `as_known` says whether rows of a source that were created after the moment asked were hidden.
    """

    table: pa.Table
    features: tuple[str, ...]
    as_known: bool
    rows: Any

    def to_arrow(self) -> pa.Table:
        """Exact: 64-bit integers stay integers beside nulls."""
        return self.table

    def map(self, change: Callable[[pa.Table], pa.Table], features: Sequence[str]) -> HistoricalFeatures:
        """The rows with other features, which `change` gives."""
        return HistoricalFeatures(change(self.table), tuple(features), self.as_known, self.rows)

    def to_df(self) -> pd.DataFrame:
        """A pandas table; for rows given as one, that one with its index and types, and columns appended.

        Whole numbers beside nulls come as ``Int64``, so that none loses digits.
        """
        import pandas as pd

        names = list(self.features)
        frame: pd.DataFrame
        if hasattr(self.rows, "iloc"):
            frame = self.rows.copy()
        else:
            frame = self.table.drop_columns(names).to_pandas()
        nullable = {pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}
        for name in names:
            column = self.table.select([name])
            mapper = nullable.get if column[name].null_count else None
            frame[name] = column.to_pandas(types_mapper=mapper)[name].set_axis(frame.index)
        frame.attrs["as_known"] = self.as_known
        return frame


def retrieve(
    rows: Any,
    features: Sequence[Feature],
    read: Read,
    *,
    event_time: str,
    as_known: bool,
    workspace: Workspace | None = None,
    progress: Progress | None = None,
) -> HistoricalFeatures:
    """Join `features` onto `rows` as of each row's time.

    Parameters
    ----------
    workspace : Workspace, optional
        How much memory it may take, and where what does not fit waits.
    progress : callable (done, total), optional

    Raises
    ------
    DataError
        FEAT-05 a key column is missing, FEAT-06 the time column is missing or holds no times, FEAT-07 a key of the
        wrong type, FEAT-08 and FEAT-09 the source does not have what a view needs, FEAT-14 the disk is full.
    """
    table = to_table(rows)
    at, is_timed = to_times(table[time_column(table.column_names, event_time)], what="the rows' event time")
    asking, space = Rows(table, at, is_timed), workspace or Workspace()
    views = {feature.view.name: feature.view for feature in features}
    answers: dict[str, pa.Array] = {}
    for place, view in enumerate(views.values()):
        wanted = {feature.name: feature.rule for feature in features if feature.view.name == view.name}
        start, end = time_span(view, at[is_timed])
        if end is None:
            start = end = NOWHERE
        scan = open_scan(read, view.source, view.source_columns, start, end)
        tell = _share(progress, place, len(views))
        answers.update(join_view(view, wanted, asking, scan, as_known=as_known, workspace=space, tell=tell))
    joined = table
    for feature in features:
        joined = joined.append_column(feature.name, answers[feature.name])
    if joined.num_rows != table.num_rows:
        raise AssertionError("the join changed the number of rows")
    return HistoricalFeatures(joined, tuple(feature.name for feature in features), as_known, rows)


def _share(progress: Progress | None, place: int, views: int) -> Tell:
    """What is done of one view among several, as what is done of all."""

    def tell(part: float) -> None:
        if progress is not None:
            progress(place * _PARTS + round(part * _PARTS), views * _PARTS)

    return tell


def time_column(names: Sequence[str], event_time: str) -> str:
    """Which of the rows' columns says as of when: `event_time`, or Feast's name where ours is not there.

    Raises
    ------
    DataError
        FEAT-06 when there is none.
    """
    if event_time in names:
        return event_time
    if event_time == "event_time" and _FEAST_EVENT_TIME in names:
        return _FEAST_EVENT_TIME
    raise DataError(
        "FEAT-06",
        f"the rows have no column '{event_time}' that says as of when",
        fix=f'event_time="..."; {did_you_mean(event_time, names)}',
    )


def time_span(view: FeatureView, at: Ints) -> tuple[datetime | None, datetime | None]:
    """Event times that can matter to rows asking at `at`: from the first (None: any) to before the second.

    (None, None) when no row asks.
    """
    if not len(at):
        return None, None
    delay = to_micros(view)
    end = _bound(int(at.max()) + 1 - delay)
    looks_back_freely = view.is_unbounded or view.newest_kept != {(None, 1)}
    if view.ttl_span is None or looks_back_freely:
        return None, end
    # What is older than ttl and every window is expired or outside: it cannot change an answer.
    reach = max(view.ttl_span, view.longest_window or timedelta(0))
    return _bound(int(at.min()) - delay - round(reach.total_seconds() * 1_000_000)), end


def _bound(micros: int) -> datetime:
    """A moment; the first or the last there is where it lies outside the years that a datetime has."""
    try:
        return from_micros(micros)
    except OverflowError:
        return datetime.min.replace(tzinfo=UTC) if micros < 0 else datetime.max.replace(tzinfo=UTC)


def by_name(views: Sequence[Named]) -> dict[str, Named]:
    """Definitions by name.

    Raises
    ------
    DataError
        FEAT-11 when two have one name.
    """
    named: dict[str, Named] = {}
    for view in views:
        if view.name in named and named[view.name] is not view:
            raise DataError(
                "FEAT-11",
                f"two definitions are called '{view.name}'",
                where=view.place,
                why=f"the other one stands at {named[view.name].place}",
                fix="rename one of them",
            )
        named[view.name] = view
    return named
