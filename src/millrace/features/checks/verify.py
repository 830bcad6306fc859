"""Does the online store say what the past says? Some keys read both ways at one instant, and compared bit for bit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from millrace.core.clock import to_text
from millrace.core.errors import DataError, StoreError
from millrace.features.checks.key_sample import keys_of_log, keys_of_store, mix, rows_of
from millrace.features.checks.same_bits import differing, plain
from millrace.features.columns import Bools
from millrace.features.online.lookup import LookupPlan, OnlineFeatures
from millrace.features.online.stored_schema import find_schema
from millrace.features.request import Wanted, resolve
from millrace.features.store import FeatureStore
from millrace.features.view import FeatureView
from millrace.features.workspace import Progress

KEYS = 1000
_AS_OF = "(as of)"
_BATCH = 10_000
_EXAMPLES = 5
_INSTANT = timedelta(microseconds=1)


@dataclass(slots=True)
class FeatureCheck:
    """What came out for one feature. `trimmed` values lie too far back to be read online, and are not compared."""

    feature: str
    compared: int = 0
    equal: int = 0
    different: int = 0
    trimmed: int = 0
    examples: list[dict[str, Any]] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class ViewCheck:
    """One view at one instant; `at` is None when nothing of it was materialized, and nothing compared."""

    view: str
    at: datetime | None
    keys: int
    features: tuple[FeatureCheck, ...]

    def to_dict(self) -> dict[str, Any]:
        return {
            "view": self.view,
            "at": None if self.at is None else to_text(self.at),
            "keys": self.keys,
            "features": [one.to_dict() for one in self.features],
        }


@dataclass(frozen=True, slots=True)
class ConsistencyReport:
    """What `verify` found."""

    views: tuple[ViewCheck, ...]
    seed: int

    @property
    def features(self) -> list[FeatureCheck]:
        return [one for view in self.views for one in view.features]

    @property
    def compared(self) -> int:
        return sum(one.compared for one in self.features)

    @property
    def different(self) -> int:
        return sum(one.different for one in self.features)

    @property
    def outcome(self) -> str:
        """``same``, ``different``, or ``nothing`` when there was nothing to compare."""
        return "different" if self.different else "same" if self.compared else "nothing"

    def to_dict(self) -> dict[str, Any]:
        return {
            "outcome": self.outcome,
            "compared": self.compared,
            "different": self.different,
            "seed": self.seed,
            "views": [view.to_dict() for view in self.views],
        }


def verify(
    store: FeatureStore,
    views: Wanted | None = None,
    *,
    keys: int = KEYS,
    at: datetime | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> ConsistencyReport:
    """Read some keys of each view offline and online as of one instant, and compare every value bit for bit.

    Parameters
    ----------
    views : views, their names, features or services, optional
        All when None. Of on-demand views, the stored features behind them.
    keys : int
        How many of each view; half are drawn from its log, half from the online store where it can list them, so that
        a key which only one of them has is found too.
    at : datetime, optional
        The instant; by default the last one at which all that was materialized of the view is visible and nothing
        that came later.
    seed : int
        Same seed, same keys.
    progress : callable (done, total), optional
        Told in values compared.

    Returns
    -------
    ConsistencyReport

    Raises
    ------
    DataError
        FEAT-64 when `keys` is not positive; those of reading both ways.
    """
    if keys < 1:
        raise DataError("FEAT-64", f"{keys} keys are to be compared", fix="at least 1")
    chosen = list(store.views.values())
    if views is not None:
        chosen = list({one.view.name: one.view for one in resolve(store.definitions, views).stored}.values())
    counter = _Counter(progress, sum(len(view.rules) for view in chosen) * keys)
    return ConsistencyReport(tuple(_check(store, view, keys, at, seed, counter) for view in chosen), seed)


class _Counter:
    """Progress over all views; a view with fewer keys than asked for is done all the same."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0

    def add(self, values: int) -> None:
        self._done += values
        if self._progress is not None:
            self._progress(min(self._done, self._total), self._total)


def _check(
    store: FeatureStore, view: FeatureView, count: int, at: datetime | None, seed: int, counter: _Counter
) -> ViewCheck:
    moment = at if at is not None else _last_instant(store, view)
    if moment is None:
        counter.add(count * len(view.rules))
        return ViewCheck(view.name, None, 0, tuple(FeatureCheck(f"{view.name}:{name}") for name in view.rules))
    online = store.online
    schema = find_schema(online, view)
    log = keys_of_log(store.read, view, count, seed=seed, end=moment - view.delay + _INSTANT)
    held = keys_of_store(online, view, count, seed=seed)
    sample = mix(log, held, count, None if schema is None else schema.keys)
    asked = sample.append_column(_AS_OF, pa.array([moment] * sample.num_rows, pa.timestamp("us", "UTC")))
    past = store.get_historical_features(asked, [view], event_time=_AS_OF, full_feature_names=True).to_arrow()
    checks = {f"{view.name}__{name}": FeatureCheck(f"{view.name}:{name}") for name in view.rules}
    plan = store.plan([view], full_feature_names=True)
    for start in range(0, sample.num_rows, _BATCH):
        piece = past.slice(start, _BATCH)
        _compare(plan, rows_of(piece, view.keys), moment, piece, checks)
        counter.add(piece.num_rows * len(checks))
    counter.add((count - sample.num_rows) * len(checks))
    return ViewCheck(view.name, moment, sample.num_rows, tuple(checks.values()))


def _last_instant(store: FeatureStore, view: FeatureView) -> datetime | None:
    until = store.materialized_until(view)
    return None if until is None else until + view.delay - _INSTANT


def _lookup(plan: LookupPlan, rows: Sequence[Any], moment: datetime) -> tuple[OnlineFeatures, set[int]]:
    """The answers, and the places of the rows for which the store holds something that cannot be read."""
    try:
        return plan.lookup(rows, moment), set()
    except StoreError as error:
        if error.code != "FEAT-22":
            raise
    damaged = {place for place, row in enumerate(rows) if _is_damaged(plan, row, moment)}
    # A key without a value stands in for a damaged one, so that the others keep their places.
    nobody = dict.fromkeys(plan.keys)
    return plan.lookup([nobody if place in damaged else row for place, row in enumerate(rows)], moment), damaged


def _is_damaged(plan: LookupPlan, row: Any, moment: datetime) -> bool:
    try:
        plan.read(row, moment)
    except StoreError as error:
        return error.code == "FEAT-22"
    return False


def _compare(
    plan: LookupPlan, rows: Sequence[Any], moment: datetime, past: pa.Table, checks: dict[str, FeatureCheck]
) -> None:
    answer, damaged = _lookup(plan, rows, moment)
    for name, check in checks.items():
        statuses = ["damaged" if place in damaged else one for place, one in enumerate(answer.statuses[name])]
        values = answer.values[name]
        offline = past[name].combine_chunks()
        wrong = differing(offline, values)
        wrong[list(damaged)] = True
        if "trimmed" in statuses:
            is_trimmed: Bools = np.array([status == "trimmed" for status in statuses])
            check.trimmed += int(is_trimmed.sum())
            check.compared -= int(is_trimmed.sum())
            wrong = wrong & ~is_trimmed
        check.compared += len(rows)
        check.different += int(wrong.sum())
        check.equal = check.compared - check.different
        for place in np.flatnonzero(wrong)[: _EXAMPLES - len(check.examples)].tolist():
            check.examples.append(
                {
                    "key": dict(rows[place]),
                    "offline": plain(offline[place].as_py()),
                    "online": plain(values[place]),
                    "status": statuses[place],
                }
            )
