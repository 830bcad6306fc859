"""Everything that waits in the outbox, brought to whoever must be told: channels of alerts, and the tracker."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from millrace.core.clock import to_text
from millrace.core.errors import ModelError
from millrace.core.plugins import load_plugin
from millrace.flow.artifacts import ArtifactRef, load_artifact
from millrace.flow.run import RunRecord, find_step
from millrace.flow.settings import anchored
from millrace.monitoring.alerts import deliver
from millrace.store.blobs import open_blobs
from millrace.store.lease import holding
from millrace.store.ledger import Ledger
from millrace.store.outbox import Delivery

if TYPE_CHECKING:
    from millrace.flow.project import Project
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


def start_mirror(wiring: Wiring) -> None:
    """Begin to tell the tracker in a process of its own: it is slow to import, and nobody should wait for it."""
    environment = wiring.environment
    if not environment.tracker or not wiring.ledger.outbox.pending(TRACKER, limit=1):
        return
    root = str(wiring.project.root)
    words = [sys.executable, "-m", "millrace", "mirror", "--project", root, "--env", environment.name]
    subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


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
            options[key] = anchored(options[key], wiring.project.root)
    tracker = load_plugin("trackers", options.get("kind", name))(options)
    with holding(wiring.ledger.database, "mirror", seconds=3600):  # two at once would tell everything twice
        return wiring.ledger.outbox.deliver(TRACKER, tracker.deliver, limit=limit, due_only=due_only)


def tracked_run(project: Project, ledger: Ledger, run: RunRecord) -> dict[str, Any]:
    """What a tracker is told of a run that ended: its parameters, metrics and tags."""
    blobs = open_blobs(project.settings.active.blobs)
    step = find_step(ledger, run.run_id, "validate_model")
    metrics: dict[str, Any] = {}
    if step is not None and "validation" in step.get("outputs", {}):
        reference = ArtifactRef.from_dict(step["outputs"]["validation"])
        if reference.kind == "json" and blobs.has(reference.digest):
            metrics = load_artifact(reference, blobs).get("metrics", {})
    tags = {"reason": run.reason, "status": run.status, "pipeline": run.pipeline, "message": run.message or ""}
    return {
        "kind": "run",
        "run_id": run.run_id,
        "model": run.model,
        "parameters": {"as_of": to_text(run.as_of), **{name: str(value) for name, value in run.parameters.items()}},
        "metrics": metrics,
        "tags": tags,
        "start": run.started_at,
        "end": run.finished_at,
        "status": run.status,
    }


def load_fitted(wiring: Wiring, digest: str) -> Any:
    """The fitted object of a bundle, from its canonical file."""
    manifest = wiring.manifest(digest)
    if manifest.lineage["canonical_format"] == "pickle" and not wiring.environment.allow_pickle:
        raise ModelError(
            "SERVE-03",
            "the fitted object is kept as a pickle, which runs code when it is loaded",
            fix="allow_pickle = true in millrace.toml, if you trust where it came from",
        )
    read = load_plugin("estimators", "sklearn")
    return read(wiring.blobs.get(manifest.files["canonical"]), manifest.lineage["canonical_format"])
