"""The features of one model, under one name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from millrace.core.definition import caller_place, report
from millrace.core.errors import ProjectError
from millrace.core.ids import digest_json
from millrace.features.on_demand import OnDemandView
from millrace.features.view import FeatureView

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class FeatureService:
    """A named vector of features, in order.

    Parameters
    ----------
    name : str
    features : sequence of FeatureView, OnDemandView or str
        A view for all of its features, or ``view:feature``.
    description, owner : str
    tags : sequence of str

    Raises
    ------
    ProjectError
        PROJ-49 when the name cannot be one, or `features` holds something else or nothing.
    """

    name: str
    features: Sequence[Any] = field(kw_only=True)
    description: str = field(default="", kw_only=True)
    owner: str = field(default="", kw_only=True)
    tags: Sequence[str] = field(default=(), kw_only=True)
    place: str | None = field(default=None, repr=False, compare=False, kw_only=True)

    def __post_init__(self) -> None:
        if self.place is None:
            object.__setattr__(self, "place", caller_place())
        given = [self.features] if isinstance(self.features, (str, FeatureView, OnDemandView)) else self.features
        object.__setattr__(self, "features", tuple(given))
        object.__setattr__(self, "tags", tuple(self.tags))
        wrong = [one for one in self.features if not isinstance(one, (str, FeatureView, OnDemandView))]
        if not _NAME.fullmatch(str(self.name)) or wrong or not self.features:
            what = f"holds {wrong[0]!r}" if wrong else "has no features" if not self.features else "has no usable name"
            report(
                ProjectError(
                    "PROJ-49",
                    f"feature service {self.name!r} {what}",
                    where=self.place,
                    fix='FeatureService("churn", features=[a_view, "other_view:feature"])',
                )
            )

    def __hash__(self) -> int:
        return hash(self.name)

    @property
    def references(self) -> tuple[str, ...]:
        """What it is made of, as ``view`` or ``view:feature``."""
        return tuple(one if isinstance(one, str) else one.name for one in self.features)

    def pins(self, digests: Mapping[str, str]) -> dict[str, str]:
        """The digest of each view it is made of, given all of them: what a model that uses it was trained on."""
        names = dict.fromkeys(reference.partition(":")[0] for reference in self.references)
        return {name: digests[name] for name in names}

    def digest(self, digests: Mapping[str, str]) -> str:
        """SHA-256 of its references and of the definitions behind them."""
        return digest_json({"features": list(self.references), "views": self.pins(digests)})
