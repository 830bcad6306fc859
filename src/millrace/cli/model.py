"""`millrace model list|show`: versions, aliases, metrics, gates, lineage."""

from __future__ import annotations

import argparse
from typing import Any

from millrace.cli.options import command, open_ledger, open_settings, open_wiring
from millrace.cli.output import outcome, print_json, print_table


def add(commands: Any) -> None:
    """The grammar of these commands."""
    model = commands.add_parser("model", help="versions and aliases of models").add_subparsers(
        metavar="VERB", required=True
    )
    listing = command(model, "list", "every version, with its metrics and where it stands", list_versions)
    listing.add_argument("model", nargs="?", help="only this model")
    show = command(model, "show", "one version: metrics, gates, lineage", show_version)
    show.add_argument("version", help="MODEL:VERSION, MODEL@ALIAS, or VERSION when there is one model")


def list_versions(options: argparse.Namespace) -> int:
    """Print versions."""
    from millrace.registry.registry import Registry

    registry = Registry(open_ledger(options))
    models = [options.model] if options.model else registry.models()
    rows: list[dict[str, Any]] = []
    for name in models:
        standing: dict[int, list[str]] = {}
        for alias in registry.aliases(name):
            standing.setdefault(alias.version, []).append(alias.alias)
        rows += [
            {
                "model": name,
                "version": version.version,
                "aliases": standing.get(version.version, []),
                "created_at": version.created_at[:19],
                "digest": version.digest,
                "run_id": version.run_id,
                "metrics": dict(version.metrics),
            }
            for version in registry.versions(name)
        ]
    if options.json:
        print_json(rows)
        return 0
    for row in rows:
        row["digest"] = row["digest"][:12]
        row["accuracy"] = row["metrics"].get("accuracy", row["metrics"].get("rmse"))
    print_table(rows, ["model", "version", "aliases", "created_at", "accuracy", "digest", "run_id"])
    if not rows:
        print(f"no model of '{open_settings(options).name}' was registered yet: millrace run")
    return 0


def show_version(options: argparse.Namespace) -> int:
    """Print one version."""
    wiring = open_wiring(options)
    version = wiring.get_version(options.version)
    gates = [
        event.body["verdict"]
        for event in wiring.ledger.events("decision", version.model)
        if event.body.get("run") == version.run_id and event.body["verdict"]["rule"].startswith("gate.")
    ]
    if options.json:
        print_json({**version.to_dict(), "gates": gates})
        return 0
    print(f"{version.model} v{version.version}  {version.created_at[:19]}  run {version.run_id}")
    print(f"  bundle       {version.digest}")
    for name, value in version.metrics.items():
        print(f"  {name:<12} {value:.4f}")
    for gate in gates:
        print(f"  {outcome(gate['outcome'])}  {gate['rule']}: {gate['reason']}")
    lineage = version.lineage
    code = lineage.get("code", {})
    dirty = " (with uncommitted changes)" if code.get("is_dirty") else ""
    print(f"  code         {code.get('commit') or 'not in git'}{dirty}")
    for name in ("data_digest", "feature_digest", "environment_digest", "function_digest", "python", "seed"):
        print(f"  {name:<12} {lineage.get(name)}")
    return 0
