"""What runs do with a batch that was released: take it, give it back, go on with another run's. Standard library only.

A released batch counts as used up once a model that learned from it was judged. A run that ends before that gives it
back, in the transaction that ends the run: a process killed at any instant leaves a batch that some run holds and
goes on with, or one that waits.
"""

from __future__ import annotations

from typing import Any

from millrace.store.ledger import Event, State, Transaction
from millrace.validation.release import KIND

MOST_FAILURES = 3
"""So many runs may fail on a released batch; then it is given up, lest it stand before every later batch for ever."""


def take_released(transaction: Transaction, source: str, model: str, run: str) -> dict[str, Any] | None:
    """The batch of `source` that the run is to learn from: the one released last for its model, once; else None.

    A run asks again after it was interrupted, and gets the same.
    """
    waiting = []
    for state in transaction.states(KIND):
        value = state.value
        if value.get("source") != source or value.get("model") != model or value.get("snapshot") is None:
            continue
        if value["status"] == "used" and value.get("run") == run:
            return dict(value)
        if value["status"] == "released":
            waiting.append(state)
    if not waiting:
        return None
    released = _release_order(transaction, source, model)
    waiting.sort(key=lambda state: released.get(state.value["batch"], state.seq))
    chosen = {**waiting[-1].value, "status": "used", "run": run}
    passed = [(KIND, state.key, {**state.value, "status": "passed over"}) for state in waiting[:-1]]
    body = {"batch": chosen["batch"], "run": run, "passed_over": [entry[2]["batch"] for entry in passed]}
    transaction.append(
        "batch_use",
        source,
        body,
        key=f"batch_use:{run}:{source}:{chosen['batch']}",
        sets=[(KIND, waiting[-1].key, chosen), *passed],
    )
    return chosen


def return_unlearned(transaction: Transaction, run: str, *, reason: str, is_failure: bool) -> list[Event]:
    """Give back what the run took, as no model learned from it: it is ``released`` again, or ``given up``.

    The events are ``batch_return``, one a batch, once a run.

    Parameters
    ----------
    is_failure : bool
        Whether the run failed, as opposed to one that was stopped from outside or by another batch.
    """
    found = []
    for state in _held_by(transaction, run, "used"):
        value = state.value
        failures = value.get("failures", 0) + is_failure
        status = "given up" if failures >= MOST_FAILURES else "released"
        body = {name: value.get(name) for name in ("batch", "model", "run")}
        event = transaction.append(
            "batch_return",
            value["source"],
            {**body, "status": status, "failures": failures, "reason": reason},
            key=f"batch_return:{run}:{value['source']}:{value['batch']}",
            sets=[(KIND, state.key, {**value, "status": status, "failures": failures})],
        )
        found.append(event)
    return found


def take_over(transaction: Transaction, base: str, run: str) -> None:
    """What the run `base` took and gave back is taken by `run`, which goes on from its results; given up or not."""
    for state in _held_by(transaction, base, "released", "given up"):
        value = state.value
        transaction.append(
            "batch_use",
            value["source"],
            {"batch": value["batch"], "run": run, "passed_over": []},
            key=f"batch_use:{run}:{value['source']}:{value['batch']}",
            sets=[(KIND, state.key, {**value, "status": "used", "run": run})],
        )


def _held_by(transaction: Transaction, run: str, *statuses: str) -> list[State]:
    """Batches that the run was the last to take, in one of these statuses."""
    states = transaction.states(KIND)
    return [state for state in states if state.value.get("run") == run and state.value["status"] in statuses]


def _release_order(transaction: Transaction, source: str, model: str) -> dict[str, int]:
    """Batch to the number of its newest release for the model: a batch that was given back is no newer for that."""
    events = transaction.events("batch_release", source)
    # An early ledger's releases name no model, and are of the one whose state it is.
    return {event.body["batch"]: event.seq for event in events if event.body.get("model") in (None, model)}
