"""Telling people: an alert is on the record first, then on its way to every channel until each has taken it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from millrace.core.records import Alert
from millrace.monitoring.channels import Channel
from millrace.store.ledger import Event, Ledger, Transaction
from millrace.store.outbox import Delivery, Message


def raise_alert(ledger: Ledger, alert: Alert, channels: Sequence[str]) -> Event:
    """Record `alert` and queue it for each channel, once: the same key again changes nothing."""
    with ledger.transaction() as transaction:
        return append_alert(transaction, alert, channels)


def append_alert(transaction: Transaction, alert: Alert, channels: Sequence[str]) -> Event:
    """`raise_alert` inside an open transaction, so that it is told exactly when its cause is true."""
    body = alert.to_dict()
    return transaction.append(
        "alert",
        alert.subject,
        body,
        key=alert.key,
        tells=[(f"channel:{name}", alert.key, body) for name in channels],
    )


def deliver(ledger: Ledger, channels: Mapping[str, Channel], *, due_only: bool = True) -> dict[str, Delivery]:
    """Send what is queued for each channel; what a channel does not take stays queued and is tried again later.

    Delivery is at least once: a channel passes the alert's key on, so that its receiver can see a repetition.
    """

    def sender(channel: Channel) -> Callable[[Message], None]:
        return lambda message: channel.send(message.body)

    return {
        name: ledger.outbox.deliver(f"channel:{name}", sender(channel), due_only=due_only)
        for name, channel in channels.items()
    }
