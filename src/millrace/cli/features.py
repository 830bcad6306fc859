"""`millrace features`: materialize and get; the other verbs each have their own file."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from millrace.cli.features_catalog import add_catalog
from millrace.cli.features_changes import add_changes
from millrace.cli.features_checks import add_checks
from millrace.cli.features_serve import add_serve
from millrace.cli.options import a_time, command, open_wiring
from millrace.cli.output import print_json, print_table, progress
from millrace.core.clock import to_text

_MEANINGS = {
    "missing": "the online store holds no event of this key up to that moment",
    "expired": "the newest event is older than the view's ttl",
    "trimmed": "the online store keeps too little of the past for that moment; ask get_historical_features",
}


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
    get.add_argument("--key", action="append", default=[], type=_a_pair, metavar="NAME=VALUE",
                     help="a key or request field; repeat it for several")  # fmt: skip
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
        print(f"the online store is filled up to {end:%Y-%m-%d %H:%M}")
        if wiring.environment.online.startswith("memory:"):
            print("it ends with this command: memory:// is for tests and notebooks", file=sys.stderr)
        print_table([{"view": view, "events": f"{rows:,}"} for view, rows in result.items()], ["view", "events"])
    return 0


def get_features(options: argparse.Namespace) -> int:
    """Print values."""
    wiring = open_wiring(options)
    store = wiring.features
    # A view wins over a service of its name, as it does in a list of features.
    plan = store.plan([one if one in store.definitions else store.services.get(one, one) for one in options.feature])
    floats = {name for name, field in plan.fields.items() if field.kind == "float"}
    row = {name: _key_value(text, is_float=name in floats) for name, text in options.key}
    at = options.at
    answer = plan.lookup([row], at)
    rows = [
        {
            "feature": name,
            "value": values[0],
            "status": answer.statuses[name][0],
            "event_time": answer.event_times[name][0],
        }
        for name, values in answer.values.items()
    ]
    if options.json:
        print_json([{**one, "event_time": one["event_time"] and to_text(one["event_time"])} for one in rows])
        return 0
    # A float as it is, to the last bit: this is where one looks when two values should be the same.
    exact = [{**one, "value": repr(one["value"]) if isinstance(one["value"], float) else one["value"]} for one in rows]
    times = [{**one, "newest event": one["event_time"] and f"{one['event_time']:%Y-%m-%d %H:%M:%S}"} for one in exact]
    print_table(times, ["feature", "value", "status", "newest event"])
    for status, meaning in _MEANINGS.items():
        if any(one["status"] == status for one in rows):
            print(f"{status}: {meaning}")
    return 0


def _a_pair(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not (name and sign):
        raise argparse.ArgumentTypeError(f"'{text}' is no key with its value: write customer_id=7")
    return name, value


def _key_value(text: str, *, is_float: bool) -> int | float | str:
    """A key as the store holds it: a whole number where it reads as one. What a request brings may be a float."""
    try:
        return float(text) if is_float else int(text) if text.lstrip("-").isdigit() else text
    except ValueError:
        return text  # it is refused with the name of what it was meant for
