"""`millrace features`: materialize and get; the other verbs each have their own file."""

from __future__ import annotations

import argparse
from typing import Any

from millrace.cli.features_catalog import add_catalog
from millrace.cli.features_changes import add_changes
from millrace.cli.features_checks import add_checks
from millrace.cli.features_serve import add_serve
from millrace.cli.options import a_time, command, open_wiring
from millrace.cli.output import print_json, print_table, progress


def add(commands: Any) -> None:
    """The grammar of these commands."""
    features = commands.add_parser("features", help="the feature store").add_subparsers(metavar="VERB", required=True)
    add_catalog(features)
    add_changes(features)
    fill = command(features, "materialize", "bring features of past events to the online store", materialize)
    fill.add_argument(
        "--start", type=a_time, metavar="TIME", help="from here on (ISO 8601; default: where the last one ended)"
    )
    fill.add_argument("--end", type=a_time, metavar="TIME", help="up to here (default: now)")
    fill.add_argument("view", nargs="*", help="only these views")
    fill.add_argument(
        "--version",
        metavar="MODEL:VERSION",
        help="the definitions that a model version was trained on, not the project's",
    )
    get = command(features, "get", "feature values of one entity, as serving sees them", get_features)
    get.add_argument("feature", nargs="+", help="view:feature, a view for all of its features, or a service")
    get.add_argument("--key", action="append", default=[], metavar="NAME=VALUE", help="a key or request field")
    get.add_argument("--at", type=a_time, metavar="TIME", help="as of this time (ISO 8601; default: now)")
    add_checks(features)
    add_serve(features)


def materialize(options: argparse.Namespace) -> int:
    """Fill the online store."""
    from millrace.flow.pinned_features import version_store

    wiring = open_wiring(options)
    end = options.end or wiring.clock.now()
    views, show = options.view or None, progress("materializing")
    store = version_store(wiring, options.version) if options.version else wiring.features
    if options.start:
        result = store.materialize(options.start, end, views=views, progress=show)
    else:
        result = store.materialize_incremental(end, views=views, progress=show)
    if options.json:
        print_json(result)
    else:
        print(f"online store is filled up to {end:%Y-%m-%d %H:%M}: {result}")
    return 0


def get_features(options: argparse.Namespace) -> int:
    """Print values."""
    wiring = open_wiring(options)
    store = wiring.features
    # A view wins over a service of its name, as it does in a list of features.
    plan = store.plan([one if one in store.definitions else store.services.get(one, one) for one in options.feature])
    floats = {name for name, field in plan.fields.items() if field.kind == "float"}
    pairs = [pair.partition("=") for pair in options.key]
    row = {name: _key_value(text, is_float=name in floats) for name, _, text in pairs}
    at = options.at
    answer = plan.lookup([row], at)
    statuses = answer.statuses
    rows = [
        {"feature": name, "value": values[0], "status": statuses[name][0]}
        for name, values in answer.to_dict().items()
        if name in statuses
    ]
    if options.json:
        print_json(rows)
    else:
        print_table(rows, ["feature", "value", "status"])
    return 0


def _key_value(text: str, *, is_float: bool) -> int | float | str:
    """A key as the store holds it: a whole number where it reads as one. What a request brings may be a float."""
    try:
        return float(text) if is_float else int(text) if text.lstrip("-").isdigit() else text
    except ValueError:
        return text  # it is refused with the name of what it was meant for
