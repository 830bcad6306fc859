"""Joins the rooms for one project and environment. Every store opens on first use, so a light command stays light."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from millrace.core.clock import Clock, SystemClock, to_text
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
    from millrace.features.online import OnlineStore
    from millrace.features.store import FeatureStore
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
        from millrace.features.store import FeatureStore

        views = list(self.project.views.values())
        return FeatureStore(views, read=self.read, online=self.online, ledger=self.ledger, clock=self.clock)

    def read(self, source: Any, start: datetime | None, end: datetime | None) -> pa.Table:
        """Rows of a source with start <= event time < end."""
        from millrace.data.read import read_source

        return read_source(source, root=self.project.root, start=start, end=end)

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
        if reference is None:
            return self.registry.get(self.project.get_model().name, name)
        return self.registry.get(model, reference)

    def feature_references(self, model: Model) -> list[str]:
        """The model's features as ``view:feature``, in the order of its columns."""
        references: list[str] = []
        for feature in model.features:
            if not isinstance(feature, str):
                references.extend(f"{feature.name}:{name}" for name in feature.features)
            elif ":" in feature:
                references.append(feature)
            else:
                references.extend(f"{feature}:{name}" for name in self.project.views[feature].features)
        return references

    def entity_keys(self, model: Model) -> list[str]:
        """The key columns that the model's features are looked up by, each once."""
        views = {reference.partition(":")[0] for reference in self.feature_references(model)}
        keys: list[str] = []
        for name in sorted(views):
            entity = self.project.views[name].entity
            keys.extend(key for key in (entity.keys if entity is not None else ()) if key not in keys)
        return keys

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
