"""The demo is the main job: it reaches what the README says, and leaves a state that the commands work on."""

import json
import subprocess
import sys

import pytest

VICTORIA = {"vicprice", "vicdemand", "transfer"}


def millrace(*words, folder):
    command = [sys.executable, "-m", "millrace", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)


def test_a_short_demo_serves_every_row_and_leaves_a_state_to_look_at(tmp_path):
    told = millrace("demo", "--json", "--weeks", "8", "--model", "electricity", "--folder", "d", folder=tmp_path)
    assert told.returncode == 0, told.stderr
    summary = json.loads(told.stdout)

    assert (summary["requests"], summary["failed_requests"]) == (8 * 336, 0)
    assert summary["accuracy_naive"] < 0.9
    assert summary["accuracy"] > 0.8
    assert summary["retrains"][0]["reasons"] == ["degradation"]
    for name in ("accuracy_static", "drift", "blocked", "alerts", "seconds"):
        assert name in summary
    assert (tmp_path / "d" / "demo.png").stat().st_size > 10_000
    assert "<table>" in (tmp_path / "d" / "demo.html").read_text()

    status = json.loads(millrace("status", "--json", folder=tmp_path / "d").stdout)
    assert status["models"][0]["aliases"]["champion"] == 1 + sum(r["promoted"] for r in summary["retrains"])
    assert "tracker" not in status["waiting"]  # MLflow was told of everything
    assert json.loads(millrace("ledger", "verify", "--json", folder=tmp_path / "d").stdout)["is_intact"]
    back = json.loads(millrace("rollback", "electricity", "--json", folder=tmp_path / "d").stdout)
    assert back["version"] == status["models"][0]["aliases"]["champion"] - 1
    loads = (
        "import os; os.environ['MLFLOW_TRACKING_URI'] = 'sqlite:///.millrace/mlflow.db'\n"
        "import mlflow, pandas\n"
        "row = dict(day=1, period=.5, nswprice=.1, nswdemand=.2, vicprice=.1, vicdemand=.1, transfer=.4, lag1=1)\n"
        "print(mlflow.pyfunc.load_model('models:/electricity@champion').predict(pandas.DataFrame([row])))"
    )
    command = [sys.executable, "-c", loads]
    loaded = subprocess.run(command, cwd=tmp_path / "d", capture_output=True, text=True, timeout=300)
    assert loaded.stdout.strip() in ("[0]", "[1]"), loaded.stderr


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "thesis.txt").write_text("do not lose me")

    told = millrace("demo", "--folder", "d", folder=tmp_path)

    assert (told.returncode, "DEMO-01" in told.stderr) == (2, True)
    assert (tmp_path / "d" / "thesis.txt").read_text() == "do not lose me"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_whole_demo_reaches_what_the_readme_says(tmp_path):
    told = millrace("demo", "--json", "--folder", "d", folder=tmp_path)
    summary = json.loads(told.stdout)
    logistic, boosted = summary["models"]["electricity"], summary["models"]["electricity_boosted"]

    assert (summary["requests"], summary["failed_requests"]) == (2 * 36_576, 0)
    assert logistic["accuracy_static"] == pytest.approx(0.772, abs=0.002)
    assert logistic["accuracy"] >= 0.845
    assert logistic["accuracy_naive"] == pytest.approx(0.8575, abs=0.0005)
    assert boosted["accuracy"] > boosted["accuracy_naive"]
    assert any("degradation" in retrain["reasons"] and retrain["promoted"] for retrain in logistic["retrains"])
    assert boosted["blocked"] >= 1
    first = logistic["drift"][0]
    assert (first["date"], set(first["columns"])) == ("1997-05-13", VICTORIA)
