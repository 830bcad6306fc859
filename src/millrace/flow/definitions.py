"""Finding what a definitions file defines, and checking that it fits together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from millrace.core.errors import MillraceError, ProjectError, did_you_mean
from millrace.data.source import Labels, Source
from millrace.deployment.direct import Direct
from millrace.features.entity import Entity
from millrace.features.on_demand import OnDemandView
from millrace.features.request import View, feature_names
from millrace.features.service import FeatureService
from millrace.features.view import FeatureView
from millrace.flow.model import Model
from millrace.flow.pipeline import Pipeline
from millrace.registry.names import check_name
from millrace.validation.rows.serving_data import ServingData

# What `training.metrics.score` gives: of a classifier, and of a regression.
_METRICS = (
    {"accuracy", "precision", "recall", "f1", "roc_auc", "log_loss", "brier"},
    {"rmse", "mae", "r2"},
)
_KINDS = (Source, Entity, FeatureView, OnDemandView, FeatureService, Model, Pipeline)


class Definitions:
    """Everything that was found, by kind and name."""

    def __init__(self, problems: list[MillraceError]) -> None:
        self._by_kind: dict[Any, dict[str, Any]] = {kind: {} for kind in _KINDS}
        self._problems = problems

    def of(self, kind: Any) -> dict[str, Any]:
        """All definitions of a kind, by name."""
        return self._by_kind[kind]

    def add(self, thing: Any) -> None:
        """Take a definition and all that it is made of; anything else is passed over."""
        kind = next((kind for kind in _KINDS if isinstance(thing, kind)), None)
        if kind is None:
            # What stands for many definitions, such as a Feast repository, says which.
            parts = getattr(thing, "definitions", ())
            for part in parts if isinstance(parts, tuple) else ():
                self.add(part)
            return
        other = self._by_kind[kind].get(thing.name)
        if other is not None and other is not thing and other != thing:
            self._problems.append(
                ProjectError(
                    "PROJ-16",
                    f"two definitions of {kind.__name__} '{thing.name}'",
                    where=thing.place,
                    why=f"the other is at {other.place}",
                    fix="give one of them another name",
                )
            )
        self._by_kind[kind][thing.name] = thing
        for part in _parts(thing):
            self.add(part)


def collect_definitions(values: Iterable[Any], problems: list[MillraceError]) -> Definitions:
    """The definitions among `values`, checked; what is wrong with them is added to `problems`."""
    found = Definitions(problems)
    for value in list(values):
        found.add(value)
    views = {**found.of(FeatureView), **found.of(OnDemandView)}
    problems += [
        ProjectError(
            "PROJ-16",
            f"a feature view and an on-demand view are both called '{name}'",
            where=found.of(OnDemandView)[name].place,
            fix="give one of them another name",
        )
        for name in sorted(found.of(FeatureView).keys() & found.of(OnDemandView).keys())
    ]
    problems += [
        problem
        for view in found.of(OnDemandView).values()
        for problem in _check_references(f"on-demand view '{view.name}'", view.stored.values(), view.place, views)
    ]
    for service in found.of(FeatureService).values():
        texts = [one for one in service.features if isinstance(one, str)]
        problems.extend(_check_references(f"feature service '{service.name}'", texts, service.place, views))
    for model in found.of(Model).values():
        problems.extend(_check_model(model, views))
    return found


def _parts(thing: Any) -> list[Any]:
    if isinstance(thing, FeatureView):
        return [thing.source, thing.entity]
    if isinstance(thing, FeatureService):
        return [one for one in thing.features if not isinstance(one, str)]
    if isinstance(thing, Model):
        source = thing.labels.source if isinstance(thing.labels, Labels) else None
        return [*thing.features, source]
    return []


def _check_references(
    who: str, references: Iterable[str], place: str | None, views: Mapping[str, View]
) -> list[MillraceError]:
    known = {f"{view.name}:{feature}" for view in views.values() for feature in feature_names(view)}
    return [
        ProjectError(
            "PROJ-18",
            f"{who} uses the feature '{reference}', which is not defined",
            where=place,
            fix=did_you_mean(reference, [*known, *views]),
        )
        for reference in references
        if reference not in known and reference not in views
    ]


def _check_model(model: Model, views: Mapping[str, View]) -> list[MillraceError]:
    texts = [feature for feature in model.features if isinstance(feature, str)]
    problems = _check_references(f"model '{model.name}'", texts, model.place, views)
    problems.extend(
        _wrong_kind(model, "features", feature, "views, 'view:feature', or a FeatureService")
        for feature in model.features
        if not isinstance(feature, (str, FeatureView, OnDemandView, FeatureService))
    )
    if not isinstance(model.labels, Labels):
        problems.append(_wrong_kind(model, "labels", model.labels, 'mr.Labels(source, "column")'))
    problems.extend(
        _wrong_kind(model, "gates", gate, "gates such as mr.Threshold(accuracy=0.9)")
        for gate in model.gates
        if not (hasattr(gate, "measure") and hasattr(gate, "judge"))
    )
    problems.extend(
        _wrong_kind(model, "retrain", trigger, 'triggers such as mr.Every("7d")')
        for trigger in model.retrain
        if not hasattr(trigger, "kind")
    )
    if isinstance(model.labels, Labels) and model.labels.event_time is None:
        problems.extend(
            ProjectError(
                "PROJ-26",
                f"model '{model.name}' is watched ({trigger.describe()}), but its labels have no event time",
                where=model.place,
                fix='mr.Labels(source, "column", event_time="...")',
            )
            for trigger in model.retrain
            if getattr(trigger, "kind", None) == "degradation"
        )
    problems.extend(
        ProjectError(
            "PROJ-27",
            f"model '{model.name}' is a {model.task} model, which has no {metric}: the trigger would never fire",
            where=trigger.place,
            fix=f"watch one of: {', '.join(sorted(_METRICS[model.task == 'regression']))}",
        )
        for trigger in model.retrain
        if getattr(trigger, "kind", None) == "degradation"
        for metric in trigger.floors
        if metric in _METRICS[model.task != "regression"]  # a name that is no metric at all was told already
    )
    try:
        check_name(model.name, what="model")
    except ProjectError as problem:
        problem.where = model.place
        problems.append(problem)
    if model.deploy is not None and not isinstance(model.deploy, Direct):
        problems.append(_wrong_kind(model, "deploy", model.deploy, "a strategy such as mr.Direct()"))
    if model.serving_data is not None and not isinstance(model.serving_data, ServingData):
        problems.append(_wrong_kind(model, "serving_data", model.serving_data, 'mr.ServingData(policy="reject")'))
    return problems


def _wrong_kind(model: Model, setting: str, value: Any, wanted: str) -> ProjectError:
    return ProjectError(
        "PROJ-19",
        f"{model.name}.{setting} holds {value!r}",
        where=model.place,
        fix=f"it takes {wanted}",
    )
