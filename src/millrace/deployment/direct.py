"""Direct: the new version takes all traffic at once, after staging has proven it."""

from __future__ import annotations

from dataclasses import dataclass, field

from millrace.core.definition import caller_place


@dataclass(frozen=True)
class Direct:
    """Switch an environment to the new version in one atomic step.

    >>> Direct().describe()
    'all traffic at once'
    """

    place: str | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.place is None:
            object.__setattr__(self, "place", caller_place())

    @property
    def name(self) -> str:
        """The strategy's name, as a release records it."""
        return "direct"

    def describe(self) -> str:
        """The strategy in a few words."""
        return "all traffic at once"
