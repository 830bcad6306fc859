"""What features there are, with what the record knows of each: freshness, statistics, use. Reads no data."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from millrace.core.clock import to_text
from millrace.core.duration import format_duration
from millrace.core.errors import DataError, did_you_mean
from millrace.features.definition_record import Record, record_key
from millrace.features.freshness import materialized_until
from millrace.flow.feature_changes import Users, applied_states, defined_records
from millrace.flow.pinned_features import DEFINITION, EarlierViews

if TYPE_CHECKING:
    from millrace.flow.wiring import Wiring

STATISTICS = "feature_statistics"
"""Kind of the events, and of the state by view: ``at``, ``digest``, and ``features``."""


class Catalog:
    """The definitions of a project, and what its ledger says of them."""

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring
        self.records: Mapping[str, Record] = defined_records(wiring.project)
        self._applied = applied_states(wiring.ledger)
        self._statistics = {state.key: state.value for state in wiring.ledger.states(STATISTICS)}

    def entries(self) -> list[dict[str, Any]]:
        """Views, on-demand views and services: one line each."""
        return [
            self._entry(record)
            for record in self.records.values()
            if record["kind"] in ("view", "on_demand", "service")
        ]

    def show(self, name: str) -> dict[str, Any]:
        """Everything of one definition, or of one feature ``view:feature``.

        Raises
        ------
        DataError
            FEAT-66 with the nearest name.
        """
        record, feature = self.find(name)
        usage = Users(self._wiring, self.records.values()).of(record_key(record))
        shown = {
            **self._entry(record),
            "description": record["description"],
            "defined_at": self._place(record),
            "definition": dict(record),
            "used_by": usage.to_dict(),
        }
        if record["kind"] in ("view", "on_demand"):
            features = self.features(record)
            chosen = [one for one in features if feature in (None, one["name"])]
            shown |= {"ttl": _say_ttl(record), "feature_details": chosen, "earlier": self._earlier(record["name"])}
            if feature is not None:
                shown |= {"name": name, "features": 1, "description": chosen[0]["description"]}
        if record["kind"] in ("source", "entity"):
            shown["views"] = [one["name"] for one in self.records.values() if self._stands_on(one, record)]
        return shown

    @staticmethod
    def _stands_on(view: Record, record: Record) -> bool:
        if view["kind"] != "view":
            return False
        return bool(record["name"] == (view["source"]["name"] if record["kind"] == "source" else view["entity"]))

    def find(self, name: str) -> tuple[Record, str | None]:
        """The record that a name means, and the feature when it names one. A view comes before a service."""
        view, _, feature = name.partition(":")
        for kind in ("view", "on_demand", "service", "entity", "source"):
            record = self.records.get(f"{kind}:{view}")
            if record is not None and (not feature or feature in [one["name"] for one in self.features(record)]):
                return record, feature or None
        known = [record["name"] for record in self.records.values()]
        known += [
            f"{record['name']}:{one['name']}" for record in self.records.values() for one in self.features(record)
        ]
        fix = did_you_mean(name, known)
        if name in self._wiring.project.models:
            fix = f"it is a model: millrace features lineage {name}"
        raise DataError("FEAT-66", f"nothing of the feature store is called '{name}'", fix=fix)

    def earlier(self, name: str, digest: str) -> dict[str, Any]:
        """The record of an earlier definition of a view that a model pins, by the beginning of its digest.

        Raises
        ------
        DataError
            FEAT-66 when there is none.
        """
        states = self._wiring.ledger.states(DEFINITION)
        for state in states:
            record: dict[str, Any] = state.value["record"]
            if record["name"] == name and record["digest"].startswith(digest):
                return record
        kept = [state.value["record"]["digest"][:12] for state in states if state.value["record"]["name"] == name]
        raise DataError(
            "FEAT-66",
            f"no definition of '{name}' with the digest {digest} is on the record",
            fix=f"there is {', '.join(kept)}" if kept else "definitions are kept when a model is trained on them",
        )

    def features(self, record: Record) -> list[dict[str, Any]]:
        """The features of a view: name, rule in words, type, description, tags, and their last statistics."""
        known = self._statistics_of(record)
        if record["kind"] == "on_demand":
            inputs = ", ".join(one.get("feature") or f"{one['field']} of the request" for one in record["inputs"])
            return [
                {"name": one["name"], "words": f"{record['name']}({inputs})", "type": one["dtype"], "description": "",
                 "tags": [], "statistics": None}
                for one in record["outputs"]
            ]  # fmt: skip
        if record["kind"] != "view":
            return []
        declared = {one["name"]: one for one in record["schema"]}
        found = []
        for one in record["features"]:
            said, statistics = declared.get(one["name"], {}), known.get(one["name"])
            found.append(
                {
                    "name": one["name"],
                    "words": one["words"],
                    "type": said.get("dtype") or (statistics or {}).get("type"),
                    "description": said.get("description", ""),
                    "tags": list(said.get("tags", [])),
                    "statistics": statistics,
                }
            )
        return found

    def _entry(self, record: Record) -> dict[str, Any]:
        kind, name = record["kind"], record["name"]
        source = record.get("source")
        return {
            "name": name,
            "kind": kind,
            "entity": record.get("entity"),
            "source": source["name"] if source else None,
            "features": len(record.get("features", record.get("outputs", []))),
            "owner": record.get("owner", ""),
            "tags": list(record.get("tags", [])),
            "description": record["description"],
            **self._freshness(record),
            "statistics_at": self._statistics.get(name, {}).get("at") if kind == "view" else None,
            "digest": record["digest"],
            "state": self._state(record),
            "applied": self._applied_by(record),
        }

    def _freshness(self, record: Record) -> dict[str, Any]:
        view = self._wiring.project.views.get(record["name"]) if record["kind"] == "view" else None
        until = None if view is None else materialized_until(self._wiring.ledger, view)
        age = None if until is None else max(0.0, (self._wiring.clock.now() - until).total_seconds())
        return {"materialized_until": None if until is None else to_text(until), "age_s": age}

    def _state(self, record: Record) -> str:
        """``new``, ``changed`` or ``applied``: how it stands to what was applied."""
        state = self._applied.get(record_key(record))
        if state is None:
            return "new"
        return "applied" if state.value["record"]["digest"] == record["digest"] else "changed"

    def _applied_by(self, record: Record) -> dict[str, Any] | None:
        state = self._applied.get(record_key(record))
        if state is None:
            return None
        return {"by": state.value["by"], "at": self._wiring.ledger.get_event(state.seq).at}

    def _earlier(self, name: str) -> list[dict[str, Any]]:
        """Other definitions of a view that models in some environment still read."""
        ledger = self._wiring.ledger
        found = [(view, materialized_until(ledger, view)) for view in EarlierViews(self._wiring)() if view.name == name]
        return [
            {"digest": view.digest(), "materialized_until": None if until is None else to_text(until)}
            for view, until in found
        ]

    def _statistics_of(self, record: Record) -> Mapping[str, Any]:
        kept = self._statistics.get(record["name"], {}) if record["kind"] == "view" else {}
        if kept.get("digest") != record["digest"]:
            return {}
        return {name: {"at": kept["at"], **facts} for name, facts in kept["features"].items()}

    def _place(self, record: Record) -> str | None:
        project = self._wiring.project
        of_kind: dict[str, Mapping[str, Any]] = {
            "view": project.views,
            "on_demand": project.on_demand,
            "service": project.services,
            "entity": project.entities,
            "source": project.sources,
        }
        place: str | None = of_kind[record["kind"]][record["name"]].place
        return place


def say_age(age_s: float | None) -> str:
    """An age in its largest unit: ``3d``, ``5h``; a dash for none."""
    if age_s is None:
        return "-"
    for unit, seconds in (("d", 86400), ("h", 3600), ("m", 60)):
        if age_s >= seconds:
            return f"{int(age_s // seconds)}{unit}"
    return f"{int(age_s)}s"


def _say_ttl(record: Record) -> str | None:
    seconds = record.get("ttl_s")
    return None if seconds is None else format_duration(timedelta(seconds=seconds))
