"""Joins the rooms for one project and environment. Every store opens on first use, so a light command stays light."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from millrace.core.clock import Clock, SystemClock, to_text
from millrace.core.errors import ModelError
from millrace.core.plugins import load_plugin, scheme_of
from millrace.core.records import Alert, ModelVersion, Severity
from millrace.core.verdict import Verdict
from millrace.deployment.releases import Releases
from millrace.registry.names import split_reference
from millrace.registry.registry import Registry
from millrace.store.blobs import BlobStore, open_blobs
from millrace.store.ledger import Ledger

if TYPE_CHECKING:
    import pyarrow as pa

    from millrace.core.bundle import Manifest
    from millrace.data.reader import SourceReader
    from millrace.features.offline.engine import OfflineEngine
    from millrace.features.online.port import OnlineStore
    from millrace.features.request import Request, View
    from millrace.features.service import FeatureService
    from millrace.features.store import FeatureStore
    from millrace.features.view import FeatureView
    from millrace.features.workspace import Workspace
    from millrace.flow.model import Model
    from millrace.flow.project import Project
    from millrace.flow.settings import Environment
    from millrace.serving.predictor import Predictor


class Wiring:
    """The open parts of one project, joined."""

    def __init__(self, project: Project, clock: Clock) -> None:
        self.project = project
        self.clock = clock

    @property
    def environment(self) -> Environment:
        """The active environment's settings."""
        return self.project.settings.active

    @cached_property
    def ledger(self) -> Ledger:
        return Ledger.open(self.environment.ledger, self.clock)

    @cached_property
    def blobs(self) -> BlobStore:
        return open_blobs(self.environment.blobs)

    @cached_property
    def registry(self) -> Registry:
        return Registry(self.ledger)

    @cached_property
    def releases(self) -> Releases:
        return Releases(self.ledger)

    @cached_property
    def online(self) -> OnlineStore:
        url = self.environment.online
        store: OnlineStore = load_plugin("online_stores", scheme_of(url))(url)
        return store

    @cached_property
    def features(self) -> FeatureStore:
        from millrace.features.offline.engine import LateEngine
        from millrace.features.store import FeatureStore
        from millrace.flow.pinned_features import EarlierViews

        return FeatureStore(
            list(self.project.feature_definitions.values()),
            read=self.read,
            online=self.online,
            ledger=self.ledger,
            clock=self.clock,
            services=list(self.project.services.values()),
            append=self.append,
            workspace=self.workspace,
            engine=None if scheme_of(self.environment.offline) == "embedded" else LateEngine(self._open_offline),
            earlier=EarlierViews(self),
        )

    def _open_offline(self) -> OfflineEngine:
        from millrace.features.offline.engine import open_offline

        return open_offline(self.environment.offline, root=self.project.root)

    @property
    def workspace(self) -> Workspace:
        """How much memory joins and materializations may take, and where what does not fit waits."""
        from millrace.features.workspace import Workspace

        memory = self.environment.memory_mb
        return Workspace(memory_bytes=memory * 1_000_000 if memory else None, folder=self.environment.spill)

    @cached_property
    def read(self) -> SourceReader:
        """Reads sources: ``read(source, start, end)``, or piece by piece."""
        from millrace.data.reader import SourceReader

        return SourceReader(self.project.root)

    def append(self, source: Any, table: pa.Table) -> int:
        """Add rows to the log of a source; how many were new."""
        from millrace.data.append import append_rows

        return append_rows(source, table, root=self.project.root)

    def manifest(self, digest: str) -> Manifest:
        """The manifest of a bundle, its bytes checked."""
        import json

        from millrace.core.bundle import Manifest

        return Manifest.from_dict(json.loads(self.blobs.get(digest)))

    def predictor(self, digest: str) -> Predictor:
        """The predictor of a bundle, as the server would load it."""
        from millrace.serving.predictor import load_predictor

        return load_predictor(self.manifest(digest), self.blobs, allow_pickle=self.environment.allow_pickle)

    def get_version(self, name: str) -> ModelVersion:
        """The version that ``MODEL:VERSION``, ``MODEL@ALIAS``, or ``VERSION`` of the only model names.

        Raises
        ------
        ModelError
            REG-01 to REG-03 with the nearest name.
        """
        model, reference = split_reference(name)
        if reference is None and name in self.project.models:
            raise ModelError(
                "REG-03", f"'{name}' is a model, and names no version of it", fix=f"{name}:1, or {name}@champion"
            )
        if reference is None:
            return self.registry.get(self.project.get_model().name, name)
        return self.registry.get(model, reference)

    def feature_request(self, model: Model) -> Request | None:
        """The model's features, resolved; None when it has none."""
        from millrace.features.request import resolve

        return resolve(self.project.feature_definitions, model.features) if model.features else None

    def feature_references(self, model: Model) -> list[str]:
        """The model's features as ``view:feature``, in the order of its columns."""
        request = self.feature_request(model)
        return [] if request is None else list(request.references)

    def feature_views(self, model: Model) -> list[FeatureView]:
        """The stored views behind the model's features, each once."""
        request = self.feature_request(model)
        return [] if request is None else list({one.view.name: one.view for one in request.stored}.values())

    def entity_keys(self, model: Model) -> list[str]:
        """The key columns that the model's features are looked up by, each once."""
        views = sorted(self.feature_views(model), key=lambda view: view.name)
        return list(dict.fromkeys(key for view in views for key in view.keys))

    def requested_columns(self, model: Model) -> list[str]:
        """What a request must bring along for the model's on-demand features, beside keys and inputs."""
        request = self.feature_request(model)
        return [] if request is None else [name for name in request.fields if name not in model.inputs]

    def feature_definitions(self, model: Model) -> list[View]:
        """Every view behind the model's features, on-demand ones and their inputs too, each once, by name."""
        request = self.feature_request(model)
        if request is None:
            return []
        views: list[View] = [*(one.view for one in request.stored), *(one.view for one in request.computed)]
        return sorted({view.name: view for view in views}.values(), key=lambda view: view.name)

    def feature_pins(self, model: Model) -> dict[str, str]:
        """The digest of every view behind the model's features."""
        return {view.name: view.digest() for view in self.feature_definitions(model)}

    def record_verdict(
        self, verdict: Verdict, *, subject: str, key: str, extra: Mapping[str, Any] | None = None
    ) -> Verdict:
        """Put a decision on the record, with its evidence; the verdict that stands there.

        A step that was killed after it decided measures anew when it is run again, but what was decided stays.
        """
        body = {"verdict": verdict.to_dict(), **(extra or {})}
        event = self.ledger.append("decision", subject, body, key=f"decision:{key}")
        return Verdict.from_dict(event.body["verdict"])

    def alert(
        self,
        key: str,
        severity: Severity,
        subject: str,
        title: str,
        text: str,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        """Raise an alert once; it leaves through the outbox."""
        from millrace.monitoring.alerts import raise_alert

        alert = Alert(key, severity, subject, title, text, to_text(self.clock.now()), dict(facts or {}))
        raise_alert(self.ledger, alert, self.environment.channels)

    def close(self) -> None:
        """Close what was opened."""
        if "online" in self.__dict__:
            self.online.close()
        if "ledger" in self.__dict__:
            self.ledger.close()


def open_features(folder: Path | str = ".", *, environment: str | None = None) -> FeatureStore:
    """The feature store of the project at or above `folder`, offline and online."""
    from millrace.flow.project import load_project

    return Wiring(load_project(folder, environment=environment), SystemClock()).features


def features_of(
    definitions: Iterable[View | FeatureService],
    *,
    online: str = "memory://",
    folder: Path | str = ".",
    engine: OfflineEngine | None = None,
) -> FeatureStore:
    """The feature store of definitions alone, for a notebook, a script or a test: no project, no ledger.

    Parameters
    ----------
    definitions : iterable of FeatureView, on-demand view and FeatureService
    online : str
        The online store's URL. How far views are materialized into it is remembered while the answer lives.
    folder : path
        What relative paths of sources start at.
    engine : OfflineEngine, optional
        Works out features of the past, instead of this process.

    Raises
    ------
    DataError
        FEAT-11 when two views or services have one name.
    """
    from functools import partial

    from millrace.data.append import append_rows
    from millrace.data.reader import SourceReader
    from millrace.features.online.port import open_online
    from millrace.features.service import FeatureService
    from millrace.features.store import FeatureStore

    root, given = Path(folder).resolve(), list(definitions)
    return FeatureStore(
        [one for one in given if not isinstance(one, FeatureService)],
        services=[one for one in given if isinstance(one, FeatureService)],
        read=SourceReader(root),
        online=open_online(online),
        append=partial(append_rows, root=root),
        engine=engine,
    )
