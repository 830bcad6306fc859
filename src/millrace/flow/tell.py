"""Everything that waits in the outbox, brought to whoever must be told: channels of alerts, and the tracker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from millrace.core.plugins import load_plugin
from millrace.monitoring.alerts import deliver
from millrace.store.outbox import Delivery

if TYPE_CHECKING:
    from millrace.flow.wiring import Wiring

TRACKER = "tracker"


def deliver_all(wiring: Wiring, *, due_only: bool = True) -> dict[str, Delivery]:
    """Send alerts to the environment's channels; what a channel does not take stays queued."""
    settings = wiring.project.settings
    channels = {}
    for name in wiring.environment.channels:
        options: Mapping[str, Any] = settings.channels.get(name, {})
        channels[name] = load_plugin("channels", options.get("kind", name))(options)
    return deliver(wiring.ledger, channels, due_only=due_only)


def mirror(wiring: Wiring, *, due_only: bool = True, limit: int = 1000) -> Delivery:
    """Tell the tracker of runs, versions and aliases. One that is slow, absent or down loses nothing."""
    name = wiring.environment.tracker
    if not name:
        return Delivery(0, 0)
    options = dict(wiring.project.settings.trackers.get(name, {}))
    options["load_model"] = lambda digest: load_fitted(wiring, digest)
    options["load_manifest"] = wiring.manifest
    for key in ("uri", "artifacts"):
        if isinstance(options.get(key), str):
            options[key] = _anchored(options[key], wiring)
    tracker = load_plugin("trackers", options.get("kind", name))(options)
    return wiring.ledger.outbox.deliver(
        TRACKER, lambda message: tracker.deliver(message), limit=limit, due_only=due_only
    )


def load_fitted(wiring: Wiring, digest: str) -> Any:
    """The fitted object of a bundle, from its canonical file."""
    manifest = wiring.manifest(digest)
    read = load_plugin("estimators", "sklearn")
    return read(wiring.blobs.get(manifest.files["canonical"]), manifest.lineage["canonical_format"])


def _anchored(url: str, wiring: Wiring) -> str:
    root = wiring.project.root
    if url.startswith("sqlite:///"):
        return f"sqlite:///{root / url.removeprefix('sqlite:///')}"
    return url if "://" in url else str(root / url)
