"""Firing a trigger exactly once, and the one retrain that is open for a model.

A trigger has a key made of model, kind and window; the ledger takes each key once. What it opens is a state of the
model, ("trigger", model), that goes pending -> running -> done, refused or failed. A trigger that fires while one is
open is attached to it as a further reason. After a finished run the next one rests for the cooldown: it is opened at
once, so it cannot be lost, and becomes claimable when the rest is over.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from millrace.core.clock import from_text, to_text
from millrace.core.errors import Conflict
from millrace.core.records import Alert
from millrace.core.verdict import Verdict
from millrace.monitoring.alerts import append_alert
from millrace.monitoring.triggers import MANUAL, judge_manual
from millrace.store.lease import Lease
from millrace.store.ledger import Event, Ledger, Transaction

KIND = "trigger"
LONGEST_COOLDOWN = timedelta(hours=48)
SETBACKS_BEFORE_ALERT = 3
OPEN = ("pending", "running")
Ending = Literal["done", "refused", "failed"]


@dataclass(frozen=True, slots=True)
class Reason:
    """Why to retrain: a failed verdict of one kind of trigger, about the window that ended at `window_end`."""

    kind: str
    verdict: Verdict
    window_end: str
    cooldown: timedelta = timedelta(hours=6)

    def key(self, model: str) -> str:
        """The trigger's idempotency key."""
        return f"mr:{model}:{self.kind}:{self.window_end}"


@dataclass(frozen=True, slots=True)
class Retrain:
    """The open retrain of a model. `run_id` is what the pipeline runs under, on every engine."""

    model: str
    key: str
    run_id: str
    reasons: tuple[Mapping[str, Any], ...]
    opened_at: str
    is_resumed: bool = field(default=False, compare=False)

    @property
    def kinds(self) -> list[str]:
        """The kinds of its reasons, in the order they came."""
        return list(dict.fromkeys(reason["kind"] for reason in self.reasons))


def fire(ledger: Ledger, model: str, reasons: Sequence[Reason], *, lease: Lease | None = None) -> list[Event]:
    """Record each reason, once, in one transaction; one event a reason, the earlier one when its key has fired before.

    The event's ``action`` says what the reason did: ``opened`` a retrain, or ``merged`` into the open one.
    """
    with ledger.transaction(lease) as transaction:
        return append_reasons(ledger, transaction, model, reasons)


def ask_for_retrain(ledger: Ledger, model: str, *, requested_by: str, reason: str) -> Event:
    """Fire the manual trigger: it waits for no cooldown, and lets a resting retrain start now."""
    at = to_text(ledger.clock.now())
    verdict = judge_manual({"requested_by": requested_by, "reason": reason, "requested_at": at})
    return fire(ledger, model, [Reason("manual", verdict, at, timedelta(0))])[0]


def append_reasons(ledger: Ledger, transaction: Transaction, model: str, reasons: Sequence[Reason]) -> list[Event]:
    """`fire` inside an open transaction."""
    return [_append_reason(transaction, model, reason, ledger.clock.now()) for reason in reasons]


def find_open(ledger: Ledger, model: str) -> Retrain | None:
    """The open retrain of a model, resting ones too, or None."""
    state = ledger.state(KIND, model)
    return _retrain(state.value) if state is not None and state.value["status"] in OPEN else None


def claim(ledger: Ledger, model: str, *, lease: Lease | None = None) -> Retrain | None:
    """The retrain to run now, marked running; None when there is none or it rests.

    One that is already running is returned again with ``is_resumed``: the process that ran it is gone, and its run is
    continued under the same id. Hold the loop's lease, so that this is true.
    """
    with ledger.transaction(lease) as transaction:
        state = transaction.state(KIND, model)
        if state is None or state.value["status"] not in OPEN:
            return None
        value = state.value
        if value["status"] == "running":
            return _retrain(value, is_resumed=True)
        now = ledger.clock.now()
        if value["not_before"] is not None and from_text(value["not_before"]) > now:
            return None
        running = {**value, "status": "running", "started_at": to_text(now)}
        body = {"key": value["key"], "run_id": value["run_id"], "reasons": _keys(value)}
        transaction.append("retrain_started", model, body, key=f"{value['key']}:started", sets=[(KIND, model, running)])
        return _retrain(running)


def hold(
    ledger: Ledger, model: str, incident: Event, *, channels: Sequence[str] = (), lease: Lease | None = None
) -> Event | None:
    """Keep the open retrain waiting because of a data incident; the event, which says so once for each incident.

    None when no retrain waits, when it runs already, or when a person asked for it.

    Parameters
    ----------
    incident : Event
        The ``evaluation`` whose labels cannot be right.
    """
    with ledger.transaction(lease) as transaction:
        state = transaction.state(KIND, model)
        if state is None or state.value["status"] != "pending":
            return None
        if any(reason["kind"] == "manual" for reason in state.value["reasons"]):
            return None
        text = str(incident.body["incident"])
        key = f"{state.value['key']}:held:{incident.seq}"
        body = {"key": state.value["key"], "incident": incident.seq, "reason": text, "reasons": _keys(state.value)}
        event = transaction.append("retrain_held", model, body, key=key)
        if event.is_new:
            append_alert(transaction, _held_alert(model, key, text, to_text(ledger.clock.now())), channels)
        return event


def standing_incident(ledger: Ledger, model: str, monitors: Sequence[str]) -> Event | None:
    """The newest window of one of the monitors whose labels could not be right, if no later one of it was sound."""
    newest: dict[str, Event] = {}
    for event in ledger.events("evaluation", model):
        # A window that could not tell leaves the incident before it standing.
        is_watched = event.body["window"]["monitor"] in monitors
        if is_watched and (event.body["incident"] is not None or not event.body["carried"]):
            newest[event.body["window"]["monitor"]] = event
    standing = [event for event in newest.values() if event.body["incident"] is not None]
    return max(standing, key=lambda event: event.seq, default=None)


