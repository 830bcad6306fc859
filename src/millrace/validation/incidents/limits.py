"""What counts as a data incident of a source. Standard library only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from millrace.core.definition import caller_place, report
from millrace.core.duration import parse_duration
from millrace.core.errors import ProjectError


@dataclass(frozen=True)
class Incidents:
    """Limits beyond which a batch of a source is a data incident: kept back, told, and not learned from.

    Parameters
    ----------
    groups : str or sequence of str, optional
        Columns that say which population a row is from, such as a country. None: text inputs of the model with at
        most 50 different values. Empty: none.
    max_age : duration, optional
        The newest event may be this old; None: judged by the source's own habit once it has one.
    odds : float
        Factor by which the odds of a label may not move.
    unseen, vanished : float
        Share of rows in groups the reference never held; share of the reference's rows in groups that are gone.
    mix : float
        Share of the rows that moved between groups which both hold.
    units : float
        Factor by which all values of a number may not change at once.
    factor : float
        Fall or rise of the number of rows that may be an incident.
    chance : float
        Probability below which chance is not an explanation.
    min_samples, min_history : int
        Rows, and earlier batches, below which nothing is concluded.

    >>> Incidents(groups="country", max_age="2d").groups
    ('country',)
    """

    groups: str | Sequence[str] | None = None
    max_age: str | int | float | timedelta | None = None
    odds: float = 10.0
    unseen: float = 0.3
    vanished: float = 0.5
    mix: float = 0.5
    units: float = 10.0
    factor: float = 3.0
    chance: float = 1e-4
    min_samples: int = 50
    min_history: int = 8
    place: str | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        where = self.place or caller_place()
        object.__setattr__(self, "place", where)
        if self.groups is not None:
            names = (self.groups,) if isinstance(self.groups, str) else tuple(self.groups)
            object.__setattr__(self, "groups", names)
        if self.max_age is not None:
            try:
                object.__setattr__(self, "max_age", parse_duration(self.max_age, what="Incidents max_age"))
            except ProjectError as problem:
                problem.where = where
                report(problem)
        for name, value, is_right, fix in self._limits():
            if not is_right:
                report(ProjectError("VALID-65", f"Incidents {name} is {value!r}", where=where, fix=fix))

    @property
    def max_age_s(self) -> float | None:
        return self.max_age.total_seconds() if isinstance(self.max_age, timedelta) else None

    def _limits(self) -> list[tuple[str, Any, bool, str]]:
        shares = [
            (name, value, _is_number(value) and 0 < value <= 1, "give a share above 0, at most 1")
            for name, value in (
                ("unseen", self.unseen),
                ("vanished", self.vanished),
                ("mix", self.mix),
                ("chance", self.chance),
            )
        ]
        factors = [
            (name, value, _is_number(value) and value > 1, "give a factor above 1")
            for name, value in (("odds", self.odds), ("units", self.units), ("factor", self.factor))
        ]
        counts = [
            (
                name,
                value,
                isinstance(value, int) and not isinstance(value, bool) and value >= least,
                f"at least {least}",
            )
            for name, value, least in (("min_samples", self.min_samples, 1), ("min_history", self.min_history, 3))
        ]
        return [*shares, *factors, *counts]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


DEFAULT = Incidents(place="default")
