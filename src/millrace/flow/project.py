"""A project: what the user wrote, checked. Loading one trains nothing and opens nothing."""

from __future__ import annotations

import os
import sys
import traceback
import types
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from millrace.core.definition import collecting
from millrace.core.errors import MillraceError, ProjectError, did_you_mean
from millrace.core.ids import digest_bytes, digest_parts
from millrace.data.source import Source
from millrace.features.entity import Entity
from millrace.features.on_demand import OnDemandView
from millrace.features.request import View
from millrace.features.service import FeatureService
from millrace.features.view import FeatureView
from millrace.flow.definitions import Definitions, collect_definitions
from millrace.flow.model import Model
from millrace.flow.pipeline import Pipeline
from millrace.flow.settings import Settings, find_root, load_settings

_NOT_CODE = {"__pycache__", "venv", "node_modules", "site-packages"}


@dataclass(frozen=True)
class Project:
    """Settings and definitions of one project folder."""

    settings: Settings
    digest: str
    sources: Mapping[str, Source]
    entities: Mapping[str, Entity]
    views: Mapping[str, FeatureView]
    on_demand: Mapping[str, OnDemandView]
    services: Mapping[str, FeatureService]
    models: Mapping[str, Model]
    pipelines: Mapping[str, Pipeline]

    @property
    def root(self) -> Path:
        return self.settings.root

    @property
    def feature_definitions(self) -> dict[str, View]:
        """Every view by name, stored and on demand."""
        return {**self.views, **self.on_demand}

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
        project = _collect(namespace, settings, _digest_code(root, source), problems)
    if problems:
        if len(problems) == 1:
            raise problems[0]
        raise ProjectError("PROJ-14", f"{len(problems)} mistakes in the project", where=str(path), findings=problems)
    return project


def _digest_code(root: Path, source: bytes) -> str:
    """Digest of the definitions and of every module of the project, which they may import."""
    parts = [digest_bytes(source)]
    for folder, names, files in os.walk(root):
        # Environments and state are not the project's code.
        names[:] = sorted(name for name in names if not name.startswith(".") and name not in _NOT_CODE)
        for name in sorted(files):
            if name.endswith(".py"):
                path = Path(folder, name)
                parts.append(f"{path.relative_to(root)}:{digest_bytes(path.read_bytes())}")
    return digest_parts(parts)


def _with_suites(digest: str, root: Path, found: Definitions) -> str:
    """The digest of the code, and of the suites that it names: a model goes out with the rules for its requests."""
    asked = [source.suite for source in found.of(Source).values()]
    asked += [getattr(model.serving_data, "suite", None) for model in found.of(Model).values()]
    paths = sorted({root / suite for suite in asked if isinstance(suite, (str, Path))})
    parts = [f"{os.path.relpath(path, root)}:{digest_bytes(path.read_bytes())}" for path in paths if path.is_file()]
    return digest_parts([digest, *parts]) if parts else digest


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


def _collect(namespace: Mapping[str, Any], settings: Settings, digest: str, problems: list[MillraceError]) -> Project:
    found = collect_definitions(namespace.values(), problems)
    if not problems and not any(found.of(kind) for kind in (Model, FeatureView, Source, Pipeline)):
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
        digest=_with_suites(digest, settings.root, found),
        sources=found.of(Source),
        entities=found.of(Entity),
        views=found.of(FeatureView),
        on_demand=found.of(OnDemandView),
        services=found.of(FeatureService),
        models=found.of(Model),
        pipelines=found.of(Pipeline),
    )
