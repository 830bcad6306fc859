"""`millrace features list|show|search|lineage`: what there is, where it comes from, who uses it."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from millrace.cli.options import a_time, command, open_wiring
from millrace.cli.output import paint, print_json, print_table, progress
from millrace.core.duration import format_duration

if TYPE_CHECKING:
    from millrace.flow.feature_lineage import Lineage

_SHOWN_VERSIONS = 3


def add_catalog(verbs: Any) -> None:
    """The grammar of these commands, under `millrace features`."""
    listing = command(verbs, "list", "every view and service: owner, tags, freshness", list_features)
    listing.add_argument("--features", action="store_true", help="a line per feature, with its rule")
    show = command(verbs, "show", "one view, feature or service: definition, freshness, statistics, use", show_feature)
    show.add_argument("name", help="a view, view:feature, service, entity or source")
    show.add_argument(
        "--stats", action="store_true", help="measure the features now, over the values of every key, and keep that"
    )
    show.add_argument("--at", type=a_time, metavar="TIME", help="with --stats: values as of this time (default: now)")
    show.add_argument("--digest", metavar="HEX", help="an earlier definition of the view, one that a model pins")
    find = command(verbs, "search", "find features by name, description, tag, owner or column", search_features)
    find.add_argument("text", nargs="+", help="words; parts of them and small typos will do")
    lineage = command(verbs, "lineage", "from source to release: what feeds a thing, and what it feeds", show_lineage)
    lineage.add_argument("name", help="a view, view:feature, service, source, model, or MODEL:VERSION")


def list_features(options: argparse.Namespace) -> int:
    """Print the definitions."""
    from millrace.flow.feature_catalog import Catalog, say_age

    wiring = open_wiring(options)
    catalog = Catalog(wiring)
    entries = catalog.entries()
    if options.features:
        rows = [
            {"feature": f"{record['name']}:{one['name']}", "rule": one["words"], "type": one["type"],
             "description": one["description"]}
            for record in catalog.records.values()
            for one in catalog.features(record)
        ]  # fmt: skip
        if options.json:
            print_json(rows)
        else:
            print_table(rows, ["feature", "type", "rule", "description"])
        return 0
    if options.json:
        print_json(entries)
        return 0
    rows = [
        {
            **entry,
            "until": _short_time(entry["materialized_until"]),
            "age": say_age(entry["age_s"]),
            "digest": entry["digest"][:12],
            "owner": entry["owner"] or None,
            "tags": entry["tags"] or None,
        }
        for entry in entries
    ]
    columns = ["name", "kind", "entity", "source", "features", "owner", "tags", "until", "age", "digest", "state"]
    print_table(rows, columns)
    return 0


def show_feature(options: argparse.Namespace) -> int:
    """Print one definition."""
    from millrace.flow.feature_catalog import Catalog

    wiring = open_wiring(options)
    try:
        catalog = Catalog(wiring)
        if options.digest:
            record = catalog.earlier(options.name, options.digest)
            if options.json:
                print_json(record)
            else:
                _print_record(record)
            return 0
        if options.stats:
            _measure(wiring, catalog, options.name, options.at)
            catalog = Catalog(wiring)
        shown = catalog.show(options.name)
    finally:
        wiring.close()
    if options.json:
        print_json(shown)
    else:
        _print_shown(shown)
    return 0


def search_features(options: argparse.Namespace) -> int:
    """Print what matches."""
    from millrace.flow.feature_catalog import Catalog
    from millrace.flow.feature_search import search

    found = [one.to_dict() for one in search(Catalog(open_wiring(options)), " ".join(options.text))]
    if options.json:
        print_json(found)
    elif found:
        rows = [{**one, "found in": list(dict.fromkeys(one["because"].values()))} for one in found]
        print_table(rows, ["name", "kind", "description", "found in"])
    else:
        print("nothing matches all of these words")
    return 0


def show_lineage(options: argparse.Namespace) -> int:
    """Print a tree in both directions."""
    from millrace.flow.feature_catalog import Catalog
    from millrace.flow.feature_lineage import Graph

    wiring = open_wiring(options)
    lineage = Graph(wiring, Catalog(wiring)).lineage(options.name)
    if options.json:
        print_json(lineage.to_dict())
        return 0
    print(paint(_node_words(lineage, lineage.root), "bold"))
    for title, is_upward in (("comes from", True), ("feeds", False)):
        if lineage.above(lineage.root) if is_upward else lineage.below(lineage.root):
            print(f"{title}:")
            for line in _tree(lineage, lineage.root, is_upward=is_upward, indent="  "):
                print(line)
    return 0


def _measure(wiring: Any, catalog: Any, name: str, at: datetime | None) -> None:
    from millrace.core.errors import DataError
    from millrace.flow.feature_statistics import measure_features

    record, _ = catalog.find(name)
    if record["kind"] != "view":
        raise DataError(
            "FEAT-67",
            f"'{name}' has no values of its own to measure",
            why=f"it is a {record['kind'].replace('_', '-')}: its values depend on a request, or on the views in it",
            fix="name a feature view",
        )
    measure_features(wiring, wiring.project.views[record["name"]], at=at, progress=progress("measure"))


def _origin(definition: Mapping[str, Any]) -> dict[str, Any]:
    """Where the rows of a source come from, or the keys of an entity."""
    if definition["kind"] == "entity":
        return {"keys": ", ".join(definition["keys"])}
    if definition["kind"] != "source":
        return {}
    delay = definition["delay_s"]
    return {
        "path": definition["path"],
        "reads": definition["table"] or definition["query"],
        "time": definition["event_time"],
        "created": definition["created"],
        "delay": format_duration(timedelta(seconds=delay)) if delay else "",
    }


def _print_shown(shown: Mapping[str, Any]) -> None:
    from millrace.flow.feature_catalog import say_age

    print(paint(f"{shown['kind'].replace('_', '-')} {shown['name']}", "bold") + f"  {shown['digest'][:12]}")
    definition = shown["definition"]
    facts = {
        "about": shown["description"],
        "owner": shown["owner"],
        "tags": ", ".join(shown["tags"]),
        "entity": f"{shown['entity']} ({', '.join(definition['keys'])})" if shown["entity"] else "",
        "source": shown["source"],
        **_origin(definition),
        "views": ", ".join(shown.get("views", [])),
        "ttl": shown.get("ttl"),
        "online": _online(shown, say_age(shown["age_s"])) if shown["kind"] == "view" else "",
        "earlier": "; ".join(
            f"{one['digest'][:12]}, read by a model in use, online until {(one['materialized_until'] or 'never')[:19]}"
            for one in shown.get("earlier", [])
        ),
        "applied": f"{shown['applied']['at'][:19]} by {shown['applied']['by']}" if shown["applied"] else "not yet",
        "state": shown["state"] if shown["applied"] else "",
        "defined": shown["defined_at"],
        "used by": "; ".join(f"{name} {', '.join(users)}" for name, users in shown["used_by"].items() if users),
    }
    for name, value in facts.items():
        if value:
            print(f"  {paint(name.ljust(8), 'dim')} {value}")
    details = shown.get("feature_details", [])
    if details:
        print_table([{**one, "feature": one["name"], "rule": one["words"]} for one in details],
                    ["feature", "type", "rule", "description"])  # fmt: skip
    measured = [{"feature": one["name"], **_statistics(one["statistics"])} for one in details if one["statistics"]]
    if measured:
        print(f"statistics as of {details[0]['statistics']['at'][:19]}:")
        print_table(measured, ["feature", "keys", "null", "distinct", "min", "mean", "max", "quantiles or top"])
    if definition.get("features") and shown["kind"] == "service":
        print(f"  {paint('vector'.ljust(8), 'dim')} {', '.join(definition['features'])}")
    if definition.get("code"):
        print(definition["code"].rstrip())


def _print_record(record: Mapping[str, Any]) -> None:
    print(paint(f"{record['kind'].replace('_', '-')} {record['name']}", "bold") + f"  {record['digest'][:12]}")
    if record.get("code"):
        print(record["code"].rstrip())
    for one in record.get("features", []):
        print(f"  {one['name']}: {one['words']}")


def _online(shown: Mapping[str, Any], age: str) -> str:
    until = shown["materialized_until"]
    return f"until {until[:19]} ({age} ago)" if until else "nothing is materialized: millrace features materialize"


def _statistics(facts: Mapping[str, Any]) -> dict[str, Any]:
    spread = facts.get("quantiles") or {}
    words = [f"{name}: {value:g}" if isinstance(value, float) else f"{name}: {value}" for name, value in spread.items()]
    words += [f"{value}: {rows:,}" for value, rows in facts.get("top", [])]
    return {
        **facts,
        "keys": f"{facts['rows']:,}" + (" (sample)" if facts["is_sample"] else ""),
        "null": f"{facts['null_share']:.1%}",
        "quantiles or top": "  ".join(words) or None,
    }


def _tree(lineage: Lineage, node: str, *, is_upward: bool, indent: str) -> list[str]:
    found = lineage.above(node) if is_upward else lineage.below(node)
    # Of many versions, those that run somewhere and the newest are what one looks for.
    old = [] if is_upward else [one for one in found if one.startswith("version:") and not lineage.below(one)]
    hidden = set(old[:-_SHOWN_VERSIONS])
    shown = [one for one in found if one not in hidden]
    lines = []
    for place, one in enumerate(shown):
        is_last = place == len(shown) - 1 and not hidden
        lines.append(f"{indent}{'└─' if is_last else '├─'} {_node_words(lineage, one)}")
        lines += _tree(lineage, one, is_upward=is_upward, indent=f"{indent}{'   ' if is_last else '│  '}")
    if hidden:
        lines.append(f"{indent}└─ and {len(hidden)} older versions that run nowhere (--json has all)")
    return lines


def _node_words(lineage: Lineage, node: str) -> str:
    facts = lineage.nodes[node]
    words = f"{facts['kind'].replace('_', '-')} {facts['name']}"
    if facts.get("trained_on_earlier"):
        words += paint(f"  (trained on an earlier {', '.join(facts['trained_on_earlier'])})", "yellow")
    if facts.get("trained_on_removed"):
        words += paint(f"  (trained on {', '.join(facts['trained_on_removed'])}, which is gone)", "yellow")
    return words + (paint("  (removed)", "yellow") if facts.get("is_removed") else "")


def _short_time(text: str | None) -> str | None:
    return None if text is None else text[:16].replace("T", " ")
