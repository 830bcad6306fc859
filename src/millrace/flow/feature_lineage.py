"""Where a feature comes from and what depends on it: source, view, service, model, version, release, as one graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from millrace.core.errors import DataError, did_you_mean
from millrace.core.records import ModelVersion
from millrace.features.definition_record import Record
from millrace.flow.feature_changes import all_versions, current_releases
from millrace.flow.pinned_features import pins_of

if TYPE_CHECKING:
    from millrace.flow.feature_catalog import Catalog
    from millrace.flow.wiring import Wiring


@dataclass(frozen=True)
class Lineage:
    """Nodes by id (``kind:name``), and edges from what feeds to what is fed."""

    root: str
    nodes: Mapping[str, Mapping[str, Any]]
    edges: Sequence[tuple[str, str]]

    def to_dict(self) -> dict[str, Any]:
        return {
            "root": self.root,
            "nodes": [{"id": name, **facts} for name, facts in self.nodes.items()],
            "edges": [{"from": begin, "to": end} for begin, end in self.edges],
        }

    def above(self, node: str) -> list[str]:
        """What feeds a node."""
        return [begin for begin, end in self.edges if end == node]

    def below(self, node: str) -> list[str]:
        """What a node feeds."""
        return [end for begin, end in self.edges if begin == node]


class Graph:
    """All nodes and edges of a project."""

    def __init__(self, wiring: Wiring, catalog: Catalog) -> None:
        self.nodes: dict[str, dict[str, Any]] = {}
        self.edges: dict[tuple[str, str], None] = {}
        self._wiring = wiring
        for record in catalog.records.values():
            self._add_definition(record)
        for name, model in wiring.project.models.items():
            self._node("model", name)
            self._add_uses(f"model:{name}", model.features)
        for version in all_versions(wiring):
            self._add_version(version)
        for release in current_releases(wiring.ledger):
            node = f"release:{release.environment}/{release.model}"
            self.nodes[node] = {
                "kind": "release", "name": f"{release.environment} runs {release.model}:{release.version}",
                "number": release.number, "since": release.at,
            }  # fmt: skip
            self._edge(f"version:{release.model}:{release.version}", node)

    def lineage(self, name: str) -> Lineage:
        """The part of the graph that feeds a thing or is fed by it.

        Raises
        ------
        DataError
            FEAT-66 with the nearest name.
        """
        root = self._find(name)
        reached = {root, *self._reach(root, upward=True), *self._reach(root, upward=False)}
        edges = [edge for edge in self.edges if edge[0] in reached and edge[1] in reached]
        return Lineage(root, {node: facts for node, facts in self.nodes.items() if node in reached}, edges)

    def _find(self, name: str) -> str:
        view, _, feature = name.partition(":")
        if name in self.nodes:
            return name
        for kind in ("view", "on_demand", "service", "model", "source", "entity"):
            node = f"{kind}:{view}"
            features = self.nodes.get(node, {}).get("features", [])
            if node in self.nodes and (not feature or feature in features):
                return node
        if f"version:{name}" in self.nodes:
            return f"version:{name}"
        known = [node.partition(":")[2] for node in self.nodes]
        raise DataError("FEAT-66", f"nothing is called '{name}'", fix=did_you_mean(name, known))

    def _reach(self, root: str, *, upward: bool) -> set[str]:
        seen: set[str] = set()
        front = [root]
        while front:
            node = front.pop()
            found = [edge[0] for edge in self.edges if edge[1] == node] if upward else [
                edge[1] for edge in self.edges if edge[0] == node
            ]  # fmt: skip
            front += [one for one in found if one not in seen]
            seen.update(found)
        return seen

    def _add_definition(self, record: Record) -> None:
        kind, name = record["kind"], record["name"]
        node = self._node(kind, name, digest=record["digest"])
        if kind == "view":
            self.nodes[node]["features"] = [one["name"] for one in record["features"]]
            self._edge(f"source:{record['source']['name']}", node)
            if record["entity"]:
                self._edge(f"entity:{record['entity']}", node)
        elif kind == "on_demand":
            self.nodes[node]["features"] = [one["name"] for one in record["outputs"]]
            self._add_uses(node, [one["feature"] for one in record["inputs"] if "feature" in one])
        elif kind == "service":
            self._add_uses(node, record["features"])

    def _add_version(self, version: ModelVersion) -> None:
        node = self._node("version", f"{version.model}:{version.version}", created_at=version.created_at)
        changed = [
            name for name, digest in pins_of(version).items() if self._present_digest(name) not in (None, digest)
        ]
        gone = [name for name in pins_of(version) if self._present_digest(name) is None]
        self.nodes[node] |= {"trained_on_earlier": changed, "trained_on_removed": gone}
        model = self._wiring.project.models.get(version.model)
        if model is not None:
            self._edge(f"model:{version.model}", node)
        through = {} if model is None else self._wiring.feature_pins(model)
        for name in pins_of(version).keys() - through.keys():
            self._edge(self._view_node(name), node)

    def _present_digest(self, name: str) -> str | None:
        view = self._wiring.project.feature_definitions.get(name)
        return None if view is None else view.digest()

    def _add_uses(self, node: str, features: Iterable[Any]) -> None:
        for one in features:
            if isinstance(one, str):
                self._edge(self._view_node(one.partition(":")[0]), node)
            elif hasattr(one, "references"):
                self._edge(f"service:{one.name}", node)
            else:
                self._edge(self._view_node(one.name), node)

    def _view_node(self, name: str) -> str:
        return f"on_demand:{name}" if name in self._wiring.project.on_demand else f"view:{name}"

    def _node(self, kind: str, name: str, **facts: Any) -> str:
        node = f"{kind}:{name}"
        self.nodes[node] = {"kind": kind, "name": name, **facts}
        return node

    def _edge(self, begin: str, end: str) -> None:
        if begin not in self.nodes:  # a view that the project no longer has, and a version still pins
            self.nodes[begin] = {"kind": begin.partition(":")[0], "name": begin.partition(":")[2], "is_removed": True}
        self.edges[begin, end] = None
