"""Suites judged on Spark: a DataFrame stays where it is, and its figures are computed there."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from millrace.adapters.spark_session import REFUSALS, as_before, cause, own_session, quiet
from millrace.validation.backend import CannotCheck
from millrace.validation.sql.backend import SqlBackend
from millrace.validation.sql.dialects import SPARK
from millrace.validation.sql.text import SqlColumn

# A sum that leaves its type must fail, not be missing.
_SETTINGS = {"spark.sql.ansi.enabled": "true"}


def open_spark(frame: DataFrame) -> SqlBackend:
    """A Spark DataFrame as a batch for `validate`, which closes it.

    Rows of Spark have no order: rules on the rows before are refused, and examples have no position.
    """
    with quiet(), as_before(frame.sparkSession):
        database = SparkDatabase(frame)
        schema = frame.limit(0).toArrow().schema
    columns = [SqlColumn(field.name, field.type, SPARK.quoted(field.name)) for field in schema]
    return SqlBackend(database, SPARK, database.relation, columns)


class SparkDatabase:
    """A frame under a name in a session whose settings change no answer; see `Database` of the backend.

    Attributes
    ----------
    relation : str
        The frame's name for FROM.
    """

    def __init__(self, frame: DataFrame) -> None:
        self._user: SparkSession = frame.sparkSession
        self._own = own_session(self._user, **_SETTINGS)
        self._name = f"millrace_{uuid.uuid4().hex}"
        frame.createGlobalTempView(self._name)
        self.relation = f"global_temp.{self._name}"

    def run(self, text: str, values: Sequence[Any], *, is_long: bool = False) -> Iterable[Sequence[Any]]:
        try:
            with quiet(), as_before(self._user):
                answer = self._own.sql(text, args=list(values))
                rows = answer.toLocalIterator() if is_long else answer.collect()
            yield from rows
        except REFUSALS as error:
            raise CannotCheck(f"Spark refused: {cause(error)}") from error

    def columns_of(self, text: str) -> list[str]:
        try:
            with quiet(), as_before(self._user):
                return list(self._own.sql(text).columns)
        except REFUSALS as error:
            raise CannotCheck(f"Spark refused: {cause(error)}") from error

    def define(self, name: str, function: Callable[[Any], Any]) -> None:
        raise CannotCheck(f"unsupported: Spark is not given the function {name}")

    def close(self) -> None:
        """Drop the name."""
        self._own.catalog.dropGlobalTempView(self._name)
