"""The definitions a model version was trained on, for as long as it is served.

A version pins the digest of every view behind its features. When the project defines a view otherwise by now, a server
answers an old version from the old definition, made anew from the ledger, and materialize and push go on feeding it.
Code cannot be made anew: a version whose on-demand function has changed is not served, and says so.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from millrace.core.clock import to_text
from millrace.core.errors import MillraceError, ModelError
from millrace.core.records import ModelVersion, Release
from millrace.data.source import Source
from millrace.features.definition_record import (
    Record,
    on_demand_record,
    source_of,
    source_record,
    view_from_record,
    view_record,
)
from millrace.features.freshness import materialized_until
from millrace.features.on_demand import OnDemandView
from millrace.features.request import View
from millrace.features.view import EventSource, FeatureView
from millrace.store.ledger import Ledger

if TYPE_CHECKING:
    from millrace.features.store import FeatureStore
    from millrace.flow.wiring import Wiring

logger = logging.getLogger("millrace.features")

DEFINITION = "feature_definition"
"""Kind of the events, and of the state by ``name@digest``: a view's record and its source's."""


def keep_definitions(ledger: Ledger, views: Sequence[View]) -> None:
    """Put definitions on the record, each once, so that what a model pins can be made anew."""
    for view in views:
        key = f"{view.name}@{view.digest()}"
        if ledger.state(DEFINITION, key) is not None:
            continue
        if isinstance(view, OnDemandView):
            facts: dict[str, Any] = {"record": on_demand_record(view), "source": None}
        else:
            facts = {"record": view_record(view), "source": source_record(view.source)}
        ledger.append(DEFINITION, view.name, facts, key=f"{DEFINITION}:{key}", sets=[(DEFINITION, key, facts)])


def pins_of(version: ModelVersion) -> dict[str, str]:
    """The digest of each view a version was trained on; empty for one of before there were pins."""
    return dict(version.lineage.get("feature_pins") or {})


def pinned_views(wiring: Wiring, pins: Mapping[str, str], *, who: str) -> dict[str, View]:
    """The definitions that `pins` names: the project's own, or the earlier ones made anew.

    Raises
    ------
    ModelError
        FEAT-61 when the code of an on-demand view has changed since, FEAT-62 when an earlier definition is not on the
        record. All of them at once.
    StoreError
        FEAT-60 when a record cannot be read.
    """
    found: dict[str, View] = {}
    problems: list[MillraceError] = []
    for name, digest in pins.items():
        present = wiring.project.feature_definitions.get(name)
        if present is not None and present.digest() == digest:
            found[name] = present
            continue
        state = wiring.ledger.state(DEFINITION, f"{name}@{digest}")
        record = None if state is None else state.value["record"]
        if state is None or record is None:
            problems.append(_not_recorded(name, digest, present, who))
        elif record["kind"] == "on_demand":
            problems.append(_other_code(name, digest, present, who))
        else:
            found[name] = view_from_record(record, _source_for(wiring, record, state.value["source"]))
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise ModelError(
            problems[0].code, f"{who} needs {len(problems)} definitions that are not there", findings=problems
        )
    return found


def store_of(wiring: Wiring, views: Mapping[str, View]) -> FeatureStore:
    """The feature store of these definitions: the project's own when it defines all of them."""
    present = wiring.project.feature_definitions
    if all(view is present.get(name) for name, view in views.items()):
        return wiring.features
    return wiring.features.with_views(list(views.values()))


def version_store(wiring: Wiring, name: str) -> FeatureStore:
    """The feature store of the definitions that ``MODEL:VERSION`` was trained on. Raises as `pinned_views` does."""
    version = wiring.get_version(name)
    views = pinned_views(wiring, pins_of(version), who=f"{version.model} v{version.version}")
    return wiring.features.with_views(list(views.values()))


def check_features(wiring: Wiring, version: ModelVersion, environments: Sequence[str]) -> None:
    """Raise unless `version` would find its features in these environments, as well as what runs there now does.

    Raises
    ------
    ModelError
        FEAT-61 and FEAT-62 as `pinned_views`; FEAT-68 when what runs now reads another definition of a view, and the
        online store is filled further with that: every feature would be missing or old.
    """
    who = f"{version.model} v{version.version}"
    views = pinned_views(wiring, pins_of(version), who=who)
    for environment in environments:
        release = wiring.releases.current(environment, version.model)
        standing = None if release is None else wiring.registry.find(version.model, release.version)
        for name, digest in {} if standing is None else pins_of(standing).items():
            view = views.get(name)
            if not isinstance(view, FeatureView) or view.digest() == digest:
                continue
            state = wiring.ledger.state(DEFINITION, f"{name}@{digest}")
            if state is None or state.value["record"]["kind"] != "view":
                continue
            served = materialized_until(wiring.ledger, view_from_record(state.value["record"]))
            filled = materialized_until(wiring.ledger, view)
            if served is not None and (filled is None or filled < served):
                raise _not_filled(version, view, environment, served, filled)


