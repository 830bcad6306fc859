"""What a change of definitions does: which values become other values, in words. A pure function of two states.

A change is breaking when something that exists is gone or answers differently afterwards: another rule, type, ttl, key
or source, other code. Something new, another description, owner or tag is not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from millrace.core.duration import format_duration
from millrace.core.ids import canonical_json
from millrace.features.definition_record import KINDS, Record

Action = Literal["added", "removed", "changed"]

_ABOUT = ("description", "owner", "tags")
_SOURCE_FACTS = ("event_time", "created", "path", "query", "table", "columns", "schema")


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that differs, in words."""

    words: str
    is_breaking: bool

    def to_dict(self) -> dict[str, Any]:
        return {"words": self.words, "is_breaking": self.is_breaking}


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of one definition. `before` and `after` are its records, None for one that is not there."""

    key: str
    action: Action
    differences: tuple[Difference, ...]
    before: Record | None
    after: Record | None

    @property
    def kind(self) -> str:
        return self.key.partition(":")[0]

    @property
    def name(self) -> str:
        return self.key.partition(":")[2]

    @property
    def is_breaking(self) -> bool:
        return any(one.is_breaking for one in self.differences)

    @property
    def needs_materialize(self) -> bool:
        """Whether the new definition lies elsewhere in the online store."""
        before = None if self.before is None else self.before.get("storage_id")
        return self.after is not None and self.after.get("storage_id") not in (None, before)

    def to_dict(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "name": self.name,
            "action": self.action,
            "is_breaking": self.is_breaking,
            "needs_materialize": self.needs_materialize,
            "differences": [one.to_dict() for one in self.differences],
            "digest_before": self.before and self.before["digest"],
            "digest_after": self.after and self.after["digest"],
        }


def plan_changes(applied: Mapping[str, Record], defined: Mapping[str, Record]) -> list[Change]:
    """What turns the applied definitions into the defined ones, sources first, services last.

    Parameters
    ----------
    applied, defined : mapping of `record_key` to record
    """
    changes = []
    for key in sorted(applied.keys() | defined.keys(), key=_order):
        before, after = applied.get(key), defined.get(key)
        if before is None and after is not None:
            changes.append(Change(key, "added", (), None, after))
        elif before is not None and after is None:
            gone = Difference(f"{_kind_in_words(before['kind'])} '{before['name']}' is removed", True)
            changes.append(Change(key, "removed", (gone,), before, None))
        elif before is not None and after is not None:
            found = tuple(differences(before, after))
            if found:
                changes.append(Change(key, "changed", found, before, after))
    return changes


def differences(before: Record, after: Record) -> Iterator[Difference]:
    """Every difference between two records of one definition."""
    yield from _COMPARE[before["kind"]](before, after)
    for fact in _ABOUT:
        if before.get(fact, "") != after.get(fact, ""):
            yield Difference(f"{fact}: {_say(before.get(fact))} -> {_say(after.get(fact))}", False)


def _compare_source(before: Record, after: Record) -> Iterator[Difference]:
    for fact in _SOURCE_FACTS:
        if before.get(fact) != after.get(fact):
            # A schema only says what pushed rows must be; it does not change one that is there.
            yield Difference(f"{fact}: {_say(before.get(fact))} -> {_say(after.get(fact))}", fact != "schema")
    yield from _spans("delay", before["delay_s"], after["delay_s"])


def _compare_entity(before: Record, after: Record) -> Iterator[Difference]:
    if before["keys"] != after["keys"]:
        yield Difference(f"key: {_say(before['keys'])} -> {_say(after['keys'])}", True)


def _compare_view(before: Record, after: Record) -> Iterator[Difference]:
    old, new = ({one["name"]: one for one in record["features"]} for record in (before, after))
    types, others = ({one["name"]: one["dtype"] for one in record["schema"]} for record in (before, after))
    for name in old.keys() - new.keys():
        yield Difference(f"{name} is removed: {old[name]['words']}", True)
    for name in [name for name in new if name not in old]:
        yield Difference(f"{name} is new: {new[name]['words']}", False)
    for name in [name for name in new if name in old]:
        if canonical_json(old[name]["rule"]) != canonical_json(new[name]["rule"]):  # 1 and 1.0 are two rules
            yield Difference(f"{name}: {old[name]['words']} -> {new[name]['words']}", True)
        if types.get(name) != others.get(name):
            was, becomes = types.get(name, "not declared"), others.get(name, "not declared")
            yield Difference(f"type of {name}: {was} -> {becomes}", True)
    if before["keys"] != after["keys"]:
        yield Difference(f"keys: {_say(before['keys'])} -> {_say(after['keys'])}", True)
    elif before["entity"] != after["entity"]:
        yield Difference(f"entity: {_say(before['entity'])} -> {_say(after['entity'])}", False)
    for fact in ("name", "event_time", "created"):
        was, becomes = before["source"][fact], after["source"][fact]
        if was != becomes:
            what = "source" if fact == "name" else f"{fact} of the source"
            yield Difference(f"{what}: {_say(was)} -> {_say(becomes)}", True)
    yield from _spans("delay of the source", before["source"]["delay_s"], after["source"]["delay_s"])
    yield from _spans("ttl", before["ttl_s"], after["ttl_s"])
    if before["event_key"] != after["event_key"]:
        yield Difference(f"event_key: {_say(before['event_key'])} -> {_say(after['event_key'])}", True)
    if [one["name"] for one in before["features"] if one["name"] in new] != [name for name in new if name in old]:
        yield Difference("the features stand in another order", False)
    yield from _compare_meaning(before["schema"], after["schema"])


def _compare_meaning(before: Sequence[Record], after: Sequence[Record]) -> Iterator[Difference]:
    old = {one["name"]: one for one in before}
    for one in after:
        was = old.get(one["name"], one)
        for fact in ("description", "tags"):
            if was[fact] != one[fact]:
                yield Difference(f"{fact} of {one['name']}: {_say(was[fact])} -> {_say(one[fact])}", False)


def _compare_on_demand(before: Record, after: Record) -> Iterator[Difference]:
    old, new = ({one["name"]: one["dtype"] for one in record["outputs"]} for record in (before, after))
    for name in [name for name in old if name not in new]:
        yield Difference(f"{name} is removed", True)
    for name in [name for name in new if name not in old]:
        yield Difference(f"{name} is new: {new[name]}", False)
    for name in [name for name in new if name in old and old[name] != new[name]]:
        yield Difference(f"type of {name}: {old[name]} -> {new[name]}", True)
    takes, will_take = ({one["name"]: _input(one) for one in record["inputs"]} for record in (before, after))
    for name in dict.fromkeys([*takes, *will_take]):
        if takes.get(name) != will_take.get(name):
            yield Difference(f"input {name}: {_say(takes.get(name))} -> {_say(will_take.get(name))}", True)
    # Neither comments nor layout are in the digest: what is left of a difference is the code itself.
    if before["digest"] != after["digest"] and old == new and takes == will_take:
        yield Difference("the function's code is another", True)
    elif before["digest"] != after["digest"] and before["code"] != after["code"]:
        yield Difference("the function's text is another", True)


def _compare_service(before: Record, after: Record) -> Iterator[Difference]:
    old, new = before["features"], after["features"]
    for reference in [one for one in old if one not in new]:
        yield Difference(f"{reference} is left out", True)
    for reference in [one for one in new if one not in old]:
        yield Difference(f"{reference} is new", False)
    if [one for one in old if one in new] != [one for one in new if one in old]:
        yield Difference(f"the order of its vector: {_say(old)} -> {_say(new)}", True)
    for name, digest in after["pins"].items():
        was = before["pins"].get(name)
        if was is not None and was != digest:
            # Whether that breaks anything is said where the view itself changes.
            yield Difference(f"pins {name} {was[:12]} -> {digest[:12]}", False)


_COMPARE = {
    "source": _compare_source,
    "entity": _compare_entity,
    "view": _compare_view,
    "on_demand": _compare_on_demand,
    "service": _compare_service,
}


def _spans(what: str, before: float | None, after: float | None) -> Iterator[Difference]:
    if before != after:
        yield Difference(f"{what}: {_say_span(before)} -> {_say_span(after)}", True)


def _say_span(seconds: float | None) -> str:
    return format_duration(timedelta(seconds=seconds)) if seconds else "none"


def _say(value: Any) -> str:
    if value is None or value == "" or value == []:
        return "none"
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={one}" for name, one in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _input(one: Record) -> str:
    return str(one["feature"]) if "feature" in one else f"{one['field']} ({one['dtype']}) of the request"


def _kind_in_words(kind: str) -> str:
    return {"on_demand": "on-demand view", "service": "feature service"}.get(kind, kind)


def _order(key: str) -> tuple[int, str]:
    kind, _, name = key.partition(":")
    return KINDS.index(kind), name
