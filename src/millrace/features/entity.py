"""What features describe: a customer, a machine, a pair of both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from millrace.core.definition import caller_place, report
from millrace.core.errors import ProjectError


@dataclass(frozen=True)
class Entity:
    """The thing that features are about, and the columns that name one of them.

    Parameters
    ----------
    name : str
    key : str or sequence of str
        Join key columns; they carry the same names in sources, training rows and requests. Values are integers,
        strings or booleans.
    description : str

    Raises
    ------
    ProjectError
        PROJ-40 when there is no key, or one twice.

    >>> Entity("customer", key="customer_id").keys
    ('customer_id',)
    """

    name: str
    key: str | Sequence[str]
    description: str = ""
    place: str | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.key, str):
            object.__setattr__(self, "key", tuple(self.key))
        if self.place is None:
            object.__setattr__(self, "place", caller_place())
        if not self.keys or "" in self.keys or len(set(self.keys)) != len(self.keys):
            report(
                ProjectError(
                    "PROJ-40",
                    f"entity '{self.name}' has the key {list(self.keys)}: it needs one or several different columns",
                    where=self.place,
                    fix='Entity("customer", key="customer_id"), or key=["shop_id", "customer_id"]',
                )
            )

    @property
    def keys(self) -> tuple[str, ...]:
        """Key columns in their order."""
        return (self.key,) if isinstance(self.key, str) else tuple(self.key)
