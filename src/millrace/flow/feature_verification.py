"""Verify a project's online store, put the outcome on the record, and tell somebody when it differs from the log."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from millrace.features.checks.verify import KEYS, ConsistencyReport, verify
from millrace.flow.pinned_features import EarlierViews, store_of

if TYPE_CHECKING:
    from millrace.flow.wiring import Wiring


def verify_features(
    wiring: Wiring,
    views: Sequence[str] = (),
    *,
    keys: int = KEYS,
    at: datetime | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> ConsistencyReport:
    """What `verify` finds in the wiring's online store; see there.

    Earlier definitions of these views that a model in some environment still reads are verified too, under the name by
    which the online store knows them.
    """
    report = verify(wiring.features, list(views) or None, keys=keys, at=at, seed=seed, progress=progress)
    names = {one.view for one in report.views}
    for view in EarlierViews(wiring)():
        if view.name in names or not views:
            found = verify(store_of(wiring, {view.name: view}), keys=keys, at=at, seed=seed)
            known = tuple(replace(one, view=view.storage_id()) for one in found.views)
            report = replace(report, views=(*report.views, *known))
    subject, environment = wiring.project.settings.name, wiring.environment.name
    facts = {"environment": environment, **report.to_dict()}
    event = wiring.ledger.append("feature_verification", subject, facts)
    if report.outcome == "different":
        wrong = [one for one in report.features if one.different]
        wiring.alert(
            f"feature_verification:{subject}:{event.seq}",
            "critical",
            subject,
            f"the online store of {environment} differs from the log: {', '.join(one.feature for one in wrong)}",
            f"{report.different:,} of {report.compared:,} values differ; what is served is not what models learn from",
            facts,
        )
    return report
