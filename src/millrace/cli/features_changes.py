"""`millrace features plan|apply`: what a change of the definitions does, and putting it on the record."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from millrace.cli.options import command, open_wiring
from millrace.cli.output import paint, print_json

_SIGNS = {"added": ("+", "green"), "removed": ("-", "red"), "changed": ("~", "yellow")}
_EPILOG = (
    "Breaking is what makes something that exists answer otherwise: a removed view or feature, another rule, type, "
    "ttl, key, source or code. New things, descriptions, owners and tags are not. Exit code 1 when there is a breaking "
    "change and no --allow-breaking."
)


def add_changes(verbs: Any) -> None:
    """The grammar of these commands, under `millrace features`."""
    for name, help_text, function in (
        ("plan", "what the definitions would change of those that were applied, and who uses it", plan),
        ("apply", "put the definitions on the record", apply),
    ):
        parser = command(verbs, name, help_text, function)
        parser.epilog = _EPILOG
        parser.add_argument("--allow-breaking", action="store_true", help="breaking changes are meant")
        if name == "apply":
            parser.add_argument("--by", metavar="NAME", help="who applies (default: the user of this machine)")


def plan(options: argparse.Namespace) -> int:
    """Print the plan."""
    from millrace.flow.feature_changes import plan_features

    found = plan_features(open_wiring(options))
    if options.json:
        print_json(found.to_dict())
    else:
        _print_plan(found.to_dict())
        if found.is_breaking and not options.allow_breaking:
            print("`millrace features apply` will refuse this without --allow-breaking")
    return 1 if found.is_breaking and not options.allow_breaking else 0


def apply(options: argparse.Namespace) -> int:
    """Apply the plan, or refuse it."""
    import getpass

    from millrace.flow.feature_changes import apply_features, breaking, plan_features

    wiring = open_wiring(options)
    found = plan_features(wiring)
    facts = found.to_dict()
    if found.is_breaking and not options.allow_breaking:
        if options.json:
            print_json({**facts, "is_applied": False, "error": breaking(found).to_dict()})
        else:
            _print_plan(facts)
            print(breaking(found).render())
        return 1
    event = apply_features(wiring, found, by=options.by or getpass.getuser(), allow_breaking=options.allow_breaking)
    if options.json:
        print_json({**facts, "is_applied": event is not None, "event": event and event.seq})
        return 0
    _print_plan(facts)
    if event is not None:
        print(f"applied as event {event.seq} of the ledger")
    if any(change["needs_materialize"] for change in facts["changes"]):
        print("next: millrace features materialize")
    return 0


def _print_plan(plan: Mapping[str, Any]) -> None:
    if not plan["changes"]:
        print(f"nothing changes: {plan['unchanged']} definitions are as they were applied")
        return
    for change in plan["changes"]:
        sign, color = _SIGNS[change["action"]]
        breaking = paint("  breaking", "red") if change["is_breaking"] else ""
        print(paint(f"{sign} {change['kind'].replace('_', '-')} {change['name']}", color) + breaking)
        for one in change["differences"]:
            print(f"    {one['words']}" + (paint("  breaking", "red") if one["is_breaking"] else ""))
        if change["needs_materialize"]:
            print("    the online store holds nothing of it yet: materialize it")
        if change["action"] != "added":
            for what, users in change["used_by"].items():
                if users:
                    print(f"    used by {what}: {', '.join(users[-5:])}" + _more(users))
    print(f"{len(plan['changes'])} to change, {plan['unchanged']} as they were")


def _more(users: list[str]) -> str:
    return f" and {len(users) - 5} more" if len(users) > 5 else ""
