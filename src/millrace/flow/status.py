"""What is true now, read from the ledger alone."""

from __future__ import annotations

from typing import Any

from millrace.flow.run import list_runs
from millrace.flow.settings import Settings
from millrace.registry.registry import Registry
from millrace.store.ledger import Ledger


def read_status(settings: Settings, ledger: Ledger, *, runs: int = 5, alerts: int = 5) -> dict[str, Any]:
    """Models with their aliases and releases, open triggers, the last runs and alerts, and what waits to be told."""
    registry = Registry(ledger)
    releases = [state.value["release"] for state in ledger.states("release") if state.value.get("release") is not None]
    triggers = {state.key: state.value for state in ledger.states("trigger")}
    models = []
    for name in registry.models():
        trigger = triggers.get(name, {})
        models.append(
            {
                "model": name,
                "versions": len(registry.versions(name)),
                "aliases": {alias.alias: alias.version for alias in registry.aliases(name)},
                "releases": [release for release in releases if release["model"] == name],
                "trigger": trigger.get("status"),
            }
        )
    rows = ledger.database.read(
        "SELECT topic, count(*) FROM outbox WHERE done_at IS NULL GROUP BY topic ORDER BY topic"
    )
    last = ledger.events(last=1)
    return {
        "project": settings.name,
        "environment": settings.environment,
        "events": last[0].seq if last else 0,
        "models": models,
        "runs": [run.to_dict() for run in list_runs(ledger)[-runs:]],
        "alerts": [event.body for event in ledger.events("alert", last=alerts)],
        # Without a tracker its messages wait for one to be set; nobody is kept waiting.
        "waiting": {topic: count for topic, count in rows if topic != "tracker" or settings.active.tracker},
    }