def finish(
    ledger: Ledger,
    model: str,
    run_id: str,
    outcome: Ending,
    *,
    reason: str,
    channels: Sequence[str] = (),
    lease: Lease | None = None,
) -> Event:
    """Close the running retrain; the earlier event when it was closed before.

    Parameters
    ----------
    outcome : {"done", "refused", "failed"}
        ``refused``: a gate or a smoke test kept the candidate out. Each refusal or failure in a row doubles the
        cooldown, up to 48 h; the third raises a critical alert.
    channels : sequence of str
        Where that alert goes.

    Raises
    ------
    Conflict
        MON-03 when this run is not the one that is open.
    """
    with ledger.transaction(lease) as transaction:
        state = transaction.state(KIND, model)
        if state is None or state.value["run_id"] != run_id or state.value["status"] == "pending":
            raise Conflict(
                "MON-03",
                f"run '{run_id}' is not the open retrain of '{model}'",
                why="there is none" if state is None else f"it is '{state.value['run_id']}', {state.value['status']}",
                fix="`millrace history` shows which runs were started",
            )
        key = f"{state.value['key']}:finished"
        earlier = transaction.find(key)
        if earlier is not None:
            return earlier
        now = ledger.clock.now()
        setbacks = 0 if outcome == "done" else state.value["setbacks"] + 1
        closed = {**state.value, "status": outcome, "finished_at": to_text(now), "setbacks": setbacks}
        body = {
            "run_id": run_id,
            "outcome": outcome,
            "reason": reason,
            "setbacks": setbacks,
            "reasons": _keys(closed),
        }
        event = transaction.append("retrain_finished", model, body, key=key, sets=[(KIND, model, closed)])
        if setbacks and setbacks % SETBACKS_BEFORE_ALERT == 0:
            append_alert(transaction, _setback_alert(model, run_id, setbacks, reason, to_text(now)), channels)
        return event


def cooldown_after(cooldown: timedelta, setbacks: int) -> timedelta:
    """The rest after a run: the cooldown, doubled for each refusal or failure in a row, at most 48 h.

    >>> cooldown_after(timedelta(hours=6), 2)
    datetime.timedelta(days=1)
    """
    doubled = cooldown * float(2 ** min(setbacks, 10))
    return max(cooldown, min(doubled, LONGEST_COOLDOWN))


def run_id_of(key: str) -> str:
    """A trigger key as a run id that every engine accepts.

    >>> run_id_of("mr:churn:drift:2024-05-01T00:00:00.000000Z")
    'mr-churn-drift-2024-05-01T00-00-00.000000Z'
    """
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", key)


def _append_reason(transaction: Transaction, model: str, reason: Reason, now: datetime) -> Event:
    key = reason.key(model)
    earlier = transaction.find(key)
    if earlier is not None:
        return earlier
    state = transaction.state(KIND, model)
    value = state.value if state is not None else {}
    is_open = value.get("status") in OPEN
    entry = {"kind": reason.kind, "key": key, "window_end": reason.window_end, "text": reason.verdict.reason}
    not_before = _rest(value, reason, now)
    if is_open:
        # The reason with the shortest rest decides when the open retrain may start; None is now.
        held = value["not_before"]
        not_before = None if held is None or not_before is None else min(held, not_before)
        changed = {**value, "reasons": [*value["reasons"], entry], "not_before": not_before}
    else:
        changed = {
            "model": model,
            "status": "pending",
            "key": key,
            "run_id": run_id_of(key),
            "reasons": [entry],
            "opened_at": to_text(now),
            "not_before": not_before,
            "finished_at": value.get("finished_at"),
            "setbacks": value.get("setbacks", 0),
        }
    body = {
        "kind": reason.kind,
        "window_end": reason.window_end,
        "verdict": reason.verdict.to_dict(),
        "action": "merged" if is_open else "opened",
        "run_id": changed["run_id"],
        "not_before": not_before,
    }
    return transaction.append("trigger", model, body, key=key, sets=[(KIND, model, changed)])


def _rest(value: Mapping[str, Any], reason: Reason, now: datetime) -> str | None:
    """When this reason may start a retrain, counted from the end of the last one; None when at once."""
    last = value.get("finished_at")
    if last is None or reason.verdict.rule == MANUAL:
        return None
    until = from_text(last) + cooldown_after(reason.cooldown, value["setbacks"])
    return to_text(until) if until > now else None


def _retrain(value: Mapping[str, Any], *, is_resumed: bool = False) -> Retrain:
    return Retrain(
        model=value["model"],
        key=value["key"],
        run_id=value["run_id"],
        reasons=tuple(value["reasons"]),
        opened_at=value["opened_at"],
        is_resumed=is_resumed,
    )


def _keys(value: Mapping[str, Any]) -> list[str]:
    return [reason["key"] for reason in value["reasons"]]


def _held_alert(model: str, key: str, text: str, at: str) -> Alert:
    return Alert(
        key=f"alert:{key}",
        severity="warning",
        subject=model,
        title=f"the retrain of {model} waits: a data incident stands",
        text=f"{text}; it starts once a window is sound, or when somebody asks: millrace trigger",
        at=at,
    )


def _setback_alert(model: str, run_id: str, setbacks: int, reason: str, at: str) -> Alert:
    return Alert(
        key=f"alert:{run_id}:setbacks",
        severity="critical",
        subject=model,
        title=f"{setbacks} retrains of {model} in a row were refused or failed",
        text=f"the model in production stays; the last reason: {reason}",
        at=at,
        facts={"run_id": run_id, "setbacks": setbacks},
    )
