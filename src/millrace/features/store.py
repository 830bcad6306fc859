"""The feature store: the same definitions, asked for the past and for now."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, cast

from millrace.core.clock import Clock, SystemClock
from millrace.core.errors import DataError, did_you_mean
from millrace.features.aggregation import Duration
from millrace.features.columns import to_table
from millrace.features.computed import with_computed
from millrace.features.earlier import choose_earlier, left_out_alone
from millrace.features.moment import a_moment, a_span
from millrace.features.offline.engine import EmbeddedEngine, OfflineEngine
from millrace.features.offline.historical import by_name
from millrace.features.offline_answer import OfflineAnswer
from millrace.features.online.lookup import LookupPlan, OnlineFeatures, entity_rows_of
from millrace.features.online.materialization import CHUNK, Materializer, Read
from millrace.features.online.port import OnlineStore
from millrace.features.online.push import events_to_push, fed_by
from millrace.features.request import View, Wanted, resolve
from millrace.features.service import FeatureService
from millrace.features.view import EventSource, FeatureView
from millrace.features.workspace import Progress, Workspace
from millrace.store.ledger import Ledger

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_MOST_PLANS = 1024

Append = Callable[[Any, "pa.Table"], int]


class FeatureStore:
    """Feature views over their sources (offline) and over an online store.

    Parameters
    ----------
    views : sequence of FeatureView or OnDemandView
    read : callable (source, start, end) -> pyarrow.Table
        Rows of a source with start <= event time < end; None for no bound.
    online : OnlineStore, optional
        Without it only the past can be asked.
    ledger : Ledger, optional
        Remembers how far views are materialized; without it, this object does.
    clock : Clock
    late : duration
        How far before its newest event a key can be asked online; further back the status is ``trimmed``.
    services : sequence of FeatureService
    append : callable (source, pyarrow.Table) -> int, optional
        Adds rows to the log behind a source; how many were new. Without it rows can be pushed online only.
    workspace : Workspace
        How much memory a join or a materialization may take, and where what does not fit waits.
    engine : OfflineEngine, optional
        Works out features of the past, instead of this process.
    earlier : callable () -> FeatureViews, optional
        Definitions of before that something still reads: `materialize` and `push` feed them too.

    Raises
    ------
    DataError
        FEAT-11 when two views or services have one name.
    """

    def __init__(
        self,
        views: Sequence[View],
        *,
        read: Read,
        online: OnlineStore | None = None,
        ledger: Ledger | None = None,
        clock: Clock | None = None,
        late: Duration = "1h",
        services: Sequence[FeatureService] = (),
        append: Append | None = None,
        workspace: Workspace | None = None,
        engine: OfflineEngine | None = None,
        earlier: Callable[[], Iterable[FeatureView]] = tuple,
    ) -> None:
        self.definitions: Mapping[str, View] = by_name(views)
        self.views: Mapping[str, FeatureView] = {
            name: view for name, view in self.definitions.items() if isinstance(view, FeatureView)
        }
        self.services: Mapping[str, FeatureService] = by_name(services)
        self._read = read
        self._append = append
        self._earlier = earlier
        self._engine: OfflineEngine = engine or EmbeddedEngine(workspace)
        self._online = online
        self._clock = clock or SystemClock()
        self._materializer = (
            None if online is None else Materializer(read, online, ledger, self._clock, a_span(late, "late"), workspace)
        )
        self._plans: dict[tuple[tuple[Any, ...], bool], LookupPlan] = {}
        self._options: dict[str, Any] = {
            "online": online,
            "ledger": ledger,
            "clock": clock,
            "late": late,
            "workspace": workspace,
        }

    def with_views(self, views: Sequence[View], *, read: Read | None = None) -> FeatureStore:
        """The same store with other definitions, and with another reader of sources where one is given."""
        return FeatureStore(views, read=read or self._read, engine=self._engine, **self._options)

    def get_historical_features(
        self,
        entity_df: Any,
        features: Wanted,
        *,
        event_time: str = "event_time",
        as_known: bool = True,
        full_feature_names: bool = False,
        progress: Progress | None = None,
    ) -> OfflineAnswer:
        """Every row of `entity_df`, in its order, with the features as of its time.

        Parameters
        ----------
        entity_df : pandas, polars or Arrow table, list of dict, Source, or what else the engine takes
            Key columns and a time column; naive times are UTC. Other columns stay. For rows in a database:
            ``Source("asked", url, query="SELECT ...")``.
        features : sequence of str, view or FeatureService
            ``view:feature``, a view for all of its features, a service for its vector.
        as_known : bool
            Hide rows of a source created after the moment asked: nobody knew them then. The answer says which it
            was: ``.as_known``, and ``.attrs`` of its pandas table.
        full_feature_names : bool
            Call the columns ``view__feature``.
        progress : callable (done, total), optional
            Told as sources are read and joined.

        Raises
        ------
        DataError
            FEAT-01 to FEAT-04 for the features, FEAT-05 to FEAT-07 for the rows, FEAT-08 and FEAT-09 for the source,
            FEAT-14 when rows that do not fit in memory find no room on the disk.
        """
        if isinstance(entity_df, EventSource):
            entity_df = self._read(entity_df, None, None)
        rows, names = self._engine.accept(entity_df)
        request = resolve(
            self.definitions,
            features,
            full_feature_names=full_feature_names,
            taken=names,
            services=self.services,
        )
        found = self._engine.retrieve(
            rows, request.stored, self._read, event_time=event_time, as_known=as_known, progress=progress
        )
        return with_computed(found, request) if request.computed else found

    def get_training_features(
        self, entity_df: Any, features: Wanted, *, event_time: str = "event_time"
    ) -> pd.DataFrame:
        """`get_historical_features` as a pandas table: what was known at each row's time."""
        return self.get_historical_features(entity_df, features, event_time=event_time).to_df()

    def plan(self, features: Wanted, *, full_feature_names: bool = False) -> LookupPlan:
        """The request worked out once, for the fastest reads: ``plan.read({"customer_id": 7})``.

        Raises
        ------
        DataError
            FEAT-01 to FEAT-04, FEAT-12 without an online store.
        """
        # A list is what most calls bring, and told apart fastest.
        single = type(features) is not list and (
            isinstance(features, str) or hasattr(features, "name") or not hasattr(features, "__iter__")
        )
        # What is not a text is told apart by what it is, not by its name: a definition may be made anew.
        name = ((features,) if single else tuple(cast("Sequence[Any]", features)), full_feature_names)
        plan = self._plans.get(name)
        if plan is None:
            request = resolve(self.definitions, features, full_feature_names=full_feature_names, services=self.services)
            if len(self._plans) >= _MOST_PLANS:  # a caller that permutes names must not fill the memory
                self._plans.clear()
            plan = self._plans[name] = LookupPlan(request, self._connected()[0], self._clock)
        return plan

    def get_online_features(
        self,
        features: Wanted,
        entity_rows: Iterable[Mapping[str, Any]] | Mapping[str, Sequence[Any]] | None = None,
        *,
        entity_ids: Sequence[Any] | Mapping[str, Sequence[Any]] | None = None,
        at: datetime | None = None,
        full_feature_names: bool = False,
    ) -> OnlineFeatures:
        """The features of some keys now, or at a moment not far back.

        Parameters
        ----------
        entity_rows : list of dict, or dict of lists
        entity_ids : list of values of the one key column, or dict of lists
        at : datetime, optional
            Default: now.

        Raises
        ------
        DataError
            FEAT-01 to FEAT-05, FEAT-07, FEAT-12.
        """
        plan = self.plan(features, full_feature_names=full_feature_names)
        return plan.lookup(entity_rows_of(plan.keys, entity_rows, entity_ids), at)

    def materialize(
        self,
        start: datetime | None,
        end: datetime,
        *,
        views: Wanted | None = None,
        chunk: Duration = CHUNK,
        progress: Progress | None = None,
    ) -> dict[str, int]:
        """Bring events with start <= event time < end online; the number of events by view.

        Safe to repeat and to interrupt: events that are there already change nothing, older ones never replace newer
        ones, and the same call after a crash goes on after the last chunk that was done.

        Parameters
        ----------
        start : datetime or None
            None: from the beginning, in one piece.
        chunk : duration
            Event time read at once; it bounds memory.
        progress : callable (done, total), optional
            Told after each chunk of each view.
        """
        _, materializer = self._connected()
        start, end = None if start is None else a_moment(start, "start"), a_moment(end, "end")
        span = a_span(chunk, "chunk")
        chosen = self._chosen(views)
        counts = {}
        for place, view in enumerate(chosen):
            report = None if progress is None else _overall(progress, place, len(chosen))
            counts[view.name] = materializer.materialize(view, start, end, chunk=span, progress=report)
        for view in self._earlier_of(chosen, all_views=views is None):
            with left_out_alone(view):
                counts[view.storage_id()] = materializer.materialize(view, start, end, chunk=span)
        return counts

    def materialize_incremental(
        self,
        end: datetime,
        *,
        views: Wanted | None = None,
        lookback: Duration = 0,
        chunk: Duration = CHUNK,
        progress: Progress | None = None,
    ) -> dict[str, int]:
        """`materialize` from where each view stands to `end`; a view never materialized starts at the beginning.

        So does every view after the online store was removed, or another one named.
        `lookback` starts that much earlier, for sources in which rows turn up late.
        """
        _, materializer = self._connected()
        end = a_moment(end, "end")
        back, span = a_span(lookback, "lookback"), a_span(chunk, "chunk")
        chosen = self._chosen(views)

        def increment(view: FeatureView, report: Progress | None) -> int:
            until = materializer.reached(view)
            start = None if until is None else until - back
            if start is not None and start >= end:
                return 0
            return materializer.materialize(view, start, end, chunk=span, progress=report)

        counts = {}
        for place, view in enumerate(chosen):
            counts[view.name] = increment(view, None if progress is None else _overall(progress, place, len(chosen)))
        for view in self._earlier_of(chosen, all_views=views is None):
            with left_out_alone(view):
                counts[view.storage_id()] = increment(view, None)
        return counts

    @property
    def read(self) -> Read:
        """Reads the sources."""
        return self._read

    @property
    def online(self) -> OnlineStore:
        """The online store. Raises DataError FEAT-12 without one."""
        return self._connected()[0]

    def materialized_until(self, view: str | FeatureView) -> datetime | None:
        """The end of what is online of a view's present definition, None for nothing."""
        (chosen,) = self._chosen([view])
        return self._connected()[1].until(chosen)

    def push(
        self,
        target: str | FeatureView | EventSource,
        rows: Any,
        *,
        to: Literal["online", "offline", "both"] = "online",
    ) -> int:
        """Bring new rows of a source online at once, into one view or into every view of the source, or into its log.

        Pushing a row again changes nothing; late and unordered rows find their place; an older row never hides a
        newer one. A row without an event time is left out, and online one without a key.

        Parameters
        ----------
        target : a view, a source, or the name of one
            A name that both have, the view being fed by the source, is the source's.
        rows : list of dict, or pandas, polars or Arrow table
            With the source's columns.
        to : {"online", "offline", "both"}
            With "both" the log comes first: after a crash in between, push again or materialize.

        Returns
        -------
        int
            Rows with an event time.

        Raises
        ------
        DataError
            FEAT-05 to FEAT-10 for the rows, FEAT-11 when no view or source has that name, FEAT-12 without an online
            store, FEAT-35 when the log cannot be added to, DATA-14 and DATA-15 why.
        """
        if to not in ("online", "offline", "both"):
            raise DataError("FEAT-35", f"to={to!r}", fix=did_you_mean(str(to), ("online", "offline", "both")))
        views, table = fed_by(target, self.views), to_table(rows)
        if table.num_rows == 0:
            return 0
        # All rows are found good before the first is written.
        ready = [(view, events_to_push(table, view, self._online, self._read)) for view in views]
        for view in self._earlier_of(views) if self._online is not None else ():
            with left_out_alone(view):
                ready.append((view, events_to_push(table, view, self._online, self._read)))
        if to != "online":
            if self._append is None:
                raise DataError(
                    "FEAT-35",
                    "this feature store cannot add rows to a log",
                    fix="FeatureStore(..., append=...), or mr.open_features(folder) of a project",
                )
            self._append(views[0].source, table)
        for view, events in ready if to != "offline" else ():
            self._connected()[1].write(view, events, is_replay=False)
        return max(events.size for _, events in ready)

    def _earlier_of(self, views: Sequence[FeatureView], *, all_views: bool = False) -> list[FeatureView]:
        return choose_earlier(self._earlier(), self.views, None if all_views else views)

    def _chosen(self, views: Wanted | None) -> list[FeatureView]:
        if views is None:
            return list(self.views.values())
        return list(
            {
                feature.view.name: feature.view
                for feature in resolve(self.definitions, views, services=self.services).stored
            }.values()
        )

    def _connected(self) -> tuple[OnlineStore, Materializer]:
        if self._online is None or self._materializer is None:
            raise DataError(
                "FEAT-12",
                "this feature store has no online store",
                fix='FeatureStore(..., online=open_online("lmdb:///state/online"))',
            )
        return self._online, self._materializer


def _overall(progress: Progress, place: int, views: int) -> Progress:
    """Progress of one view among several: each view counts as much as it has chunks."""

    def tell(done: int, total: int) -> None:
        progress(place * total + done, views * total)

    return tell
