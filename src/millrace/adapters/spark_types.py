"""Arrow values through Spark and back: what Spark has no type for travels as another, and loses nothing."""

from __future__ import annotations

import pyarrow as pa

_TIME = pa.timestamp("us", tz="UTC")


def carrier(data_type: pa.DataType) -> pa.DataType:
    """The type as which Spark carries values of `data_type`.

    Times become microseconds with zone: Spark would read a naive one in the zone of the user's session.
    """
    types = pa.types
    if types.is_dictionary(data_type):
        return carrier(data_type.value_type)
    if types.is_list(data_type) or types.is_large_list(data_type) or types.is_fixed_size_list(data_type):
        return pa.list_(carrier(data_type.value_type))
    carriers = (
        (types.is_null, pa.bool_()),
        (types.is_timestamp, _TIME),
        (types.is_date, pa.date32()),
        (types.is_uint64, pa.decimal128(20, 0)),
        (types.is_unsigned_integer, pa.int64()),
        (types.is_float16, pa.float32()),
        (types.is_large_string, pa.string()),
        (types.is_string_view, pa.string()),
    )
    return next((spark for test, spark in carriers if test(data_type)), data_type)


def pack(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """`column` as its carrier. Clocks finer than a microsecond are cut, as in every feature."""
    if not column.num_chunks:
        column = pa.chunked_array([pa.array([], column.type)])  # Spark wants a piece, though an empty one
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("us", column.type.tz), safe=False)
    return column.cast(carrier(column.type))


def unpack(column: pa.ChunkedArray, data_type: pa.DataType) -> pa.ChunkedArray:
    """A column that came through Spark, as `data_type` again."""
    if column.type == data_type:
        return column
    if pa.types.is_null(data_type):
        return pa.chunked_array([pa.nulls(len(column))])
    if pa.types.is_list(data_type) and pa.types.is_null(data_type.value_type):
        # Arrow cannot cast to a list of nulls; there is hardly ever one.
        return pa.chunked_array([pa.array(column.to_pylist(), data_type)])
    return column.cast(data_type)


def in_utc(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """`column` with its zoned times said in UTC: workers get them in the session's zone, and must not give them so."""
    wanted = _zoned_in_utc(column.type)
    return column if wanted == column.type else column.cast(wanted)


def _zoned_in_utc(data_type: pa.DataType) -> pa.DataType:
    types = pa.types
    if types.is_timestamp(data_type) and data_type.tz is not None:
        return _TIME
    if types.is_list(data_type):
        return pa.list_(_field_in_utc(data_type.value_field))
    if types.is_map(data_type):
        return pa.map_(_field_in_utc(data_type.key_field), _field_in_utc(data_type.item_field))
    if types.is_struct(data_type):
        return pa.struct([_field_in_utc(data_type.field(place)) for place in range(data_type.num_fields)])
    return data_type


def _field_in_utc(field: pa.Field) -> pa.Field:
    return field.with_type(_zoned_in_utc(field.type))
