"""Finding features by what people remember of them: words in any order, parts of words, and words with a typo."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from millrace.flow.feature_catalog import Catalog

_WORD = re.compile(r"[a-z0-9]+")
_CLOSE = 0.75
# What a word is worth where it stands; a name says more than a sentence.
_WEIGHTS = {"name": 10.0, "tags": 6.0, "owner": 5.0, "description": 4.0, "columns": 3.0, "view": 2.0, "rule": 2.0}


@dataclass(frozen=True)
class Found:
    """One thing that matches. `because` leads from each word asked to where it was found."""

    kind: str
    name: str
    description: str
    score: float
    because: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "name": self.name,
            "description": self.description,
            "score": round(self.score, 2),
            "because": dict(self.because),
        }


def search(catalog: Catalog, text: str) -> list[Found]:
    """What matches every word of `text`, the best first."""
    asked = _words(text)
    found = []
    for kind, name, description, places in _things(catalog):
        hits = [_best(word, places) for word in asked]
        if asked and all(score for score, _ in hits):
            # Of two that match alike, the one with less beside the words is meant.
            total = sum(score for score, _ in hits) - 0.01 * len(name)
            because = {word: where for word, (_, where) in zip(asked, hits, strict=True)}
            found.append(Found(kind, name, description, total, because))
    return sorted(found, key=lambda one: (-one.score, one.kind, one.name))


def _things(catalog: Catalog) -> Iterator[tuple[str, str, str, dict[str, list[str]]]]:
    """Kind, name, description, and the words of each place where they may be found."""
    for record in catalog.records.values():
        about = {
            "name": _words(record["name"]),
            "description": _words(record["description"]),
            "owner": _words(record.get("owner", "")),
            "tags": _all(record.get("tags", [])),
        }
        columns = [*record.get("keys", []), *record.get("event_key", []), *(record.get("columns") or [])]
        yield record["kind"], record["name"], record["description"], {**about, "columns": _all(columns)}
        for one in catalog.features(record):
            yield (
                "feature",
                f"{record['name']}:{one['name']}",
                one["description"],
                {
                    "name": _words(one["name"]),
                    "description": _words(one["description"]),
                    "tags": [*_all(one["tags"]), *about["tags"]],
                    "owner": about["owner"],
                    "rule": _words(one["words"]),
                    "view": [*about["name"], *about["description"]],
                },
            )


def _best(word: str, places: Mapping[str, list[str]]) -> tuple[float, str]:
    """The best score of a word asked, and where; 0 when it is nowhere."""
    best, where = 0.0, ""
    for place, words in places.items():
        for other in words:
            score = _WEIGHTS[place] * likeness(word, other)
            if score > best:
                best, where = score, f"{place}: {other}"
    return best, where


def likeness(word: str, other: str) -> float:
    """How much one word is the other, from 0 to 1.

    >>> likeness("spend", "spend"), likeness("spnd", "spend") > 0, likeness("spend", "orders")
    (1.0, True, 0.0)
    """
    if word == other:
        return 1.0
    if len(word) >= 2 and other.startswith(word):
        return 0.8
    if len(word) >= 3 and word in other:
        return 0.6
    if len(word) < 4:
        return 0.0
    ratio = SequenceMatcher(None, word, other).ratio()
    return 0.6 * ratio if ratio >= _CLOSE else 0.0


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _all(texts: Iterable[str]) -> list[str]:
    return [word for text in texts for word in _words(text)]
