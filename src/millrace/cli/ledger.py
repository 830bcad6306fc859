"""`millrace history`, `explain`, `replay`, `ledger verify`: what happened, why, and whether the record holds."""

from __future__ import annotations

import argparse
from typing import Any

from millrace.cli.options import command, open_ledger
from millrace.cli.output import outcome, print_json, print_table


def add(commands: Any) -> None:
    """The grammar of these commands."""
    history = command(commands, "history", "what happened, newest last", show_history)
    history.add_argument("subject", nargs="?", help="only events about this model, run or source")
    history.add_argument("--kind", help="only this kind: run, step, decision, version, alias, release, trigger, alert")
    history.add_argument("--last", type=int, default=30, metavar="N", help="how many (default 30; 0 for all)")
    why = command(commands, "explain", "why something was decided, with the evidence", show_explanation)
    why.add_argument("decision", type=int, help="the number of a decision, evaluation or trigger in `millrace history`")
    again = command(commands, "replay", "decide again from the recorded evidence; exit 1 if it differs", show_replay)
    again.add_argument(
        "decision", type=int, help="the number of a decision, evaluation or trigger in `millrace history`"
    )
    ledger = commands.add_parser("ledger", help="the record itself").add_subparsers(metavar="VERB", required=True)
    command(ledger, "verify", "prove that no event was changed, removed or added behind its back", verify)


def show_history(options: argparse.Namespace) -> int:
    """Print events."""
    events = open_ledger(options).events(options.kind, options.subject, last=options.last or None)
    if options.json:
        print_json([event.to_dict() for event in events])
        return 0
    rows = [
        {"event": e.seq, "at": e.at[:19], "kind": e.kind, "subject": e.subject, "what": _summary(e.kind, e.body)}
        for e in events
    ]
    print_table(rows, ["event", "at", "kind", "subject", "what"])
    return 0


def show_explanation(options: argparse.Namespace) -> int:
    """Print one decision in plain words."""
    from millrace.flow.decisions import explain, get_decision

    event = get_decision(open_ledger(options), options.decision)
    if options.json:
        print_json(event.to_dict())
    else:
        print("\n".join(explain(event)))
    return 0


def show_replay(options: argparse.Namespace) -> int:
    """Recompute one decision."""
    from millrace.flow.decisions import get_decision, replay

    done = replay(get_decision(open_ledger(options), options.decision))
    if options.json:
        pairs = [
            {"recorded": recorded.to_dict(), "recomputed": recomputed.to_dict()}
            for recorded, recomputed in zip(done.recorded, done.recomputed, strict=True)
        ]
        print_json({"is_same": done.is_same, "verdicts": pairs})
    else:
        print(outcome("same" if done.is_same else "different"))
        for recorded, recomputed in zip(done.recorded, done.recomputed, strict=True):
            print(f"  {recorded.rule}")
            print(f"    recorded    {recorded.outcome}: {recorded.reason}")
            print(f"    recomputed  {recomputed.outcome}: {recomputed.reason}")
    return 0 if done.is_same else 1


def verify(options: argparse.Namespace) -> int:
    """Check the chain."""
    found = open_ledger(options).verify()
    if options.json:
        print_json(
            {"is_intact": found.is_intact, "events": found.events, "head": found.head, "problems": found.problems}
        )
    else:
        print(f"{outcome('intact' if found.is_intact else 'damaged')}: {found.events} events, head {found.head[:16]}")
        for problem in found.problems:
            print(f"  {problem}")
    return 0 if found.is_intact else 4


def _summary(kind: str, body: dict[str, Any]) -> str:
    if kind in ("decision", "evaluation", "trigger"):
        verdicts = body.get("verdicts") or [body.get("verdict", {})]
        return "; ".join(f"{v.get('rule')}: {v.get('outcome')}, {v.get('reason', '')}" for v in verdicts)[:100]
    if kind == "step":
        return f"{body.get('step', 'reused')} {body.get('status', '')} (attempt {body.get('attempt', '-')})"
    if kind == "run":
        return f"{body.get('run_id')} {body.get('status')} ({body.get('reason')})"
    if kind == "release":
        release = body.get("release", {})
        return f"v{release.get('version')} {release.get('strategy')}: {release.get('reason')}"[:100]
    for name in ("title", "reason", "status", "digest"):
        if body.get(name):
            return str(body[name])[:100]
    return ", ".join(f"{key} {value}" for key, value in list(body.items())[:4])[:100]
