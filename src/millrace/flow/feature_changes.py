"""Plan and apply: what a change of the definitions does, who uses what it changes, and putting it on the record."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from millrace.core.errors import ProjectError
from millrace.core.records import ModelVersion, Release
from millrace.features.change_plan import Change, plan_changes
from millrace.features.definition_record import Record, record_key, records_of
from millrace.features.freshness import materialized_until
from millrace.flow.pinned_features import keep_definitions, pins_of

if TYPE_CHECKING:
    from millrace.flow.project import Project
    from millrace.flow.wiring import Wiring
    from millrace.store.ledger import Event, Ledger, State

APPLIED = "feature_applied"
"""Kind of the state by ``kind:name``: ``record`` (None once it was removed), ``by``, ``at``."""
APPLY = "feature_apply"


@dataclass(frozen=True)
class Usage:
    """Who uses a definition."""

    services: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()
    releases: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, list[str]]:
        return {name: list(getattr(self, name)) for name in ("services", "models", "versions", "releases")}


@dataclass(frozen=True)
class FeaturePlan:
    """What a change of the definitions would do.

    `generations` are those of the applied states it was made from; `unfilled` the changed views of whose new definition
    the online store holds nothing.
    """

    changes: Sequence[Change]
    usage: Mapping[str, Usage]
    unchanged: int
    generations: Mapping[str, int]
    unfilled: frozenset[str]

    @property
    def is_breaking(self) -> bool:
        return any(change.is_breaking for change in self.changes)

    def to_dict(self) -> dict[str, Any]:
        return {
            "is_breaking": self.is_breaking,
            "unchanged": self.unchanged,
            "changes": [
                {
                    **change.to_dict(),
                    "needs_materialize": change.key in self.unfilled,
                    "used_by": self.usage[change.key].to_dict(),
                }
                for change in self.changes
            ],
        }


def defined_records(project: Project) -> dict[str, dict[str, Any]]:
    """The records of what the project defines, by ``kind:name``: sources of views, and all that is made of them."""
    used = {view.source.name for view in project.views.values()}
    return records_of(
        sources=[source for name, source in project.sources.items() if name in used],
        entities=list(project.entities.values()),
        views=list(project.views.values()),
        on_demand=list(project.on_demand.values()),
        services=list(project.services.values()),
    )


def applied_states(ledger: Ledger) -> dict[str, State]:
    """What was applied and not removed since, by ``kind:name``."""
    return {state.key: state for state in ledger.states(APPLIED) if state.value["record"] is not None}


def plan_features(wiring: Wiring) -> FeaturePlan:
    """What the project's present definitions would change of the applied ones, and who uses that."""
    every = {state.key: state for state in wiring.ledger.states(APPLIED)}
    applied = {key: state.value["record"] for key, state in every.items() if state.value["record"] is not None}
    defined = defined_records(wiring.project)
    changes = plan_changes(applied, defined)
    users = Users(wiring, [*applied.values(), *defined.values()])
    moved = [change for change in changes if change.needs_materialize]
    return FeaturePlan(
        changes=changes,
        usage={change.key: users.of(change.key) for change in changes},
        unchanged=len(applied.keys() | defined.keys()) - len(changes),
        unfilled=frozenset(
            change.key
            for change in moved
            if materialized_until(wiring.ledger, wiring.project.views[change.name]) is None
        ),
        generations={change.key: every[change.key].generation if change.key in every else 0 for change in changes},
    )


def apply_features(wiring: Wiring, plan: FeaturePlan, *, by: str, allow_breaking: bool = False) -> Event | None:
    """Put the definitions on the record in one transaction; None when there is nothing to change.

    Raises
    ------
    ProjectError
        FEAT-63 when a change is breaking and that is not allowed; nothing is written.
    Conflict
        LEDGER-01 when somebody else applied something since the plan was made.
    """
    if plan.is_breaking and not allow_breaking:
        raise breaking(plan)
    if not plan.changes:
        return None
    keep_definitions(wiring.ledger, list(wiring.project.feature_definitions.values()))
    with wiring.ledger.transaction() as transaction:
        return transaction.append(
            APPLY,
            wiring.project.settings.name,
            {"by": by, "project": wiring.project.digest, **plan.to_dict()},
            sets=[(APPLIED, change.key, {"record": change.after, "by": by}) for change in plan.changes],
            expected={(APPLIED, key): generation for key, generation in plan.generations.items()},
        )


