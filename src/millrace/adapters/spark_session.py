"""Sessions of Spark that Millrace makes, and what Spark's errors say."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from py4j.protocol import Py4JError  # type: ignore[import-untyped]  # it has no types
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from millrace.core.errors import ServiceError

REFUSALS = (PySparkException, Py4JError)
"""What Spark raises."""

# How files are read and times are taken must not depend on what the user's session says of them.
_OWN = {
    "spark.sql.caseSensitive": "true",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.parquet.inferTimestampNTZ.enabled": "true",
    "spark.sql.legacy.parquet.nanosAsLong": "false",
}


def own_session(session: SparkSession, **settings: str) -> SparkSession:
    """A session of the same application with the user's settings, except those that would change an answer."""
    own = session.newSession()
    for name, value in session.conf.getAll.items():
        if name.startswith("spark.sql.") and own.conf.isModifiable(name):
            own.conf.set(name, value)
    for name, value in {**_OWN, **settings}.items():
        own.conf.set(name, value)
    return own


def start_session(master: str, settings: Mapping[str, str]) -> SparkSession:
    """A new application.

    Raises
    ------
    ServiceError
        FEAT-83 when Spark does not start.
    """
    builder = SparkSession.builder.appName("millrace")
    if master.startswith("local"):
        # Workers of this machine run in this environment.
        builder = builder.config("spark.pyspark.python", sys.executable)
    if master:
        is_address = ":" in master and "://" not in master
        builder = builder.master(f"spark://{master}" if is_address else master)
    for name, value in settings.items():
        builder = builder.config(name, value)
    try:
        return builder.getOrCreate()
    except REFUSALS as error:
        raise ServiceError(
            "FEAT-83",
            f"Spark does not start: {cause(error)}",
            why="it needs Java 17 or later, on the PATH or at JAVA_HOME",
            fix="install a Java runtime, and look at what Spark printed above",
        ) from error


@contextmanager
def as_before(session: SparkSession) -> Iterator[None]:
    """The active session stays the user's: making a frame in ours would put ours in its place."""
    active = SparkSession.getActiveSession() or session
    try:
        yield
    finally:
        active.createDataFrame([], "nothing int")


def cause(error: Exception) -> str:
    """One line: what a worker stopped with, or else what Spark says."""
    text = str(error).strip()
    lines = text.partition("Traceback (most recent call last):")[2].splitlines()
    if not lines and isinstance(error, Py4JError):
        lines = text.splitlines()[1:]  # the first only says which call it was
    said = (line.strip(": ") for line in lines or text.splitlines() if line and not line.startswith(" "))
    return next(said, text or type(error).__name__)


@contextmanager
def quiet() -> Iterator[None]:
    """Without PySpark's remark on pandas 3, of which nothing here makes use."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas", FutureWarning)
        yield
