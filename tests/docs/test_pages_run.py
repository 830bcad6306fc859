"""What the pages show is run: the project of concepts.md, the files of configuration.md, the parts of extending.md."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks.__main__ import NAMES

from millrace.flow.artifacts import load_artifact
from millrace.flow.project import load_project
from millrace.flow.runner import Runner
from millrace.flow.settings import load_settings
from millrace.store.blobs import open_blobs

ROOT = Path(__file__).resolve().parents[2]
VARIABLES = {"TEAM_WEBHOOK_URL": "https://hooks.example.com/team", "LEDGER_URL": "postgresql://db/millrace"}


def blocks(name, language):
    text = (ROOT / "docs" / name).read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def test_the_project_of_concepts_loads(write_project):
    (definitions,) = blocks("concepts.md", "python")

    project = load_project(write_project(definitions))

    churn = project.get_model("churn")
    assert [gate.name for gate in churn.gates] == ["threshold", "beats_baseline", "no_regression"]
    assert list(project.views["habits"].features) == ["mean_amount_90d", "orders"]


def settings_blocks():
    names = ["configuration.md", "ledger.md"]
    return [(name, text) for name in names for text in blocks(name, "toml")]


@pytest.mark.parametrize(("name", "text"), settings_blocks(), ids=lambda value: value[:12].strip())
def test_each_settings_file_of_the_pages_is_accepted(tmp_path, name, text):
    (tmp_path / "millrace.toml").write_text(text)

    settings = load_settings(tmp_path, variables=VARIABLES)

    assert settings.name == "churn"


def test_secrets_come_from_variables(tmp_path):
    (tmp_path / "millrace.toml").write_text(blocks("configuration.md", "toml")[0])

    settings = load_settings(tmp_path, variables=VARIABLES)

    assert settings.channels["team"]["url"] == VARIABLES["TEAM_WEBHOOK_URL"]


def test_the_pipeline_of_extending_runs(write_project):
    (definitions,) = [text for text in blocks("extending.md", "python") if "mr.Pipeline" in text]
    project = load_project(write_project(definitions))

    with Runner(project, executor="inline") as runner:
        result = runner.execute(runner.start("nightly", None).run_id)

    assert result.status == "succeeded"
    reported = load_artifact(result.steps["report"].outputs["report"], open_blobs(project.settings.active.blobs))
    assert reported == {"run": result.run.run_id, "rows": 3}


def test_the_channel_of_extending_takes_an_alert():
    (text,) = [text for text in blocks("extending.md", "python") if "class Printer" in text]
    printed = []
    namespace = {"submit": lambda queue, line: printed.append((queue, line))}
    exec(text, namespace)

    alert = {"severity": "warning", "title": "drift", "text": "3 columns"}
    namespace["open_printer"]({"queue": "office"}).send(alert)

    assert printed == [("office", "warning: drift\n3 columns")]


def test_a_gate_of_ones_own_is_judged_recorded_and_explained():
    """The four members that extending.md names are enough."""
    from millrace.core.verdict import Verdict
    from millrace.gates.evaluate import evaluate

    class Size:
        name = "size"

        def describe(self):
            return "enough held-out rows"

        def measure(self, context):
            return {"rows": len(context.y_true), "at_least": 3}

        def judge(self, evidence):
            outcome = "pass" if evidence["rows"] >= evidence["at_least"] else "fail"
            return Verdict("gate.size", outcome, f"{evidence['rows']} rows", evidence)

    class Context:
        y_true = (0, 1)

    assert evaluate(Size(), Context()).is_fail


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_ends_with_one_json_object(name):
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", name, "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=1700,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["benchmarks"][name]["rows"]
    assert rows
    assert all(row["ms"] > 0 and row["against_ms"] > 0 for row in rows)


def test_a_benchmark_that_does_not_exist_is_named():
    words = [sys.executable, "-m", "benchmarks", "nothing"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 2
    assert "no benchmark 'nothing'; one of: steps, serving" in done.stderr
