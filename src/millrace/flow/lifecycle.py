"""The built-in pipeline: from rows to a model in production."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from millrace.core.errors import ProjectError, did_you_mean
from millrace.flow.pipeline import Pipeline, Step
from millrace.flow.prepare import build_features, check_drift, extract, validate_data
from millrace.flow.produce import recheck_bundle, register, train, validate_model
from millrace.flow.release import deploy_version, monitor_deployment

if TYPE_CHECKING:
    from millrace.flow.project import Project

TRAIN = "train"


def get_pipeline(project: Project, name: str) -> Pipeline:
    """The pipeline `name`: the built-in ``train``, or one of the project's.

    Raises
    ------
    ProjectError
        PIPE-10 with the nearest name.
    """
    if name in project.pipelines:
        return project.pipelines[name]
    if name == TRAIN:
        return train_pipeline()
    raise ProjectError(
        "PIPE-10", f"the project has no pipeline '{name}'", fix=did_you_mean(name, [TRAIN, *project.pipelines])
    )


@cache
def train_pipeline() -> Pipeline:
    """extract, validate_data, check_drift, build_features, train, validate_model, register, deploy, monitor."""
    snapshot = {"snapshot": "extract.snapshot"}
    return Pipeline(
        TRAIN,
        [
            Step("extract", extract, outputs=["snapshot"]),
            Step("validate_data", validate_data, snapshot, ["validation"]),
            Step("check_drift", check_drift, {**snapshot, "validation": "validate_data.validation"}, ["drift"]),
            Step("build_features", build_features, {**snapshot, "drift": "check_drift.drift"}, ["training"]),
            Step(
                "train",
                train,
                {**snapshot, "training": "build_features.training"},
                ["bundle", "holdout", "learned"],
                cached=True,
                recheck=recheck_bundle,
            ),
            Step(
                "validate_model",
                validate_model,
                {"bundle": "train.bundle", "holdout": "train.holdout", "learned": "train.learned"},
                ["validation"],
            ),
            Step(
                "register",
                register,
                {"bundle": "train.bundle", "validation": "validate_model.validation"},
                ["version"],
            ),
            Step("deploy", deploy_version, {"version": "register.version"}, ["release"]),
            Step(
                "monitor_deployment",
                monitor_deployment,
                {"version": "register.version", "release": "deploy.release"},
                ["health"],
            ),
        ],
    )


def has_extracted(pipeline: Pipeline, steps: Collection[str]) -> bool:
    """Whether one of these steps takes the batch that a run learns from."""
    return any(name in steps for name in _steps_of(pipeline, extract))


def has_judged(pipeline: Pipeline, ended: Mapping[str, str]) -> bool:
    """Whether a run learned from its batch: a model of it was registered, or judged and refused.

    Where a pipeline of the project registers nothing, a judged model is the end of it; where it judges nothing,
    every end is, but a failure.

    Parameters
    ----------
    ended : mapping
        Step to its status.
    """
    judges = _steps_of(pipeline, validate_model)
    last = _steps_of(pipeline, register) or judges
    if not last:
        return "refused" in ended.values()
    return any(ended.get(name) == "succeeded" for name in last) or any(ended.get(name) == "refused" for name in judges)


def _steps_of(pipeline: Pipeline, function: Callable[..., Any]) -> list[str]:
    """The steps that carry out a function, whatever they are called; a project may wrap it."""
    return [name for name in pipeline.order if inspect.unwrap(pipeline.steps[name].function) is function]
