"""Statistics of a project's features, kept in the ledger so that the catalogue can show the last ones."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from millrace.core.clock import to_text
from millrace.features.statistics import view_statistics
from millrace.features.view import FeatureView
from millrace.flow.feature_catalog import STATISTICS

if TYPE_CHECKING:
    from millrace.flow.wiring import Wiring


def measure_features(
    wiring: Wiring,
    view: FeatureView,
    *,
    at: datetime | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """The statistics of a view's features as of `at` (default: now), put on the record."""
    moment = at or wiring.clock.now()
    found = view_statistics(wiring.features, view, moment, progress=progress)
    facts = {"at": to_text(moment), "digest": view.digest(), "features": found}
    wiring.ledger.append("feature_statistics", view.name, facts, sets=[(STATISTICS, view.name, facts)])
    return facts
