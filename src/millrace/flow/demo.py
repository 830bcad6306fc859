"""The demo: the electricity example, replayed from its first model to the end of its stream."""

from __future__ import annotations

import json
import shutil
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any

from millrace.core.clock import SystemClock
from millrace.core.errors import MissingExtra, ProjectError
from millrace.core.plugins import find_plugin, load_plugin
from millrace.flow.project import load_project
from millrace.flow.replay import Replay, Replayed, Story
from millrace.flow.tell import mirror
from millrace.flow.wiring import Wiring

START = datetime(1996, 11, 5, tzinfo=UTC)
FIRST_WINDOW = "26w"
WEEKS = 109
_MARKER = ".millrace-demo"


@dataclass(frozen=True)
class DemoResult:
    """Where the demo left its state, and what it found. `summary` is what ``--json`` prints."""

    folder: Path
    summary: dict[str, Any]
    pages: Sequence[Path]


def run_demo(
    folder: Path,
    *,
    models: Sequence[str] | None = None,
    weeks: int = WEEKS,
    on_event: Callable[[str, Any], None],
) -> DemoResult:
    """Lay out the example in `folder`, replay it, and draw what happened.

    Parameters
    ----------
    folder : Path
        Made anew. One that exists is only replaced when an earlier demo made it.
    models : sequence of str, optional
        Names of the example's models; all of them when None.
    weeks : int
        How many weekly batches to serve.

    Raises
    ------
    ProjectError
        DEMO-01 when the folder holds something else.
    """
    began = time.perf_counter()
    lay_out(folder)
    project = load_project(folder)
    chosen = [project.get_model(name) for name in (models or project.models)]
    replayed = Replay(
        project,
        chosen,
        start=START,
        end=START + timedelta(days=7 * weeks),
        first_window=FIRST_WINDOW,
        on_event=on_event,
    ).run()
    wiring = Wiring(project, SystemClock())
    if find_plugin("trackers", project.settings.active.tracker) is not None:
        on_event("stage", "telling MLflow of every run, version and alias")
        _mirror(wiring, on_event)
    summary = summarize(wiring, replayed)
    summary["seconds"] = round(time.perf_counter() - began, 1)
    (folder / "demo.json").write_text(json.dumps(summary, indent=2))
    pages = draw(folder, replayed, summary, on_event)
    wiring.close()
    return DemoResult(folder, summary, pages)


def lay_out(folder: Path) -> None:
    """A fresh copy of the example whose servers have free loopback ports."""
    if folder.exists():
        if not (folder / _MARKER).exists() and any(folder.iterdir()):
            raise ProjectError(
                "DEMO-01",
                "the folder is not empty, and no earlier demo made it",
                where=str(folder),
                fix="name another: millrace demo --folder NAME",
            )
        shutil.rmtree(folder)
    example = find_example("electricity")
    shutil.copytree(example, folder, ignore=shutil.ignore_patterns(".millrace", "__pycache__"))
    (folder / _MARKER).write_text("made by `millrace demo`, which may replace it\n")
    settings = (folder / "millrace.toml").read_text()
    for port, free in zip(range(8100, 8104), free_ports(4), strict=True):
        settings = settings.replace(f"127.0.0.1:{port}", f"127.0.0.1:{free}")
    (folder / "millrace.toml").write_text(settings)


def find_example(name: str) -> Path:
    """The folder of an example: in the installed package, or beside the sources."""
    inside = Path(str(files("millrace"))) / "examples" / name
    beside = Path(str(files("millrace"))).parents[1] / "examples" / name
    for folder in (inside, beside):
        if (folder / "millrace.toml").exists():
            return folder
    raise ProjectError("DEMO-02", f"the example '{name}' is not installed", where=str(inside), fix="reinstall millrace")


def free_ports(count: int) -> list[int]:
    """Loopback ports that nobody listens on now, all different."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def summarize(wiring: Wiring, replayed: Replayed) -> dict[str, Any]:
    """The replay as one JSON object; the first model's figures stand at the top."""
    stories = {story.model: _summarize_story(wiring, story) for story in replayed.stories}
    first = next(iter(stories.values()))
    return {
        **first,
        "requests": replayed.requests,
        "failed_requests": replayed.failed_requests,
        "models": stories,
        "seconds": round(replayed.seconds, 1),
    }


def _summarize_story(wiring: Wiring, story: Story) -> dict[str, Any]:
    versions = {version.run_id: version.version for version in wiring.registry.versions(story.model)}
    retrains, drift = [], []
    for happening in story.happenings:
        facts: Mapping[str, Any] = happening.facts
        if happening.kind == "run":
            retrains.append(
                {
                    "date": facts["result"]["as_of"][:10],
                    "reasons": list(facts["reasons"]),
                    "version": versions.get(facts["run"]),
                    "promoted": facts["status"] == "succeeded",
                    "text": happening.text,
                }
            )
        elif happening.kind == "drift" and facts["outcome"] == "fail":
            drift.append({"date": facts["end"][:10], "columns": list(facts["drifted"])})
    alerts = wiring.ledger.events("alert", story.model)
    return {
        "model": story.model,
        "accuracy_static": round(story.share("right_static"), 4),
        "accuracy": round(story.share("right"), 4),
        "accuracy_naive": round(story.share("right_naive"), 4),
        "retrains": retrains,
        "drift": drift,
        "blocked": sum(not retrain["promoted"] for retrain in retrains),
        "alerts": len(alerts),
        "weeks": [batch.to_dict() for batch in story.batches],
    }


def draw(
    folder: Path, replayed: Replayed, summary: Mapping[str, Any], on_event: Callable[[str, Any], None]
) -> list[Path]:
    """Weekly accuracy with the deployments marked, as PNG and as a page; nothing when matplotlib is missing."""
    try:
        plot = load_plugin("plots", "matplotlib")
    except MissingExtra as missing:
        on_event("stage", f"no picture: {missing.what}")
        return []
    page, picture = folder / "demo.html", folder / "demo.png"
    plot(summary, picture=picture, page=page)
    return [picture, page]


def _mirror(wiring: Wiring, on_event: Callable[[str, Any], None]) -> None:
    try:
        done = mirror(wiring, due_only=False)
    except MissingExtra as missing:
        on_event("stage", f"not told: {missing.what}; it stays in the outbox")
        return
    if done.failed:
        on_event("stage", f"MLflow took {done.sent}, then: {done.last_error}; the rest stays in the outbox")
