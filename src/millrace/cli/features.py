"""`millrace features list|materialize|get`."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from millrace.cli.options import command, open_project, open_wiring
from millrace.cli.output import print_json, print_table


def add(commands: Any) -> None:
    """The grammar of these commands."""
    features = commands.add_parser("features", help="the feature store").add_subparsers(metavar="VERB", required=True)
    command(features, "list", "every feature that is defined", list_features)
    fill = command(features, "materialize", "bring features of past events to the online store", materialize)
    fill.add_argument("--start", metavar="TIME", help="from here on (ISO 8601; default: where the last one ended)")
    fill.add_argument("--end", metavar="TIME", help="up to here (default: now)")
    fill.add_argument("view", nargs="*", help="only these views")
    get = command(features, "get", "feature values of one entity, as serving sees them", get_features)
    get.add_argument("feature", nargs="+", help="view:feature, or a view for all of its features")
    get.add_argument("--key", action="append", default=[], metavar="NAME=VALUE", help="an entity key")
    get.add_argument("--at", metavar="TIME", help="as of this time (ISO 8601; default: now)")


def list_features(options: argparse.Namespace) -> int:
    """Print the definitions."""
    rows = [
        {
            "feature": f"{view.name}:{name}",
            "rule": rule.describe() if hasattr(rule, "describe") else str(rule.to_dict()),
            "entity": view.entity.name if view.entity else None,
            "source": view.source.name,
        }
        for view in open_project(options).views.values()
        for name, rule in view.aggregations.items()
    ]
    if options.json:
        print_json(rows)
    else:
        print_table(rows, ["feature", "entity", "source", "rule"])
    return 0


def materialize(options: argparse.Namespace) -> int:
    """Fill the online store."""
    from millrace.core.clock import from_text

    wiring = open_wiring(options)
    end = from_text(options.end) if options.end else wiring.clock.now()
    views = options.view or None

    def show(done: int, total: int) -> None:
        if sys.stderr.isatty():
            print(f"\r{done:,} of {total:,}", end="" if done < total else "\n", file=sys.stderr, flush=True)

    if options.start:
        result = wiring.features.materialize(from_text(options.start), end, views=views, progress=show)
    else:
        result = wiring.features.materialize_incremental(end, views=views, progress=show)
    if options.json:
        print_json(result)
    else:
        print(f"online store is filled up to {end:%Y-%m-%d %H:%M}: {result}")
    return 0


def get_features(options: argparse.Namespace) -> int:
    """Print values."""
    from millrace.core.clock import from_text

    wiring = open_wiring(options)
    key = dict(pair.partition("=")[::2] for pair in options.key)
    references = [
        f"{name}:{feature}"
        for name in options.feature
        for feature in ([name.partition(":")[2]] if ":" in name else wiring.project.views[name].features)
    ] if all(":" in name or name in wiring.project.views for name in options.feature) else options.feature
    references = [
        reference if ":" in reference.partition(":")[2] or reference.count(":") == 1 else reference.partition(":")[2]
        for reference in references
    ]
    at = from_text(options.at) if options.at else None
    answer = wiring.features.get_online_features(references, entity_rows=[key], at=at).to_dict()
    if options.json:
        print_json(answer)
    else:
        print_table([{"feature": name, "value": values[0]} for name, values in answer.items()], ["feature", "value"])
    return 0
