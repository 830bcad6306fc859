"""An existing Feast repository as Millrace's own definitions: read from its registry, served unchanged.

    feast = from_feast("feature_repo")
    store = feast.open("lmdb:///data/online")

Nothing is written into the repository. What Millrace cannot take over is told in `findings`, never passed over.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from millrace.core.clock import Clock
from millrace.core.definition import caller_place
from millrace.core.errors import DataError, MillraceError, MissingExtra, did_you_mean
from millrace.data.append import append_rows
from millrace.data.reader import SourceReader
from millrace.data.source import Source
from millrace.features.entity import Entity
from millrace.features.on_demand import OnDemandView
from millrace.features.online.port import open_online
from millrace.features.service import FeatureService
from millrace.features.store import FeatureStore
from millrace.features.view import FeatureView
from millrace.store.ledger import Ledger

try:
    import feast
except ModuleNotFoundError as error:
    raise MissingExtra("feast", "feast", "reading a Feast repository") from error

from millrace.adapters.feast_definitions import Reading, read_on_demand, read_service, read_view


@dataclass(frozen=True)
class FeastRepository:
    """What `from_feast` found; iterate over it for every definition, index it for one.

    Parameters
    ----------
    path : Path
        The repository's folder: what relative file paths start at.
    project : str
    entities, sources, views, on_demand, services : mapping by name
        A view whose rows are pushed has a source of the push source's name, so that rows are pushed as before.
    findings : tuple of MillraceError
        FEAST-10 to FEAST-14: what was left out, and why.
    """

    path: Path
    project: str
    entities: Mapping[str, Entity]
    sources: Mapping[str, Source]
    views: Mapping[str, FeatureView]
    on_demand: Mapping[str, OnDemandView]
    services: Mapping[str, FeatureService]
    findings: tuple[MillraceError, ...] = field(default=(), compare=False)

    @property
    def definitions(self) -> tuple[Any, ...]:
        """Everything that was taken over: a project file that holds this object defines all of it."""
        kinds = (self.sources, self.entities, self.views, self.on_demand, self.services)
        return tuple(one for found in kinds for one in found.values())

    def __iter__(self) -> Iterator[Any]:
        return iter(self.definitions)

    def __getitem__(self, name: str) -> Any:
        for found in (self.views, self.on_demand, self.services, self.entities, self.sources):
            if name in found:
                return found[name]
        raise DataError(
            "FEAST-10",
            f"the Feast repository has no '{name}' that Millrace took over",
            where=str(self.path),
            why="; ".join(one.what for one in self.findings) or None,
            fix=did_you_mean(name, [*self.views, *self.on_demand, *self.services]),
        )

    def open(
        self, online: str | None = None, *, ledger: Ledger | None = None, clock: Clock | None = None
    ) -> FeatureStore:
        """The feature store of this repository.

        Parameters
        ----------
        online : str, optional
            URL of an online store of Millrace's own, such as ``lmdb:///data/online``; without it only the past can
            be asked. It is filled by `materialize` and `push`, not by Feast.
        """
        return FeatureStore(
            [*self.views.values(), *self.on_demand.values()],
            services=list(self.services.values()),
            read=SourceReader(self.path),
            append=lambda source, table: append_rows(source, table, root=self.path),
            online=None if online is None else open_online(online),
            ledger=ledger,
            clock=clock,
        )


def from_feast(repo: str | Path | feast.FeatureStore, *, strict: bool = False) -> FeastRepository:
    """The definitions of a Feast repository to which ``feast apply`` was run.

    Entities, feature views over Parquet files (field mapping, ttl, created column, views without keys), push
    sources, feature services (with aliases), and on-demand views in Python and pandas are taken over.

    Parameters
    ----------
    repo : str, Path or feast.FeatureStore
        The folder with feature_store.yaml. A relative one starts at the file that calls this.
    strict : bool
        Raise when something is left out.

    Raises
    ------
    DataError
        FEAST-11 there is no repository, or nothing was applied to it; with `strict` what was left out.
    MissingExtra
        When Feast is not installed.
    """
    store = repo if isinstance(repo, feast.FeatureStore) else _opened(Path(repo))
    path = Path(store.repo_path or ".").resolve()
    reading = Reading(path, {one.name: one for one in store.list_entities()}, f"Feast repository {path}")
    known: dict[str, Any] = {}
    for view in [*store.list_batch_feature_views(), *store.list_stream_feature_views()]:
        known[view.name] = view
        read_view(reading, view)
    for view in store.list_on_demand_feature_views():
        read_on_demand(reading, view)
    for service in store.list_feature_services():
        read_service(reading, service, known)
    if not known and not reading.on_demand:
        raise DataError(
            "FEAST-11",
            "the Feast repository has no feature views",
            where=str(path),
            why="only what was applied stands in its registry",
            fix="run feast apply in that folder",
        )
    if strict and reading.findings:
        raise DataError(
            "FEAST-10",
            f"{len(reading.findings)} definitions of the Feast repository cannot be taken over",
            where=str(path),
            findings=list(reading.findings),
        )
    return FeastRepository(
        path,
        store.project,
        reading.entities,
        reading.sources,
        reading.views,
        reading.on_demand,
        reading.services,
        tuple(reading.findings),
    )


def _opened(folder: Path) -> feast.FeatureStore:
    place = caller_place()
    if not folder.is_absolute() and not (folder / "feature_store.yaml").exists() and place is not None:
        folder = Path(place.rsplit(":", 1)[0]).parent / folder
    if not (folder / "feature_store.yaml").exists():
        raise DataError(
            "FEAST-11",
            f"there is no Feast repository in '{folder}'",
            why="a repository is a folder with feature_store.yaml",
            fix="pass that folder",
        )
    return feast.FeatureStore(repo_path=os.fspath(folder))
