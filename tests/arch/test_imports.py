"""What is loaded, and when: light commands stay light, and the floors hold."""

import json
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {"numpy", "pandas", "polars", "pyarrow", "scipy", "sklearn", "mlflow", "onnxruntime", "uvicorn", "lmdb"}
LIST_MODULES = "import json, sys; print(json.dumps(sorted(sys.modules)), file=sys.stderr)"
SMALL = """
import millrace as mr

rows = mr.Source("rows", "rows.parquet", event_time="ts")
view = mr.FeatureView("view", entity=mr.Entity("one", key="id"), source=rows, features={"last": mr.last("x")})


@mr.model(inputs=["x"], features=[view], labels=mr.Labels(rows, "y"), window="8w")
def small(X, y):
    raise AssertionError("loading a project trains nothing")


small.gates = [mr.Threshold(accuracy=0.5), mr.NoRegression(), mr.BeatsBaseline(), mr.Latency(p95_ms=5), mr.Robustness()]
small.deploy = mr.Direct()
small.retrain = [mr.OnDegradation(accuracy=0.5), mr.OnDrift(), mr.Every("7d")]
"""


def run_python(code, *arguments):
    words = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)


def packages_after(code, *arguments):
    """Top-level names of the modules that are loaded once `code` has run."""
    done = run_python(f"{code}\n{LIST_MODULES}", *arguments)
    assert done.returncode == 0, done.stderr
    return {name.partition(".")[0] for name in json.loads(done.stderr.splitlines()[-1])}


def added_by(code, *arguments):
    """What `code` loads beyond an interpreter that does nothing: site-packages may load things of their own."""
    return packages_after(code, *arguments) - packages_after("pass")


@pytest.fixture
def small_project(write_project):
    return write_project(SMALL)


def test_importing_millrace_loads_the_standard_library_alone():
    loaded = added_by("import millrace")

    assert "millrace" in loaded
    assert loaded - {"millrace"} <= set(sys.stdlib_module_names)


def test_importing_millrace_does_no_work():
    done = run_python(f"import millrace\n{LIST_MODULES}")

    assert done.stdout == ""
    loaded = [name for name in json.loads(done.stderr.splitlines()[-1]) if name.startswith("millrace.")]
    assert loaded == []


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["status"],
        ["history"],
        ["model", "list"],
        ["status", "--json"],
        ["features", "list"],
        ["features", "show", "view"],
        ["features", "search", "view"],
        ["features", "lineage", "view"],
        ["features", "plan"],
        ["features", "apply"],
    ],
)
def test_a_command_that_only_reads_the_record_loads_no_engine(small_project, words):
    place = [] if words == ["--help"] else ["--project", small_project]
    code = """
import sys
from millrace.cli.main import main
try:
    code = main(sys.argv[1:])
except SystemExit as end:
    code = end.code
assert code == 0, code
"""

    loaded = added_by(code, *words, *place)

    assert "millrace" in loaded
    assert loaded & HEAVY == set()


def test_loading_a_project_loads_no_engine(small_project):
    code = "import sys; from millrace.flow.project import load_project; load_project(sys.argv[1]).get_model('small')"

    assert added_by(code, small_project) & HEAVY == set()


def test_a_coordinator_that_forks_loads_no_engine():
    """Threads and locks of a native library do not survive a fork."""
    assert added_by("import millrace.flow.runner, millrace.flow.loop, millrace.cli.run") & HEAVY == set()


def test_serving_an_onnx_bundle_needs_no_training_library():
    loaded = added_by("import millrace.serving.server")

    assert "uvicorn" in loaded
    assert loaded & {"sklearn", "mlflow", "pandas", "scipy", "polars", "skops"} == set()


def test_the_import_contracts_hold():
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([program, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)

    assert done.returncode == 0, done.stdout[-3000:]
    assert "0 broken" in done.stdout


def test_no_import_contract_has_an_exception():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]

    assert {contract["id"] for contract in contracts} >= {"floors", "acyclic", "core-is-standard-library"}
    assert [contract["id"] for contract in contracts if "ignore_imports" in contract] == []


def declared_entry_points():
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    return [(group, name, target) for group, names in groups.items() for name, target in names.items()]


@pytest.mark.parametrize(("group", "name", "target"), declared_entry_points())
def test_every_declared_implementation_can_be_found_and_loaded(group, name, target):
    (found,) = entry_points(group=group, name=name)

    assert found.value == target
    assert callable(found.load())
