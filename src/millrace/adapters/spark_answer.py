"""The answer of Spark: rows with features in a frame, and how its errors become ours."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as fn
from pyspark.sql.types import StructField, StructType

from millrace.adapters.spark_bucket import MARK, Batches
from millrace.adapters.spark_session import REFUSALS, cause, quiet
from millrace.adapters.spark_types import pack, unpack
from millrace.core.errors import DataError, ServiceError
from millrace.features.offline.historical import HistoricalFeatures
from millrace.features.offline_answer import Change

if TYPE_CHECKING:
    import pandas as pd


class SparkFeatures:
    """Rows of a Spark frame with features, worked out when they are asked for.

    Parameters
    ----------
    frame : DataFrame
        The rows, and in the column ``row`` the place of each.
    schema : pyarrow.Schema
        The rows' columns, then the features.
    """

    def __init__(self, frame: DataFrame, schema: pa.Schema, features: tuple[str, ...], *, as_known: bool) -> None:
        self._frame = frame
        self._schema = schema
        self._table: pa.Table | None = None
        self.features = features
        self.as_known = as_known

    @property
    def table(self) -> pa.Table:
        """All rows, brought here once."""
        if self._table is None:
            self._table = collect(self._frame, self._schema)
        return self._table

    def to_spark(self) -> DataFrame:
        """A frame of the session that the rows came from. Like any frame, it has no order."""
        columns = [fn.col(one).alias(name) for one, name in zip(self._frame.columns, self._schema.names, strict=False)]
        return self._frame.select(*columns)

    def to_arrow(self) -> pa.Table:
        """All rows, in the order of the frame's partitions."""
        return self.table

    def map(self, change: Change, features: Sequence[str]) -> SparkFeatures:
        """The rows with other features, which `change` works out on the workers."""
        own = len(self._schema) - len(self.features)
        kept = pa.schema(list(self._schema)[:own])
        answers = [change(self._schema.empty_table()).schema.field(name) for name in features]
        columns = self._frame.columns
        changed = Batches(
            change, self._schema, {name: f"a{place}" for place, name in enumerate(features)}, columns[:own]
        )
        with quiet(), told():
            fields = [*self._frame.schema.fields[:own], self._frame.schema["row"]]
            added = spark_fields(self._frame.sparkSession, changed.answers, pa.schema(answers))
            frame = self._frame.mapInArrow(changed.function(), StructType([*fields, *added]))
        frame = frame.select(*columns[:own], *changed.answers.values(), "row")
        return SparkFeatures(frame, pa.schema([*kept, *answers]), tuple(features), as_known=self.as_known)

    def to_df(self) -> pd.DataFrame:
        """All rows as a pandas table."""
        return HistoricalFeatures(self.table, self.features, self.as_known, None).to_df()


def spark_fields(session: SparkSession, places: Mapping[str, str], schema: pa.Schema) -> list[StructField]:
    """How Spark sees answers of these types in these columns."""
    empty = pa.table({place: pack(schema.empty_table()[name]) for name, place in places.items()})
    return list(session.createDataFrame(empty).schema.fields)


def collect(frame: DataFrame, schema: pa.Schema) -> pa.Table:
    """All rows of `frame` in their order, in the types of `schema`."""
    with quiet(), told():
        found = frame.toArrow()
    found = found.take(pc.sort_indices(found["row"]))
    columns = [unpack(column, one.type) for column, one in zip(found.columns, schema, strict=False)]
    return pa.table(columns, names=schema.names)


@contextmanager
def told() -> Iterator[None]:
    """Errors of the join on a worker as what they are, others as Spark's."""
    try:
        yield
    except REFUSALS as error:
        found = re.search(re.escape(MARK) + r"(\{.*\})", str(error))
        if found:
            raise DataError.from_dict(json.loads(found.group(1))) from error
        raise ServiceError(
            "FEAT-82",
            f"Spark could not finish: {cause(error)}",
            why="the join runs in Python on Spark's workers, which must have Millrace and its packages",
            fix="see the log of the Spark application; when a worker ran out of memory, use more buckets",
        ) from error
