"""Every automatic decision again: in plain words, or recomputed from its recorded evidence."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from millrace.core.errors import ProjectError, StoreError, did_you_mean
from millrace.core.verdict import Verdict
from millrace.store.ledger import Event, Ledger

Judge = Callable[[Mapping[str, Any]], Verdict]

# Each room lists its rules; a rule is found by the name that stands in the record.
_MODULES = (
    "validation.decisions",
    "validation.release",
    "drift.decisions",
    "drift.batch_decisions",
    "gates.decisions",
    "deployment.decisions",
    "monitoring.decisions",
)


# What carries verdicts: a decision of a step, a judged window, and a trigger that fired.
_KINDS = ("decision", "evaluation", "trigger")


_MOST_ROWS = 8


@dataclass(frozen=True)
class Replay:
    """The verdicts of one event, as they are on the record and as they come out again from their evidence."""

    event: Event
    recorded: tuple[Verdict, ...]
    recomputed: tuple[Verdict, ...]

    @property
    def is_same(self) -> bool:
        return self.recorded == self.recomputed


def all_rules() -> dict[str, Judge]:
    """Every rule that decides by itself, by name."""
    rules: dict[str, Judge] = {}
    for module in _MODULES:
        rules.update(importlib.import_module(f"millrace.{module}").DECISIONS)
    return rules


def get_decision(ledger: Ledger, number: int) -> Event:
    """The event `number`, which holds one verdict or several.

    Raises
    ------
    StoreError
        LEDGER-03 when there is no such event, LEDGER-05 when it holds no verdict.
    """
    event = ledger.get_event(number)
    if event.kind not in _KINDS:
        nearby = [other.seq for kind in _KINDS for other in ledger.events(kind)]
        close = min(nearby, key=lambda seq: abs(seq - number), default=None)
        raise StoreError(
            "LEDGER-05",
            f"event {number} is a {event.kind}, not a decision",
            fix=f"the nearest decision is {close}" if close else "nothing was decided yet",
        )
    return event


def verdicts_of(event: Event) -> tuple[Verdict, ...]:
    """What was decided: one verdict, or each of a window's."""
    found = event.body["verdicts"] if "verdicts" in event.body else [event.body["verdict"]]
    return tuple(Verdict.from_dict(facts) for facts in found)


def replay(event: Event) -> Replay:
    """Recompute a decision from the evidence on the record.

    Raises
    ------
    ProjectError
        LEDGER-06 when this version of Millrace has no rule of that name.
    """
    recorded = verdicts_of(event)
    rules = all_rules()
    for verdict in recorded:
        if verdict.rule not in rules:
            raise ProjectError(
                "LEDGER-06", f"no rule '{verdict.rule}' is installed", fix=did_you_mean(verdict.rule, rules)
            )
    return Replay(event, recorded, tuple(rules[verdict.rule](verdict.evidence) for verdict in recorded))


def explain(event: Event) -> list[str]:
    """The decision in plain words: what was decided, on what, and each number that was looked at."""
    lines: list[str] = []
    for verdict in verdicts_of(event):
        lines += [f"{verdict.rule} of {event.subject}: {verdict.outcome}", f"  {verdict.reason}"]
        lines.append(f"  decided {event.at}")
        if event.body.get("run"):
            lines.append(f"  in run {event.body['run']}, step {event.body.get('step', '?')}")
        if event.body.get("window"):
            lines.append(f"  on the window {event.body['window']['start']} to {event.body['window']['end']}")
        lines.append("  evidence")
        lines.extend(f"    {line}" for line in _lines(verdict.evidence))
    return lines


def _lines(value: Mapping[str, Any], indent: str = "") -> list[str]:
    found = []
    for name, part in value.items():
        if isinstance(part, Mapping):
            found.append(f"{indent}{name}")
            found.extend(_lines(part, indent + "  "))
        elif isinstance(part, list) and part and all(isinstance(item, Mapping) for item in part):
            found.append(f"{indent}{name}")
            shown = part[:_MOST_ROWS]
            found.extend(f"{indent}  - {', '.join(f'{key} {_short(item[key])}' for key in item)}" for item in shown)
            if len(part) > len(shown):
                found.append(f"{indent}  - and {len(part) - len(shown)} more: --json shows all")
        else:
            found.append(f"{indent}{name:<20} {_short(part)}")
    return found


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(value)
    return text if len(text) <= 160 else f"{text[:157]}..."
