"""A project: what the user wrote, checked. Loading one trains nothing and opens nothing."""

from __future__ import annotations

import sys
import traceback
import types
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from millrace.core.definition import collecting
from millrace.core.errors import MillraceError, ProjectError, did_you_mean
from millrace.core.ids import digest_bytes
from millrace.data.source import Labels, Source
from millrace.deployment.direct import Direct
from millrace.features.entity import Entity
from millrace.features.view import FeatureView
from millrace.flow.model import Model
from millrace.flow.pipeline import Pipeline
from millrace.flow.settings import Settings, find_root, load_settings


@dataclass(frozen=True)
class Project:
    """Settings and definitions of one project folder."""

    settings: Settings
    digest: str
    sources: Mapping[str, Source]
    entities: Mapping[str, Entity]
    views: Mapping[str, FeatureView]
    models: Mapping[str, Model]
    pipelines: Mapping[str, Pipeline]

    @property
    def root(self) -> Path:
        return self.settings.root

    def get_model(self, name: str | None = None) -> Model:
        """The model `name`; the only one when there is one and no name is given.

        Raises
        ------
        ProjectError
            PROJ-12 with the nearest name.
        """
        if name is None and len(self.models) == 1:
            return next(iter(self.models.values()))
        if name is None or name not in self.models:
            raise ProjectError(
                "PROJ-12",
                f"the project has no model '{name}'" if name else f"which of the {len(self.models)} models?",
                where=str(self.settings.definitions),
                fix=did_you_mean(name or "", self.models),
            )
        return self.models[name]


def load_project(
    folder: Path | str = ".",
    *,
    environment: str | None = None,
    variables: Mapping[str, str] | None = None,
) -> Project:
    """Load the project at or above `folder`.

    Raises
    ------
    ProjectError
        PROJ-01 to PROJ-08 for millrace.toml; PROJ-13 when the definitions file cannot run; PROJ-14 with every
        mistake in it, each with file and line.
    """
    root = find_root(Path(folder).resolve())
    settings = load_settings(root, environment=environment, variables=variables)
    path = settings.definitions
    try:
        source = path.read_bytes()
    except OSError as error:
        raise ProjectError(
            "PROJ-15",
            f"the definitions file cannot be read: {error.strerror}",
            where=str(path),
            fix='set definitions = "FILE.py" in millrace.toml',
        ) from error
    with collecting() as problems:
        namespace = _execute(source, path, settings.name, problems)
        project = _collect(namespace, settings, digest_bytes(source), problems)
    if problems:
        if len(problems) == 1:
            raise problems[0]
        raise ProjectError(
            "PROJ-14", f"{len(problems)} mistakes in the project", where=str(path), findings=problems
        )
    return project


