"""Which rules the rows of requests are judged by, and what becomes of those that break one."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from millrace.core.definition import caller_place, report
from millrace.core.errors import DataError, did_you_mean
from millrace.validation.suite import Suite

ServingPolicy = Literal["reject", "coerce", "flag", "off"]

_POLICIES = ("reject", "coerce", "flag", "off")


@dataclass(frozen=True)
class ServingData:
    """How a model's server judges the rows of its requests.

    Parameters
    ----------
    suite : Suite, str or Path, optional
        Rules on the model's columns. When None, those of the suite of the labels' source that are about inputs of the
        model.
    policy : {"reject", "coerce", "flag", "off"}
        "reject" answers 422 to a row that breaks a critical rule; "coerce" does too, after it read values that were
        sent in another form, such as "25" for 25; "flag" answers every row and says in the answer, the prediction log
        and the counters which rules it breaks; "off" asks no rule.

    Raises
    ------
    DataError
        VALID-43 for a policy that does not exist.

    >>> ServingData(policy="reject").policy
    'reject'
    """

    suite: Suite | str | Path | None = field(default=None, hash=False)
    policy: ServingPolicy = "flag"
    place: str | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.place is None:
            object.__setattr__(self, "place", caller_place())
        if self.policy not in _POLICIES:
            fix = did_you_mean(str(self.policy), _POLICIES)
            report(DataError("VALID-43", f"there is no policy {self.policy!r}", where=self.place, fix=fix))
