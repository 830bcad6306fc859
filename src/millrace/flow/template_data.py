"""Tables for a new project: invented, the same for the same end, and with something in them to be learned."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from millrace.core.clock import to_micros

_SEED = 20240229
_HOUR = 3_600_000_000
_DAY = 24 * _HOUR

_CUSTOMERS = 2000
_PUMPS = 4
_HOT = 60.0  # degrees Celsius
_PAST = timedelta(weeks=26)
_FUTURE = timedelta(weeks=2)

Floats = npt.NDArray[np.float64]


def tabular_tables(end: datetime) -> dict[str, pa.Table]:
    """``customers``, 2,000 rows over the year before `end`, and ``orders``, the log of what they bought.

    Customers who buy less than they did tend to leave. `churned` is null for the last 30 days: not known yet.
    """
    rng = np.random.default_rng(_SEED)
    last = to_micros(end) // _DAY * _DAY
    ids = np.arange(1, _CUSTOMERS + 1)
    at = last - rng.integers(1, 365 * 24, _CUSTOMERS) * _HOUR
    tenure = rng.integers(30, 2000, _CUSTOMERS)
    calls = rng.poisson(1.2, _CUSTOMERS)
    loyalty = rng.normal(size=_CUSTOMERS)
    is_fading = rng.random(_CUSTOMERS) < 0.35
    z = -2.2 - 0.9 * loyalty + 0.6 * (calls - 1.2) - 0.001 * (tenure - 1000) + 3.2 * is_fading
    has_left = rng.random(_CUSTOMERS) < 1 / (1 + np.exp(-1.5 * z))
    churned = pa.array(has_left.astype(np.int64), mask=at > last - 30 * _DAY)
    customers = {
        "customer_id": ids,
        "at": _times(at),
        "age": rng.integers(18, 80, _CUSTOMERS),
        "tenure_days": tenure,
        "monthly_fee": rng.choice([9.9, 19.9, 39.9], _CUSTOMERS),
        "support_calls": calls,
        "churned": churned,
    }
    orders = _orders(rng, ids, at, last, rate=np.exp(0.5 * loyalty + 0.7), is_fading=is_fading, has_left=has_left)
    return {"customers": _by_time(customers, "at"), "orders": _by_time(orders, "ordered_at")}


def stream_tables(end: datetime) -> dict[str, pa.Table]:
    """``readings`` of four pumps, hourly, from 26 weeks before `end` to two weeks after it.

    The rows after `end` let the stream go on while the project is tried: nothing reads them before their time.
    """
    rng = np.random.default_rng(_SEED)
    hours = round((_PAST + _FUTURE) / timedelta(hours=1))
    first = to_micros(end - _PAST) // _HOUR * _HOUR
    # A day more than is kept: the last label needs it.
    at = first + np.arange(hours + 24) * _HOUR
    hour = at // _HOUR % 24
    tables = [_readings(rng, number, at, hour) for number in range(1, _PUMPS + 1)]
    return {"readings": _by_time({name: _joined(tables, name, hours) for name in tables[0]}, "at")}


TABLES: Mapping[str, Callable[[datetime], dict[str, pa.Table]]] = {"tabular": tabular_tables, "stream": stream_tables}


def _orders(
    rng: np.random.Generator,
    ids: npt.NDArray[np.int64],
    at: npt.NDArray[np.int64],
    last: int,
    *,
    rate: Floats,
    is_fading: npt.NDArray[np.bool_],
    has_left: npt.NDArray[np.bool_],
) -> dict[str, Any]:
    """`rate` orders in 30 days from 180 days before `at`; few in the 60 days before it from those who fade."""
    begin = at - 180 * _DAY
    stop = np.where(has_left, np.minimum(at + 10 * _DAY, last), last)
    counts = rng.poisson(rate * (stop - begin) / (30 * _DAY))
    who = np.repeat(np.arange(len(ids)), counts)
    when = begin[who] + (rng.random(len(who)) * (stop - begin)[who]).astype(np.int64)
    in_fade = is_fading[who] & (when > at[who] - 60 * _DAY) & (when < at[who])
    keep = ~in_fade | (rng.random(len(who)) < 0.12)
    amount = np.round(rng.gamma(3.0, 12.0, len(who)), 2)
    seconds = when // 1_000_000 * 1_000_000
    return {"customer_id": ids[who][keep], "ordered_at": _times(seconds[keep]), "amount": amount[keep]}


def _readings(
    rng: np.random.Generator, number: int, at: npt.NDArray[np.int64], hour: npt.NDArray[np.int64]
) -> dict[str, Any]:
    """One pump: its load follows the day, it wears until it is serviced, and both heat it."""
    n = len(at)
    wear = _wear(rng, n)
    load = np.clip(0.5 + 0.25 * np.sin(2 * np.pi * (hour - 8) / 24) + _drifting(rng, n, 0.9, 0.06), 0.05, 1.0)
    ambient = 18 + 5 * np.sin(2 * np.pi * (hour - 9) / 24) + _drifting(rng, n, 0.98, 0.5)
    temperature = ambient + 30 * load + 22 * wear + rng.normal(0, 1.5, n)
    vibration = 1 + 2.5 * wear + 0.5 * load + np.abs(rng.normal(0, 0.2, n))
    ahead = np.lib.stride_tricks.sliding_window_view(temperature[1:], 24).max(axis=1)
    return {
        "pump_id": np.full(n, number),
        "at": at,
        "hour": hour,
        "temperature": np.round(temperature, 2),
        "vibration": np.round(vibration, 3),
        "load": np.round(load, 3),
        "overheated": (ahead > _HOT).astype(np.int64),
    }


def _wear(rng: np.random.Generator, n: int) -> Floats:
    """0 after each service, up to about 1 some four weeks later."""
    wear = np.empty(n)
    start = -int(rng.integers(0, 500))
    while start < n:
        end = start + int(rng.integers(400, 900))
        span = np.arange(max(start, 0), min(end, n))
        wear[span] = (span - start) / 700
        start = end
    return wear


def _drifting(rng: np.random.Generator, n: int, memory: float, step: float) -> Floats:
    """Noise that remembers: each value is `memory` of the one before it and a step."""
    values = np.empty(n)
    value = 0.0
    for place, move in enumerate(rng.normal(0, step, n)):
        value = memory * value + move
        values[place] = value
    return values


def _joined(tables: list[dict[str, Any]], name: str, rows: int) -> Any:
    values = np.concatenate([table[name][:rows] for table in tables])
    return _times(values) if name == "at" else values


def _times(micros: npt.NDArray[np.int64]) -> pa.Array:
    return pa.array(micros).cast(pa.timestamp("us", tz="UTC"))


def _by_time(columns: dict[str, Any], event_time: str) -> pa.Table:
    return pa.table(columns).sort_by(event_time)
