"""A checked graph of steps. What passes between steps is references to artifacts, never the data."""

from __future__ import annotations

import graphlib
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from millrace.core.definition import caller_place, report
from millrace.core.duration import parse_duration
from millrace.core.errors import MillraceError, ProjectError, did_you_mean

_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class Step:
    """A plain function with named inputs and outputs.

    The function takes one argument per input, named as in `inputs`, and, when it has a parameter ``context``, the
    run's context. It returns a mapping of its outputs (or the value itself when there is one output), or `Refused`.

    Parameters
    ----------
    name : str
    function : callable
    inputs : mapping of str to str
        Parameter name to ``"step.output"``.
    outputs : sequence of str
    retries : int
        How often a failed attempt is tried again.
    retry_delay : duration
        Before the first retry; doubled each time, with jitter.
    timeout : duration, optional
        After which an attempt is killed (it must then run in a worker process).
    cached : bool
        Whether a result of the same code on the same inputs is used again.
    recheck : callable, optional
        ``recheck(wiring, outputs)`` raises StoreError when what a cached result points at is no longer whole.
    """

    name: str
    function: Callable[..., Any]
    inputs: Mapping[str, str] = field(default_factory=dict)
    outputs: Sequence[str] = ()
    retries: int = 2
    retry_delay: timedelta | str = timedelta(minutes=5)
    timeout: timedelta | str | None = None
    cached: bool = False
    recheck: Callable[..., None] | None = None
    place: str | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "place", self.place or caller_place())
        object.__setattr__(self, "retry_delay", parse_duration(self.retry_delay, what="retry_delay"))
        if self.timeout is not None:
            object.__setattr__(self, "timeout", parse_duration(self.timeout, what="timeout"))

    @property
    def needs(self) -> set[str]:
        """Names of the steps whose outputs this one takes."""
        return {reference.partition(".")[0] for reference in self.inputs.values()}

    @property
    def wants_context(self) -> bool:
        return "context" in inspect.signature(self.function).parameters

    def delay_s(self, attempt: int) -> float:
        """Seconds to wait after failed attempt number `attempt` (from 1), before jitter."""
        delay: timedelta = self.retry_delay  # type: ignore[assignment]  # __post_init__ parsed it
        return float(delay.total_seconds() * 2 ** (attempt - 1))

    @property
    def timeout_s(self) -> float | None:
        span: timedelta | None = self.timeout  # type: ignore[assignment]  # __post_init__ parsed it
        return None if span is None else span.total_seconds()


class Pipeline:
    """A named graph of steps, checked when it is made.

    Raises
    ------
    ProjectError
        PIPE-01 with every finding: unknown inputs, doubled names, wrong parameters, cycles.
    """

    def __init__(self, name: str, steps: Sequence[Step]) -> None:
        self.name = name
        self.place = caller_place()
        self.steps = {step.name: step for step in steps}
        problems = [*_check_names(steps), *_check_inputs(self.steps)]
        self.order: tuple[str, ...] = ()
        if not problems:
            try:
                self.order = tuple(graphlib.TopologicalSorter(self.needs).static_order())
            except graphlib.CycleError as error:
                problems.append(
                    ProjectError(
                        "PIPE-02", f"steps wait for each other: {' -> '.join(error.args[1])}", where=self.place
                    )
                )
        if problems:
            report(
                ProjectError(
                    "PIPE-01",
                    f"pipeline '{name}' cannot run: {len(problems)} problem{'s' if len(problems) > 1 else ''}",
                    where=self.place,
                    findings=problems,
                )
            )

    @property
    def needs(self) -> dict[str, set[str]]:
        """Each step's name to the names it waits for."""
        return {step.name: step.needs for step in self.steps.values()}

    def downstream(self, name: str) -> set[str]:
        """The step and all that depend on it."""
        found = {name}
        for step in self.order:
            if self.steps[step].needs & found:
                found.add(step)
        return found

    def get_step(self, name: str) -> Step:
        """The step `name`. Raises ProjectError PIPE-03 with the nearest name."""
        if name not in self.steps:
            raise ProjectError(
                "PIPE-03", f"pipeline '{self.name}' has no step '{name}'", fix=did_you_mean(name, self.steps)
            )
        return self.steps[name]


def _check_names(steps: Sequence[Step]) -> list[MillraceError]:
    problems: list[MillraceError] = []
    seen: set[str] = set()
    for step in steps:
        if not _NAME.fullmatch(step.name):
            problems.append(
                ProjectError(
                    "PIPE-04", f"'{step.name}' is not a step name", where=step.place, fix="lower case, digits and _"
                )
            )
        if step.name in seen:
            problems.append(ProjectError("PIPE-05", f"two steps are named '{step.name}'", where=step.place))
        seen.add(step.name)
    if not steps:
        problems.append(ProjectError("PIPE-06", "the pipeline has no steps"))
    return problems


def _check_inputs(steps: Mapping[str, Step]) -> list[MillraceError]:
    problems: list[MillraceError] = []
    every = {f"{step.name}.{output}" for step in steps.values() for output in step.outputs}
    for step in steps.values():
        problems.extend(
            ProjectError(
                "PIPE-07",
                f"step '{step.name}' takes '{reference}', which no step gives",
                where=step.place,
                fix=did_you_mean(reference, every),
            )
            for reference in step.inputs.values()
            if reference not in every
        )
        parameters = inspect.signature(step.function).parameters
        named = {name for name, parameter in parameters.items() if parameter.kind is not parameter.VAR_KEYWORD}
        takes_any = len(named) < len(parameters)
        given = set(step.inputs) | {"context"}
        unknown = set() if takes_any else set(step.inputs) - named
        missing = {name for name in named - given if parameters[name].default is inspect.Parameter.empty}
        problems.extend(
            ProjectError(
                "PIPE-08",
                f"step '{step.name}' has an input '{name}', but its function has no such parameter",
                where=step.place,
                fix=did_you_mean(name, named),
            )
            for name in sorted(unknown)
        )
        problems.extend(
            ProjectError(
                "PIPE-09",
                f"the function of step '{step.name}' needs '{name}', which is not among its inputs",
                where=step.place,
                fix=f"add '{name}' to inputs, or give the parameter a default",
            )
            for name in sorted(missing)
        )
    return problems