class EarlierViews:
    """Earlier definitions that models read in some environment, or would read again after a rollback.

    Calling it gives them; what the ledger says is looked up each time, and made anew only when it has changed.
    """

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring
        self._seen: Any = None
        self._views: list[FeatureView] = []

    def __call__(self) -> list[FeatureView]:
        try:
            states = self._wiring.ledger.states("release")
            seen = [(state.key, state.generation) for state in states]
            if seen != self._seen:
                self._views = self._find([state.value.get("release") for state in states])
                self._seen = seen
        except MillraceError as error:
            # Rows must not wait for the ledger: what was known a moment ago is still fed.
            logger.warning("which earlier definitions are still read is not known: %s", error)
        return self._views

    def _find(self, releases: Sequence[Mapping[str, Any] | None]) -> list[FeatureView]:
        found: dict[str, FeatureView] = {}
        for facts in releases:
            if facts is None:
                continue
            release = Release.from_dict(facts)
            numbers = [number for number in (release.version, release.previous) if number is not None]
            for version in [self._wiring.registry.find(release.model, number) for number in numbers]:
                if version is not None:
                    found.update(self._earlier(version))
        return list(found.values())

    def _earlier(self, version: ModelVersion) -> dict[str, FeatureView]:
        found = {}
        for name, digest in pins_of(version).items():
            try:
                view = pinned_views(self._wiring, {name: digest}, who=f"{version.model} v{version.version}")[name]
            except MillraceError as error:
                logger.warning("%s v%s: %s", version.model, version.version, error.what)
                continue
            if isinstance(view, FeatureView) and view is not self._wiring.project.views.get(name):
                found[view.storage_id()] = view
        return found


def _source_for(wiring: Wiring, record: Record, source: Record | None) -> EventSource:
    """A source to read the rows of a recorded view from: where they lie today, with the times of then."""
    times = source_of(record)
    present = wiring.project.sources.get(times.name)
    if present is not None and (present.event_time, present.created, present.delay) == (
        times.event_time,
        times.created,
        times.delay,
    ):
        return present
    facts = source or {}
    where: Any = facts.get("path") if present is None else present.path if present.frame is None else present.frame
    if not where:
        return times
    rest: dict[str, Any] = {
        name: facts.get(name) if present is None else getattr(present, name)
        for name in ("columns", "query", "table", "schema")
    }
    return Source(times.name, where, event_time=times.event_time, created=times.created, delay=times.delay, **rest)


def _other_code(name: str, digest: str, present: View | None, who: str) -> ModelError:
    return ModelError(
        "FEAT-61",
        f"{who} was trained on another code of the on-demand view '{name}'",
        where=None if present is None else present.place,
        why=f"it pins {digest[:12]}; the project "
        + (f"defines {present.digest()[:12]}" if present else "has none of that name"),
        fix=f"take the function back to what it was (millrace features show {name} --digest {digest[:12]}), or give "
        "the new one another name; a server that started before the change needs a restart",
    )


def _not_filled(
    version: ModelVersion, view: FeatureView, environment: str, served: datetime, filled: datetime | None
) -> ModelError:
    online = "the online store holds nothing of it" if filled is None else f"it is filled until {to_text(filled)} only"
    return ModelError(
        "FEAT-68",
        f"{version.model} v{version.version} reads another '{view.name}' than what {environment} runs, and {online}",
        where=view.place,
        why=f"what runs there now is filled until {to_text(served)}: features would be missing or old",
        fix=f"millrace features materialize --version {version.model}:{version.version}, then "
        f"millrace deploy {version.model}:{version.version}",
    )


def _not_recorded(name: str, digest: str, present: View | None, who: str) -> ModelError:
    return ModelError(
        "FEAT-62",
        f"{who} was trained on another definition of '{name}', of which there is no record",
        where=None if present is None else present.place,
        why=f"it pins {digest[:12]}; the project "
        + (f"defines {present.digest()[:12]}" if present else "has no view of that name"),
        fix="take the definition back to what it was, or train a version on the present one: millrace run",
    )