def _execute(source: bytes, path: Path, name: str, problems: list[MillraceError]) -> dict[str, Any]:
    module = types.ModuleType(f"project_{''.join(c if c.isalnum() else '_' for c in name)}")
    module.__file__ = str(path)
    # A class or function of the file can then be found again by name, and its neighbours imported.
    sys.modules[module.__name__] = module
    folder = str(path.parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        exec(compile(source, str(path), "exec"), module.__dict__)  # noqa: S102 - the user's own definitions
    except MillraceError as problem:
        problems.append(problem)
    except SyntaxError as error:
        problems.append(
            ProjectError(
                "PROJ-13",
                f"the definitions file is not Python: {error.msg}",
                where=f"{error.filename}:{error.lineno}",
                why=(error.text or "").rstrip() or None,
                fix="correct that line",
            )
        )
    except Exception as error:  # noqa: BLE001 - the user's code may raise anything; it is reported with its line
        problems.append(_explain(error, path))
    return module.__dict__


def _explain(error: Exception, path: Path) -> ProjectError:
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    line = frames[-1] if frames else None
    fix = "correct that line"
    if isinstance(error, NameError) and error.name:
        import millrace

        names = [name for name in dir(millrace) if not name.startswith("_")]
        fix = did_you_mean(error.name, names)
    elif isinstance(error, AttributeError) and error.name and isinstance(error.obj, types.ModuleType):
        fix = did_you_mean(error.name, [name for name in dir(error.obj) if not name.startswith("_")])
    elif isinstance(error, TypeError) and "unexpected keyword argument" in str(error):
        fix = _fix_keyword(error, fix)
    return ProjectError(
        "PROJ-13",
        f"the definitions file stops with {type(error).__name__}: {error}",
        where=f"{path}:{line.lineno}" if line else str(path),
        why=line.line if line else None,
        fix=fix,
    )


def _fix_keyword(error: TypeError, fallback: str) -> str:
    import inspect

    import millrace

    text = str(error)
    callee, _, _ = text.partition("(")
    wrong = text.rpartition("'")[0].rpartition("'")[2]
    name = callee.split(".")[0]
    try:
        parameters = inspect.signature(getattr(millrace, name)).parameters
    except (AttributeError, ValueError, TypeError):
        return fallback
    return did_you_mean(wrong, [parameter for parameter in parameters if parameter != "place"])


def _collect(
    namespace: Mapping[str, Any], settings: Settings, digest: str, problems: list[MillraceError]
) -> Project:
    found: dict[Any, dict[str, Any]] = {Source: {}, Entity: {}, FeatureView: {}, Model: {}, Pipeline: {}}

    def add(thing: Any) -> None:
        for kind, by_name in found.items():
            if isinstance(thing, kind):
                other = by_name.get(thing.name)
                if other is not None and other is not thing and other != thing:
                    problems.append(
                        ProjectError(
                            "PROJ-16",
                            f"two definitions of {kind.__name__} '{thing.name}'",
                            where=thing.place,
                            why=f"the other is at {other.place}",
                            fix="give one of them another name",
                        )
                    )
                by_name[thing.name] = thing

    for value in list(namespace.values()):
        add(value)
    for view in list(found[FeatureView].values()):
        add(view.source)
        add(view.entity)
    for model in list(found[Model].values()):
        for feature in model.features:
            add(feature)
            if isinstance(feature, FeatureView):
                add(feature.source)
                add(feature.entity)
        if isinstance(model.labels, Labels):
            add(model.labels.source)
    for model in found[Model].values():
        problems.extend(_check_model(model, found[FeatureView]))
    if not problems and not found[Model] and not found[FeatureView] and not found[Source] and not found[Pipeline]:
        problems.append(
            ProjectError(
                "PROJ-17",
                "the definitions file defines nothing",
                where=str(settings.definitions),
                fix="define a model with @mr.model(...), or start from: millrace init NAME",
            )
        )
    return Project(
        settings=settings,
        digest=digest,
        sources=found[Source],
        entities=found[Entity],
        views=found[FeatureView],
        models=found[Model],
        pipelines=found[Pipeline],
    )


def _check_model(model: Model, views: Mapping[str, FeatureView]) -> list[MillraceError]:
    problems: list[MillraceError] = []
    known = {f"{view.name}:{feature}" for view in views.values() for feature in view.features}
    for feature in model.features:
        if isinstance(feature, str) and feature not in known and feature not in views:
            problems.append(
                ProjectError(
                    "PROJ-18",
                    f"model '{model.name}' uses the feature '{feature}', which is not defined",
                    where=model.place,
                    fix=did_you_mean(feature, [*known, *views]),
                )
            )
        elif not isinstance(feature, (str, FeatureView)):
            problems.append(_wrong_kind(model, "features", feature, "a FeatureView or 'view:feature'"))
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
    if model.deploy is not None and not isinstance(model.deploy, Direct):
        problems.append(_wrong_kind(model, "deploy", model.deploy, "a strategy such as mr.Direct()"))
    return problems


def _wrong_kind(model: Model, setting: str, value: Any, wanted: str) -> ProjectError:
    return ProjectError(
        "PROJ-19",
        f"{model.name}.{setting} holds {value!r}",
        where=model.place,
        fix=f"it takes {wanted}",
    )
