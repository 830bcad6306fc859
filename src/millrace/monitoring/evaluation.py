"""Concluding a window: its verdicts, the cursor, the triggers and the alert of an incident, in one transaction."""

from __future__ import annotations

from collections.abc import Sequence

from millrace.core.clock import to_text
from millrace.core.records import Alert
from millrace.core.verdict import Verdict
from millrace.monitoring.alerts import append_alert
from millrace.monitoring.firing import Reason, append_reasons
from millrace.monitoring.triggers import LABEL_INCIDENT
from millrace.monitoring.windows import KIND, Window, cursor_after
from millrace.store.lease import Lease
from millrace.store.ledger import Event, Ledger


def conclude_window(
    ledger: Ledger,
    window: Window,
    verdicts: Sequence[Verdict],
    reasons: Sequence[Reason],
    *,
    alerts: Sequence[Alert] = (),
    channels: Sequence[str] = (),
    lease: Lease | None = None,
) -> Event:
    """Record what `window` showed and act on it; the earlier event when it was concluded before.

    A process killed before this call judges the window again and comes to the same; killed after it, it goes on with
    the next window. Nothing fires twice and nothing is lost.

    Parameters
    ----------
    verdicts : sequence of Verdict
        All that were reached on the window. When none of them could tell (all inconclusive), the window is carried
        into the next one.
    reasons : sequence of Reason
        The failed ones that ask for a retrain. In a data incident they are recorded but do not fire: the data is
        wrong, so the model is kept and people are told.

    alerts : sequence of Alert
        Told with the window: what is on the record was told, and the other way round.

    Raises
    ------
    Conflict
        LEDGER-01 when another process has moved the cursor since `window` was read.
    """
    incident = next((v for v in verdicts if v.rule == LABEL_INCIDENT and v.is_fail), None)
    name = f"{window.model}/{window.monitor}"
    key = f"evaluation:{name}:{to_text(window.start)}:{to_text(window.end)}"
    is_carried = all(verdict.outcome == "inconclusive" for verdict in verdicts)
    body = {
        "window": window.to_dict(),
        "verdicts": [verdict.to_dict() for verdict in verdicts],
        "incident": None if incident is None else incident.reason,
        "fired": [] if incident is not None else [reason.key(window.model) for reason in reasons],
        "held": [reason.key(window.model) for reason in reasons] if incident is not None else [],
        "carried": is_carried,
    }
    with ledger.transaction(lease) as transaction:
        event = transaction.append(
            "evaluation",
            window.model,
            body,
            key=key,
            sets=[cursor_after(window, carry=is_carried)],
            expected={(KIND, name): window.generation},
        )
        if not event.is_new:
            return event
        for alert in alerts:
            append_alert(transaction, alert, channels)
        if incident is not None:
            append_alert(transaction, _incident_alert(window, incident), channels)
        else:
            append_reasons(ledger, transaction, window.model, reasons)
    return event


def _incident_alert(window: Window, incident: Verdict) -> Alert:
    end = to_text(window.end)
    return Alert(
        key=f"incident:{window.model}:{window.monitor}:{end}",
        severity="critical",
        subject=window.model,
        title=f"data incident: the labels of {window.model} cannot be right",
        text=f"{incident.reason}; the model is kept and not retrained",
        at=end,
        facts={"window": window.to_dict(), "verdict": incident.to_dict()},
    )
