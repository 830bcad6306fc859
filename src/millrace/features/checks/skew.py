"""Did serving see what the past says was known then? A pure function from served and recomputed values to a report.

Each served value meets up to three others of its feature, all as of its own moment:

    known      worked out from the rows that were known then: what serving should have seen
    complete   worked out from all rows, those created later too
    online     worked out from what had been materialized when it was served

Served as known is equal; when `complete` is another value, rows came late, which nobody could have seen: that is
`late`, and no skew. Anything else is different; when it is what had been materialized, it is `stale`: the rows were
known, and not online yet.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from millrace.features.checks.same_bits import plain

EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class ServedFeature:
    """The values of one feature; all sequences have one entry per served value.

    Parameters
    ----------
    feature : str
        As ``view:feature``.
    served, known : sequence
    complete, online : sequence or None
        None where nothing tells them from `known`; an entry of `online` may be `UNKNOWN`.
    places : sequence of mapping
        Who was served: ``request_id``, ``key``, ``event_time``, ``version``.
    supplied : int
        How often the request brought the value itself; these are not among the others.
    """

    feature: str
    served: Sequence[Any]
    known: Sequence[Any]
    places: Sequence[Mapping[str, Any]]
    complete: Sequence[Any] | None = None
    online: Sequence[Any] | None = None
    supplied: int = 0


UNKNOWN = object()
"""In place of an `online` value: what had been materialized then is not known."""


@dataclass(slots=True)
class FeatureSkew:
    """What came out for one feature; `equal` counts the late ones too, `different` the stale ones."""

    feature: str
    compared: int = 0
    equal: int = 0
    late: int = 0
    different: int = 0
    stale: int = 0
    null_on_one_side: int = 0
    supplied: int = 0
    largest_absolute: float | None = None
    largest_relative: float | None = None
    examples: list[dict[str, Any]] = field(default_factory=list)

    @property
    def share(self) -> float:
        """Share of the compared values that are different."""
        return self.different / self.compared if self.compared else 0.0

    def to_dict(self) -> dict[str, Any]:
        return {**{name: getattr(self, name) for name in self.__slots__}, "share": self.share}


@dataclass(frozen=True, slots=True)
class SkewReport:
    """Every feature's skew, and the limit that it is judged by.

    `not_audited` says of a feature why it was not compared.
    """

    model: str
    features: tuple[FeatureSkew, ...]
    predictions: int
    limit: float
    not_audited: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def compared(self) -> int:
        return sum(one.compared for one in self.features)

    @property
    def skewed(self) -> list[str]:
        """Features whose share of differences is above the limit."""
        return [one.feature for one in self.features if one.share > self.limit]

    @property
    def outcome(self) -> str:
        """``same``, ``different`` when a share is above the limit, ``nothing`` when there was nothing to compare."""
        return "different" if self.skewed else "same" if self.compared else "nothing"

    def to_dict(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "outcome": self.outcome,
            "predictions": self.predictions,
            "compared": self.compared,
            "limit": self.limit,
            "skewed": self.skewed,
            "features": [one.to_dict() for one in self.features],
            "not_audited": dict(self.not_audited),
            "notes": list(self.notes),
        }


def measure_skew(columns: Sequence[ServedFeature]) -> tuple[FeatureSkew, ...]:
    """What each feature's served values are against those recomputed."""
    return tuple(_measure(column) for column in columns)


def _measure(column: ServedFeature) -> FeatureSkew:
    found = FeatureSkew(column.feature, supplied=column.supplied)
    for place, (served, known) in enumerate(zip(column.served, column.known, strict=True)):
        found.compared += 1
        if is_same(served, known):
            found.equal += 1
            found.late += column.complete is not None and not is_same(column.complete[place], known)
            continue
        found.different += 1
        online = UNKNOWN if column.online is None else column.online[place]
        is_stale = online is not UNKNOWN and is_same(served, online)
        found.stale += is_stale
        found.null_on_one_side += (served is None) != (known is None)
        _note_size(found, served, known)
        example = {**column.places[place], "served": plain(served), "known": plain(known), "is_stale": is_stale}
        if len(found.examples) < EXAMPLES:
            found.examples.append(example)
        elif is_stale is False and all(one["is_stale"] for one in found.examples):
            found.examples[-1] = example  # what nothing explains is worth more than one more of what something does
    return found


def is_same(one: Any, other: Any) -> bool:
    """Whether two values are equal as a model sees them: a log writes 3, 3.0 and True each in one way or another."""
    if isinstance(one, float) and math.isnan(one):
        one = None
    if isinstance(other, float) and math.isnan(other):
        other = None
    if one is None or other is None:
        return one is other
    if isinstance(one, str) != isinstance(other, str):
        return False
    return bool(plain(one) == plain(other))


def _note_size(found: FeatureSkew, served: Any, known: Any) -> None:
    if not isinstance(served, int | float) or not isinstance(known, int | float):
        return
    absolute = abs(float(served) - float(known))
    if not math.isfinite(absolute):
        return
    found.largest_absolute = max(absolute, found.largest_absolute or 0.0)
    if known:
        found.largest_relative = max(absolute / abs(float(known)), found.largest_relative or 0.0)
