"""Moving aliases, lifting a quarantine, and settings that are nearly right."""

import pytest

from millrace.core.errors import ProjectError
from millrace.flow.project import load_project
from millrace.flow.settings import load_settings
from small_project import COLUMNS, read_rows


def test_champion_is_not_moved_by_hand(shop, ask):
    code, told = ask(shop, "promote", "1", "champion", "--json")

    assert (code, told["error"]["code"]) == (2, "REG-06")


def test_another_alias_is(shop, ask):
    code, told = ask(shop, "promote", "1", "candidate", "--json")

    assert (code, told["alias"], told["version"]) == (0, "candidate", 1)


def test_a_bundle_that_is_not_in_quarantine_cannot_be_let_out(shop, ask):
    code, told = ask(shop, "deploy", "1", "--lift-quarantine", "--json")

    assert (code, told["error"]["code"]) == (2, "DEPLOY-05")


def problems(folder, toml, **variables):
    (folder / "millrace.toml").write_text(toml)
    with pytest.raises(ProjectError) as caught:
        load_settings(folder, variables=variables)
    error = caught.value
    return [(finding.code, finding.fix) for finding in error.findings or [error]]


def test_what_is_nearly_right_is_told(write_project):
    folder = write_project()

    toml = 'name = "sums"\n[environments.prodution]\nworkers = 1\n[environments.staging]\nserver = "not a url"\n'
    assert problems(folder, toml, MILLRACE_LEGDER="x") == [
        ("PROJ-08", "did you mean 'production'?"),
        ("PROJ-08", "did you mean MILLRACE_LEDGER?"),
        ("PROJ-06", 'for example: server = "http://127.0.0.1:8100"'),
    ]
    assert [code for code, _ in problems(folder, 'name = "sums"\n', MILLRACE_ALLOW_PICKLE="maybe")] == ["PROJ-06"]
    assert [code for code, _ in problems(folder, 'name = "sums"\n', MILLRACE_SERVERS="a=http")] == ["PROJ-06"]


def test_an_environment_of_another_name_is_allowed(write_project):
    folder = write_project(settings='[environments.team]\nserver = "https://models.example.com/churn"\n')

    assert load_project(folder).settings.environments["team"].server_of("m") == "https://models.example.com/churn"


def test_a_damaged_blob_is_written_again_by_who_has_its_bytes(tmp_path):
    from millrace.store.blobs import FileBlobs

    blobs = FileBlobs(tmp_path)
    path = blobs.get_file(blobs.put(b"what it was"))
    path.write_bytes(b"what it is!")

    assert blobs.get(blobs.put(b"what it was")) == b"what it was"


def test_a_dry_run_finds_columns_that_are_not_there(shop, ask):
    path = shop / "project.py"
    path.write_text(path.read_text().replace('inputs=["amount", "items"]', 'inputs=["amuont", "items"]'))

    code, told = ask(shop, "run", "--dry-run", "--json")

    assert (code, told["error"]["code"]) == (2, "DATA-42")
    assert told["error"]["fix"] == "did you mean 'amount'?"


def test_a_metric_that_the_task_does_not_have_is_told_at_load(shop):
    path = shop / "project.py"
    path.write_text(path.read_text().replace("mr.OnDegradation(accuracy=0.6, drop=None", "mr.OnDegradation(rmse=0.6"))

    with pytest.raises(ProjectError, match="PROJ-27"):
        load_project(shop)


def test_the_feature_store_of_a_project_opens_by_its_folder(shop):
    import millrace as mr

    store = mr.open_features(shop)
    customer = read_rows(shop)[0][COLUMNS.index("customer")]
    rows = [{"customer": customer, "event_time": "2024-01-20T00:00:00Z"}]

    (found,) = store.get_historical_features(rows, ["history:mean_amount"]).to_arrow().to_pylist()
    assert found["mean_amount"] > 0
