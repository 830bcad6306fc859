"""What a model takes the columns of a table for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from millrace.core.bundle import ColumnType
from millrace.core.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa


def column_type(table: pa.Table, name: str) -> ColumnType:
    """What a model takes a column of the table for. Raises DataError DATA-44 for one that no model can take."""
    import pyarrow as pa

    kind = table.schema.field(name).type
    if pa.types.is_boolean(kind):
        return "bool"
    if pa.types.is_integer(kind):
        return "int"
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "float"
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_dictionary(kind):
        return "string"
    raise DataError(
        "DATA-44",
        f"the model cannot take the column '{name}' of type {kind}",
        fix="models take numbers, booleans and text: make a number of it in a feature or in the source",
    )
