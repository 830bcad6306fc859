"""A refusal is a result: the work was done, and its answer is no. It is recorded, never retried."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Refused:
    """What a step returns when the run must stop here for a good reason.

    Parameters
    ----------
    reason : str
        One sentence for a person.
    outputs : mapping
        The step's outputs, kept like those of any other step.
    """

    reason: str
    outputs: Mapping[str, Any] = field(default_factory=dict)