def breaking(plan: FeaturePlan) -> ProjectError:
    """The refusal of a plan with breaking changes: each is a finding, with who uses it."""
    findings = [
        ProjectError("FEAT-63", f"{change.kind} '{change.name}': {one.words}", why=_why(plan.usage[change.key]))
        for change in plan.changes
        for one in change.differences
        if one.is_breaking
    ]
    return ProjectError(
        "FEAT-63",
        f"{len(findings)} breaking change{'s' if len(findings) > 1 else ''}: what exists would answer otherwise",
        fix="give the new definition a new name and leave the old one, or repeat with --allow-breaking",
        findings=findings,
    )


class Users:
    """Who uses each definition: services, models of the project, registered versions, and what runs where."""

    def __init__(self, wiring: Wiring, records: Iterable[Record]) -> None:
        self._wiring = wiring
        self._records = {f"{record_key(record)}@{record['digest']}": record for record in records}
        registry = wiring.registry
        self._versions = [version for model in registry.models() for version in registry.versions(model)]
        self._releases = current_releases(wiring.ledger)

    def of(self, key: str) -> Usage:
        """Who uses the definition ``kind:name``."""
        kind, _, name = key.partition(":")
        views = self.views_of(kind, name)
        services = {
            record["name"] for record in self._of_kind("service") if record["name"] == name and kind == "service"
        } | {record["name"] for record in self._of_kind("service") if views & record["pins"].keys()}
        models = {model for model, names in self._views_of_models().items() if views & names}
        versions = [version for version in self._versions if views & pins_of(version).keys()]
        if kind == "service":  # its views may well be used by others, past it
            models &= self._models_that_name(name)
            versions = [version for version in versions if version.model in models]
        known = {(version.model, version.version) for version in versions}
        releases = [release for release in self._releases if (release.model, release.version) in known]
        return Usage(
            services=tuple(sorted(services - ({name} if kind == "service" else set()))),
            models=tuple(sorted(models)),
            versions=tuple(f"{version.model}:{version.version}" for version in versions),
            releases=tuple(f"{one.environment} runs {one.model}:{one.version}" for one in releases),
        )

    def views_of(self, kind: str, name: str) -> set[str]:
        """The views, on-demand ones too, whose values come from a definition."""
        if kind == "service":
            return {view for one in self._of_kind("service") if one["name"] == name for view in one["pins"]}
        views = {name} if kind in ("view", "on_demand") else set()
        if kind in ("source", "entity"):
            views = {
                record["name"]
                for record in self._of_kind("view")
                if name == (record["source"]["name"] if kind == "source" else record["entity"])
            }
        takers = {
            record["name"]
            for record in self._of_kind("on_demand")
            if any(one.get("feature", "").partition(":")[0] in views for one in record["inputs"])
        }
        return views | takers

    def _of_kind(self, kind: str) -> list[Record]:
        return [record for record in self._records.values() if record["kind"] == kind]

    def _models_that_name(self, service: str) -> set[str]:
        models = self._wiring.project.models.items()
        return {name for name, model in models if service in [getattr(one, "name", one) for one in model.features]}

    def _views_of_models(self) -> dict[str, set[str]]:
        wiring = self._wiring
        return {name: set(wiring.feature_pins(model)) for name, model in wiring.project.models.items()}


def current_releases(ledger: Ledger) -> list[Release]:
    """What every environment runs now."""
    found = [state.value.get("release") for state in ledger.states("release")]
    return [Release.from_dict(facts) for facts in found if facts is not None]


def all_versions(wiring: Wiring) -> list[ModelVersion]:
    """Every registered version of every model."""
    return [version for model in wiring.registry.models() for version in wiring.registry.versions(model)]


def _why(usage: Usage) -> str | None:
    words = [*usage.releases, *(f"service {name}" for name in usage.services)]
    if not words and usage.versions:
        words = [f"{len(usage.versions)} model versions"]
    return f"used by: {'; '.join(words)}" if words else None
