"""The JSON form of a reference profile: whole numbers exact, infinities as text, levels with their counts."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, get_args

import numpy as np
import pyarrow as pa

from millrace.core.errors import DataError
from millrace.drift.categorical import Levels
from millrace.drift.columns import Family, Kind
from millrace.drift.numeric import Steps

_VERSION = 1
_PLAIN = (
    *("name", "type", "family", "kind", "declared", "present", "missing", "nan", "infinite", "distinct"),
    *("mean", "std", "is_identifier_like", "error"),
)


def column_to_json(column: Any) -> dict[str, Any]:
    """One `ColumnProfile` as JSON."""
    facts: dict[str, Any] = {name: getattr(column, name) for name in _PLAIN}
    if column.steps is not None:
        steps = column.steps
        facts["steps"] = {
            "number": steps.values.dtype.str.lstrip("<>|="),
            "values": [_number(value) for value in steps.values.tolist()],
            "below": steps.below.tolist(),
            "at_most": steps.at_most.tolist(),
            "is_exact": steps.is_exact,
        }
    if column.levels is not None:
        names = column.levels.names.to_pylist()
        facts["levels"] = {
            "names": [name if isinstance(name, str) else _number(name) for name in names],
            "is_text": not pa.types.is_floating(column.levels.names.type),
            "counts": column.levels.counts.tolist(),
        }
    return facts


def column_from_json(name: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of the `ColumnProfile` that `column_to_json` described.

    Raises
    ------
    DataError
        DRIFT-02 when a part is missing or no number where one belongs.
    """
    try:
        found: dict[str, Any] = {part: facts[part] for part in _PLAIN}
        if facts["family"] not in get_args(Family) or facts["kind"] not in get_args(Kind):
            raise ValueError(f"no column is {facts['family']}, {facts['kind']}")
        if "steps" in facts:
            kept = facts["steps"]
            values = np.array([float(v) if isinstance(v, str) else v for v in kept["values"]], np.dtype(kept["number"]))
            found["steps"] = Steps(_frozen(values), _counts(kept["below"]), _counts(kept["at_most"]), kept["is_exact"])
            if not len(values) == len(found["steps"].below) == len(found["steps"].at_most) > 0:
                raise ValueError("values and counts are not of one length")
        if "levels" in facts:
            kept = facts["levels"]
            if kept["is_text"]:
                names = pa.array(kept["names"], pa.large_string())
            else:
                names = pa.array([float(name) for name in kept["names"]], pa.float64())
            found["levels"] = Levels(names, _counts(kept["counts"]))
            if len(names) != len(kept["counts"]):
                raise ValueError("levels and counts are not of one length")
    except (KeyError, TypeError, ValueError, OverflowError, pa.ArrowException) as error:
        raise _no_profile(f"column '{name}': {type(error).__name__}: {error}") from error
    return found


def read_profile_json(facts: Any) -> tuple[int, dict[str, Mapping[str, Any]], Any]:
    """Rows, columns by name, and the digest of a profile's JSON, given as a mapping or as bytes.

    Raises
    ------
    DataError
        DRIFT-02 when it is not a profile, DRIFT-03 when a later version wrote it.
    """
    if isinstance(facts, bytes):
        try:
            facts = json.loads(facts)
        except ValueError as error:  # also what is not UTF-8
            raise _no_profile(f"it is not JSON: {error}") from error
    if not isinstance(facts, Mapping) or facts.get("format") != "millrace.drift.profile":
        raise _no_profile("it does not say that it is one")
    if facts.get("version") != _VERSION:
        raise DataError(
            "DRIFT-03",
            f"the drift profile has version {facts.get('version')!r}, and this Millrace reads version {_VERSION}",
            fix="update Millrace, or make the profile again from the reference",
        )
    try:
        columns = {str(column["name"]): column for column in facts["columns"]}
        return int(facts["rows"]), columns, facts["digest"]
    except (KeyError, TypeError, ValueError) as error:
        raise _no_profile(f"{type(error).__name__}: {error}") from error


def _no_profile(why: str) -> DataError:
    return DataError(
        "DRIFT-02", "this is no whole drift profile", why=why, fix="make it again with ReferenceProfile.of(reference)"
    )


def _number(value: Any) -> Any:
    # JSON has no infinities; Python's own text of them is read back by float().
    return value if not isinstance(value, float) or math.isfinite(value) else str(value)


def _counts(values: Any) -> np.ndarray[Any, np.dtype[np.int64]]:
    return _frozen(np.array(values, dtype=np.int64))


def _frozen(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    values.setflags(write=False)
    return values
