"""Files that are one table but name their zones differently: the moments are the same, and are told in UTC."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa


def in_one_zone(schemas: Sequence[pa.Schema]) -> list[pa.Schema]:
    """`schemas` with UTC for every column whose zone is not the same in all of them; times without a zone stay so."""
    zones: dict[str, set[str]] = {}
    for schema in schemas:
        for field in schema:
            if pa.types.is_timestamp(field.type) and field.type.tz is not None:
                zones.setdefault(field.name, set()).add(field.type.tz)
    differing = {name for name, found in zones.items() if len(found) > 1}
    return [pa.schema([_in_utc(field) if field.name in differing else field for field in schema]) for schema in schemas]


def tables_in_one_zone(tables: Sequence[pa.Table]) -> list[pa.Table]:
    """`tables` without metadata, which is of single files, and with their schemas as `in_one_zone` has them."""
    schemas = in_one_zone([table.schema.remove_metadata() for table in tables])
    return [
        table.cast(schema) if table.schema.types != schema.types else table.replace_schema_metadata(None)
        for table, schema in zip(tables, schemas, strict=True)
    ]


def _in_utc(field: pa.Field) -> pa.Field:
    is_zoned = pa.types.is_timestamp(field.type) and field.type.tz is not None
    return field.with_type(pa.timestamp(field.type.unit, "UTC")) if is_zoned else field
