"""The model a user defines: a function on pandas, and what surrounds it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, Literal

from millrace.core.bundle import Task
from millrace.core.definition import caller_place, report
from millrace.core.duration import parse_duration
from millrace.core.errors import ProjectError, did_you_mean

_SETTABLE = ("gates", "deploy", "retrain", "serving_data")
_TASKS = ("binary", "multiclass", "regression")


class Model:
    """A model of the project. Made by `model`; calling it calls the user's function.

    Attributes
    ----------
    gates : list
        Rules every candidate must pass.
    deploy : object
        How a release reaches production; `Direct` unless set.
    retrain : list
        When to train again.
    serving_data : ServingData, optional
        How its server judges the rows of requests; unless set they are flagged by the rules of the labels' source.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        features: Any,
        inputs: Sequence[str],
        labels: Any,
        task: Task,
        window: timedelta | None,
        holdout: Literal["random", "time"],
        holdout_share: float,
        seed: int,
        name: str,
        place: str | None,
    ) -> None:
        set_field = functools.partial(object.__setattr__, self)
        set_field("function", function)
        # One view or service may be given without a list around it.
        set_field("features", [features] if isinstance(features, str) or hasattr(features, "name") else list(features))
        set_field("inputs", list(inputs))
        set_field("labels", labels)
        set_field("task", task)
        set_field("window", window)
        set_field("holdout", holdout)
        set_field("holdout_share", holdout_share)
        set_field("seed", seed)
        set_field("name", name)
        set_field("place", place)
        set_field("gates", [])
        set_field("deploy", None)
        set_field("retrain", [])
        set_field("serving_data", None)

    function: Callable[..., Any]
    features: list[Any]
    inputs: list[str]
    labels: Any
    task: Task
    window: timedelta | None
    holdout: Literal["random", "time"]
    holdout_share: float
    seed: int
    name: str
    place: str | None
    gates: list[Any]
    deploy: Any
    retrain: list[Any]
    serving_data: Any

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return self.function(*arguments, **options)

    def __setattr__(self, attribute: str, value: Any) -> None:
        # A misspelt `churn.gate = [...]` would otherwise be a model without gates.
        if attribute not in _SETTABLE:
            report(
                ProjectError(
                    "PROJ-71",
                    f"model '{self.name}' has no setting '{attribute}'",
                    where=caller_place(),
                    fix=did_you_mean(attribute, _SETTABLE),
                )
            )
            return
        object.__setattr__(self, attribute, value)

    def __repr__(self) -> str:
        return f"Model({self.name!r})"


def model(
    *,
    labels: Any,
    features: Any = (),
    inputs: Sequence[str] = (),
    task: Task = "binary",
    window: str | timedelta | None = None,
    holdout: Literal["random", "time"] = "time",
    holdout_share: float = 0.2,
    seed: int = 0,
    name: str | None = None,
) -> Callable[[Callable[..., Any]], Model]:
    """Make a function ``f(X, y)`` a model of the project.

    Parameters
    ----------
    labels : Labels
        Where the truth comes from.
    features : FeatureService, or sequence of FeatureView, OnDemandView or str, optional
        A service, views, or single features as ``"view:feature"``; looked up by entity key when serving.
    inputs : sequence of str, optional
        Columns of the labels' source that a request brings along.
    task : {"binary", "multiclass", "regression"}
    window : duration, optional
        How much of the past to train on, such as ``"13w"``; all of it when None.
    holdout : {"time", "random"}
        Which rows judge the model: the newest, or random ones. With "time", rows whose labels would become known
        only after the first of the newest are left out.
    holdout_share : float
        Their share, between 0 and 1.
    seed : int
        Seeds the split, and Python's and NumPy's generators before the function runs.
    name : str, optional
        The model's name; the function's when None.

    Returns
    -------
    callable
        A decorator that turns the function into a `Model`.
    """
    place = caller_place()
    if task not in _TASKS:
        report(ProjectError("PROJ-72", f"task {task!r} is unknown", where=place, fix=did_you_mean(str(task), _TASKS)))
    if holdout not in ("time", "random"):
        report(
            ProjectError(
                "PROJ-73",
                f"holdout {holdout!r} is unknown",
                where=place,
                fix=did_you_mean(str(holdout), ("time", "random")),
            )
        )
    if not 0 < holdout_share < 1:
        report(
            ProjectError("PROJ-74", f"holdout_share {holdout_share} is not between 0 and 1", where=place, fix="try 0.2")
        )
    if not features and not inputs:
        report(
            ProjectError(
                "PROJ-75",
                "the model has neither features nor inputs: there is nothing to learn from",
                where=place,
                fix="pass features=[a view] or inputs=['a column']",
            )
        )
    try:
        span = None if window is None else parse_duration(window, what="window")
    except ProjectError as problem:
        problem.where = place
        report(problem)
        span = None

    def decorate(function: Callable[..., Any]) -> Model:
        return Model(
            function,
            features=features,
            inputs=inputs,
            labels=labels,
            task=task,
            window=span,
            holdout=holdout,
            holdout_share=holdout_share,
            seed=seed,
            name=name or function.__name__,
            place=place,
        )

    return decorate
