"""When to retrain, as a project says it: on degradation, on drift, every so often. By hand is always on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from millrace.core.definition import caller_place, report
from millrace.core.duration import format_duration, parse_duration
from millrace.core.errors import ProjectError, did_you_mean

HIGHER_IS_BETTER = ("accuracy", "f1", "precision", "r2", "recall", "roc_auc")
LOWER_IS_BETTER = ("brier", "log_loss", "mae", "rmse")
DEFAULT_COOLDOWN = "6h"
SIGNALS = ("classifier", "estimated_performance", "scores")


@dataclass(frozen=True, init=False)
class OnDegradation:
    """Retrain when a served metric falls below its floor, or too far below what it was at deploy.

    Parameters
    ----------
    window : str
        Length of the windows that are judged, one after the other: "7d".
    min_samples : int
        Labelled predictions a window needs. A window with fewer is carried into the next one.
    drop : float, optional
        Largest loss against the score frozen at deploy: absolute for scores where more is better, a share of the
        deploy score for errors (``rmse``, ``mae``, ``log_loss`` ...). None: only the floors count.
    cooldown : str
        Rest after a finished retrain before this trigger starts the next: "6h"; 0 for none.
    **floors : float
        Limits by metric: ``accuracy=0.85``, or for errors the highest allowed, ``rmse=4.0``.

    >>> OnDegradation(accuracy=0.85, window="1d").describe()
    'accuracy below 0.85 or 0.05 under its score at deploy, over 1d with at least 100 labels'
    """

    window: timedelta
    min_samples: int
    drop: float | None
    cooldown: timedelta
    floors: Mapping[str, float | None]
    place: str | None = field(default=None, repr=False, compare=False)

    kind = "degradation"

    def __init__(
        self,
        *,
        window: str | timedelta = "7d",
        min_samples: int = 100,
        drop: float | None = 0.05,
        cooldown: str | float | timedelta = DEFAULT_COOLDOWN,
        **floors: float | None,
    ) -> None:
        _set(
            self,
            window=_positive(window, "OnDegradation window"),
            min_samples=min_samples,
            drop=drop,
            cooldown=_not_negative(cooldown, "OnDegradation cooldown"),
            floors=dict(floors) or {"accuracy": None},
            place=caller_place(),
        )
        known = HIGHER_IS_BETTER + LOWER_IS_BETTER
        for name in floors:
            if name not in known:
                report(
                    ProjectError(
                        "PROJ-60",
                        f"OnDegradation: '{name}' is neither an option nor a metric",
                        fix=did_you_mean(name, [*known, "window", "min_samples", "drop", "cooldown"]),
                    )
                )
        if not _is_count(min_samples):
            report(ProjectError("PROJ-61", f"OnDegradation min_samples is {min_samples!r}", fix="at least 1"))
        if drop is not None and drop < 0:
            report(ProjectError("PROJ-62", f"OnDegradation drop is {drop!r}", fix="0 or more, or None for floors only"))
        if drop is None and all(floor is None for floor in self.floors.values()):
            report(
                ProjectError(
                    "PROJ-63",
                    "OnDegradation has neither a floor nor a drop: it would never fire",
                    fix="name a floor such as accuracy=0.85, or a drop",
                )
            )

    def describe(self) -> str:
        """The trigger in a few words."""
        texts = []
        for metric, floor in self.floors.items():
            word = "below" if metric in HIGHER_IS_BETTER else "above"
            limits = [] if floor is None else [f"{word} {floor:g}"]
            if self.drop is not None and metric in HIGHER_IS_BETTER:
                limits.append(f"{self.drop:g} under its score at deploy")
            elif self.drop is not None:
                limits.append(f"{self.drop:.0%} over its score at deploy")
            texts.append(f"{metric} {' or '.join(limits)}")
        span = format_duration(self.window)
        return f"{', '.join(texts)}, over {span} with at least {self.min_samples} labels"


@dataclass(frozen=True)
class OnDrift:
    """Retrain when input columns drifted, by the verdict of the drift room.

    `effect` is the least KS distance (or total variation beyond chance) that counts: on a seasonal stream a column
    is always significantly elsewhere than it was, and only the size of the move tells a break from a season.

    `min_share` takes the place of `min_columns`: the least share of what the model relies on (of the columns, where
    that is not known) that lies in drifted columns. `signals` fire too: ``"scores"``, the model's own answers moved;
    ``"estimated_performance"``, its performance, estimated without labels, is below the limit of the model's
    `OnDegradation`; ``"classifier"``, rows are told apart. They are measured and told in any case.

    >>> OnDrift(columns=["price"]).describe()
    'drift in at least 1 of price, over 1w'
    >>> OnDrift(min_share=0.5, signals=["scores"]).describe()
    'drift in 50% of what the model relies on, or in its scores, over 1w'
    """

    window: str | timedelta = "7d"
    columns: Sequence[str] | None = None
    min_columns: int = 1
    effect: float = 0.1
    cooldown: str | float | timedelta = DEFAULT_COOLDOWN
    min_share: float | None = None
    signals: Sequence[str] = ()
    place: str | None = field(default=None, repr=False, compare=False)

    kind = "drift"

    def __post_init__(self) -> None:
        _set(
            self,
            window=_positive(self.window, "OnDrift window"),
            cooldown=_not_negative(self.cooldown, "OnDrift cooldown"),
            columns=None if self.columns is None else tuple(self.columns),
            signals=(self.signals,) if isinstance(self.signals, str) else tuple(self.signals),
            place=caller_place(),
        )
        watched = None if self.columns is None else len(self.columns)
        if not _is_count(self.min_columns) or (watched is not None and self.min_columns > watched):
            fix = "at least 1" if watched is None else f"1 to {watched}, the number of watched columns"
            report(ProjectError("PROJ-64", f"OnDrift min_columns is {self.min_columns!r}", fix=fix))
        if not 0 < self.effect < 1:
            report(ProjectError("PROJ-64", f"OnDrift effect is {self.effect!r}", fix="between 0 and 1, such as 0.1"))
        if self.min_share is not None and not 0 < self.min_share <= 1:
            report(ProjectError("MON-20", f"OnDrift min_share is {self.min_share!r}", fix="above 0 and at most 1"))
        for signal in self.signals:
            if signal not in SIGNALS:
                report(
                    ProjectError(
                        "MON-21", f"OnDrift knows no signal {signal!r}", fix=did_you_mean(str(signal), SIGNALS)
                    )
                )

    def describe(self) -> str:
        """The trigger in a few words."""
        where = "columns" if self.columns is None else f"of {', '.join(self.columns)}"
        what = f"at least {self.min_columns} {where}"
        if self.min_share is not None:
            among = "" if self.columns is None else f" among {', '.join(self.columns)}"
            what = f"{self.min_share:.0%} of what the model relies on{among}"
        also = "".join(f", or in its {signal.replace('_', ' ')}" for signal in self.signals)
        return f"drift in {what}{also}, over {format_duration(parse_duration(self.window))}"


@dataclass(frozen=True)
class Every:
    """Retrain on a schedule: so long after the model was last trained.

    >>> Every("7d").describe()
    'every 1w'
    """

    interval: str | timedelta
    cooldown: str | float | timedelta = DEFAULT_COOLDOWN
    place: str | None = field(default=None, repr=False, compare=False)

    kind = "schedule"

    def __post_init__(self) -> None:
        _set(
            self,
            interval=_positive(self.interval, "Every"),
            cooldown=_not_negative(self.cooldown, "Every cooldown"),
            place=caller_place(),
        )

    def describe(self) -> str:
        """The trigger in a few words."""
        return f"every {format_duration(parse_duration(self.interval))}"


@dataclass(frozen=True)
class Manual:
    """Retrain when a person asks for it. Always on; it waits for no cooldown."""

    place: str | None = field(default=None, repr=False, compare=False)

    kind = "manual"
    cooldown = timedelta(0)

    def __post_init__(self) -> None:
        _set(self, place=caller_place())

    def describe(self) -> str:
        """The trigger in a few words."""
        return "when asked: millrace trigger"


TriggerDefinition = OnDegradation | OnDrift | Every | Manual


def _set(definition: object, **values: Any) -> None:
    for name, value in values.items():
        object.__setattr__(definition, name, value)


def _positive(value: str | float | timedelta, what: str) -> timedelta:
    span = _duration(value, what)
    if span <= timedelta(0):
        report(ProjectError("PROJ-65", f"{what} is {value!r}", fix="write a duration above 0, such as 7d"))
        return timedelta(days=7)
    return span


def _not_negative(value: str | float | timedelta, what: str) -> timedelta:
    span = _duration(value, what)
    if span < timedelta(0):
        report(ProjectError("PROJ-65", f"{what} is {value!r}", fix="write a duration such as 6h, or 0 for none"))
        return timedelta(0)
    return span


def _duration(value: str | float | timedelta, what: str) -> timedelta:
    try:
        return parse_duration(value, what=what)
    except ProjectError as problem:
        report(problem)
        return timedelta(days=7)  # reached only while problems are collected: the project will not load


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
