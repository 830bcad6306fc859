"""What the values of a feature look like: how many, how many are null, and how they are spread."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from millrace.features.checks.key_sample import keys_of_log
from millrace.features.checks.same_bits import plain
from millrace.features.columns import TIME, kind_of
from millrace.features.field import dtype_of
from millrace.features.store import FeatureStore
from millrace.features.view import FeatureView
from millrace.features.workspace import Progress

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
KEYS = 1_000_000
_TOP = 5
_AS_OF = "(as of)"


def view_statistics(
    store: FeatureStore, view: FeatureView, at: datetime, *, keys: int = KEYS, progress: Progress | None = None
) -> dict[str, dict[str, Any]]:
    """Statistics of every feature of a view, over the values of its keys as of `at`.

    Parameters
    ----------
    keys : int
        At most so many keys, drawn evenly from the view's log; see ``is_sample`` in the answer.

    Returns
    -------
    dict of feature to dict
        As `column_statistics` gives, with ``is_sample``.
    """
    found = keys_of_log(store.read, view, keys, seed=0)
    rows = found.num_rows
    asked = found.append_column(_AS_OF, pa.array([at] * rows, TIME))
    past = store.get_historical_features(
        asked, [view], event_time=_AS_OF, full_feature_names=True, progress=progress
    ).to_arrow()
    return {
        name: {**column_statistics(past[f"{view.name}__{name}"]), "is_sample": bool(view.keys) and rows >= keys}
        for name in view.rules
    }


def column_statistics(column: pa.ChunkedArray) -> dict[str, Any]:
    """Statistics of one column, JSON-ready.

    Returns
    -------
    dict
        ``type``, ``rows`` (one per key), ``null_share``, ``distinct`` where values can be counted; of numbers ``min,
        max, mean, std`` and ``quantiles``; of times ``min`` and ``max``; of texts and booleans ``top`` (value, rows).
    """
    kind = kind_of(column.type) or "null"
    rows, nulls = len(column), column.null_count
    facts: dict[str, Any] = {
        "type": dtype_of(kind),
        "rows": rows,
        "null_share": nulls / rows if rows else 0.0,
    }
    values = column.drop_null()
    if kind in ("int", "float"):
        facts |= {"distinct": pc.count_distinct(values).as_py(), **_of_numbers(values)}
    elif kind == "time":
        least = pc.min_max(values).as_py()
        facts |= {"distinct": pc.count_distinct(values).as_py(), **{end: plain(least[end]) for end in ("min", "max")}}
    elif kind in ("string", "bool"):
        counts = sorted(
            (one.as_py() for one in pc.value_counts(values)), key=lambda one: (-one["counts"], str(one["values"]))
        )
        facts |= {"distinct": len(counts), "top": [[one["values"], one["counts"]] for one in counts[:_TOP]]}
    return facts


def _of_numbers(values: pa.ChunkedArray) -> dict[str, Any]:
    if len(values) == 0:
        return {"min": None, "max": None, "mean": None, "std": None, "quantiles": {}}
    least, numbers = pc.min_max(values).as_py(), values.cast(pa.float64(), safe=False)
    spread = pc.quantile(numbers, list(QUANTILES)).to_pylist()
    facts = {
        "min": least["min"],
        "max": least["max"],
        "mean": pc.mean(numbers).as_py(),
        "std": pc.stddev(numbers, ddof=1).as_py() if len(values) > 1 else None,
        "quantiles": {f"{part:g}": value for part, value in zip(QUANTILES, spread, strict=True)},
    }
    return {name: _finite(value) for name, value in facts.items()}


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(one) for name, one in value.items()}
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
