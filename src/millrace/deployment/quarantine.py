"""Model bundles that proved bad: kept out of every environment until a person lets them back."""

from __future__ import annotations

from typing import Any

from millrace.core.errors import ModelError
from millrace.store.ledger import Event, Ledger, Transaction

KIND = "quarantine_model"


def quarantine_entry(model: str, version: int, digest: str, reason: str) -> tuple[str, str, dict[str, Any]]:
    """The state that keeps the bundle `digest` out, for the event that decides it."""
    value = {"quarantined": True, "model": model, "version": version, "reason": reason}
    return (KIND, digest, value)


def find_quarantine(ledger: Ledger | Transaction, digest: str) -> dict[str, Any] | None:
    """Why the bundle `digest` is kept out (model, version, reason), or None when it may run."""
    state = ledger.state(KIND, digest)
    return state.value if state is not None and state.value["quarantined"] else None


def quarantined_digests(ledger: Ledger | Transaction) -> frozenset[str]:
    """Digests of all bundles that are kept out now."""
    return frozenset(state.key for state in ledger.states(KIND) if state.value["quarantined"])


def lift_quarantine(ledger: Ledger, digest: str, *, reason: str) -> Event:
    """Let the bundle `digest` be deployed again; returns the event that says so.

    Raises
    ------
    ModelError
        DEPLOY-05 when that bundle is not in quarantine.
    """
    with ledger.transaction() as transaction:
        entry = find_quarantine(transaction, digest)
        if entry is None:
            raise ModelError(
                "DEPLOY-05",
                f"bundle {digest[:12]} is not in quarantine",
                fix="`millrace history` shows what was quarantined",
            )
        body = {"digest": digest, "model": entry["model"], "version": entry["version"], "reason": reason}
        lifted = {**entry, "quarantined": False, "reason": reason}
        return transaction.append("quarantine_lifted", entry["model"], body, sets=[(KIND, digest, lifted)])


def refuse_quarantined(ledger: Ledger | Transaction, digest: str) -> None:
    """Raise ModelError DEPLOY-01 when the bundle `digest` is kept out."""
    entry = find_quarantine(ledger, digest)
    if entry is not None:
        raise ModelError(
            "DEPLOY-01",
            f"{entry['model']} v{entry['version']} is in quarantine: it is not deployed",
            why=entry["reason"],
            fix="deploy another version; once the cause is gone: millrace deploy VERSION --lift-quarantine",
        )
