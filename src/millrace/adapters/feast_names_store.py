"""Feast's `FeatureStore` over Millrace's: the same calls on the same folder, without a registry to apply to."""

from __future__ import annotations

import runpy
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa

from millrace.core.clock import Clock, SystemClock, as_utc
from millrace.core.errors import DataError, did_you_mean
from millrace.data.append import append_rows
from millrace.data.read import read_source
from millrace.data.source import Source
from millrace.features.entity import Entity
from millrace.features.on_demand import OnDemandView
from millrace.features.online.port import open_online
from millrace.features.service import FeatureService
from millrace.features.store import FeatureStore as Store
from millrace.features.view import FeatureView
from millrace.store.ledger import Ledger

if TYPE_CHECKING:
    from millrace.features.offline_answer import OfflineAnswer
    from millrace.features.online.lookup import OnlineFeatures

Named = TypeVar("Named", FeatureView, Entity, FeatureService)

_TICK = timedelta(microseconds=1)
_KINDS = (FeatureView, OnDemandView, FeatureService, Source, Entity)


class FeatureStore:
    """The definitions in the Python files of a folder, with Feast's calls.

    Parameters
    ----------
    repo_path : str or Path
        Its Python files are run and what they define is served, as ``feast apply`` would find it; `apply` adds more.
        A relative path of a source starts here, or where the process runs when the file is only there.
    online : str, optional
        URL of the online store; default: files in ``data/online`` of the folder.
    clock : Clock, optional

    Notes
    -----
    As in Feast, rows of a source that were created after the moment asked count, unless
    `filter_by_created_timestamp` is given; and `materialize` includes its end.
    """

    def __init__(self, repo_path: str | Path = ".", *, online: str | None = None, clock: Clock | None = None) -> None:
        self.repo_path = Path(repo_path)
        self._url = online or f"lmdb:///{self.repo_path.resolve() / 'data' / 'online'}"
        self._clock = clock or SystemClock()
        self._found: dict[str, Any] = {}
        for file in sorted(self.repo_path.glob("*.py")):
            self.apply([one for one in runpy.run_path(str(file)).values() if isinstance(one, _KINDS)])

    def apply(self, objects: Any) -> None:
        """Serve these definitions too; one of a name that is known replaces it."""
        for one in objects if isinstance(objects, Iterable) and not isinstance(objects, _KINDS) else [objects]:
            self._found[f"{_kind(one)} {one.name}"] = one
        self.__dict__.pop("_store", None)

    def get_historical_features(
        self,
        entity_df: Any,
        features: Sequence[str] | FeatureService,
        full_feature_names: bool = False,
        filter_by_created_timestamp: bool = False,
    ) -> OfflineAnswer:
        """Every row of `entity_df`, in its order, with the features as of its time: ``.to_df()``, ``.to_arrow()``."""
        return self._store.get_historical_features(
            entity_df,
            features,
            event_time=_time_column(entity_df),
            as_known=filter_by_created_timestamp,
            full_feature_names=full_feature_names,
        )

    def get_online_features(
        self,
        features: Sequence[str] | FeatureService,
        entity_rows: Sequence[Mapping[str, Any]] | Mapping[str, Sequence[Any]],
        full_feature_names: bool = False,
    ) -> OnlineFeatures:
        """The features of some keys now: ``.to_dict()``, ``.to_df()``."""
        return self._store.get_online_features(features, entity_rows, full_feature_names=full_feature_names)

    def materialize(self, start_date: datetime, end_date: datetime, feature_views: Sequence[str] | None = None) -> None:
        """Bring the events from `start_date` to `end_date` online, both included."""
        end = as_utc(end_date) + _TICK
        self._store.materialize(as_utc(start_date), end, views=self._chosen(feature_views))

    def materialize_incremental(self, end_date: datetime, feature_views: Sequence[str] | None = None) -> None:
        """Bring online what came since the last time, up to and with `end_date`."""
        self._store.materialize_incremental(as_utc(end_date) + _TICK, views=self._chosen(feature_views))

    def push(self, push_source_name: str, df: Any, to: Any = "online") -> int:
        """Bring rows of a push source online, into its history, or both."""
        return self._store.push(push_source_name, df, to=getattr(to, "value", to))

    def write_to_online_store(self, feature_view_name: str, df: Any) -> int:
        """Bring rows of one view online."""
        return self._store.push(feature_view_name, df)

    def list_feature_views(self) -> list[FeatureView]:
        """Every feature view."""
        return self._of(FeatureView)

    def list_entities(self) -> list[Entity]:
        """Every entity, those of views included."""
        used = {view.entity.name: view.entity for view in self.list_feature_views() if view.entity is not None}
        return list({**used, **{one.name: one for one in self._of(Entity)}}.values())

    def list_feature_services(self) -> list[FeatureService]:
        """Every feature service."""
        return self._of(FeatureService)

    def get_feature_view(self, name: str) -> FeatureView:
        """A feature view by name."""
        return self._named(self.list_feature_views(), name, "feature view")

    def get_entity(self, name: str) -> Entity:
        """An entity by name."""
        return self._named(self.list_entities(), name, "entity")

    def get_feature_service(self, name: str) -> FeatureService:
        """A feature service by name."""
        return self._named(self.list_feature_services(), name, "feature service")

    @cached_property
    def _store(self) -> Store:
        views = [*self._of(FeatureView), *self._of(OnDemandView)]
        if not views:
            raise DataError(
                "FEAST-11",
                "the repository defines no feature views",
                where=str(self.repo_path.resolve()),
                fix="put them into a Python file of that folder, or store.apply([...]) them",
            )
        return Store(
            views,
            services=self._of(FeatureService),
            read=self._read,
            append=lambda source, table: append_rows(source, table, root=self._root(source)),
            online=self._online,
            ledger=self._ledger,
            clock=self._clock,
        )

    @cached_property
    def _online(self) -> Any:
        return open_online(self._url)

    @cached_property
    def _ledger(self) -> Ledger:
        folder = self.repo_path.resolve() / "data"
        folder.mkdir(parents=True, exist_ok=True)
        return Ledger.open(f"sqlite:///{folder / 'ledger.db'}", self._clock)

    def _read(self, source: Any, start: datetime | None, end: datetime | None) -> pa.Table:
        return read_source(source, root=self._root(source), start=start, end=end)

    def _root(self, source: Source) -> Path:
        here = self.repo_path.resolve()
        return Path.cwd() if not (here / source.path).exists() and Path(source.path).exists() else here

    def _chosen(self, names: Sequence[str] | None) -> list[str | FeatureView]:
        if names is not None:
            return list(names)
        return [view for view in self.list_feature_views() if getattr(view, "online", True)]

    def _of(self, kind: type) -> list[Any]:
        return [one for one in self._found.values() if isinstance(one, kind)]

    def _named(self, found: Sequence[Named], name: str, what: str) -> Named:
        for one in found:
            if one.name == name:
                return one
        raise DataError(
            "FEAST-10",
            f"there is no {what} '{name}'",
            where=str(self.repo_path),
            fix=did_you_mean(name, [one.name for one in found]),
        )


def _kind(thing: Any) -> str:
    for kind in _KINDS:
        if isinstance(thing, kind):
            return kind.__name__
    raise DataError(
        "FEAST-10",
        f"{thing!r} is no definition",
        fix="apply entities, sources, feature views, on-demand views and feature services",
    )


def _time_column(entity_df: Any) -> str:
    """As Feast finds it: ``event_timestamp``, else the only column of times."""
    if not hasattr(entity_df, "dtypes") or "event_timestamp" in entity_df:
        return "event_timestamp"
    times = [str(name) for name, dtype in dict(entity_df.dtypes).items() if "datetime64" in str(dtype)]
    return times[0] if len(times) == 1 else "event_timestamp"
