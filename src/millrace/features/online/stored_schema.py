"""What kinds of keys and columns a view has in an online store, kept in the store beside the view."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from millrace.core.errors import DataError
from millrace.features.columns import join_kinds
from millrace.features.events import Events
from millrace.features.field import ValueKind
from millrace.features.online.port import OnlineStore
from millrace.features.view import FeatureView

SCHEMA_VIEW = "schema"
"""The store's name for schemas; a view's own name there holds an @, so none is the same."""

_MARK = b"mark"


@dataclass(frozen=True, slots=True)
class StoredSchema:
    """Kinds of the key parts and of the columns of a view."""

    keys: tuple[ValueKind, ...]
    columns: Mapping[str, ValueKind]

    def to_bytes(self) -> bytes:
        return json.dumps({"keys": self.keys, "columns": dict(self.columns)}, sort_keys=True).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> StoredSchema:
        facts = json.loads(data)
        return cls(tuple(facts["keys"]), facts["columns"])

    @classmethod
    def of(cls, events: Events) -> StoredSchema:
        """The kinds of these events."""
        return cls(events.key_kinds, {name: column.kind for name, column in events.columns.items()})


def find_schema(online: OnlineStore, view: FeatureView) -> StoredSchema | None:
    """The kinds of `view` in the store, None when nothing of it was ever written."""
    (data,) = online.read(SCHEMA_VIEW, [view.storage_id().encode()])
    return None if data is None else StoredSchema.from_bytes(data)


def store_mark(online: OnlineStore, *, make: bool = False) -> str | None:
    """What tells this store's content from that of another, or of one that was emptied since.

    It lies in the store itself and is made by whoever first materializes. None where there is none yet.
    """
    if make:
        online.merge(
            SCHEMA_VIEW, [(_MARK, secrets.token_hex(8).encode())], lambda old, new: new if old is None else old
        )
    (data,) = online.read(SCHEMA_VIEW, [_MARK])
    return None if data is None else data.decode()


def widen_schema(online: OnlineStore, view: FeatureView, new: StoredSchema) -> None:
    """Let the store's schema hold the new kinds too, before the first value of them is written.

    Raises
    ------
    DataError
        FEAT-10 when they do not go together with what is there.
    """

    def combine(old: bytes | None, data: bytes) -> bytes:
        if old is None:
            return data
        have, come = StoredSchema.from_bytes(old), StoredSchema.from_bytes(data)
        joined = StoredSchema(
            tuple(
                _joined(view, name, mine, theirs)
                for name, mine, theirs in zip(view.keys, have.keys, come.keys, strict=True)
            ),
            {name: _joined(view, name, have.columns[name], kind) for name, kind in come.columns.items()},
        )
        return old if joined == have else joined.to_bytes()

    if find_schema(online, view) != new:
        online.merge(SCHEMA_VIEW, [(view.storage_id().encode(), new.to_bytes())], combine)


def _joined(view: FeatureView, name: str, have: ValueKind, come: ValueKind) -> ValueKind:
    kind = join_kinds(have, come)
    if kind is None:
        raise DataError(
            "FEAT-10",
            f"column '{name}' of view '{view.name}' is {have} in the online store; the new rows bring {come}",
            where=view.place,
            fix="send the type the source has; if the source changed, give the view a new name and materialize it",
        )
    return kind
