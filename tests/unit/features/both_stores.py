"""Asking the past and the online store the same thing: they must agree to the bit before a value is compared."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

from orders_shop import day, reader

from millrace.core.clock import ManualClock
from millrace.features.columns import to_table
from millrace.features.store import FeatureStore
from millrace.testing.memory_store import open_memory

NOW = day(3000)


def bits(value: Any) -> Any:
    """A value that is equal to another only when type and bits are."""
    if isinstance(value, (list, tuple)):
        return [bits(one) for one in value]
    return type(value), struct.pack("<d", value) if isinstance(value, float) else value


def open_both(definitions: Any, tables: Any, *, late: str = "3000d") -> FeatureStore:
    """A feature store over tables, asked online as far back as the log goes."""
    views = list(definitions) if isinstance(definitions, (list, tuple)) else [definitions]
    return FeatureStore(views, read=reader(tables), online=open_memory(), clock=ManualClock(NOW), late=late)


def ask_both(
    definitions: Any,
    tables: Any,
    asked: Sequence[Mapping[str, Any]],
    wanted: Any = None,
) -> list[dict[str, Any]]:
    """The features of each of `asked`, which names keys and an ``event_time``.

    They come from the past, and must be the same online after materializing, and after pushing everything at once.
    """
    views = list(definitions) if isinstance(definitions, (list, tuple)) else [definitions]
    wanted = views if wanted is None else wanted
    filled, pushed = open_both(views, tables), open_both(views, tables)
    past = filled.get_historical_features(list(asked), wanted, full_feature_names=True)
    rows = past.to_arrow().select(list(past.features)).to_pylist()
    filled.materialize(None, NOW)
    for name, source in {view.source.name: view.source for view in pushed.views.values()}.items():
        pushed.push(source, to_table(tables[name] if isinstance(tables, dict) else tables))
    for store in (filled, pushed):
        plan = store.plan(wanted, full_feature_names=True)
        for question, row in zip(asked, rows, strict=True):
            answer = plan.lookup([question], question["event_time"])
            online = {name: values[0] for name, values in answer.values.items()}
            assert {name: bits(one) for name, one in online.items()} == {
                name: bits(one) for name, one in row.items()
            }, f"{dict(question)}: online {online}, the past {row}"
            if len(plan.names) == 1:
                assert bits(plan.read(question, question["event_time"])) == bits(list(row.values()))
    return [{name.partition("__")[2]: value for name, value in row.items()} for row in rows]
