"""How far a view is materialized, as the ledger knows it. Standard library only, so that a light command can tell."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from millrace.core.clock import from_text
from millrace.features.view import FeatureView
from millrace.store.ledger import Ledger

STATE = "materialization"
"""Kind of the events, and of the state by storage id: ``until``, and ``running`` while a call is under way."""


def materialization_state(ledger: Ledger, view: FeatureView) -> Mapping[str, Any]:
    """How far this very definition of `view` came; empty for nothing."""
    # Before a view could have several definitions at work at once, its name was the key.
    for key in (view.storage_id(), view.name):
        state = ledger.state(STATE, key)
        if state is not None and state.value.get("storage_id") == view.storage_id():
            return state.value
    return {}


def materialized_until(ledger: Ledger, view: FeatureView) -> datetime | None:
    """The end of what is online without a hole, None for nothing."""
    text = materialization_state(ledger, view).get("until")
    return None if text is None else from_text(text)
